"""Quantised ONNX operators and networks compute as in onnxruntime; networks keep their integers when lowered."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from checkout import REGRESSION
from formats.onnx.quantized_models import FORMATS, TYPES, quantized, samples_of
from onnx import TensorProto, helper, numpy_helper

from stepdown.compare.operators import count_steps, run_by_operator
from stepdown.compare.tensors import Dump
from stepdown.dialects.program import Program
from stepdown.dialects.types import quant_of, storage_of
from stepdown.errors import UnsupportedModel
from stepdown.formats.onnx.importer import import_model
from stepdown.runtimes.mlir import MlirRunner
from stepdown.runtimes.onnx import OnnxRunner
from stepdown.transforms.canonicalize import Canonicalize
from stepdown.transforms.convert_quantized_to_tpu import ConvertQuantizedToTpu
from stepdown.transforms.drop_qdq import DropQdq
from stepdown.transforms.fold_qdq import FoldQdq

MICROSOFT = "com.microsoft"


def model_of(
    nodes: list[onnx.NodeProto], inputs: dict[str, np.ndarray], constants: dict[str, Any], opset: int = 21
) -> onnx.ModelProto:
    """Return a model whose outputs are those of its last node."""
    described = [
        helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape) for n, a in inputs.items()
    ]
    tensors = [
        value if isinstance(value, TensorProto) else numpy_helper.from_array(np.asarray(value), name)
        for name, value in constants.items()
    ]
    outputs = [onnx.ValueInfoProto(name=name) for name in nodes[-1].output]
    graph = helper.make_graph(nodes, "g", described, outputs, tensors)
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid(MICROSOFT, 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    return onnx.shape_inference.infer_shapes(model)


def run_both(model: onnx.ModelProto, inputs: dict[str, np.ndarray], folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return what we and onnxruntime make of the first output."""
    onnx.save(model, folder / "m.onnx")
    theirs = OnnxRunner(folder / "m.onnx").run(inputs)
    ours = MlirRunner(import_model(model, "m")).run(inputs)
    return next(iter(ours.values())), next(iter(theirs.values()))


def lowered(model: onnx.ModelProto) -> Program:
    """Return the integer program of a quantised model."""
    program = import_model(model, "m")
    Canonicalize().run(program)
    FoldQdq().run(program)
    ConvertQuantizedToTpu("tosa").run(program)
    return program


def off_by(program: Program, path: Path, inputs: dict[str, np.ndarray]) -> tuple[int, int, int]:
    """Return how many integers there are, how many differ operator by operator, and by how much at most."""
    runner = OnnxRunner(path)
    reference = Dump("reference", runner.run(inputs, "all"), runner.metadata)
    counts = count_steps(program, run_by_operator(program, inputs, reference), reference).values()
    return sum(c.elements for c in counts), sum(c.off.total() for c in counts), max(c.largest for c in counts)


# --- operators

RNG = np.random.default_rng(3)
BYTES = RNG.integers(0, 256, (1, 4, 6, 6)).astype(np.uint8)
SIGNED = RNG.integers(-128, 128, (1, 4, 6, 6)).astype(np.int8)
S = {name: np.float32(value) for name, value in {"xs": 0.0313, "ys": 0.0477, "zs": 0.0231}.items()}
ZEROS = {"xz": np.uint8(120), "yz": np.uint8(100), "zz": np.uint8(7)}
PAIR = ["x", "xs", "xz", "w", "ys", "yz", "zs", "zz"]
OPERATORS: dict[str, tuple[list[str], dict[str, Any]]] = {
    "QLinearAdd": (PAIR, {}),
    "QLinearMul": (PAIR, {}),
    "QLinearSigmoid": (["x", "xs", "xz", "zs", "zz"], {}),
    "QLinearLeakyRelu": (["x", "xs", "xz", "ys", "yz"], {"alpha": 0.1}),
    "QLinearSoftmax": (["x", "xs", "xz", "zs", "zz"], {"axis": -1, "opset": 13}),
    "QLinearGlobalAveragePool": (["x", "xs", "xz", "ys", "yz"], {"channels_last": 0}),
    "QLinearAveragePool": (["x", "xs", "xz", "ys", "yz"], {"kernel_shape": [3, 2], "pads": [1, 0, 1, 0]}),
    "QLinearConcat": (["zs", "zz", "x", "xs", "xz", "w", "ys", "yz"], {"axis": 1}),
}


