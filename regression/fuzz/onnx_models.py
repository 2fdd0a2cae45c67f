"""ONNX models for the fuzzer: mutated ones, and ones grown from the operators' own schemas."""

from collections.abc import Sequence
from functools import cache
from random import Random
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from fuzz.mutators import floating, integer, mutate_bytes, word
from fuzz.protobuf import mutate_message, protobuf_mutator
from stepdown.formats.onnx.importer import refuse_unsupported
from stepdown.formats.onnx.rules import RULES

_TYPES = (np.float32, np.float32, np.float32, np.int64, np.int32, np.bool_, np.uint8, np.int8, np.float16, np.float64)
_SIZES = (1, 1, 2, 3, 4, 5, 8)
_WORDS = (
    "NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID", "constant", "reflect", "edge", "wrap", "nearest", "linear", "cubic",
    "asymmetric", "half_pixel", "align_corners", "tf_crop_and_resize", "pytorch_half_pixel", "floor", "ceil", "DCR",
    "CRD", "LEFT", "RIGHT", "add", "mul", "max", "none", "sum", "ij,jk->ik", "...i,i...->...", "ii->i", "a->b", "->",
    "stretch", "not_larger", "not_smaller", "FLOAT", "tanh", "forward", "bidirectional",
)  # fmt: skip


@cache
def schemas() -> dict[str, Any]:
    """Return the newest schema of every operator that we import."""
    refuse_unsupported(())
    found = {s.name: s for s in onnx.defs.get_all_schemas() if s.domain == "" and s.name in RULES}
    return dict(sorted(found.items()))


@cache
def names() -> tuple[str, ...]:
    """Return the words of the language: operators and their attributes."""
    attributes = {name for schema in schemas().values() for name in schema.attributes}
    return (*schemas(), *sorted(attributes), *_WORDS)


def mutate_onnx(rng: Random, data: bytes, others: Sequence[bytes] = ()) -> bytes:
    """Change bytes or fields of a model, or add a node to it, or make another one from the schemas."""
    kind = rng.random()
    if kind < 0.1:
        return mutate_bytes(rng, data, others)
    if kind < 0.5:
        return protobuf_mutator(lambda: onnx.ModelProto, *names())(rng, data, others)
    model = grown(rng)
    if kind < 0.65:
        mutate_message(rng, model, model, names())
    return bytes(model.SerializeToString())


def grown(rng: Random) -> onnx.ModelProto:
    """Return a model of one to four nodes with operands and attributes of the right sort, most of them."""
    graph = _Growing(rng)
    for _ in range(rng.choice((1, 1, 2, 3, 4))):
        graph.add(rng.choice(list(schemas().values())))
    opset = rng.choice((7, 9, 10, 11, 13, 13, 17, 18, 19, 20, 21, 23))
    return graph.model(opset)


class _Growing:
    """A graph that nodes are added to."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._graph = onnx.GraphProto(name="g")
        self._tensors: list[str] = []
        for i in range(rng.choice((1, 1, 2))):
            shape = [rng.choice(_SIZES) for _ in range(rng.choice((4, 4, 4, 3, 2, 1, 0, 5)))]
            kind = helper.np_dtype_to_tensor_dtype(np.dtype(rng.choice(_TYPES)))
            self._graph.input.append(helper.make_tensor_value_info(f"x{i}", kind, shape))
            self._tensors.append(f"x{i}")

    def add(self, schema: Any) -> None:
        """Add a node of the operator that `schema` describes."""
        rng, number = self._rng, len(self._graph.node)
        most = min(schema.max_input, schema.min_input + 3, 8)
        count = rng.randint(min(schema.min_input, most), most)
        if schema.inputs and rng.random() < 0.05:
            count = rng.randrange(4)
        reads = [self._operand(i) for i in range(count)]
        writes = [
            f"t{number}_{i}" for i in range(max(schema.min_output, 1 if rng.random() < 0.7 else rng.randrange(4)))
        ]
        node = self._graph.node.add(op_type=schema.name, input=reads, output=writes, name=f"n{number}")
        for name, attribute in schema.attributes.items():
            if attribute.required or rng.random() < 0.35:
                self._set(node, name, attribute)
        self._tensors += writes

    def model(self, opset: int) -> onnx.ModelProto:
        """Return the model, which ends at the tensors that its last node makes."""
        last = self._graph.node[-1]
        self._graph.output.extend(onnx.ValueInfoProto(name=name) for name in last.output)
        return helper.make_model(self._graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)

    def _operand(self, place: int) -> str:
        """Return an earlier tensor, mostly for the first operand, a new constant, or nothing."""
        kind = self._rng.random()
        if kind < (0.85 if place == 0 else 0.3):
            return self._rng.choice(self._tensors)
        return "" if kind > 0.95 else self._constant()

    def _constant(self) -> str:
        rng, name = self._rng, f"c{len(self._graph.initializer)}"
        self._graph.initializer.append(numpy_helper.from_array(constant(rng), name))
        self._tensors.append(name)
        return name

    def _set(self, node: onnx.NodeProto, name: str, described: Any) -> None:
        value = _attribute(self._rng, described.type)
        if value is not None:
            node.attribute.append(helper.make_attribute(name, value))


def constant(rng: Random) -> np.ndarray:
    """Return a small array: shapes, axes and pads, or any other values."""
    if rng.random() < 0.5:
        values = [rng.choice((integer(rng), rng.randrange(-2, 9))) for _ in range(rng.choice((0, 1, 2, 3, 4, 4, 8)))]
        array = np.array([(v + (1 << 63)) % (1 << 64) - (1 << 63) for v in values], np.int64)
        return array if rng.random() < 0.8 else array.astype(rng.choice(_TYPES))
    shape = [rng.choice(_SIZES) for _ in range(rng.choice((4, 3, 2, 1, 1, 0)))]
    with np.errstate(all="ignore"):
        values = np.array([floating(rng) for _ in range(4)])
        return np.resize(values, shape).astype(rng.choice(_TYPES))


def _attribute(rng: Random, kind: Any) -> Any:
    """Return a value for an attribute of the schema's type `kind`, None where we make none."""
    types = onnx.defs.OpSchema.AttrType
    length = rng.choice((1, 1, 2, 2, 4, 4, 3, 8, 0))
    makers = {
        types.INT: lambda: _int64(rng),
        types.INTS: lambda: [_int64(rng) for _ in range(length)] or None,
        types.FLOAT: lambda: floating(rng),
        types.FLOATS: lambda: [floating(rng) for _ in range(length)] or None,
        types.STRING: lambda: word(rng, _WORDS).encode("utf-8", "replace"),
        types.TENSOR: lambda: numpy_helper.from_array(constant(rng), ""),
    }
    wrong = rng.choice(list(makers.values())) if rng.random() < 0.03 else None
    maker = wrong or makers.get(kind)
    return maker() if maker else None


def _int64(rng: Random) -> int:
    value = integer(rng) if rng.random() < 0.4 else rng.randrange(-2, 5)
    return (value + (1 << 63)) % (1 << 64) - (1 << 63)
