"""What the tests of native code share."""

import os

import pytest
from native.cxx_runner import Program, built, missing


@pytest.fixture(scope="session")
def run_model(tmp_path_factory: pytest.TempPathFactory) -> Program:
    """The C++ runner."""
    if lacking := missing():
        pytest.skip(f"needs {lacking}")
    folder = tmp_path_factory.getbasetemp()
    shared = folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder
    return Program(built(shared / "run_model"))
