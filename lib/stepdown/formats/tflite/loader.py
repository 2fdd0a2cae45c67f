"""Reading TFLite files: every offset is checked by where it is used, a broken file is one clear line.

The schema is read by the `tflite` package. Source: tensorflow/compiler/mlir/lite/schema/schema.fbs.
"""

import os
import struct
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from stepdown.errors import InputError, StepError, UnsupportedModel
from stepdown.formats.tflite.model import Model, Operator, Subgraph, Tensor
from stepdown.formats.tflite.options import read_options
from stepdown.formats.tflite.sparse import densify, listed
from stepdown.numerics.quantize import RANGES, QuantParams

IDENTIFIER = b"TFL3"
MAX_RANK = 8
"""LiteRT's own limit."""
MAX_ELEMENTS = 1 << 40

# TensorType of the schema → storage name and the numpy type that holds it in the file.
TYPES: dict[int, tuple[str, Any]] = {
    0: ("f32", np.float32), 1: ("f16", np.float16), 2: ("i32", np.int32), 3: ("u8", np.uint8), 4: ("i64", np.int64),
    6: ("i1", np.bool_), 7: ("i16", np.int16), 9: ("i8", np.int8), 10: ("f64", np.float64), 12: ("u64", np.uint64),
    15: ("u32", np.uint32), 16: ("u16", np.uint16),
}  # fmt: skip
INT4 = 17
OTHER_TYPES = {
    5: "strings", 8: "complex numbers", 11: "complex numbers", 13: "resources", 14: "variants", 18: "bfloat16",
}  # fmt: skip
# What following a wrong offset, or decoding what lies there, raises.
_BROKEN = (
    struct.error, IndexError, ValueError, TypeError, OverflowError, KeyError, AttributeError, AssertionError,
    MemoryError,
)  # fmt: skip
T = TypeVar("T")


def load_tflite(path: str | os.PathLike[str]) -> Model:
    """Read a model.

    Raises:
        InputError: no such file, not a TFLite model, truncated or otherwise broken.
        UnsupportedModel: a tensor of a type that no operator of ours has.
    """
    source = Path(path)
    if not source.is_file():
        raise InputError("is a directory" if source.is_dir() else "no such file", str(path), "give a .tflite file")
    return parse_tflite(source.read_bytes(), str(path))


def parse_tflite(raw: bytes, where: str) -> Model:
    """Decode the bytes of a model; see `load_tflite`."""
    if not raw:
        raise InputError("is empty", where, "give a .tflite file")
    if raw[4:8] != IDENTIFIER:
        raise InputError("not a TFLite model (no TFL3 identifier)", where)
    with _broken(where):
        return _Reader(raw, where).model()


def stored_dtypes() -> dict[str, Any]:
    """Return the numpy type of each storage name that a file can hold."""
    return dict(TYPES.values())


def unique_names(names: Sequence[str]) -> list[str]:
    """Return names that differ: an empty one becomes `tensor_<index>`, a repeated one gets `_<index>`."""
    counts = Counter(names)
    made, taken = [], {name for name, count in counts.items() if count == 1}
    for index, name in enumerate(names):
        fresh = name or f"tensor_{index}"
        if not name or (counts[name] > 1 and fresh in taken):
            fresh = next(n for n in _numbered(fresh, index) if n not in taken)
        taken.add(fresh)
        made.append(fresh)
    return made


def _numbered(name: str, index: int) -> Iterator[str]:
    if name == f"tensor_{index}":
        yield name
    while True:
        name = f"{name}_{index}"
        yield name


@contextmanager
def _broken(where: str) -> Iterator[None]:
    try:
        yield
    except StepError:
        raise
    except _BROKEN as error:
        raise InputError(f"broken, or truncated ({str(error) or type(error).__name__})", where) from None


