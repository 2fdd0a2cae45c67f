"""Files made to break a reader, through the real tools: each ends soon, in one line, in little memory."""

import math
import struct
import zipfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from forked_tools import Ended, run_tools
from onnx import TensorProto, helper, numpy_helper

MOST_BYTES = 1 << 30
Node = onnx.NodeProto
node = helper.make_node


def model(
    nodes: Sequence[Node], constants: dict[str, Any] | None = None, outputs: Sequence[str] = ("y",),
    shape: Sequence[Any] = (1, 3, 4, 4),
) -> onnx.ModelProto:  # fmt: skip
    """Return a model with one input `x`."""
    held = [numpy_helper.from_array(np.asarray(array), name) for name, array in (constants or {}).items()]
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [onnx.ValueInfoProto(name=name) for name in outputs], held,
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def one(op: str, *operands: Any, shape: Sequence[Any] = (1, 3, 4, 4), **attributes: Any) -> onnx.ModelProto:
    """Return a model of one operator: "x" is the input, "" absent, anything else a constant."""
    names = [v if isinstance(v, str) else f"c{i}" for i, v in enumerate(operands)]
    constants = {f"c{i}": v for i, v in enumerate(operands) if not isinstance(v, str)}
    return model([node(op, names, ["y"], **attributes)], constants, shape=shape)


def ints(*values: int) -> np.ndarray:
    """Return a list of 64-bit integers."""
    return np.array(values, np.int64)


def floats(*values: float) -> np.ndarray:
    """Return a list of floats."""
    return np.array(values, np.float32)


def edited(change: Callable[[onnx.ModelProto], Any]) -> onnx.ModelProto:
    """Return a model of one convolution after `change`."""
    made = one("Conv", "x", np.ones((2, 3, 3, 3), np.float32))
    change(made)
    return made


def cyclic() -> onnx.ModelProto:
    """Return two nodes that read each other."""
    return model([node("Add", ["x", "b"], ["a"]), node("Relu", ["a"], ["b"])], outputs=["b"])


def nested(depth: int) -> onnx.ModelProto:
    """Return an If inside an If, and so on."""
    graph = helper.make_graph([node("Relu", ["x"], ["r"])], "leaf", [], [onnx.ValueInfoProto(name="r")])
    for _ in range(depth):
        inner = node("If", ["flag"], ["r"], then_branch=graph, else_branch=graph)
        inner.attribute[0].g.ClearField("node")
        graph = helper.make_graph([inner], "g", [], [onnx.ValueInfoProto(name="r")])
    outer = node("If", ["flag"], ["y"], then_branch=graph, else_branch=graph)
    return model([outer], {"flag": np.array(True)})


def nested_bytes(depth: int) -> bytes:
    """Return graphs inside graphs deeper than protobuf writes them."""

    def field(number: int, content: bytes) -> bytes:
        length, size = b"", len(content)
        while size > 127:
            length, size = length + bytes([size % 128 + 128]), size // 128
        return bytes([number << 3 | 2]) + length + bytes([size]) + content

    graph = b""
    for _ in range(depth):  # GraphProto.node, NodeProto.attribute, AttributeProto.g
        graph = field(1, field(5, field(6, graph)))
    return field(7, graph)


def doubling(count: int) -> onnx.ModelProto:
    """Return nodes that each double a constant, which would grow to 2^count elements."""
    nodes = [node("Concat", [f"a{i}", f"a{i}"], [f"a{i + 1}"], axis=0) for i in range(count)]
    return model([*nodes, node("Add", ["x", f"a{count}"], ["y"])], {"a0": floats(1)})


def many_constants(count: int) -> onnx.ModelProto:
    """Return many constants of 100 MB, a few bytes of file each."""
    nodes = [node("ConstantOfShape", ["n"], [f"a{i}"]) for i in range(count)]
    return model([*nodes, node("Sum", [f"a{i}" for i in range(count)], ["y"])], {"n": ints(25_000_000)})


