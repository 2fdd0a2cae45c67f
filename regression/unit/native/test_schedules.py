"""Schedules: whichever is taken, tensors have the same bytes; what is kept of a search, and who reads it."""

import tomllib
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from native import test_minimal as minimal
from native.compiled import differing, machines
from native.test_networks import lowered
from native.test_windows import PLANE, Window, network
from npu.test_networks import inputs
from targets import lowering

from stepdown.chips import load_chip
from stepdown.dialects.program import Program
from stepdown.errors import InputError, ResourceError
from stepdown.native import schedules, tuning
from stepdown.native.code import Code
from stepdown.native.dots import dot_of
from stepdown.native.kernels.band import Band
from stepdown.native.kernels.base import Choice, Kernel
from stepdown.native.kernels.conv import Mac
from stepdown.native.kernels.image import Image
from stepdown.native.kernels.mac import MacCode
from stepdown.native.kernels.tile_sizes import WITHOUT
from stepdown.native.machine import Machine, machine_of
from stepdown.native.passes.codegen import Codegen
from stepdown.native.schedules import Cache, Schedule, shipped

MACHINES = machines()
MACHINE = list(MACHINES.values())[-1]
SMALL = [Window(20, [3, 3], [1, 1], [1, 1, 1, 1], [1, 1])]


@pytest.fixture
def small() -> Program:
    return lowered(network(SMALL, [5, 6], batch=1), "INT8")


def choices(program: Program, machine: Machine) -> list[Choice]:
    """Return the choices that a network offers, one a workload."""
    calls = Code(program, machine, "net").network.calls
    made = [call.kernel.choice() for call in calls if isinstance(call.kernel, Kernel)]
    return list({choice.workload: choice for choice in made if choice}.values())


@pytest.mark.parametrize("machine", MACHINES)
def test_any_schedule_makes_the_same_bytes(machine, tmp_path: Path) -> None:
    program, rng = lowered(network([*PLANE[1:7], PLANE[-1]], [9, 10]), "INT8"), np.random.default_rng(8)
    found = choices(program, MACHINES[machine])
    assert len(found) == 7
    assert all(schedule != c.taken for c in found for schedule in c.others)
    taken = {c.workload: c.others[rng.integers(len(c.others))] for c in found}
    assert differing(program, inputs(program), replace(MACHINES[machine], schedules=taken), tmp_path) == {}


def test_any_size_of_tiles_makes_the_same_bytes(tmp_path: Path) -> None:
    program = lowered(minimal.network([(16, 48)], (8, 12), [1] * 4), "INT8")
    (choice,) = choices(program, MACHINES["x86-64-v3"])
    assert {"results": WITHOUT} in choice.others
    assert len(choice.others) == 2
    for schedule in choice.others:
        chosen = replace(MACHINES["x86-64-v3"], schedules={choice.workload: schedule})
        (folder := tmp_path / str(schedule["results"])).mkdir()
        assert bool(minimal.forms(program, chosen)) == (schedule["results"] != WITHOUT)
        assert differing(program, inputs(program), chosen, folder) == {}


def test_sizes_of_tiles_of_reals() -> None:
    program = minimal.network([(64, 64)], (16, 16), [1] * 4)
    lowering("F32", "x86_64").run(program)
    (choice,) = choices(program, MACHINE)
    for schedule in choice.others:
        code = Code(program, replace(MACHINE, schedules={choice.workload: schedule}), "net")
        (kernel,) = [call.kernel for call in code.network.calls if isinstance(call.kernel, Mac)]
        taken = kernel.choice()
        assert taken and (taken.taken == schedule or (schedule == {"results": WITHOUT} and "rows" in taken.taken))


