"""Networks on several threads: the same bytes as on one, in every run."""

from pathlib import Path

import numpy as np
import pytest
from native.compiled import compiled, machines
from native.test_networks import lowered
from npu.test_networks import inputs, mnist, resnet8

from stepdown.native import steps
from stepdown.runtimes.native import NativeRunner
from stepdown.runtimes.runner import RunnerOptions

RUNS = 20
MACHINES = {name: machine for name, machine in machines().items() if name in ("c", "x86-64-v3")}


@pytest.fixture(autouse=True)
def shared(monkeypatch) -> None:
    """Share whatever can be shared: the networks of tests are small."""
    monkeypatch.setattr(steps, "_LEAST_US", 0.0)
    monkeypatch.setattr(steps, "_GRAIN_US", 1.0)


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("mode", ["INT8", "F32", "F16"])
@pytest.mark.parametrize("network", [mnist, resnet8])
def test_threads_make_the_same_bytes(network, mode, machine, tmp_path: Path) -> None:
    program = lowered(network(), mode)
    given = inputs(program)
    with_one = compiled(program, MACHINES[machine], tmp_path)
    wanted = with_one.run(given, "all")
    for threads in (2, 3, 5):
        runner = NativeRunner(tmp_path / "net.so", RunnerOptions(threads=threads))
        for _ in range(RUNS):
            got = runner.run(given, "all")
            assert all(np.array_equal(got[name], wanted[name]) for name in wanted)
        runner.close()
    with_one.close()
