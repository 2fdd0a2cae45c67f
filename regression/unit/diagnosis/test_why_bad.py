"""The op that was broken on purpose is named, with its cause, and its remedy brings the accuracy back."""

import json

import numpy as np
import pytest
from broken import CHIP, DEFECTS, FAULTS, Network, bias_dropped, multiplier_wrong, threshold_cut
from checkout import ROOT, run

from stepdown.calibration.table import read_table
from stepdown.diagnosis.relower import Recipe, lower, measure, outputs_of, recipe_of, worst
from stepdown.diagnosis.remedies import find_remedies
from stepdown.diagnosis.why_bad import Diagnosis, diagnose
from stepdown.dialects.program import Program, State
from stepdown.dialects.text import print_module
from stepdown.dialects.top import TOP_OPS
from stepdown.dialects.types import tensor
from stepdown.transforms.import_calibration_table import Row

pytestmark = pytest.mark.xdist_group("diagnosis")

every_defect = pytest.mark.parametrize("defect", list(DEFECTS))


@every_defect
@pytest.mark.parametrize("place", [0, 4, 8])
def test_it_names_the_broken_op(resnet8: Network, defect: str, place: int) -> None:
    _check(resnet8, defect, place)


@pytest.mark.parametrize("fault", list(FAULTS))
@pytest.mark.parametrize("place", [2, 5])
def test_it_names_what_lowering_got_wrong(resnet8: Network, fault: str, place: int) -> None:
    break_it, cause = FAULTS[fault]
    name, target = break_it(resnet8, place)
    found = diagnose(target, resnet8.reference, resnet8.samples, 3)
    assert (found.rows[0].unit.name, found.rows[0].cause) == (name, cause)


@pytest.mark.parametrize("asymmetric", [False, True])
def test_a_wrong_table_is_named(asymmetric: bool) -> None:
    top = Program.empty("net", {"x": tensor((1, 3, 8, 8))}, "onnx")
    x = top.add(TOP_OPS["Input"].build("x", [top.block.args[0]]))
    y = top.add(TOP_OPS["Sigmoid"].build("y", [x]))
    top.finish([top.add(TOP_OPS["Sigmoid"].build("z", [y]))])
    top["state"] = State.TOP_F32
    rows = {"x": Row(4.0, -4.0, 4.0), "y": Row(1.0, 0.0, 1.0), "z": Row(1.0, 0.4, 0.8)}
    samples = [{"x": np.linspace(-4, 4, 192, dtype=np.float32).reshape(1, 3, 8, 8)}]
    target = lower(top, Recipe("INT8", CHIP, asymmetric, rows))
    assert not [row.wrong for row in diagnose(target, top, samples).rows if row.wrong]
    key = next(key for key in target.weights if key.startswith("y"))
    target.weights[key] = np.roll(target.weights[key], 8)
    worst_row = diagnose(target, top, samples).rows[0]
    assert (worst_row.unit.name, worst_row.cause) == ("y", "table")
    assert "its table is not what its types say" in worst_row.wrong


def test_nothing_is_blamed_where_nothing_is_broken(resnet8: Network, whole: Diagnosis) -> None:
    asymmetric = lower(resnet8.reference, resnet8.recipe(asymmetric=True))
    for found in (whole, diagnose(asymmetric, resnet8.reference, resnet8.samples, 1)):
        assert not [row.wrong for row in found.rows if row.wrong]


def test_a_wrong_multiplier_is_mended_by_lowering_again(resnet8: Network) -> None:
    _, target = multiplier_wrong(resnet8, 3)
    remedies = find_remedies(diagnose(target, resnet8.reference, resnet8.samples, 1), resnet8.samples, 1)
    assert "lower again" in remedies.each[0].text and not remedies.each[0].modes


@pytest.mark.slow
@every_defect
@pytest.mark.parametrize("place", [2, 33])
def test_it_names_the_broken_op_of_mobilenet(mobilenet: Network, defect: str, place: int) -> None:
    _check(mobilenet, defect, place)


