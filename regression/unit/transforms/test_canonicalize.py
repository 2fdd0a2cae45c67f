"""Canonicalised networks give the outputs they gave before, under the same names, and lose no tensor's name."""

import numpy as np
import onnx
import pytest
from checkout import REGRESSION
from light_models import seeded_light_model

from stepdown.dialects.op import fused_of
from stepdown.dialects.program import Program
from stepdown.formats.onnx.importer import import_model
from stepdown.runtimes.mlir import MlirRunner
from stepdown.transforms.canonicalize import Canonicalize


def _pair(model: onnx.ModelProto) -> tuple[Program, Program]:
    before, after = import_model(model, "network"), import_model(model, "network")
    Canonicalize().run(after)
    return before, after


def _check(before: Program, after: Program) -> None:
    first, second = MlirRunner(before), MlirRunner(after)
    rng = np.random.default_rng(0)
    inputs = {s.name: rng.standard_normal(s.shape).astype(np.float32) for s in first.inputs()}
    wanted, found = first.run(inputs, "all"), second.run(inputs, "all")
    assert before.output_names == after.output_names
    for name, array in found.items():
        assert np.abs(array - wanted[name]).max() <= 1e-4 * np.abs(wanted[name]).max(), name
    assert set(wanted) | _fused(before) == set(found) | _fused(after)


def _fused(program: Program) -> set[str]:
    return {name for op in program.ops for name in fused_of(op)}


def test_mobilenet_v2_is_convolutions_and_additions() -> None:
    before, after = _pair(onnx.load(REGRESSION / "mobilenet_v2.onnx"))
    kinds = [op.name.removeprefix("top.") for op in after.ops if op.name != "top.Weight"]
    assert {kind: kinds.count(kind) for kind in kinds} == {
        "Input": 1, "Conv": 52, "Add": 10, "AveragePool": 1, "Reshape": 1, "MatMul": 1,
    }  # fmt: skip
    _check(before, after)


@pytest.mark.parametrize("name", ["densenet121", "inception_v2", "resnet50", "shufflenet"])
def test_networks_compute_the_same(name: str) -> None:
    _check(*_pair(seeded_light_model(name)))


def test_a_second_run_changes_nothing() -> None:
    _, after = _pair(seeded_light_model("shufflenet"))
    ops = after.ops
    Canonicalize().run(after)
    assert after.ops == ops
