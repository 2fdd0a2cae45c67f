"""Write the first inputs of every target into `corpus/`: small valid files that touch many parts of a reader.

python regression/fuzz/seeds.py
"""

import io
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

REGRESSION = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(REGRESSION), str(REGRESSION / "unit"), str(REGRESSION.parent / "lib")]

import numpy as np  # noqa: E402
import onnx  # noqa: E402
from formats.caffe import caffe_files  # noqa: E402
from formats.tflite import tflite_models  # noqa: E402
from model.model_files import small_model  # noqa: E402
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from stepdown.chips import load_chip  # noqa: E402
from stepdown.cli import model_transform  # noqa: E402
from stepdown.dialects.program import Program, Weights  # noqa: E402
from stepdown.dialects.text import parse_module  # noqa: E402
from stepdown.files.npz import NpzMetadata, TensorInfo, write_npz  # noqa: E402
from stepdown.model import write_model_file  # noqa: E402
from stepdown.model.combine import combine  # noqa: E402
from stepdown.model.strip import strip  # noqa: E402
from stepdown.npu.passes.codegen import model_of  # noqa: E402
from stepdown.transforms.convert_top_to_tpu import ConvertTopToTpu  # noqa: E402

CORPUS = Path(__file__).parent / "corpus"
Array = np.ndarray


def _ramp(*shape: int) -> Array:
    return np.resize(np.linspace(-1, 1, 11, dtype=np.float32), shape)


def _model(
    nodes: Sequence[onnx.NodeProto], constants: dict[str, Array], inputs: dict[str, Sequence[int]],
    outputs: Sequence[str], opset: int = 13,
) -> onnx.ModelProto:  # fmt: skip
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in inputs.items()],
        [onnx.ValueInfoProto(name=name) for name in outputs],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def layers() -> onnx.ModelProto:
    """Convolution, batch norm, ReLU, pooling, flattening, fully connected, softmax."""
    node = helper.make_node
    return _model(
        [
            node("Conv", ["x", "w", "b"], ["c"], pads=[1, 1, 1, 1], strides=[2, 2]),
            node("BatchNormalization", ["c", "b", "b", "b", "v"], ["n"]),
            node("Relu", ["n"], ["r"]),
            node("MaxPool", ["r"], ["m"], kernel_shape=[2, 2], strides=[2, 2]),
            node("Flatten", ["m"], ["f"]),
            node("Gemm", ["f", "g"], ["y"], transB=1, alpha=0.5),
            node("Softmax", ["y"], ["z"], axis=1),
        ],
        {"w": _ramp(4, 3, 3, 3), "b": _ramp(4), "v": np.ones(4, np.float32), "g": _ramp(5, 16)},
        {"x": [1, 3, 8, 8]}, ["z"],
    )  # fmt: skip


def shapes() -> onnx.ModelProto:
    """Shape arithmetic that folds into constants."""
    node, ints = helper.make_node, lambda *v: np.array(v, np.int64)
    return _model(
        [
            node("Shape", ["x"], ["s"]),
            node("Gather", ["s", "zero"], ["n"], axis=0),
            node("Concat", ["n", "rest"], ["new"], axis=0),
            node("Reshape", ["x", "new"], ["a"]),
            node("Transpose", ["a"], ["t"], perm=[0, 2, 1]),
            node("Slice", ["t", "zero", "two", "one"], ["cut"]),
            node("Pad", ["cut", "pads"], ["p"]),
            node("Split", ["p"], ["u", "v"], axis=2),
            node("Expand", ["u", "wide"], ["e"]),
            node("Tile", ["v", "wide"], ["w"]),
            node("Range", ["from", "to", "by"], ["range"]),
            node("ConstantOfShape", ["two"], ["filled"], value=numpy_helper.from_array(np.ones(1, np.float32))),
        ],
        {
            "zero": ints(0), "one": ints(1), "two": ints(2), "rest": ints(2, -1), "pads": ints(0, 0, 0, 0, 0, 2),
            "wide": ints(2, 1, 1), "from": np.array(0), "to": np.array(9), "by": np.array(2),
        },
        {"x": [1, 4, 3, 2]}, ["e", "w", "range", "filled"],
    )  # fmt: skip