@pytest.mark.parametrize("op_type", OPERATORS)
def test_operators_of_onnxruntime(op_type: str, tmp_path: Path) -> None:
    names, attributes = OPERATORS[op_type]
    node = helper.make_node(op_type, names, ["y"], domain=MICROSOFT, **attributes)
    constants = {n: v for n, v in {**S, **ZEROS, "w": BYTES[:, ::-1]}.items() if n in names}
    ours, theirs = run_both(model_of([node], {"x": BYTES}, constants), {"x": BYTES}, tmp_path)
    assert ours.dtype == theirs.dtype == np.uint8
    off = np.abs(ours.astype(int) - theirs.astype(int))
    rounds_alike = op_type != "QLinearSoftmax"  # onnxruntime adds up rounded table entries there
    assert off.max() <= 1 and (off > 0).mean() < (0.02 if rounds_alike else 0.1)


@pytest.mark.parametrize("attributes", [{}, {"transB": 1, "alpha": 0.5}], ids=["plain", "scaled"])
@pytest.mark.parametrize("is_float", [False, True], ids=["u8", "f32"])
def test_qgemm(attributes: dict[str, Any], is_float: bool, tmp_path: Path) -> None:
    a, shape = BYTES.reshape(6, 24), (5, 24) if attributes else (24, 5)
    constants = {
        "s": np.float32(0.02), "z": np.uint8(128), "b": RNG.integers(-128, 128, shape).astype(np.int8),
        "bs": RNG.uniform(0.01, 0.02, 5).astype(np.float32), "bz": np.zeros(5, np.int8),
        "c": RNG.integers(-999, 999, 5).astype(np.int32), "ys": np.float32(0.3), "yz": np.uint8(90),
    }  # fmt: skip
    names = ["a", "s", "z", "b", "bs", "bz", "c", *([] if is_float else ["ys", "yz"])]
    node = helper.make_node("QGemm", names, ["y"], domain=MICROSOFT, **attributes)
    given = {n: v for n, v in constants.items() if n in names}
    ours, theirs = run_both(model_of([node], {"a": a}, given), {"a": a}, tmp_path)
    np.testing.assert_allclose(ours.astype(float), theirs.astype(float), rtol=1e-5, atol=1 if not is_float else 1e-4)


