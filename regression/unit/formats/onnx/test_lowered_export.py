"""A lowered module written as ONNX: onnxruntime computes each operator as we do, in any operator set; it comes back."""

from functools import cache
from pathlib import Path

import numpy as np
import onnx
import pytest
from checkout import REGRESSION
from formats.onnx.quantized_models import samples_of
from light_models import seeded_light_model
from onnx import helper, numpy_helper
from targets import lowering, targets
from transforms.test_lowering import calibrate

from stepdown.chips import load_chip
from stepdown.compare.metrics import similarity
from stepdown.compare.operators import Steps, count_steps, run_by_operator
from stepdown.compare.tensors import Dump
from stepdown.dialects.program import Program
from stepdown.errors import InputError, UnsupportedModel
from stepdown.formats.onnx.exporter import export_program
from stepdown.formats.onnx.importer import import_model
from stepdown.runtimes.mlir import MlirRunner
from stepdown.runtimes.onnx import OnnxRunner
from stepdown.transforms.canonicalize import Canonicalize
from stepdown.transforms.convert_quantized_to_tpu import ConvertQuantizedToTpu
from stepdown.transforms.fold_qdq import FoldQdq

NETWORKS = ("mnist", "mobilenet_v2", "squeezenet", "shufflenet")
Inputs = dict[str, np.ndarray]


def activations() -> onnx.ModelProto:
    """Return a network of functions, which INT8 looks up in tables."""
    rng = np.random.default_rng(0)
    chain = ["HardSwish", "Tanh", "Sigmoid", "Elu", "LeakyRelu"]
    nodes = [helper.make_node("Conv", ["x", "w"], ["t0"], pads=[1, 1, 1, 1])]
    nodes += [helper.make_node(op, [f"t{i}"], [f"t{i + 1}"]) for i, op in enumerate(chain)]
    nodes.append(helper.make_node("Add", ["t1", "t5"], ["y"]))
    described = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes, "functions", [described("x", 1, [1, 3, 8, 8])], [described("y", 1, [1, 4, 8, 8])],
        [numpy_helper.from_array(rng.normal(0, 0.4, (4, 3, 3, 3)).astype(np.float32), "w")],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def source_of(name: str) -> onnx.ModelProto:
    paths = {"mnist": REGRESSION / "model" / "mnist_cnn.onnx", "mobilenet_v2": REGRESSION / "mobilenet_v2.onnx"}
    if name == "functions":
        return activations()
    return onnx.load(paths[name]) if name in paths else seeded_light_model(name)


def canonical(name: str) -> Program:
    """Return a network as it is before it is lowered."""
    program = import_model(source_of(name), name)
    Canonicalize().run(program)
    return program


@cache
def sampled(name: str) -> tuple[Inputs, Inputs]:
    """Return an input, and the values of all tensors for it."""
    inputs = samples_of(source_of(name))[0]
    return inputs, MlirRunner(canonical(name)).run(inputs, "all")


def lowered(name: str, mode: str, chip: str = "bm1684x") -> tuple[Program, Inputs]:
    """Return a network lowered to `F16`, `INT8`, `INT8 asymmetric`, …, and an input."""
    program, (inputs, values) = canonical(name), sampled(name)
    calibrate(program, values)
    lowering(mode, chip).run(program)
    return program, inputs


def run_exported(program: Program, inputs: Inputs, path: Path, opset: int = 21) -> Dump:
    """Write the module and run it in onnxruntime."""
    model = export_program(program, opset)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)
    runner = OnnxRunner(path)
    return Dump("onnxruntime", runner.run(inputs, "all"), runner.metadata)


@pytest.mark.parametrize(("mode", "chip"), targets(["INT8", "INT8 asymmetric"]))
@pytest.mark.parametrize("name", [*NETWORKS, "functions"])
def test_integers_are_off_by_one_step_at_most(name: str, mode: str, chip: str, tmp_path: Path) -> None:
    program, inputs = lowered(name, mode, chip)
    reference = run_exported(program, inputs, tmp_path / "x.onnx")
    made = {n for op in program.ops if not op.name.endswith((".Weight", ".None")) for n in op.names}
    assert made - {op.tensor_name for op in program.input_ops} == set(reference.tensors)
    counts = count_steps(program, run_by_operator(program, inputs, reference), reference)
    assert sum(c.operators for c in counts.values()) > 5
    assert max(c.largest for c in counts.values()) <= 1
    if load_chip(chip).profile == "float_scale":  # it rounds the sides of a sum to 8 bits; onnxruntime adds floats
        sums = counts.pop("tpu.Add", Steps())
        assert sums.off.total() <= 0.2 * sums.elements
    assert sum(c.off.total() for c in counts.values()) < 1e-4 * sum(c.elements for c in counts.values())


@pytest.mark.parametrize("mode", ["INT8", "INT8 asymmetric"])
@pytest.mark.parametrize("name", ["mnist", "squeezenet", "functions"])
def test_an_exported_network_comes_back_with_the_same_integers(name: str, mode: str, tmp_path: Path) -> None:
    program, inputs = lowered(name, mode)
    back = import_model(export_program(program), name)
    Canonicalize().run(back)
    FoldQdq().run(back)
    ConvertQuantizedToTpu("tosa").run(back)
    ours = MlirRunner(program).run(inputs, "all")
    theirs = MlirRunner(back).run(inputs, "all")
    integers = [n for op in program.ops for n in op.names if n in ours and ours[n].dtype.kind in "iu"]
    for tensor in integers:
        names = (f"{tensor}{end}" for end in ("_QuantizeLinear", "_Gather", "/onnx:stored_QuantizeLinear"))
        again = next(theirs[n] for n in names if n in theirs)
        np.testing.assert_array_equal(ours[tensor], again, tensor)
    assert len(integers) > 5
    results = [theirs[name] for name in back.output_names]
    for output, array in zip(program.output_names, results, strict=True):
        np.testing.assert_array_equal(ours[output], array)


@pytest.mark.parametrize("mode", ["F32", "F16", "BF16"])
def test_floating_formats(mode: str, tmp_path: Path) -> None:
    program, inputs = lowered("squeezenet", mode)
    reference = run_exported(program, inputs, tmp_path / "x.onnx")
    ours = MlirRunner(program).run(inputs)
    for name, array in ours.items():
        found = similarity(array, reference.tensors[name])
        assert found.cosine > 0.9999 and found.euclid > 0.999


def test_operator_sets(tmp_path: Path) -> None:
    program, inputs = lowered("shufflenet", "INT8")
    newest = run_exported(program, inputs, tmp_path / "21.onnx", 21)
    for opset in (10, 11, 13, 18, 26):
        chosen = run_exported(program, inputs, tmp_path / f"{opset}.onnx", opset)
        assert onnx.load(tmp_path / f"{opset}.onnx").opset_import[0].version == opset
        for name in program.output_names:
            np.testing.assert_array_equal(newest.tensors[name], chosen.tensors[name])


def test_what_an_operator_set_cannot_say_is_refused() -> None:
    program, _ = lowered("functions", "F16")
    with pytest.raises(UnsupportedModel, match=r"operator set 13 cannot say: HardSwish \(needs 14\) ×1"):
        export_program(program, 13)
    halves, _ = lowered("mnist", "BF16")
    with pytest.raises(UnsupportedModel, match=r"operator set 12 cannot say it: .*bfloat16"):
        export_program(halves, 12)
    with pytest.raises(InputError, match="--opset: is 9, want 10 to"):
        export_program(halves, 9)
