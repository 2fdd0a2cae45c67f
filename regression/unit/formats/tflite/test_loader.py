"""Reading TFLite files: constants of every kind, odd graphs, broken bytes."""

from typing import Any

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from formats.tflite.tflite_models import Op, Tensor, constant, model, reference

from stepdown.errors import InputError, StepError, UnsupportedModel
from stepdown.formats.tflite.importer import import_tflite
from stepdown.formats.tflite.loader import parse_tflite, unique_names
from stepdown.runtimes.mlir import MlirRunner

rng = np.random.default_rng(11)
X = Tensor("x", (2, 6), "float32")


def weights(*shape: int) -> np.ndarray:
    return rng.standard_normal(shape).astype(np.float32)


def product(w: Tensor, *more: Op, name: str = "w") -> bytes:
    """Return y = x × w, w made by `more` where it is not `w` itself."""
    tensors = [X, w, Tensor("y", (2, w.shape[0]), "float32")]
    if more:
        tensors.append(Tensor(name, w.shape, "float32"))
    return model([*more, Op("FULLY_CONNECTED", ["x", name, ""], ["y"])], tensors, ["x"], ["y"])


def both(content: bytes) -> tuple[np.ndarray, np.ndarray]:
    given = {"x": weights(2, 6)}
    program = import_tflite(parse_tflite(content, "case"), "case")
    return MlirRunner(program).run(given)["y"], reference(content, given)["y"]


def rewritten(content: bytes, change: Any) -> bytes:
    """Return a model after `change` was applied to its object tree."""
    tree = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))
    change(tree)
    builder = flatbuffers.Builder(1024)
    builder.Finish(tree.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def test_half_precision_weights_behind_dequantize() -> None:
    stored = Tensor("h", (4, 6), "float16", array=weights(4, 6))
    ours, theirs = both(product(stored, Op("DEQUANTIZE", ["h"], ["w"], version=3)))
    np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6)


def test_quantised_weights_behind_dequantize() -> None:
    stored = Tensor("q", (4, 6), "int8", 0.03, 5, array=rng.integers(-128, 128, (4, 6)))
    ours, theirs = both(product(stored, Op("DEQUANTIZE", ["q"], ["w"], version=2)))
    np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6)


def test_four_bit_constants_are_unpacked() -> None:
    values = rng.integers(-8, 8, (3, 5)).astype(np.int8)
    w = Tensor("w", (3, 5), "int4", 0.1, array=values)
    content = model([Op("DEQUANTIZE", ["w"], ["y"])], [w, Tensor("y", (3, 5), "float32")], [], ["y"])
    read = parse_tflite(content, "case").main.tensors[0]
    assert read.type == "i8"
    np.testing.assert_array_equal(read.array, values)


def sparse(tree: Any, dense: np.ndarray, order: list[int]) -> None:
    """Store tensor 1 of a model, int8[rows, columns], as compressed rows."""
    tensor = tree.subgraphs[0].tensors[1]
    rows, columns = dense.shape
    walked = dense if order == [0, 1] else dense.T
    segments, indices, values = [0], [], []
    for row in walked:
        (at,) = np.nonzero(row)
        indices += at.tolist()
        values.append(row[at])
        segments.append(len(indices))
    made = schema.SparsityParametersT()
    made.traversalOrder, made.blockMap = order, []
    outer, inner = schema.DimensionMetadataT(), schema.DimensionMetadataT()
    outer.format, outer.denseSize = 0, walked.shape[0]
    inner.format = 1
    inner.arraySegmentsType = inner.arrayIndicesType = 3
    inner.arraySegments, inner.arrayIndices = schema.Uint8VectorT(), schema.Uint8VectorT()
    inner.arraySegments.values, inner.arrayIndices.values = segments, indices
    made.dimMetadata = [outer, inner]
    tensor.sparsity = made
    tree.buffers[tensor.buffer].data = list(np.concatenate(values).astype(np.float32).tobytes())
    assert tensor.shape.tolist() == [rows, columns]


@pytest.mark.parametrize("order", [[0, 1], [1, 0]])
def test_sparse_weights_are_made_dense(order: list[int]) -> None:
    dense = weights(4, 6) * (rng.random((4, 6)) < 0.4)
    content = product(Tensor("w", (4, 6), "float32", array=dense))
    read = parse_tflite(rewritten(content, lambda tree: sparse(tree, dense, order)), "case").main.tensors[1]
    np.testing.assert_array_equal(read.array, dense)


def test_densify_takes_a_sparse_constant() -> None:
    dense = weights(4, 6) * (rng.random((4, 6)) < 0.4)
    content = product(Tensor("s", (4, 6), "float32", array=dense), Op("DENSIFY", ["s"], ["w"]))
    content = rewritten(content, lambda tree: sparse(tree, dense, [0, 1]))
    ours, theirs = both(content)
    np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6)


def test_wrong_declared_shapes_are_not_believed() -> None:
    content = product(Tensor("w", (4, 6), "float32", array=weights(4, 6)))

    def lie(tree: Any) -> None:
        tree.subgraphs[0].tensors[2].shape = [7, 7, 7]

    ours, theirs = both(rewritten(content, lie))
    assert ours.shape == (2, 4)
    np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6)


def test_repeated_and_empty_names_are_told_apart() -> None:
    assert unique_names(["a", "b", "a", "", "a", "tensor_3"]) == ["a", "b", "a_2", "tensor_3_3", "a_4", "tensor_3"]


def test_hidden_variables_are_refused_by_name() -> None:
    content = product(Tensor("w", (4, 6), "float32", array=weights(4, 6)))

    def hide(tree: Any) -> None:
        tree.subgraphs[0].tensors[0].isVariable = True
        tree.subgraphs[0].inputs = []

    with pytest.raises(UnsupportedModel, match="hidden state between runs in 'x'"):
        import_tflite(parse_tflite(rewritten(content, hide), "case"), "case")