def external(location: str, **more: str) -> onnx.ModelProto:
    """Return a model whose filter lies in another file."""
    made = edited(lambda m: m.graph.initializer[0].ClearField("raw_data"))
    weight = made.graph.initializer[0]
    weight.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, **more}.items():
        weight.external_data.add(key=key, value=value)
    return made


def repeated_name(field: str) -> Callable[[onnx.ModelProto], None]:
    """Return the change that lists the first element of a field of the graph twice."""
    return lambda m: getattr(m.graph, field).append(getattr(m.graph, field)[0])


HUGE = 1 << 62
MODELS: dict[str, tuple[onnx.ModelProto | bytes, int]] = {
    # graphs
    "a cycle": (cyclic(), 2),
    "a node that reads itself": (model([node("Relu", ["y"], ["y"])]), 2),
    "no nodes, no outputs": (edited(lambda m: (m.graph.ClearField("node"), m.graph.ClearField("output"))), 2),
    "no nodes": (edited(lambda m: m.graph.ClearField("node")), 2),
    "no graph": (edited(lambda m: m.ClearField("graph")), 2),
    "an output twice": (edited(repeated_name("output")), 2),
    "an input twice": (edited(repeated_name("input")), 2),
    "an initializer twice": (edited(repeated_name("initializer")), 2),
    "a tensor made twice": (edited(repeated_name("node")), 2),
    "If, 20 deep": (nested(20), 3),
    "If, 2000 deep": (nested_bytes(2000), 2),
    "an operator without name": (one("", "x"), 3),
    "an operator with a line break": (one("Re\nlu\x1b[31m", "x"), 3),
    "opset 2^62": (edited(lambda m: setattr(m.opset_import[0], "version", HUGE)), 3),
    # inputs
    "an input of 2^62": (one("Relu", "x", shape=(1, HUGE)), 3),
    "an input whose product overflows": (one("Relu", "x", shape=(1 << 32, 1 << 32)), 3),
    "a negative dimension": (one("Relu", "x", shape=(1, -4)), 2),
    "a dimension 0": (one("Relu", "x", shape=(0, 4)), 2),
    "1000 dimensions": (one("Relu", "x", shape=(1,) * 1000), 3),
    "an input of strings": (edited(lambda m: setattr(m.graph.input[0].type.tensor_type, "elem_type", 8)), 3),
    "an input of type 99": (edited(lambda m: setattr(m.graph.input[0].type.tensor_type, "elem_type", 99)), 3),
    # weights
    "too few bytes": (edited(lambda m: setattr(m.graph.initializer[0], "raw_data", b"\0" * 8)), 2),
    "too many bytes": (edited(lambda m: setattr(m.graph.initializer[0], "raw_data", b"\0" * 999)), 2),
    "a weight of 2^62": (edited(lambda m: m.graph.initializer[0].dims.__setitem__(0, HUGE)), 2),
    "a weight of -1": (edited(lambda m: m.graph.initializer[0].dims.__setitem__(0, -1)), 2),
    "a weight of type 99": (edited(lambda m: setattr(m.graph.initializer[0], "data_type", 99)), 2),
    "a weight of integers": (one("Conv", "x", np.ones((2, 3, 3, 3), np.int64)), 3),
    "an absolute path": (external("/etc/passwd"), 2),
    "a path that leaves": (external("../../../../etc/passwd"), 2),
    "a path to a folder": (external("."), 2),
    "a path of 5000 letters": (external("x" * 5000), 2),
    "a path with NUL": (external("a\0b"), 2),
    "no path": (external(""), 2),
    "an offset that is no number": (external("data.bin", offset="much"), 2),
    "a negative offset": (external("data.bin", offset="-4"), 2),
    "an offset behind the end": (external("data.bin", offset=str(HUGE)), 2),
    "a length of 2^62": (external("data.bin", length=str(HUGE)), 2),
    "a length of 8": (external("data.bin", length="8"), 2),
    # what would allocate at folding
    "Reshape to 2^62": (one("Reshape", "x", ints(HUGE)), 3),
    "Reshape whose product overflows": (one("Reshape", "x", ints(1 << 32, 1 << 32, 48)), 3),
    "Reshape to -5": (one("Reshape", "x", ints(-5, 48)), 3),
    "Tile of 2^40": (one("Tile", "x", ints(1, 1, 1 << 40, 1 << 40)), 3),
    "Tile of a constant": (one("Tile", floats(1), ints(1 << 40)), 3),
    "Expand to 2^60": (one("Expand", floats(1), ints(1 << 60)), 3),
    "Range to 2^60": (one("Range", np.array(0), np.array(1 << 60), np.array(1)), 3),
    "Range to infinity": (one("Range", np.float32(0), np.float32(math.inf), np.float32(1)), 2),
    "ConstantOfShape of 2^40": (one("ConstantOfShape", ints(1 << 40)), 3),
    "ConstantOfShape whose product overflows": (one("ConstantOfShape", ints(1 << 32, 1 << 32)), 3),
    "ConstantOfShape of -1": (one("ConstantOfShape", ints(-1)), 3),
    "40 constants of 100 MB": (many_constants(40), 3),
    "a constant doubled 60 times": (doubling(60), 3),
    "EyeLike of 2^40": (one("EyeLike", "x", shape=(1 << 20, 1 << 20)), 3),
    "OneHot of 2^50": (one("OneHot", ints(1, 2), np.array(1 << 50), floats(0, 1)), 3),
    "Pad of 2^40": (one("Pad", "x", ints(0, 0, 0, 0, 0, 0, 0, 1 << 40)), 3),
    "Pad of -2^40": (one("Pad", "x", ints(0, 0, 0, 0, 0, 0, 0, -(1 << 40))), 3),
    "Pad of a constant": (one("Pad", floats(1), ints(0, 1 << 40)), 3),
    "Resize by 1e30": (one("Resize", "x", "", floats(1, 1, 1e30, 1e30)), 2),
    "Resize by NaN": (one("Resize", "x", "", floats(1, 1, math.nan, 1)), 2),
    "Resize by infinity": (one("Resize", "x", "", floats(1, 1, math.inf, 1)), 2),
    "Resize to 2^60": (one("Resize", "x", "", "", ints(1, 3, 1 << 60, 4)), 3),
    "Resize by -1": (one("Resize", "x", "", floats(1, 1, -1, -1)), 3),
    "CenterCropPad to 2^60": (one("CenterCropPad", "x", ints(1, 3, 4, 1 << 60)), 3),
    # attributes
    "a kernel of 2^31": (one("MaxPool", "x", kernel_shape=[1 << 31, 1 << 31]), 3),
    "a kernel of 2^31 with pads": (
        one("AveragePool", "x", kernel_shape=[1 << 31, 1], pads=[1 << 31, 0, 1 << 31, 0]), 3),
    "a kernel of 0": (one("MaxPool", "x", kernel_shape=[0, 0]), 3),
    "a stride of 0": (one("Conv", "x", np.ones((2, 3, 3, 3), np.float32), strides=[0, 0]), 3),
    "a stride of -1": (one("Conv", "x", np.ones((2, 3, 3, 3), np.float32), strides=[-1, -1]), 3),
    "a dilation of 2^62": (one("Conv", "x", np.ones((2, 3, 3, 3), np.float32), dilations=[HUGE, 1]), 3),
    "pads of 2^40": (one("Conv", "x", np.ones((2, 3, 3, 3), np.float32), pads=[1 << 40] * 4), 3),
    "group 0": (one("Conv", "x", np.ones((2, 3, 3, 3), np.float32), group=0), 3),
    "group 2^62": (one("Conv", "x", np.ones((2, 3, 3, 3), np.float32), group=HUGE), 3),
    "a million pads": (one("Conv", "x", np.ones((2, 3, 3, 3), np.float32), pads=[0] * 1_000_000), 3),
    "a million axes": (one("ReduceSum", "x", ints(*range(1_000_000))), 3),
    "a transposed convolution to 2^40": (
        one("ConvTranspose", "x", np.ones((3, 2, 3, 3), np.float32), strides=[1 << 40, 1 << 40]), 3),
    "Split into 2^40": (one("Split", "x", ints(1 << 40, 1)), 3),
    "axis 2^62": (one("Concat", "x", "x", axis=HUGE), 3),
    "axis as text": (one("Concat", "x", "x", axis="one"), 2),
    "TopK of 2^60": (one("TopK", "x", ints(1 << 60)), 3),
    "DepthToSpace by 2^40": (one("DepthToSpace", "x", blocksize=1 << 40), 3),
    "DepthToSpace by 0": (one("DepthToSpace", "x", blocksize=0), 3),
    "LRN of 2^60": (one("LRN", "x", size=1 << 60), 3),
    "an equation of brackets": (one("Einsum", "x", equation="((((->"), 3),
    "an equation of arrows": (one("Einsum", "x", equation="->->->"), 3),
    "an equation of dots": (one("Einsum", "x", "x", equation="...i.,.->"), 3),
    "an equation of 100,000 letters": (one("Einsum", "x", equation="a" * 100_000), 3),
    "no equation": (one("Einsum", "x"), 2),
    "Cast to type 99": (one("Cast", "x", to=99), 3),
    "Cast to text": (one("Cast", "x", to=8), 3),
    "an epsilon of NaN": (
        one("BatchNormalization", "x", *[np.ones(3, np.float32)] * 4, epsilon=math.nan), 0),
    "an infinite alpha": (one("LeakyRelu", "x", alpha=math.inf), 0),
}  # fmt: skip