def functions() -> onnx.ModelProto:
    """Resize, TopK, Einsum, Where, reductions, casts, weights that are stored as integers."""
    node = helper.make_node
    return _model(
        [
            node("Resize", ["x", "", "scales"], ["big"], mode="linear"),
            node("ReduceMean", ["big"], ["mean"], axes=[2, 3], keepdims=0),
            node("DequantizeLinear", ["q", "qs", "qz"], ["w"], axis=0),
            node("Einsum", ["mean", "w"], ["prod"], equation="ij,jk->ik"),
            node("TopK", ["prod", "k"], ["values", "indices"]),
            node("Greater", ["values", "half"], ["mask"]),
            node("Where", ["mask", "values", "half"], ["chosen"]),
            node("Cast", ["indices"], ["floats"], to=1),
            node("Mul", ["chosen", "floats"], ["y"]),
        ],
        {
            "scales": np.array([1, 1, 2, 1.5], np.float32), "q": np.arange(12, dtype=np.int8).reshape(3, 4),
            "qs": np.array([0.1, 0.2, 0.3], np.float32), "qz": np.zeros(3, np.int8), "k": np.array([2]),
            "half": np.float32(0.5),
        },
        {"x": [1, 3, 4, 4]}, ["y"],
    )  # fmt: skip


def external() -> onnx.ModelProto:
    """A weight whose values lie in another file, and a graph inside an If."""
    then = helper.make_graph([helper.make_node("Relu", ["x"], ["a"])], "then", [], [onnx.ValueInfoProto(name="a")])
    other = helper.make_graph([helper.make_node("Neg", ["x"], ["b"])], "else", [], [onnx.ValueInfoProto(name="b")])
    model = _model(
        [
            helper.make_node("If", ["flag"], ["c"], then_branch=then, else_branch=other),
            helper.make_node("MatMul", ["c", "w"], ["y"]),
        ],
        {"flag": np.array(True), "w": _ramp(4, 4)}, {"x": [2, 4]}, ["y"],
    )  # fmt: skip
    weight = model.graph.initializer[1]
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    for key, value in (("location", "data.bin"), ("offset", "0"), ("length", "64")):
        weight.external_data.add(key=key, value=value)
    return model


MODELS: tuple[Callable[[], onnx.ModelProto], ...] = (layers, shapes, functions, external)


def write_onnx() -> None:
    """Write the models, and the data of the one whose weight lies outside."""
    for make in MODELS:
        _file("onnx", f"{make.__name__}.onnx").write_bytes(make().SerializeToString())
    _file("onnx.beside", "data.bin").write_bytes(_ramp(4, 4).tobytes())