@pytest.mark.parametrize("processor", tomllib.loads(schedules._TABLE.read_text()))
def test_every_row_of_the_table_is_a_choice_of_its_kernel(processor: str) -> None:
    machine, rows = machine_of(load_chip("x86_64"), processor), shipped(processor)
    for workload, schedule in rows.items():  # type: ignore[attr-defined]
        kind, dot, _, *numbers, _, limit = workload.split()
        sizes = [tuple(map(int, n.split("x"))) if "x" in n else int(n) for n in numbers]
        assert (kind, dot, limit) == ("sums", "Pairs", str(machine.scratch_bytes)), "kernels of other kinds: build them"
        image, known = Image(*sizes), dot_of(machine)
        band = Band(image, known.operand, lambda x: x, 0, 4 * known.lanes)
        code = MacCode(image, known, band, machine)
        assert code.workload == workload
        assert asdict(code.block) == schedule
        by_rule = MacCode(image, known, band, replace(machine, schedules={})).choice
        assert schedule in (by_rule.taken, *by_rule.others)


@pytest.mark.parametrize(
    "schedule", [{"rows": 1}, {"results": 4}, {"rows": 9999, "columns": 9999, "positions": 999, "vectors": 4}]
)
def test_what_is_no_choice_is_not_taken(schedule, small) -> None:
    program = lowered(network([*SMALL, Window(12, [3, 3], [1, 1], [1, 1, 1, 1], [1, 1], group=12)], [5, 6]), "INT8")
    for choice in choices(program, MACHINE):
        known = replace(MACHINE, schedules={choice.workload: schedule})
        assert choice in choices(program, known)
    larger = {name: 64 * n for name, n in choice.taken.items()}
    assert choice in choices(program, replace(MACHINE, schedules={choice.workload: larger}))


def test_workloads_of_reals_say_of_which_kind() -> None:
    names = []
    for mode in ("F32", "F16", "BF16"):
        program = minimal.network([(64, 64)], (16, 16), [1] * 4)
        lowering(mode, "x86_64").run(program)
        names += [choices(program, each)[0].workload for each in (MACHINE, replace(MACHINE, scratch_bytes=1 << 17))]
    assert len(set(names)) == 6


# --- the cache


def test_what_is_kept_is_found_for_the_same_processor_alone(tmp_path: Path) -> None:
    Cache(MACHINE, tmp_path).keep("work", {"rows": 3}, {})
    assert Cache(MACHINE, tmp_path).get("work") == {"rows": 3}
    assert Cache(MACHINE, tmp_path).get("other work") is None
    assert Cache(replace(MACHINE, processor="x86-64"), tmp_path).get("work") is None
    assert Cache(replace(MACHINE, schedules={"other work": {"rows": 1}}), tmp_path).get("other work") == {"rows": 1}


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"workload": "work"}', '{"workload": "work", "schedule": {"rows": 0}}']
)
def test_a_file_that_is_no_schedule_is_left_out(text, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cache = Cache(MACHINE, tmp_path)
    cache.keep("work", {"rows": 3}, {})
    (file,) = tmp_path.iterdir()
    file.write_text(text)
    assert cache.get("work") is None
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert f"{file}: is left out" in told


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="schedules cannot be kept"):
        Cache(MACHINE, tmp_path / "file" / "below").keep("work", {"rows": 3}, {})


# --- the search


