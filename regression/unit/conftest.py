"""What all tests share: the environment of the tools, repeatable random tests, the switch that rewrites cases."""

import gc
import os
import sys
from functools import cache
from hashlib import blake2b

import numpy as np
import pytest
from _pytest.nodeid import NodeId
from checkout import REGRESSION, environment
from hypothesis import settings

for name in set(os.environ) - set(environment()):
    del os.environ[name]
os.environ.update(environment())
settings.register_profile("repeatable", derandomize=True, database=None, deadline=None)
settings.load_profile("repeatable")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Begin with what takes long, and let the tests of a file follow each other: what they share is made once.

    pytest-xdist gives the tests of one process to it by what their ids end with. It writes that itself, but to where
    pytest 9.2 no longer reads it.
    """
    items.sort(key=lambda item: [item.get_closest_marker(name) is None for name in ("slow", "apart")])
    if config.getoption("loadgroup", default=False):
        for item in items:
            item._id = NodeId.parse(item.nodeid + _group(item))  # type: ignore[attr-defined]


def _group(item: pytest.Item) -> str:
    """Return what the ids of tests end with that one process must run: those of a file, but for the long ones."""
    if any(map(item.get_closest_marker, ("slow", "apart"))):
        return ""
    mark = item.get_closest_marker("xdist_group")
    return f"@{mark.args[0] if mark else f'{item.path.parent.name}/{item.path.stem}'}"


def pytest_collection_finish() -> None:
    """Collect no garbage among what was imported and collected: thousands of tests and a million objects of modules."""
    gc.collect()
    gc.freeze()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add our switch."""
    parser.addoption("--update-cases", action="store_true", help="rewrite expout and exit of cases that fail")


_STATE = np.random.default_rng(0).bit_generator.state
"""What all states have in common, of generators that have drawn nothing yet."""


@cache
def _generators() -> dict[str, np.random.Generator]:
    """Return the generators of all modules of tests, which tests of other modules use too, by module and name."""
    return {
        f"{module.__name__}.{name}": value
        for module in list(sys.modules.values())
        if str(REGRESSION) in (getattr(module, "__file__", None) or "")
        for name, value in vars(module).items()
        if isinstance(value, np.random.Generator)
    }


@pytest.fixture(autouse=True)
def numbers_of_its_own(request: pytest.FixtureRequest) -> None:
    """Restart the generators by the name of the test: what it draws does not depend on the tests before it."""
    test = request.node.nodeid.removesuffix(_group(request.node))
    for place, generator in _generators().items():
        drawn = blake2b(f"{test} {place}".encode()).digest()
        begin, step = int.from_bytes(drawn[:16]), int.from_bytes(drawn[16:32])
        generator.bit_generator.state = {**_STATE, "state": {"state": begin, "inc": step | 1}}