def _check(network: Network, defect: str, place: int) -> None:
    break_it, cause = DEFECTS[defect]
    name, target = break_it(network, place)
    found = diagnose(target, network.reference, network.samples, 3)
    assert (found.rows[0].unit.name, found.rows[0].cause) == (name, cause)


@pytest.fixture(scope="module")
def whole(resnet8: Network) -> Diagnosis:
    return diagnose(lower(resnet8.reference, resnet8.recipe()), resnet8.reference, resnet8.samples)


def test_errors_of_ops_add_up_to_those_of_the_network(whole: Diagnosis) -> None:
    measured = worst(whole.outputs).share
    assert 0.3 < sum(row.effect for row in whole.rows) / measured < 3


def test_moves_add_nothing(whole: Diagnosis) -> None:
    moves = [row for row in whole.rows if row.unit.source.kind == "move"]
    assert moves and not any(row.own.error for row in moves)


def test_a_float_lowering_has_no_error(resnet8: Network) -> None:
    found = diagnose(lower(resnet8.reference, resnet8.recipe("F32")), resnet8.reference, resnet8.samples)
    assert max(row.effect for row in found.rows) == 0


def test_a_recipe_that_is_read_from_a_module_makes_it_again(resnet8: Network, whole: Diagnosis) -> None:
    for asymmetric in (False, True):
        target = lower(resnet8.reference, resnet8.recipe(asymmetric=asymmetric))
        found = whole if not asymmetric else diagnose(target, resnet8.reference, resnet8.samples, 1)
        again = lower(resnet8.reference, recipe_of(found.units, found.ranges))
        kinds = [[str(v.type) for op in p.ops for v in op.results] for p in (target, again)]
        assert len(kinds[0]) == len(kinds[1]) and print_module(again.module)
        wanted = [outputs_of(target, sample) for sample in resnet8.samples]
        assert worst(measure(again, resnet8.samples, wanted)).share < 1e-3


def test_a_wider_range_is_proposed_for_clipping_and_helps(resnet8: Network) -> None:
    name, target = threshold_cut(resnet8, 4)
    found = diagnose(target, resnet8.reference, resnet8.samples, 1)
    remedies = find_remedies(found, resnet8.samples, 1)
    assert list(remedies.each[0].rows) == [name]
    assert worst(remedies.each[0].after).sqnr_db > worst(remedies.again).sqnr_db + 3


def test_a_bias_that_is_lost_is_told_apart_from_one_that_is_rounded(resnet8: Network) -> None:
    _, target = bias_dropped(resnet8, 4)
    found = diagnose(target, resnet8.reference, resnet8.samples, 1)
    remedies = find_remedies(found, resnet8.samples, 1)
    assert "bias is not the reference's" in remedies.each[0].text
    assert worst(remedies.again).sqnr_db > worst(found.outputs).sqnr_db + 3


def test_the_tool_writes_tables_that_tpuc_opt_takes(resnet8: Network, tmp_path) -> None:  # type: ignore[no-untyped-def]
    _, target = threshold_cut(resnet8, 2)
    target.write(tmp_path / "bad.mlir")
    sample = tmp_path / "in.npz"
    np.savez(sample, **resnet8.samples[0])
    words = ["bad.mlir", "--reference", resnet8.path, "--input", sample, "--table", "table", "--qtable", "qtable"]
    ended = run(ROOT / "tools" / "why_bad.py", *words, "--json", cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    said = json.loads(ended.stdout)
    assert said["ops"][0]["cause"] == "clipping"
    assert set(read_table(tmp_path / "table")) == set(resnet8.rows)
    asked = [f"--import-calibration-table=file={tmp_path}/table asymmetric=false"]
    asked += [f"--convert-top-to-tpu=mode=INT8 chip={CHIP} qtable={tmp_path}/qtable"]
    ended = run(ROOT / "tools" / "tpuc-opt", resnet8.path, *asked, "-o", tmp_path / "fixed.mlir")
    assert ended.returncode == 0, ended.stderr