NAMES = ["../../../escaped", "/absolute", "a\nb", "\x1b[31mred", "a\0b", "%s%n", "x" * 70_000, '"', "\\", " ", "a/../b"]
UNSTORABLE = ("a\0b", "x" * 70_000)


def _bytes(made: onnx.ModelProto | bytes) -> bytes:
    return made if isinstance(made, bytes) else made.SerializeToString()


def _transform(path: Path, *more: str) -> list[str]:
    target = path.with_suffix(".mlir")
    words = ["model_transform.py", "--model_name", path.stem, "--model_def", str(path), "--mlir", str(target)]
    return [*words, "--no_simplify", *more]


@pytest.fixture(scope="module")
def imports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Ended]:
    """The import of every model."""
    folder = tmp_path_factory.mktemp("models")
    (folder / "data.bin").write_bytes(bytes(216))
    commands = {}
    for number, (name, (made, _)) in enumerate(MODELS.items()):
        path = folder / f"m{number}.onnx"
        path.write_bytes(_bytes(made))
        commands[name] = _transform(path)
    return run_tools(commands, folder)


def _check(ended: Ended, code: int) -> None:
    """Check that a run ended as it should."""
    assert "Traceback" not in ended.stderr
    assert ended.code == code, f"exit {ended.code}: {ended.stdout}{ended.stderr}"
    assert ended.most_bytes < MOST_BYTES, f"{ended.most_bytes >> 20} MiB"
    if code:
        assert ended.stderr.count("\n") == 1, ended.stderr
        assert len(ended.stderr) < 2000, ended.stderr[:2000]
        assert ended.stderr.rstrip("\n").isprintable(), repr(ended.stderr)


