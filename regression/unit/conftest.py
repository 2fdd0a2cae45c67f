"""What all tests share: the environment of the tools, repeatable random tests, the switch that rewrites cases."""

import os

import pytest
from checkout import environment
from hypothesis import settings

for name in set(os.environ) - set(environment()):
    del os.environ[name]
os.environ.update(environment())
settings.register_profile("repeatable", derandomize=True, database=None, deadline=None)
settings.load_profile("repeatable")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add our switch."""
    parser.addoption("--update-cases", action="store_true", help="rewrite expout and exit of cases that fail")
