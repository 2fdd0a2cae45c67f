"""The importer: names, constants, outputs, and one clear line for every model it cannot take."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from stepdown.dialects.op import fused_of, internal_of, is_internal, value_name
from stepdown.dialects.program import Program, read_program
from stepdown.dialects.text import parse_module, print_module, verify
from stepdown.errors import InputError, StepError, UnsupportedModel
from stepdown.formats.onnx.importer import import_model
from stepdown.runtimes.mlir import MlirRunner

node = helper.make_node
FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64


def value(name: str, *shape: int | str, kind: int = FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def model(
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[onnx.ValueInfoProto] = (value("x", 2, 3),),
    outputs: Sequence[str] = ("y",),
    opset: int = 17,
    **constants: Any,
) -> onnx.ModelProto:
    initializers = [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()]
    made = [helper.make_value_info(name, onnx.TypeProto()) for name in outputs]
    graph = helper.make_graph(nodes, "graph", inputs, made, initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])


def imported(*arguments: Any, **options: Any) -> Program:
    program = import_model(model(*arguments, **options), "net")
    verify(program.module)
    return program


def ops(program: Program) -> list[str]:
    return [op.name.removeprefix("top.") for op in program.ops]


X = np.arange(6, dtype=np.float32).reshape(2, 3)

# --- what is refused


def test_all_unsupported_operators_are_listed_with_counts_and_reasons() -> None:
    nodes = [
        node("StringConcat", ["x"], ["a"]), node("Relu", ["a"], ["b"]), node("StringConcat", ["b"], ["c"]),
        node("Wavelet", ["c"], ["d"], domain="com.acme"), node("Relu", ["c"], ["f"], domain="com.acme"),
        node("RandomNormal", [], ["e"], shape=[1]),
    ]  # fmt: skip
    with pytest.raises(UnsupportedModel) as caught:
        import_model(model(nodes, outputs=["d"]), "net")
    text = str(caught.value)
    assert text.startswith("unsupported operators: RandomNormal ×1 (its result differs from run to run;")
    assert "StringConcat ×2 (strings are not supported), com.acme.Relu ×1, com.acme.Wavelet ×1" in text
    assert "\n" not in text


MALFORMED = {
    "a missing tensor": (
        model([node("Relu", ["nowhere"], ["y"], name="r")]),
        InputError, "node Relu 'r': reads the tensor 'nowhere' that nothing before it makes",
    ),
    "a cycle": (
        model([node("Add", ["x", "b"], ["a"]), node("Relu", ["a"], ["b"])], outputs=["b"]),
        InputError, "node Add '': reads the tensor 'b' that nothing before it makes",
    ),
    "a tensor made twice": (
        model([node("Relu", ["x"], ["y"]), node("Abs", ["x"], ["y"])]),
        InputError, "node Abs '': the tensor 'y' is made twice",
    ),
    "a tensor that is a constant and made": (
        model([node("Relu", ["x"], ["y"])], y=np.ones(1, np.float32)),
        InputError, "node Relu '': the tensor 'y' is made twice",
    ),
    "two inputs of one name": (
        model([node("Relu", ["x"], ["y"])], [value("x", 1), value("x", 1)]),
        InputError, "graph 'graph': has the input 'x' twice",
    ),
    "one output twice": (
        model([node("Relu", ["x"], ["y"])], outputs=["y", "y"]),
        InputError, "graph 'graph': has the output 'y' twice",
    ),
    "no output": (model([node("Relu", ["x"], ["y"])], outputs=[]), InputError, "graph 'graph': has no outputs"),
    "an empty graph": (model([]), InputError, "nothing makes the output 'y'"),
    "a size by name": (
        model([node("Relu", ["x"], ["y"])], [value("x", "batch", 3)]),
        InputError, "input 'x' has no fixed shape: ['batch', 3]; give --input_shapes [[1,3,224,224]]",
    ),
    "no elements": (
        model([node("Relu", ["x"], ["y"])], [value("x", 0, 3)]),
        InputError, "input 'x' has no elements, its shape is [0, 3]; give --input_shapes [[1,3,224,224]]",
    ),
    "a negative size": (
        model([node("Relu", ["x"], ["y"])], [value("x", -1, 3)]),
        InputError, "input 'x' has no fixed shape: [-1, 3]; give --input_shapes [[1,3,224,224]]",
    ),
    "no shape": (
        model([node("Relu", ["x"], ["y"])], [helper.make_tensor_value_info("x", FLOAT, None)]),
        InputError, "input 'x' has no fixed shape: []; give --input_shapes [[1,3,224,224]]",
    ),
    "strings": (
        model([node("Identity", ["x"], ["y"])], [value("x", 1, kind=TensorProto.STRING)]),
        UnsupportedModel, "input 'x' has elements of type STRING",
    ),
    "an input that is a sequence": (
        model(
            [node("Identity", ["x"], ["y"])], [helper.make_tensor_sequence_value_info("x", FLOAT, [1])]
        ),
        UnsupportedModel, "input 'x' is not a tensor",
    ),
    "constants that we do not store": (
        model([node("Add", ["x", "c"], ["y"])], c=np.ones(1, np.complex64)),
        UnsupportedModel, "tensor 'c': has elements of type complex64",
    ),
    "a constraint that does not hold": (
        model([node("Reshape", ["x", "s"], ["y"])], s=np.array([4])),
        UnsupportedModel,
        "node of 'y': Reshape: the shape has as many elements as the operand (C1: (2, 3) to (4,))",
    ),
    "a shape that is computed": (
        model([node("Reshape", ["x", "s"], ["y"])], [value("x", 2, 3), value("s", 2, kind=INT64)]),
        UnsupportedModel, "node of 'y': Reshape: operand 1 ('s') is not constant",
    ),
    "an operand left out": (
        model([node("Gather", ["x"], ["y"])]),
        UnsupportedModel, "node of 'y': Gather: operand indices is none",
    ),
    "an attribute of another type": (
        model([node("Concat", ["x", "x"], ["y"], axis="rows")]),
        InputError, "node Concat '': is malformed ('<' not supported between instances of 'str' and 'int')",
    ),
    "constants on which nothing can be computed": (
        model([node("Gather", ["c", "i"], ["y"])], c=np.ones(2, np.float32), i=np.array([7])),
        UnsupportedModel,
        "node of 'y': Gather: cannot be computed on these constants (index 7 is out of bounds for axis 0 with size 2)",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("proto", "kind", "message"), MALFORMED.values(), ids=MALFORMED.keys())
def test_refused_in_one_line(proto: onnx.ModelProto, kind: type[StepError], message: str) -> None:
    with pytest.raises(kind) as caught:
        import_model(proto, "net")
    assert str(caught.value) == message


# --- names and outputs


def test_tensors_are_named_after_tensor_and_operator() -> None:
    program = imported([node("Relu", ["x"], ["a"]), node("Abs", ["a"], ["y"])])
    assert [op.tensor_name for op in program.ops] == ["x", "a_Relu", "y_Abs"]
    assert program.output_names == ["y_Abs"]


def test_an_output_that_is_an_identity_keeps_its_name() -> None:
    program = imported([node("Relu", ["x"], ["a"]), node("Identity", ["a"], ["y"])])
    assert program.output_names == ["y_Identity"]
    assert ops(program) == ["Input", "Relu"]
    assert fused_of(program.ops[-1]) == ["a_Relu"]


def test_an_identity_inside_is_noted_as_fused() -> None:
    program = imported([node("Relu", ["x"], ["a"]), node("Identity", ["a"], ["b"]), node("Abs", ["b"], ["y"])])
    assert ops(program) == ["Input", "Relu", "Abs"]
    assert fused_of(program.ops[1]) == ["b_Identity"]


def test_one_tensor_that_is_two_outputs_is_copied() -> None:
    program = imported([node("Relu", ["x"], ["y"]), node("Identity", ["y"], ["z"])], outputs=["y", "z"])
    assert program.output_names == ["y_Relu", "z_Identity"]
    results = MlirRunner(program).run({"x": -X})
    assert all((array == 0).all() for array in results.values())


def test_an_output_that_is_an_input_is_copied() -> None:
    program = imported([], outputs=["x"])
    assert program.output_names == ["x_Identity"]
    np.testing.assert_array_equal(MlirRunner(program).run({"x": X})["x_Identity"], X)


def test_an_output_that_is_constant_is_copied() -> None:
    program = imported([node("Neg", ["c"], ["y"])], c=np.array([1, 2], np.int32))
    results = MlirRunner(program).run({"x": X})
    assert list(results) == ["y_Neg"]
    assert results["y_Neg"].tolist() == [-1, -2]
    assert results["y_Neg"].dtype == np.int32


def test_unused_inputs_stay_and_unused_nodes_go() -> None:
    inputs = [value("x", 2, 3), value("unused", 4)]
    program = imported([node("Relu", ["x"], ["y"]), node("Abs", ["x"], ["dead"])], inputs)
    assert ops(program) == ["Input", "Input", "Relu"]
    MlirRunner(program).run({"x": X, "unused": np.zeros(4, np.float32)})


def test_an_initializer_among_the_inputs_is_a_constant() -> None:
    program = imported([node("Add", ["x", "c"], ["y"])], [value("x", 2, 3), value("c", 3)], c=np.ones(3, np.float32))
    assert ops(program) == ["Input", "Weight", "Add"]


def test_outputs_left_out_do_not_move_the_others() -> None:
    nodes = [node("TopK", ["x", "k"], ["", "y"]), node("TopK", ["x", "k"], ["z"])]
    program = imported(nodes, outputs=["y", "z"], k=np.array([1]))
    assert program.output_names == ["y_TopK", "z_TopK"]
    results = MlirRunner(program).run({"x": X})
    assert results["y_TopK"].tolist() == [[2], [2]]
    assert results["z_TopK"].tolist() == [[2], [5]]


def test_results_without_a_name_are_internal() -> None:
    program = imported([node("TopK", ["x", "k"], ["", "y"])], k=np.array([1]))
    internal = {value_name(r): internal_of(r) for r in program.ops[-1].results}
    assert internal == {"y_TopK/0": True, "y_TopK": False}
    assert parse_module(print_module(program.module)).is_structurally_equivalent(program.module)


def test_parts_of_a_node_are_internal() -> None:
    nodes = [node("Gemm", ["x", "b", "c"], ["y"], alpha=2.0)]
    program = imported(nodes, [value("x", 2, 3), value("b", 3, 4), value("c", 2, 4)])
    internal = {op.tensor_name: is_internal(op) for op in program.ops if op.name != "top.Weight"}
    assert internal.pop("y_Gemm") is False
    assert [name for name, inside in internal.items() if inside] == ["y_Gemm/product", "y_Gemm/scaled"]


# --- constants


def test_weights_are_stored_under_the_initializers_name() -> None:
    filters = np.ones((4, 3, 1, 1), np.float32)
    nodes = [node("Conv", ["x", "w", "b"], ["a"]), node("Add", ["a", "c"], ["y"])]
    program = imported(nodes, [value("x", 1, 3, 2, 2)], w=filters, b=np.ones(4, np.float32), c=np.float32(2))
    keys = [op.key for op in program.ops if op.name == "top.Weight"]  # type: ignore[attr-defined]
    assert sorted(keys) == ["b", "c", "w_fix"]


def test_a_constant_node_is_stored_as_an_initializer_is() -> None:
    constant = node("Constant", [], ["c"], value=numpy_helper.from_array(np.ones(3, np.float32)))
    program = imported([constant, node("Add", ["x", "c"], ["y"])])
    assert [op.tensor_name for op in program.ops] == ["x", "c", "y_Add"]


def test_what_depends_on_constants_alone_is_folded() -> None:
    nodes = [
        node("Shape", ["x"], ["s"]), node("Gather", ["s", "i"], ["n"]), node("Concat", ["n", "minus"], ["to"], axis=0),
        node("Reshape", ["x", "to"], ["y"]),
    ]  # fmt: skip
    program = imported(nodes, i=np.array([1]), minus=np.array([-1]))
    assert ops(program) == ["Input", "Reshape"]
    assert MlirRunner(program).run({"x": X})["y_Reshape"].shape == (3, 2)


def test_a_large_result_of_small_constants_is_not_folded() -> None:
    nodes = [node("Expand", ["c", "s"], ["big"]), node("ReduceSum", ["big"], ["y"], keepdims=0)]
    program = imported(nodes, c=np.ones(1, np.float32), s=np.array([32 << 20]))
    assert ops(program) == ["Input", "Weight", "Expand", "ReduceSum"]
    assert MlirRunner(program).run({"x": X})["y_ReduceSum"] == 32 << 20


def test_half_precision_constants_stay_half_precision() -> None:
    nodes = [node("Exp", ["c"], ["e"]), node("Cast", ["e"], ["f"], to=FLOAT), node("Add", ["x", "f"], ["y"])]
    program = imported(nodes, c=np.array([1], np.float16))
    assert program.weights["e_Exp"].dtype == np.float16
    assert program.weights["f_Cast"] == np.float32(np.exp(np.float32(1)).astype(np.float16))


def test_quantised_weights_become_float() -> None:
    nodes = [node("DequantizeLinear", ["q", "s", "z"], ["w"], axis=0), node("MatMul", ["x", "w"], ["y"])]
    q = np.array([[1, 2], [3, 4], [5, 6]], np.int8)
    program = imported(nodes, q=q, s=np.array([1, 2, 3], np.float32), z=np.array([0, 1, 2], np.int8))
    expected = X @ np.array([[1, 2], [4, 6], [9, 12]], np.float32)
    np.testing.assert_array_equal(MlirRunner(program).run({"x": X})["y_MatMul"], expected)


# --- the whole


def test_preprocessing_is_stored_in_the_input() -> None:
    attributes = {"x": {"preprocess": True, "mean": [1.0, 2.0, 3.0], "pixel_format": "bgr"}}
    program = import_model(model([node("Relu", ["x"], ["y"])]), "net", attributes)
    assert program.preprocessing["x"]["mean"] == (1.0, 2.0, 3.0)
    assert program.preprocessing["x"]["pixel_format"] == "bgr"


def test_the_same_model_gives_the_same_text() -> None:
    proto = model([node("Add", ["x", "c"], ["a"]), node("Relu", ["a"], ["y"])], c=np.ones(3, np.float32))
    assert print_module(import_model(proto, "net").module) == print_module(import_model(proto, "net").module)


def test_a_program_written_and_read_gives_the_same_numbers(tmp_path: Any) -> None:
    nodes = [
        node("Pad", ["x", "p", "v"], ["a"]),
        node("Split", ["a"], ["b", "c"], axis=1),
        node("Sub", ["b", "c"], ["y"]),
    ]
    program = imported(nodes, p=np.array([0, 0, 0, 1]), v=np.float32(-np.inf))
    program.write(tmp_path / "net.mlir")
    expected, read = MlirRunner(program).run({"x": X}), MlirRunner(read_program(tmp_path / "net.mlir")).run({"x": X})
    np.testing.assert_array_equal(read["y_Sub"], expected["y_Sub"])
    assert expected["y_Sub"][0, 1] == np.inf