@pytest.mark.parametrize("name", MODELS)
def test_a_hostile_model(imports: dict[str, Ended], name: str) -> None:
    _check(imports[name], MODELS[name][1])


def test_names_do_not_leave_the_folder(tmp_path: Path) -> None:
    """Names of tensors and of the graph are text in our files, never paths."""
    folder = tmp_path / "deep" / "inside"
    folder.mkdir(parents=True)
    commands = {}
    for number, name in enumerate(NAMES):
        made = model([node("Add", ["x", name], [f"{name}!"], name=name)], {name: np.ones((1, 3, 4, 4), np.float32)})
        made.graph.output[0].name, made.graph.name = f"{name}!", name
        (folder / f"m{number}.onnx").write_bytes(made.SerializeToString())
        commands[name] = _transform(folder / f"m{number}.onnx")
    ended = run_tools(commands, folder)
    for name in NAMES:
        assert ended[name].code == (2 if name in UNSTORABLE else 0), ended[name].stderr
    outside = [path for path in tmp_path.rglob("*") if path.is_file() and path.parent != folder]
    assert outside == []
    again = {name: ["tpuc-opt", f"m{i}.mlir", "--canonicalize", "-o", f"n{i}.mlir"] for i, name in enumerate(NAMES)}
    again = {name: words for name, words in again.items() if name not in UNSTORABLE}
    assert [e.stderr for e in run_tools(again, folder).values() if e.code] == []


