"""Sensitivities are what runs give, and chosen modes keep the bound when they are run."""

import numpy as np
import pytest
from broken import CHIP, Network
from checkout import REGRESSION, ROOT, run

from stepdown.diagnosis.mixed import Goal, Search
from stepdown.diagnosis.relower import lower, measure, outputs_of, worst
from stepdown.diagnosis.sensitivity import Sensitivities, float_alone, measure_modes
from stepdown.dialects.types import quant_of
from stepdown.errors import InputError
from stepdown.runtimes.perturbed import Perturbed

pytestmark = pytest.mark.xdist_group("diagnosis")


@pytest.fixture(scope="module")
def found(resnet8: Network) -> Sensitivities:
    return measure_modes(resnet8.reference, resnet8.recipe(), ["INT8", "F16", "F32"], resnet8.samples)


def test_16_bits_are_finer_than_8(found: Sensitivities) -> None:
    macs = [op for op in found.ops.values() if op.op == "top.Conv"]
    assert len(macs) == 9
    assert all(op.own["F16"].share < op.own["INT8"].share / 100 for op in macs)
    assert sum(op.outputs["F16"][0].share for op in macs) < sum(op.outputs["INT8"][0].share for op in macs) / 100


def test_an_op_alone_in_float_is_what_lowering_it_so_gives(resnet8: Network) -> None:
    alone, whole = float_alone(resnet8.reference, resnet8.recipe(), resnet8.samples)
    wanted = [outputs_of(resnet8.reference, sample) for sample in resnet8.samples]
    for name in list(alone)[3:9:2]:
        mixed = lower(resnet8.reference, resnet8.recipe().changed({}, {name: "F32"}))
        assert worst(measure(mixed, resnet8.samples, wanted)).share == pytest.approx(alone[name][0].share, rel=1e-6)
    plain = measure(lower(resnet8.reference, resnet8.recipe()), resnet8.samples, wanted)
    assert worst(plain).share == pytest.approx(whole[0].share, rel=1e-6)


def test_both_engines_of_perturbed_runs_agree(resnet8: Network) -> None:
    from stepdown.diagnosis.reference import run_values

    values = run_values(resnet8.reference, resnet8.samples[0])
    fast, exact = Perturbed(resnet8.reference), Perturbed(resnet8.reference, "reference")
    assert (fast.engine, exact.engine) == ("ort", "reference")
    op = [op for op in resnet8.reference.ops if op.name == "top.Conv"][4]
    added = np.random.default_rng(0).normal(0, 0.1, values[op.results[0]].shape).astype(np.float32)
    for a, b in zip(
        fast.outputs(values, op.results[0], added), exact.outputs(values, op.results[0], added), strict=True
    ):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("goal", [Goal(sqnr_db=36.0), Goal(cosine=0.9995), Goal(cost=1.3)], ids=str)
def test_the_choice_keeps_the_bound_when_it_is_run(resnet8: Network, found: Sensitivities, goal: Goal) -> None:
    search = Search(resnet8.reference, resnet8.recipe(), found, resnet8.samples, goal)
    plain, best = search.point(search.assignment.uniform("INT8"), run=True), search.best()
    assert goal.met(list(best.measured.values()))
    assert goal.cost is None or best.cost <= goal.cost * 1.0001
    assert worst(best.measured).share <= worst(plain.measured).share
    modes = search.mixed(best.choice).modes
    again = lower(resnet8.reference, resnet8.recipe().changed({}, modes))
    kept = {op.tensor_name for op in again.ops if quant_of(op.results[0]) is None and op.name == "tpu.Conv"}
    assert kept == {name for name in modes if found.ops[name].op == "top.Conv"} or kept


def test_layers_below_the_least_cosine_are_not_in_8_bits(resnet8: Network, found: Sensitivities) -> None:
    worst_op = min((op for op in found.ops.values() if op.op == "top.Conv"), key=lambda op: op.own["INT8"].cosine)
    least = worst_op.own["INT8"].cosine + 1e-9
    search = Search(resnet8.reference, resnet8.recipe(), found, resnet8.samples, Goal(cosine=0.5), least)
    assert search.best().choice.modes[worst_op.name] != "INT8"


def test_a_bound_that_nothing_keeps_is_told(resnet8: Network, found: Sensitivities) -> None:
    with pytest.raises(InputError, match="no choice costs at most"):
        Search(resnet8.reference, resnet8.recipe(), found, resnet8.samples, Goal(cost=0.01)).best()


def test_modes_that_were_not_asked_for_are_not_chosen(resnet8: Network) -> None:
    modes = ["INT8", "F16"]
    found = measure_modes(resnet8.reference, resnet8.recipe(), modes, resnet8.samples)
    network = (resnet8.reference, resnet8.recipe(), found, resnet8.samples)
    with pytest.raises(InputError, match="no choice of modes keeps the bound"):
        Search(*network, Goal(sqnr_db=150), allowed=modes).best()
    search = Search(*network, Goal(sqnr_db=25), allowed=modes)
    chosen = search.mixed(search.best().choice).modes
    assert {name for name, mode in chosen.items() if mode == "F32"} <= {resnet8.reference.results[0].owner.tensor_name}


def test_a_table_of_another_network_is_named(resnet8: Network, tmp_path) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "table").write_text("other 1 -1 1\n")
    words = [resnet8.path, "--dataset", ROOT / "regression" / "image", "--calibration_table", "table", "--chip", CHIP]
    for tool in ("run_qtable.py", "run_sensitive_layer.py"):
        ended = run(ROOT / "tools" / tool, *words, "-o", "out", cwd=tmp_path)
        assert ended.returncode == 2 and f"{tool}: error: table: has no line for" in ended.stderr


def test_the_tool_writes_the_same_bytes_twice(resnet8: Network, tmp_path) -> None:  # type: ignore[no-untyped-def]
    words = [resnet8.path, "--dataset", REGRESSION / "image", "--input_num", "1", "--calibration_table", resnet8.table]
    words += ["--chip", CHIP, "--expected_sqnr", "30", "--pareto", "p.png", "--pareto", "p.csv", "--pareto", "p.html"]
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        ended = run(ROOT / "tools" / "run_qtable.py", *words, "-o", "qtable", cwd=tmp_path / name)
        assert ended.returncode == 0, ended.stderr
    for file in ("qtable", "p.png", "p.csv", "p.html"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
    deploy = ["--mlir", resnet8.path, "--quantize", "INT8", "--chip", CHIP, "--calibration_table", resnet8.table]
    deploy += ["--quantize_table", tmp_path / "a" / "qtable", "-o", tmp_path / "mixed.mlir"]
    assert run(ROOT / "tools" / "model_deploy.py", *deploy).returncode == 0