@pytest.mark.parametrize("depth", [16, 1024], ids=["f32", "f64"])
def test_integer_products_are_exact(depth: int, tmp_path: Path) -> None:
    a, b = (RNG.integers(0, 256, shape).astype(np.uint8) for shape in ((3, depth), (depth, 4)))
    node = helper.make_node("MatMulInteger", ["a", "b", "az", "bz"], ["y"])
    constants = {"b": b, "az": np.uint8(3), "bz": np.uint8(200)}
    ours, theirs = run_both(model_of([node], {"a": a}, constants), {"a": a}, tmp_path)
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("zero_points", [False, True])
def test_matmul_n_bits(bits: int, zero_points: bool, tmp_path: Path) -> None:
    rows, depth, block = 8, 64, 32
    blocks = depth // block
    x = RNG.normal(size=(3, depth)).astype(np.float32)
    constants: dict[str, Any] = {
        "b": RNG.integers(0, 256, (rows, blocks, block * bits // 8)).astype(np.uint8),
        "s": RNG.uniform(0.01, 0.02, (rows, blocks)).astype(np.float32),
    }
    if zero_points:
        constants["z"] = RNG.integers(0, 256, (rows, -(-blocks * bits // 8))).astype(np.uint8)
    attributes = {"K": depth, "N": rows, "bits": bits, "block_size": block}
    node = helper.make_node("MatMulNBits", ["x", *constants], ["y"], domain=MICROSOFT, **attributes)
    model = model_of([node], {"x": x}, constants)
    ours, theirs = run_both(model, {"x": x}, tmp_path)
    np.testing.assert_allclose(ours, theirs, rtol=1e-2, atol=2e-2)


@pytest.mark.parametrize("kind", [TensorProto.INT4, TensorProto.UINT4])
def test_weights_of_four_bits_become_float(kind: int, tmp_path: Path) -> None:
    low = 0 if kind == TensorProto.UINT4 else -8
    weight = helper.make_tensor("q", kind, (8, 6), RNG.integers(low, low + 16, 48))
    scale = RNG.uniform(0.1, 0.2, (4, 6)).astype(np.float32)
    nodes = [
        helper.make_node("DequantizeLinear", ["q", "s"], ["w"], axis=0, block_size=2),
        helper.make_node("MatMul", ["x", "w"], ["y"]),
    ]
    x = RNG.normal(size=(3, 8)).astype(np.float32)
    model = model_of(nodes, {"x": x}, {"q": weight, "s": scale})
    ours, theirs = run_both(model, {"x": x}, tmp_path)
    np.testing.assert_allclose(ours, theirs, 1e-5, 1e-5)
    assert [op.name for op in import_model(model, "m").ops if op.name != "top.Weight"][-1] == "top.MatMul"


def test_activations_of_four_bits_are_refused() -> None:
    zero = helper.make_tensor("z", TensorProto.INT4, (), [0])
    node = helper.make_node("QuantizeLinear", ["x", "s", "z"], ["y"])
    model = model_of([node], {"x": np.zeros((2, 3), np.float32)}, {"s": np.float32(1), "z": zero})
    with pytest.raises(UnsupportedModel, match="makes elements of type int4"):
        import_model(model, "m")


# --- whole networks


@pytest.mark.parametrize(
    ("types", "per_channel"), [(t, p) for t in TYPES for p in (True, False) if (t, p) != ("u8u8", True)]
)
@pytest.mark.parametrize("format", FORMATS)
def test_a_network_keeps_its_integers(format: str, types: str, per_channel: bool, tmp_path: Path) -> None:
    path = quantized(onnx.load(REGRESSION / "model" / "mnist_cnn.onnx"), tmp_path, format, types, per_channel)
    model = onnx.load(path)
    program, inputs = lowered(model), samples_of(model)[0]
    assert [op.name for op in program.ops if op.kind == "mac"] == ["tpu.Conv"] * 3 + ["tpu.MatMul"] * 2
    assert all(quant_of(op.operands[1]) and quant_of(op.results[0]) for op in program.ops if op.kind == "mac")
    elements, off, largest = off_by(program, path, inputs)
    assert elements > 56_000 and largest <= 1 and off < 20
    assert program["profile"] == "tosa" and program["state"] == "TPU_LOWERED"


def test_weights_with_a_zero_point_a_channel_stay_float(tmp_path: Path) -> None:
    path = quantized(onnx.load(REGRESSION / "model" / "mnist_cnn.onnx"), tmp_path, "qoperator", "u8u8", True)
    model = onnx.load(path)
    program = lowered(model)
    assert {storage_of(op.operands[1]) for op in program.ops if op.name == "tpu.MatMul"} == {"f32"}
    assert off_by(program, path, samples_of(model)[0])[2] <= 1


@pytest.mark.parametrize("format", FORMATS)
def test_mobilenet_is_off_by_one_step_at_most(format: str, tmp_path: Path) -> None:
    path = quantized(onnx.load(REGRESSION / "mobilenet_v2.onnx"), tmp_path, format, "u8s8")
    model = onnx.load(path)
    elements, off, largest = off_by(lowered(model), path, samples_of(model)[0])
    assert elements > 13_000_000 and largest == 1 and off < 100


def test_floats_between_quantised_operators_stay_floats(tmp_path: Path) -> None:
    x = RNG.normal(size=(1, 4, 6, 6)).astype(np.float32)
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "xs", "xz"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "xs", "xz"], ["r"]),
        helper.make_node("Softmax", ["r"], ["s"], axis=1),
        helper.make_node("QuantizeLinear", ["s", "ys", "yz"], ["t"]),
        helper.make_node("DequantizeLinear", ["t", "ys", "yz"], ["u"]),
        helper.make_node("Sigmoid", ["u"], ["v"]),
        helper.make_node("QuantizeLinear", ["v", "zs", "zz"], ["w"]),
        helper.make_node("DequantizeLinear", ["w", "zs", "zz"], ["y"]),
    ]
    model = model_of(nodes, {"x": x}, {**S, **ZEROS})
    onnx.save(model, tmp_path / "m.onnx")
    program = lowered(model)
    made = [op.name for op in program.ops if not op.name.endswith((".Weight", ".None"))]
    assert made == ["tpu.Input", "tpu.Convert", "tpu.Convert", "tpu.Softmax", "tpu.Convert", "tpu.Lut", "tpu.Convert"]
    assert off_by(program, tmp_path / "m.onnx", {"x": x})[2] <= 1


def integers_in_and_out() -> tuple[onnx.ModelProto, dict[str, np.ndarray]]:
    """Return a network from int8 to int8, with a transposed weight and a bias that is none."""
    rng, node = np.random.default_rng(0), helper.make_node
    nodes = [
        node("DequantizeLinear", ["x", "xs", "xz"], ["xr"]),
        node("DequantizeLinear", ["w", "ws", "wz"], ["wr"], axis=0),
        node("Conv", ["xr", "wr"], ["c"], pads=[1, 1, 1, 1]),
        node("Relu", ["c"], ["r"]),
        node("QuantizeLinear", ["r", "ys", "yz"], ["q"]),
        node("DequantizeLinear", ["q", "ys", "yz"], ["qr"]),
        node("Reshape", ["qr", "shape"], ["f"]),
        node("QuantizeLinear", ["f", "ys", "yz"], ["fq"]),
        node("DequantizeLinear", ["fq", "ys", "yz"], ["fr"]),
        node("DequantizeLinear", ["v", "vs", "vz"], ["vr"]),
        node("Transpose", ["vr"], ["vt"], perm=[1, 0]),
        node("MatMul", ["fr", "vt"], ["m"]),
        node("QuantizeLinear", ["m", "os", "oz"], ["y"]),
    ]
    constants = {
        "xs": np.float32(0.02), "xz": np.int8(3), "ys": np.float32(0.2), "yz": np.int8(-128), "shape": [1, 4, 64],
        "w": rng.integers(-127, 128, (4, 3, 3, 3)).astype(np.int8), "wz": np.zeros(4, np.int8),
        "ws": rng.uniform(0.01, 0.02, 4).astype(np.float32), "v": rng.integers(-127, 128, (5, 64)).astype(np.int8),
        "vs": np.float32(0.01), "vz": np.int8(0), "os": np.float32(1), "oz": np.int8(5),
    }  # fmt: skip
    inputs = {"x": rng.integers(-128, 128, (1, 3, 8, 8)).astype(np.int8)}
    return model_of(nodes, inputs, constants), inputs


def test_a_network_from_integers_to_integers(tmp_path: Path) -> None:
    model, inputs = integers_in_and_out()
    onnx.save(model, tmp_path / "m.onnx")
    program = lowered(model)
    made = [op.name for op in program.ops if not op.name.endswith((".Weight", ".None"))]
    assert made == ["tpu.Input", "tpu.Conv", "tpu.Reshape", "tpu.MatMul", "tpu.Convert"]
    assert off_by(program, tmp_path / "m.onnx", inputs)[2] <= 1
    dropped = import_model(model, "m")
    DropQdq().run(dropped)
    (ours,), (exact,) = MlirRunner(dropped).run(inputs).values(), MlirRunner(program).run(inputs).values()
    assert ours.dtype == np.float32
    assert np.abs(ours - exact).max() < 2 < ours.std()  # a step is 1


def test_requantize_gives_the_float_network_behind_it(tmp_path: Path) -> None:
    source = onnx.load(REGRESSION / "model" / "mnist_cnn.onnx")
    inputs = samples_of(source)[0]
    for format in FORMATS:
        program = import_model(onnx.load(quantized(source, tmp_path, format, "s8s8")), "m")
        DropQdq().run(program)
        Canonicalize().run(program)
        assert not any("uantize" in op.name for op in program.ops)
        (ours,) = MlirRunner(program).run(inputs).values()
        (theirs,) = MlirRunner(import_model(source, "m")).run(inputs).values()
        assert np.corrcoef(ours.ravel(), theirs.ravel())[0, 1] > 0.999