def test_the_simplifier_is_held_too(tmp_path: Path) -> None:
    """What onnxsim would fold without end is left as it is, or refused."""
    commands = {}
    for name in ("a cycle", "ConstantOfShape of 2^40", "Tile of a constant", "a weight of 2^62", "If, 20 deep"):
        path = tmp_path / f"m{len(commands)}.onnx"
        path.write_bytes(_bytes(MODELS[name][0]))
        commands[name] = [word for word in _transform(path) if word != "--no_simplify"]
    for name, ended in run_tools(commands, tmp_path).items():
        assert ended.code == MODELS[name][1], f"{name}: {ended}"
        assert "Traceback" not in ended.stderr
        assert ended.stderr.count("\n") <= 2, ended.stderr


# --- other files


def _module(body: str, attributes: str = "") -> str:
    return f"""module {attributes} {{
  func.func @main(%0: tensor<1x4xf32> loc("x")) -> tensor<1x4xf32> {{
    %1 = "top.Input"(%0) : (tensor<1x4xf32>) -> tensor<1x4xf32> loc("x")
    {body}
    func.return %1 : tensor<1x4xf32>
  }}
}}
"""


DEEP = 10_000
WEIGHT = '%2 = "top.Weight"() {key = "w"} : () -> '
RELU, SMALL = '%2 = "top.Relu"(%1) : ', "(tensor<1x4xf32>) -> tensor<1x4xf32>"
TEXTS = {
    "empty": "",
    "blank": "\n\n\n",
    "no text": "\x00\x01\x02",
    "brackets": "[" * DEEP,
    "attributes in attributes": _module("", "attributes {a = " + "[" * DEEP + "]" * DEEP + "}"),
    "dictionaries in dictionaries": _module("", "attributes {a = " + "{a = " * DEEP + "}" * DEEP + "}"),
    "locations in locations": _module(RELU + SMALL + " loc(" + "fused[" * DEEP),
    "tuples in tuples": _module(RELU + "(" + "tuple<" * DEEP + ">" * DEEP + ") -> ()"),
    "regions in regions": 'module { "a"() (' + '{ "a"() (' * DEEP,
    "a string without end": 'module attributes {a = "' + "0123456789abcdef" * 1000,
    "a dimension of 30 digits": _module(WEIGHT + "tensor<" + "9" * 30 + 'xf32> loc("w")'),
    "an axis of 30 digits": _module(
        '%2 = "top.Softmax"(%1) {axis = ' + "9" * 30 + ' : i64} : (tensor<1x4xf32>) -> tensor<1x4xf32> loc("s")'),
    "a constant that is repeated": _module("%2 = arith.constant dense<0> : tensor<1000000000000xi64>"),
    "a weight that is not there": _module(WEIGHT + 'tensor<4xf32> loc("w")'),
    "a weight file elsewhere": _module("", 'attributes {module.weight_file = "../../../etc/passwd"}'),
    "a weight file with a long name": _module("", 'attributes {module.weight_file = "' + "x" * 5000 + '"}'),
    "an unknown op": _module('"top.Nothing"() : () -> ()'),
    "a scale of 30 digits": _module(
        '%2 = "tpu.Relu"(%1) : (tensor<1x4xf32>) -> tensor<1x4x!quant.uniform<i8:f32, 1e999>> loc("q")'),
    "a million shapes": _module(RELU + "(tensor<" + "1x" * 1_000_000 + 'f32>) -> tensor<1xf32> loc("r")'),
}  # fmt: skip