def test_recurrent_operators_are_refused_with_the_reason() -> None:
    tensors = [Tensor("x", (1, 2, 3), "float32"), Tensor("y", (1, 2, 4), "float32")]
    content = model([Op("UNIDIRECTIONAL_SEQUENCE_LSTM", ["x"], ["y"])], tensors)
    with pytest.raises(UnsupportedModel, match=r"UNIDIRECTIONAL_SEQUENCE_LSTM ×1 \(hidden state\)"):
        import_tflite(parse_tflite(content, "case"), "case")


@pytest.mark.parametrize("scale", [None, [2e-6, 4e-6, 1e-6, 3e-6]])
def test_biases_of_a_16_bit_network_get_their_scale_where_integers_are_dropped(scale: list[float] | None) -> None:
    """They are int64, which no scale of the file is kept for; converters leave it out, too."""
    quantised = Tensor("x", (2, 6), "int16", 1e-4)
    w = Tensor("w", (4, 6), "int8", [0.02, 0.04, 0.01, 0.03], array=rng.integers(-127, 128, (4, 6)))
    b = Tensor("b", (4,), "int64", scale, array=np.array([400_000, -300_000, 200_000, 100_000]))
    content = model(
        [Op("FULLY_CONNECTED", ["x", "w", "b"], ["y"], version=7)],
        [quantised, w, b, Tensor("y", (2, 4), "int16", 1e-3)],
    )
    stored = rng.integers(-9000, 9000, (2, 6)).astype(np.int16)
    program = import_tflite(parse_tflite(content, "case"), "case", requantize=True)
    ours = MlirRunner(program).run({"x": stored.astype(np.float32) * np.float32(1e-4)})["y"]
    np.testing.assert_allclose(ours, reference(content, {"x": stored})["y"] * 1e-3, atol=1.01e-3)


def test_all_unsupported_operators_are_named_at_once() -> None:
    content = product(Tensor("w", (4, 6), "float32", array=weights(4, 6)))

    def customise(tree: Any) -> None:
        code = tree.operatorCodes[0]
        code.builtinCode, code.deprecatedBuiltinCode, code.customCode = 32, 32, "MyOp"
        again = schema.OperatorCodeT()
        again.builtinCode, again.deprecatedBuiltinCode = 109, 109
        tree.operatorCodes.append(again)
        last = schema.OperatorT()
        last.opcodeIndex, last.inputs, last.outputs = 1, [2], [3]
        tree.subgraphs[0].operators.append(last)
        tree.subgraphs[0].tensors.append(schema.TensorT())
        tree.subgraphs[0].outputs = [3]

    with pytest.raises(UnsupportedModel, match=r"CUSTOM MyOp ×1, WHERE ×1 \(its result's size"):
        import_tflite(parse_tflite(rewritten(content, customise), "case"), "case")


def test_a_network_ends_where_it_is_cut() -> None:
    tensors = [X, Tensor("a", (2, 6), "float32"), Tensor("b", (2, 6), "float32")]
    content = model([Op("ABS", ["x"], ["a"]), Op("NEG", ["a"], ["b"])], tensors)
    program = import_tflite(parse_tflite(content, "case"), "case", outputs=["a"])
    assert program.output_names == ["a"]
    with pytest.raises(InputError, match="no operator makes the tensor 'c'"):
        import_tflite(parse_tflite(content, "case"), "case", outputs=["c"])


def test_a_larger_batch_is_asked_for_by_shape() -> None:
    content = model([Op("ABS", ["x"], ["a"])], [X, Tensor("a", (2, 6), "float32")])
    program = import_tflite(parse_tflite(content, "case"), "case", shapes={"x": (5, 6)})
    assert MlirRunner(program).run({"x": weights(5, 6)})["a"].shape == (5, 6)
    with pytest.raises(InputError, match="has 2 dimensions"):
        import_tflite(parse_tflite(content, "case"), "case", shapes={"x": (5, 6, 1)})


def test_constant_outputs_keep_their_names() -> None:
    tensors = [Tensor("x", (2, 3), "float32"), Tensor("s", (2,), "int32")]
    content = model([Op("SHAPE", ["x"], ["s"], {"outType": 2})], tensors)
    found = MlirRunner(import_tflite(parse_tflite(content, "case"), "case")).run({"x": weights(2, 3)})
    assert found["s"].tolist() == [2, 3]


@pytest.mark.parametrize("cut", [0, 4, 8, 100, -40, -1])
def test_truncated_files_are_one_clear_line(cut: int) -> None:
    content = product(Tensor("w", (4, 6), "float32", array=weights(4, 6)))[:cut]
    with pytest.raises(StepError):
        import_tflite(parse_tflite(content, "case.tflite"), "case")


def test_any_flipped_byte_is_read_or_refused() -> None:
    content = product(Tensor("w", (4, 6), "float32", array=weights(4, 6)))
    for position in range(0, len(content), 3):
        broken = bytearray(content)
        broken[position] ^= 1 << (position % 8)
        try:
            import_tflite(parse_tflite(bytes(broken), "case.tflite"), "case")
        except StepError:
            continue


def test_indices_outside_the_tables_are_refused() -> None:
    content = product(constant("w", weights(4, 6), "float32"))

    def point_outside(tree: Any) -> None:
        tree.subgraphs[0].operators[0].inputs = [0, 99, -1]

    with pytest.raises(InputError, match="outside 0…2"):
        parse_tflite(rewritten(content, point_outside), "case.tflite")