class Times:
    """Seconds in place of measured ones: a schedule is as fast as a rule says; "before" is what a call takes first."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, after: dict[str, float]) -> None:
        if MACHINE.is_c:
            pytest.skip("C source is not tuned, and this processor runs nothing else")
        self._after = after
        monkeypatch.setattr(tuning, "timed_library", lambda code, folder: folder)
        monkeypatch.setattr(tuning, "call_seconds", self.seconds)

    def seconds(self, folders: list[Path], calls: list[int], rounds: int, limit_s: float) -> list[list[float]]:
        after = self._after.get(folders[-1].name, 1.0)
        if after < 0:
            raise ResourceError("timed code ended with -4")
        if len(folders) == 1:
            return [[1.0] * calls[0]]
        return [[1.0] * calls[0], [after] * calls[1]]


def kept(program: Program, cache: Cache) -> tuple[Choice, Schedule | None]:
    (choice,) = choices(program, MACHINE)
    return choice, cache.found(choice.workload)


def test_the_fastest_is_kept(small, tmp_path, monkeypatch) -> None:
    Times(monkeypatch, {"trial0": 0.9, "trial1": 0.5, "trial2": 0.7, "chosen": 0.6})
    tuning.tune(small, MACHINE, 3, cache := Cache(MACHINE, tmp_path))
    choice, found = kept(small, cache)
    assert found == choice.others[1]


def test_one_that_is_no_faster_once_more_is_not(small, tmp_path, monkeypatch) -> None:
    Times(monkeypatch, {"trial0": 0.5, "chosen": 0.99})
    tuning.tune(small, MACHINE, 3, cache := Cache(MACHINE, tmp_path))
    choice, found = kept(small, cache)
    assert found == choice.taken


def test_a_trial_that_fails_is_left_out(small, tmp_path, monkeypatch, capsys) -> None:
    Times(monkeypatch, {"trial0": -1, "trial1": 0.8, "chosen": 0.8})
    tuning.tune(small, MACHINE, 2, cache := Cache(MACHINE, tmp_path))
    choice, found = kept(small, cache)
    assert found == choice.others[1]
    assert "a trial is left out: " in capsys.readouterr().err


def test_what_is_not_timed_is_not_kept(small, tmp_path, monkeypatch) -> None:
    Times(monkeypatch, {"trial0": -1, "trial1": -1})
    tuning.tune(small, MACHINE, 2, cache := Cache(MACHINE, tmp_path))
    assert kept(small, cache)[1] is None
    Times(monkeypatch, {"trial0": 0.5, "chosen": -1})
    tuning.tune(small, MACHINE, 2, cache)
    assert kept(small, cache)[1] is None


def test_code_that_does_not_run_here_is_an_error(small, tmp_path, monkeypatch) -> None:
    Times(monkeypatch, {"base": -1})
    with pytest.raises(InputError, match=f"code for {MACHINE.processor} does not run on this computer"):
        tuning.tune(small, MACHINE, 2, cache := Cache(MACHINE, tmp_path))
    assert kept(small, cache)[1] is None


def test_what_is_known_is_not_searched_again(small, tmp_path, monkeypatch, capsys) -> None:
    Times(monkeypatch, {})
    cache = Cache(MACHINE, tmp_path)
    tuning.tune(small, MACHINE, 1, cache)
    capsys.readouterr()
    tuning.tune(small, MACHINE, 1, cache)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("chip", ["riscv64", "c", "cortex_m7"])
def test_code_for_other_processors_is_not_timed(chip, small, tmp_path) -> None:
    machine = machine_of(load_chip(chip))
    with pytest.raises(InputError, match="times code on this computer"):
        tuning.tune(small, machine, 1, Cache(machine, tmp_path))


# --- the pass


def generated(program: Program, path: Path, **options: int) -> bytes:
    Codegen(model_file=str(path), **options).run(program)  # type: ignore[arg-type]
    return path.read_bytes()


def test_only_level_4_reads_what_was_found_here(small, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    before = generated(small, tmp_path / "net.so")
    machine = machine_of(load_chip("x86_64"))
    (choice,) = choices(small, machine)
    Cache(machine).keep(choice.workload, choice.others[-1], {})
    assert generated(small, tmp_path / "net.so") == before
    assert generated(small, tmp_path / "net.so", level=4) != before


def test_a_search_of_the_pass(small, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    generated(small, tmp_path / "net.so", tune=1)
    assert len(list((tmp_path / "stepdown" / "native").iterdir())) == 1
    assert "tune: 1 workloads, trial 1 of 1" in capsys.readouterr().err


def test_what_is_for_cpus_is_refused_for_an_npu(small, tmp_path) -> None:
    made = Codegen(str(tmp_path / "net.bmodel"), "bm1684x", processor="znver3", level=2, tune=1)
    with pytest.raises(InputError, match="processor=…, level=…, tune=…: for CPUs only, and chip bm1684x is an NPU"):
        made.run(small)


@pytest.mark.parametrize(("tune", "level"), [(-1, 3), (1, 2)])
def test_searches_that_make_no_sense(tune, level, small, tmp_path) -> None:
    with pytest.raises(InputError, match=f"tune={tune} does not go with level={level}"):
        generated(small, tmp_path / "net.so", tune=tune, level=level)