def _bomb(path: Path, packed: bool) -> None:
    """Write a npz whose member promises 4 GiB of zeros: packed to 4 MB, or not there at all."""
    header = np.lib.format.magic(1, 0)
    text = b"{'descr': '|u1', 'fortran_order': False, 'shape': (4294967296,), }"
    text += b" " * (63 - (len(text) + 10) % 64) + b"\n"
    packing = zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED
    with (
        zipfile.ZipFile(path, "w", packing, compresslevel=1) as archive,
        archive.open("a.npy", "w", force_zip64=True) as stream,
    ):
        stream.write(header + struct.pack("<H", len(text)) + text)
        if packed:
            _write_zeros(archive, stream, 4096)


def _write_zeros(archive: zipfile.ZipFile, stream: Any, count: int) -> None:
    """Write `count` MiB of zeros, packed once; their checksum stays that of what was written before."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    archive.fp.write(stream._compressor.flush(zlib.Z_FULL_FLUSH) + block * count)
    stream._file_size += count << 20
    stream._compress_size += count * len(block)


def _claims(path: Path, text: str) -> None:
    """Write a npz with one member whose header is `text`."""
    padded = text.encode()
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.npy", np.lib.format.magic(1, 0) + struct.pack("<H", len(padded)) + padded + bytes(64))


HEADERS = {
    "a shape of 2^62": "{'descr': '<f4', 'fortran_order': False, 'shape': (4611686018427387904,), }\n",
    "a product that overflows": "{'descr': '<f4', 'fortran_order': False, 'shape': (1073741824, 1073741824), }\n",
    "a negative shape": "{'descr': '<f4', 'fortran_order': False, 'shape': (-1, 4), }\n",
    "a thousand dimensions": "{'descr': '<f4', 'fortran_order': False, 'shape': (" + "1," * 1000 + "), }\n",
    "nothing, 2^62 times": "{'descr': '|V0', 'fortran_order': False, 'shape': (4611686018427387904,), }\n",
    "Python objects": "{'descr': '|O', 'fortran_order': False, 'shape': (2,), }\n",
    "a header of signs": "-" * 9000 + "1\n",
    "a header of brackets": "(" * 9000 + "\n",
    "code": "__import__('os').system('touch broken')\n",
}


SUFFIXES = (".onnx", ".tflite", ".npz", ".mlir")
CONTENTS = {"empty": b"", "rubbish": bytes(range(256)) * 16, "a folder": None}


@pytest.fixture(scope="module")
def reads(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Ended]:
    """The reading of every other file."""
    folder = tmp_path_factory.mktemp("files")
    commands: dict[str, list[str]] = {}
    for number, (name, text) in enumerate(TEXTS.items()):
        (folder / f"t{number}.mlir").write_text(text)
        commands[f"mlir: {name}"] = ["tpuc-opt", f"t{number}.mlir", "--canonicalize", "-o", f"o{number}.mlir"]
    for number, (name, text) in enumerate(HEADERS.items()):
        _claims(folder / f"h{number}.npz", text)
        commands[f"npz: {name}"] = ["npz_tool.py", "statistic", f"h{number}.npz"]
    for packed in (True, False):
        _bomb(folder / f"bomb{packed}.npz", packed)
        commands[f"npz: a bomb, {'packed' if packed else 'empty'}"] = ["npz_tool.py", "statistic", f"bomb{packed}.npz"]
    for name, content in CONTENTS.items():
        for suffix in SUFFIXES:
            path = folder / f"{name}{suffix}"
            path.write_bytes(content) if content is not None else path.mkdir(exist_ok=True)
            commands[f"{suffix}: {name}"] = {
                ".npz": ["npz_tool.py", "statistic", path.name], ".mlir": ["tpuc-opt", path.name, "-o", "o.mlir"],
            }.get(suffix, _transform(path))  # fmt: skip
    return run_tools(commands, folder)


OTHERS = [
    *(f"mlir: {name}" for name in TEXTS), *(f"npz: {name}" for name in HEADERS),
    "npz: a bomb, packed", "npz: a bomb, empty",
    *(f"{suffix}: {name}" for name in CONTENTS for suffix in SUFFIXES),
]  # fmt: skip


@pytest.mark.parametrize("name", OTHERS)
def test_a_hostile_file(reads: dict[str, Ended], name: str) -> None:
    _check(reads[name], 2)
