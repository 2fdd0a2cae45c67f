"""Networks on several threads: the same bytes as on one, in every run; and the team of threads by itself."""

import ctypes
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from native.compiled import compiled, machines
from native.test_networks import lowered
from npu.test_networks import inputs, mnist, resnet8

from stepdown.errors import ResourceError
from stepdown.native import steps
from stepdown.native.build import write_object
from stepdown.native.library import RUNTIME
from stepdown.native.tir import Function
from stepdown.runtimes.native import NativeRunner
from stepdown.runtimes.runner import RunnerOptions, Tensors

RUNS = {"c": 5, "x86-64-v3": 20}
"""How often a network is run: C is not optimised here, and has the same steps and team."""
MACHINES = {name: machine for name, machine in machines().items() if name in ("c", "x86-64-v3")}
TEAM = Path(__file__).with_name("team.c")
UNEXPECTED = "unexpected memory mapping"


@pytest.fixture(autouse=True)
def shared(monkeypatch) -> None:
    """Share whatever can be shared: the networks of tests are small."""
    monkeypatch.setattr(steps, "_LEAST_US", 0.0)
    monkeypatch.setattr(steps, "_GRAIN_US", 1.0)


def same(got: Tensors, wanted: Tensors) -> bool:
    return all(np.array_equal(got[name], wanted[name], equal_nan=True) for name in wanted)


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize(("network", "mode"), [(mnist, "INT8"), (mnist, "F16"), (resnet8, "INT8"), (resnet8, "F32")])
def test_threads_make_the_same_bytes(network, mode, machine, tmp_path: Path) -> None:
    program = lowered(network(), mode)
    given = inputs(program)
    with_one = compiled(program, MACHINES[machine], tmp_path)
    wanted = with_one.run(given, "all")
    for threads in (2, 3, 5):
        runner = NativeRunner(tmp_path / "net.so", RunnerOptions(threads=threads))
        assert all(same(runner.run(given, "all"), wanted) for _ in range(RUNS[machine]))
        runner.close()
    with_one.close()


def test_a_forked_process_runs_on_one_thread(tmp_path: Path) -> None:
    program = lowered(mnist(), "INT8")
    given = inputs(program)
    compiled(program, next(iter(MACHINES.values())), tmp_path).close()
    runner = NativeRunner(tmp_path / "net.so", RunnerOptions(threads=3))
    wanted = runner.run(given, "all")
    child = os.fork()
    if child == 0:
        right = same(runner.run(given, "all"), wanted)
        runner.close()
        os._exit(0 if right else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert same(runner.run(given, "all"), wanted)
    runner.close()


def test_too_many_threads_are_refused(tmp_path: Path) -> None:
    compiled(lowered(mnist(), "INT8"), next(iter(MACHINES.values())), tmp_path, debug=False).close()
    with pytest.raises(ResourceError, match="no 2000000000 threads"):
        NativeRunner(tmp_path / "net.so", RunnerOptions(threads=2_000_000_000))


def sanitised(program: Path) -> subprocess.CompletedProcess[str]:
    """Run a program; where addresses are more random than its sanitizer takes, with ones that are not, if they can be.

    gcc's thread sanitizer knows fewer places than a kernel has whose vm.mmap_rnd_bits is 32.
    """
    for command in ([program], ["setarch", "-R", program]):
        ended = subprocess.run(command, capture_output=True, text=True, timeout=300)
        if UNEXPECTED not in ended.stderr:
            break
        if not shutil.which("setarch"):
            pytest.skip(f"{UNEXPECTED}, and there is no setarch")
    if UNEXPECTED in ended.stderr or ended.stderr.startswith("setarch:"):
        pytest.skip(f"{UNEXPECTED}, with setarch -R too: {ended.stderr.strip()[-200:]}")
    return ended


@pytest.mark.skipif(not shutil.which("gcc"), reason="needs gcc")
@pytest.mark.parametrize(
    ("extent", "parts"), [(1_550_000, 1500), (1_550_000, 3), (2**31 - 1, 1024), (7, 3), (2, 5), (1, 1)]
)
def test_parts_are_the_whole_and_alike(extent, parts, tmp_path: Path) -> None:
    f = Function("bounds", shares=True)
    made = f.argument("made", "int32", 2)
    for at, bound in enumerate(f.share(extent)):
        f.store(made, at, bound)
    write_object({"bounds": f.finish()}, list(MACHINES.values())[-1], tmp_path / "bounds.o")
    subprocess.run(["gcc", "-shared", "-o", tmp_path / "bounds.so", tmp_path / "bounds.o"], check=True)
    bounds, own = ctypes.CDLL(str(tmp_path / "bounds.so")).bounds, np.zeros((parts, 2), np.int32)
    for part in range(parts):
        bounds(own[part].ctypes.data_as(ctypes.c_void_p), part, parts)
    assert (own[0, 0], own[-1, 1]) == (0, extent)
    assert np.array_equal(own[1:, 0], own[:-1, 1])
    assert np.ptp(own[:, 1] - own[:, 0]) <= 1


@pytest.mark.skipif(not shutil.which("gcc"), reason="needs gcc")
@pytest.mark.parametrize("sanitizer", ["thread", "address,undefined"])
def test_a_team_has_no_races(sanitizer, tmp_path: Path) -> None:
    warnings = ["-Wall", "-Wextra", "-Werror"]
    flags = ["-std=c11", "-O1", "-g", *warnings, f"-fsanitize={sanitizer}", "-pthread", f"-I{RUNTIME}"]
    built = subprocess.run(
        ["gcc", *flags, "-D_DEFAULT_SOURCE", "-o", tmp_path / "team", TEAM, RUNTIME / "threads.c"],
        capture_output=True, text=True,
    )  # fmt: skip
    assert built.returncode == 0, built.stderr
    ended = sanitised(tmp_path / "team")
    assert (ended.returncode, ended.stderr) == (0, "")