def write_tflite() -> None:
    """Write a quantised convolution network, and a float one whose shapes are constants."""
    ints = {f"k{i}": values for i, values in enumerate(([1, 2], [0, 0, 1, 1], [1, -1]))}
    grid = np.arange(36, dtype=np.int8).reshape(2, 3, 3, 2)
    quantised = tflite_models.model(
        [
            tflite_models.Op("CONV_2D", ["x", "w", "b"], ["c"], {"strideW": 1, "strideH": 1}),
            tflite_models.Op("MEAN", ["c", "k0"], ["m"], {"keepDims": False}),
            tflite_models.Op("SOFTMAX", ["m"], ["y"], {"beta": 1.0}),
        ],
        [
            tflite_models.Tensor("x", (1, 4, 4, 2), scale=0.1, zero_point=3),
            tflite_models.Tensor("w", (2, 3, 3, 2), scale=[0.01, 0.02], array=grid),
            tflite_models.Tensor("b", (2,), "int32", scale=[0.001, 0.002], array=np.array([1, -1])),
            tflite_models.Tensor("c", (1, 4, 4, 2), scale=0.2, zero_point=-128),
            tflite_models.constant("k0", ints["k0"]),
            tflite_models.Tensor("m", (1, 2), scale=0.2, zero_point=-128),
            tflite_models.Tensor("y", (1, 2), scale=1 / 256, zero_point=-128),
        ],
    )  # fmt: skip
    floats = tflite_models.model(
        [
            tflite_models.Op("PAD", ["x", "k1"], ["p"]),
            tflite_models.Op("RESHAPE", ["p", "k2"], ["r"], {"newShape": [1, -1]}),
            tflite_models.Op("FULLY_CONNECTED", ["r", "w", ""], ["f"]),
            tflite_models.Op("LOGISTIC", ["f"], ["y"]),
        ],
        [
            tflite_models.Tensor("x", (1, 3), "float32"),
            tflite_models.constant("k1", np.reshape(ints["k1"], (2, 2))),
            tflite_models.Tensor("p", (1, 5), "float32"),
            tflite_models.constant("k2", ints["k2"]),
            tflite_models.Tensor("r", (1, 5), "float32"),
            tflite_models.Tensor("w", (4, 5), "float16", array=_ramp(4, 5)),
            tflite_models.Tensor("f", (1, 4), "float32"),
            tflite_models.Tensor("y", (1, 4), "float32"),
        ],
    )
    _file("tflite", "quantised.tflite").write_bytes(quantised)
    _file("tflite", "floats.tflite").write_bytes(floats)


def write_caffe() -> None:
    """Write a net with the weights of its layers, once as the input and once beside the other."""
    layer = caffe_files.layer
    text = "\n".join(
        [
            caffe_files.declared(data=(1, 3, 8, 8)),
            layer(
                "c", "Convolution", "data", "c", "convolution_param { num_output: 4 kernel_size: 3 stride: 2 pad: 1 }"
            ),
            layer("bn", "BatchNorm", "c", "c"),
            layer("s", "Scale", "c", "c", "scale_param { bias_term: true }"),
            layer("r", "ReLU", "c", "c"),
            layer("p", "Pooling", "c", "p", "pooling_param { pool: MAX kernel_size: 3 stride: 2 }"),
            layer("l", "LRN", "p", "l", "lrn_param { local_size: 3 }"),
            layer("cat", "Concat", "p l", "cat", "concat_param { axis: 1 }"),
            layer("ip", "InnerProduct", "cat", "ip", "inner_product_param { num_output: 5 }"),
            layer("prob", "Softmax", "ip", "prob"),
        ]
    )
    ones = np.ones(4, np.float32)
    weights = caffe_files.caffemodel(
        {
            "c": [_ramp(4, 3, 3, 3), ones], "bn": [ones, ones, np.ones(1, np.float32)], "s": [ones, ones],
            "ip": [_ramp(5, 32), np.ones(5, np.float32)],
        }
    )  # fmt: skip
    for target in ("caffe", "caffemodel.beside"):
        _file(target, "net.prototxt").write_text(text)
    for target in ("caffemodel", "caffe.beside"):
        _file(target, "net.caffemodel").write_bytes(weights)


def write_modules() -> None:
    """Import two of the models."""
    for make in (layers, functions):
        with tempfile.TemporaryDirectory() as folder:
            source, text = Path(folder, "net.onnx"), Path(folder, f"{make.__name__}.mlir")
            source.write_bytes(make().SerializeToString())
            words = ["--model_name", make.__name__, "--model_def", str(source), "--mlir", str(text), "--no_simplify"]
            model_transform.run(model_transform.parser().parse_args(words))
            weights = f"{make.__name__}_top_f32_all_weight.npz"
            _file("mlir.beside", weights).write_bytes(Path(folder, weights).read_bytes())
            _file("mlir", text.name).write_bytes(text.read_bytes())


