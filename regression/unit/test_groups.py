"""The tests of a file run in one process, so that what they share is made once."""

import os

import pytest


@pytest.mark.skipif("PYTEST_XDIST_WORKER" not in os.environ, reason="needs several processes: bash regression/run.sh")
def test_a_test_is_of_the_group_of_its_file(request: pytest.FixtureRequest) -> None:
    if not request.config.getoption("loadgroup"):
        pytest.skip("needs --dist loadgroup, as regression/run.sh has it")
    assert request.node.nodeid.endswith("test_a_test_is_of_the_group_of_its_file@unit/test_groups")