class _Reader:
    """Decodes one file."""

    def __init__(self, raw: bytes, where: str) -> None:
        import tflite

        self.raw, self.where = raw, where
        self.root = tflite.Model.GetRootAs(raw, 0)

    def model(self) -> Model:
        graphs = [self._subgraph(g) for g in self._tables(self.root.SubgraphsLength(), self.root.Subgraphs)]
        if not graphs:
            raise InputError("holds no graph", self.where)
        if not graphs[0].outputs:
            raise InputError("its graph has no outputs", self.where)
        return Model(self.where, self.root.Version(), _text(self.root.Description()), graphs)

    def _tables(self, count: int, get: Callable[[int], T]) -> list[T]:
        """Return a vector of tables; its length is checked against the file's before anything is made."""
        if count * 4 > len(self.raw):
            raise InputError(f"broken: it states {count} entries in {len(self.raw)} bytes", self.where)
        return [get(i) for i in range(count)]

    def _subgraph(self, graph: Any) -> Subgraph:
        tables = self._tables(graph.TensorsLength(), graph.Tensors)
        names = unique_names([_text(t.Name()) for t in tables])
        tensors = [self._tensor(t, n) for t, n in zip(tables, names, strict=True)]
        operators = [self._operator(o, len(tensors)) for o in self._tables(graph.OperatorsLength(), graph.Operators)]
        ends = [_indices(v, len(tensors)) for v in (graph.InputsAsNumpy(), graph.OutputsAsNumpy())]
        return Subgraph(_text(graph.Name()), tensors, operators, *ends)

    # --- operators

    def _operator(self, operator: Any, tensors: int) -> Operator:
        code = self.root.OperatorCodes(_below(operator.OpcodeIndex(), self.root.OperatorCodesLength()))
        number = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
        op_type = _operator_names().get(number, f"operator {number}")
        if op_type == "CUSTOM":
            op_type = f"CUSTOM {_text(code.CustomCode())}"
        inputs = _indices(operator.InputsAsNumpy(), tensors, absent=True)
        outputs = _indices(operator.OutputsAsNumpy(), tensors)
        return Operator(op_type, inputs, outputs, read_options(operator), code.Version())

    # --- tensors

    def _tensor(self, table: Any, name: str) -> Tensor:
        shape = _shape(table.ShapeAsNumpy())
        signature = listed(table.ShapeSignatureAsNumpy())
        kind = table.Type()
        if kind in OTHER_TYPES or (kind not in TYPES and kind != INT4):
            if kind in OTHER_TYPES:
                return Tensor(name, shape, OTHER_TYPES[kind])
            raise InputError(f"tensor '{name}' has the unknown type {kind}", self.where)
        type_name = "i8" if kind == INT4 else TYPES[kind][0]
        array = self._constant(table, name, shape, kind)
        params = _params(table.Quantization(), type_name, shape, f"{self.where}: tensor '{name}'")
        open_axes = tuple(i for i, size in enumerate(signature) if size < 0)
        return Tensor(name, shape, type_name, array, params, open_axes, bool(table.IsVariable()))

    def _constant(self, table: Any, name: str, shape: tuple[int, ...], kind: int) -> np.ndarray | None:
        raw = self._buffer(table.Buffer())
        if raw is None:
            return None
        where = f"{self.where}: tensor '{name}'"
        values = _unpack_int4(raw) if kind == INT4 else _cast(raw, TYPES[kind][1], where)
        if table.Sparsity() is not None:
            return densify(values, shape, table.Sparsity(), where)
        count = int(np.prod(shape, dtype=np.int64))
        if kind == INT4 and len(values) == count + 1:
            values = values[:count]
        if len(values) != count:
            raise InputError(f"holds {len(values)} values, its shape {list(shape)} wants {count}", where)
        return values.reshape(shape)

    def _buffer(self, index: int) -> np.ndarray | None:
        """Return the bytes of a buffer, None where it is empty. Buffer 0 is empty by definition."""
        if index == 0:
            return None
        buffer = self.root.Buffers(_below(index, self.root.BuffersLength()))
        offset, size = buffer.Offset(), buffer.Size()
        if offset > 1:  # data beyond the flatbuffer, for files over 2 GiB
            if offset + size > len(self.raw):
                raise InputError("truncated: a tensor's data lies beyond its end", self.where)
            return np.frombuffer(self.raw, np.uint8, size, offset)
        found = buffer.DataAsNumpy()
        return found if isinstance(found, np.ndarray) and found.size else None


def _params(table: Any, type_name: str, shape: tuple[int, ...], where: str) -> QuantParams | None:
    """Return how a tensor is quantised; None for floats and for tensors without a scale.

    Raises:
        InputError: scales that are no positive numbers, or not one a channel of an axis that the tensor has.
    """
    if table is None or type_name not in RANGES:
        return None
    scales, zero_points = listed(table.ScaleAsNumpy()), listed(table.ZeroPointAsNumpy())
    if not scales or scales == [0.0]:
        return None
    if not all(np.isfinite(s) and s > 0 for s in scales):
        raise InputError("has a scale that is not a positive number", where)
    zero = {int(z) for z in zero_points} or {0}
    if len(zero) > 1:
        raise UnsupportedModel("has a zero point for each channel", where)
    zero_point = zero.pop()
    low, high = RANGES[type_name]
    if not low <= zero_point <= high:
        raise InputError(f"its zero point {zero_point} is outside {type_name}", where)
    if len(scales) == 1:
        return QuantParams(float(np.float32(scales[0])), zero_point, type_name)
    axis = table.QuantizedDimension()
    if not 0 <= axis < len(shape) or len(scales) != shape[axis]:
        raise InputError(f"has {len(scales)} scales along axis {axis}, its shape is {shape}", where)
    return QuantParams(tuple(float(np.float32(s)) for s in scales), zero_point, type_name, axis)


def _shape(raw: Any) -> tuple[int, ...]:
    sizes = listed(raw)
    if len(sizes) > MAX_RANK or any(n < 0 for n in sizes) or float(np.prod(sizes, dtype=np.float64)) > MAX_ELEMENTS:
        raise ValueError(f"a tensor has the shape {sizes[:MAX_RANK]}")
    return tuple(sizes)


def _indices(raw: Any, count: int, absent: bool = False) -> list[int]:
    found = listed(raw)
    if any(not (-1 if absent else 0) <= i < count for i in found):
        raise ValueError(f"a tensor index is outside 0…{count - 1}")
    return found


def _below(index: int, count: int) -> int:
    if index >= count:
        raise ValueError(f"index {index} of a table of {count}")
    return index


def _cast(raw: np.ndarray, dtype: Any, where: str) -> np.ndarray:
    size = np.dtype(dtype).itemsize
    if raw.size % size:
        raise InputError(f"holds {raw.size} bytes, no multiple of {size}", where)
    return np.frombuffer(raw.tobytes(), dtype)


def _unpack_int4(raw: np.ndarray) -> np.ndarray:
    """Return the signed halves of each byte, the low one first."""
    signed = raw.view(np.int8)
    return np.stack([np.left_shift(signed, 4) >> 4, signed >> 4], axis=-1).reshape(-1)


def _text(raw: bytes | None) -> str:
    return raw.decode("utf-8", "replace") if raw else ""


@cache
def _operator_names() -> dict[int, str]:
    import tflite

    return {number: name for name, number in vars(tflite.BuiltinOperator).items() if isinstance(number, int)}
