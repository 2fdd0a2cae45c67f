"""Times of calls: one for each, of code that still does the same, from a child process that may fail."""

from pathlib import Path

import pytest
from native.compiled import machines
from native.test_networks import lowered
from npu.test_networks import mnist

from stepdown.errors import ResourceError
from stepdown.native.clock import call_seconds, timed_library
from stepdown.native.code import Code

MACHINE = list(machines().values())[-1]


def test_every_call_has_a_time(tmp_path: Path) -> None:
    code = Code(lowered(mnist(), "INT8"), MACHINE, "net", each_apart=True)
    calls, folder = len(code.network.calls), timed_library(code, tmp_path / "timed")
    first, second = call_seconds([folder, folder], [calls, calls], rounds=2, limit_s=60)
    assert len(first) == len(second) == calls
    assert all(0 <= seconds < 1 for seconds in [*first, *second])
    assert sum(first) > 0


def test_a_child_that_fails_is_told(tmp_path: Path) -> None:
    with pytest.raises(ResourceError, match="timed code ended with 1"):
        call_seconds([tmp_path], [1], rounds=1, limit_s=60)


def test_a_child_that_hangs_is_stopped(tmp_path: Path) -> None:
    with pytest.raises(ResourceError, match="took more than 0 s"):
        call_seconds([tmp_path], [1], rounds=1, limit_s=0.01)