def write_npz_files() -> None:
    """Write tensors of all types, with metadata and without, packed and not."""
    info = NpzMetadata({"a": TensorInfo("i8", 0.5, 3, None, "NCHW", ("b",))}, ("a",), "m.mlir", "0" * 64)
    write_npz(_file("npz", "metadata.npz"), {"a": np.arange(6, dtype=np.int8).reshape(2, 3)}, info)
    types = {t: np.ones((2, 2), t) for t in ("float16", "int64", "bool", "complex64", "<U3", "datetime64[s]")}
    types["fortran"] = np.asfortranarray(_ramp(2, 3))
    stream = io.BytesIO()
    np.savez_compressed(stream, **types)
    _file("npz", "packed.npz").write_bytes(stream.getvalue())


def write_model_files() -> None:
    """Write a model file, one of several networks and stages, and one without names."""
    one = small_model()
    write_model_file(_file("model_file", "small.bmodel"), one)
    several = combine([one, small_model(batch=2), small_model("other")])
    write_model_file(_file("model_file", "combined.bmodel"), several)
    write_model_file(_file("model_file", "stripped.bmodel"), strip(several))


COMMANDS = """
module @net attributes {module.state = "TOP_F32"} {
  func.func @main(%x: tensor<1x6x8x8xf32> loc("x")) -> tensor<1x6x4x8xf32> {
    %0 = "top.Input"(%x) : (tensor<1x6x8x8xf32>) -> tensor<1x6x8x8xf32> loc("x")
    %1 = "top.MaxPool"(%0) {ceil_mode = false, dilations = array<i64: 1, 1>, kernel_shape = array<i64: 3, 3>,
        pads = array<i64: 1, 1, 1, 1>, strides = array<i64: 2, 1>}
        : (tensor<1x6x8x8xf32>) -> tensor<1x6x4x8xf32> loc("p_MaxPool")
    %2 = "top.Add"(%1, %1) : (tensor<1x6x4x8xf32>, tensor<1x6x4x8xf32>) -> tensor<1x6x4x8xf32> loc("y_Add")
    func.return %2 : tensor<1x6x4x8xf32>
  }
}
"""


def write_commands() -> None:
    """Write the model file of a small network on a chip of four lanes and little memory: its commands can run."""
    program = Program(parse_module(COMMANDS), Weights(), "net.mlir")
    ConvertTopToTpu(mode="F16", chip="bm1684x").run(program)
    chip = replace(load_chip("bm1684x"), lanes=4, local_bytes=1024, banks=16)
    for target in ("bmodel_dis", "profile"):
        write_model_file(_file(target, "net.bmodel"), model_of(program, chip))


TEXTS = {
    ("table", "plain"): "# made by hand\n# name threshold min max\nx 1.5 -1.25 1.5\nconv_Conv 3e-2 -0.03 .02\n",
    ("table", "names"): '"# odd\\u0020name" 1 0 1\ntwo words 2 -2 2\n',
    ("qtable", "plain"): "# op mode\nr_Relu F32\nz_Softmax BF16  # why\n",
    ("labels", "plain.txt"): "tench\ngoldfish\ngreat white shark\n",
    ("list", "plain.txt"): "# photos\na.jpg\nb.npz\n",
}


def write_texts() -> None:
    """Write tables, lists, the descriptions of chips, and MATLAB's tables."""
    for (target, name), text in TEXTS.items():
        _file(target, name).write_text(text)
    for name in ("a.jpg", "b.npz"):
        _file("list.beside", name).write_bytes(b"")
    for chip in (REGRESSION.parent / "lib" / "stepdown" / "chips").glob("*.toml"):
        _file("chip", chip.name).write_bytes(chip.read_bytes())
    for name in ("meta.mat", "meta_plain.mat"):
        _file("matlab", name).write_bytes((REGRESSION / "unit" / "data" / name).read_bytes())


def _file(target: str, name: str) -> Path:
    (CORPUS / target).mkdir(parents=True, exist_ok=True)
    return CORPUS / target / name


if __name__ == "__main__":
    for write in (
        write_onnx,
        write_tflite,
        write_caffe,
        write_modules,
        write_npz_files,
        write_model_files,
        write_commands,
        write_texts,
    ):
        write()
