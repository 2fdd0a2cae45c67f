"""Change of the element type."""

import numpy as np

from stepdown.dialects.fields import Str
from stepdown.dialects.op import Arrays, Kind
from stepdown.dialects.top.base import Example, TopOp, top_op
from stepdown.dialects.types import DTYPES, FLOATS, Shape
from stepdown.numerics.floats import ROUND


@top_op
class Cast(TopOp):
    """The operand in the storage type `to`. Source: ONNX Cast.

    Floats become integers by cutting off the fraction; what does not fit becomes the nearest integer that does and
    NaN becomes 0, on every machine (ONNX leaves both open). Integers keep their low bits. Only 0 becomes false.
    """

    kind = Kind.FLOAT
    to = Str(choices=tuple(DTYPES))

    @staticmethod
    def example(rng: np.random.Generator) -> Example:
        """Return operands and attributes for the tests."""
        return [rng.normal(size=(2, 3)) * 100], {"to": "i8"}

    def shapes(self, input: Shape) -> list[Shape]:
        """Return the shape of the operand."""
        return [input]

    def elements(self, count: int) -> list[str]:
        """Return `to`."""
        return [self.to] * count

    def compute(self, input: np.ndarray) -> Arrays:
        """Return the converted operand; 16-bit floats are held as float32."""
        if self.to in ROUND and self.to != "f32":
            wide = input if input.dtype == np.float64 else input.astype(np.float32)
            return [ROUND[self.to](wide)]
        if self.to in FLOATS or self.to == "i1" or input.dtype.kind != "f":
            return [input.astype(DTYPES[self.to])]
        return [_to_integer(input, DTYPES[self.to])]


def _to_integer(x: np.ndarray, wanted: np.dtype) -> np.ndarray:
    """Return floats cut off to integers, saturated; NaN becomes 0."""
    limits = np.iinfo(wanted)
    whole = np.trunc(np.nan_to_num(x.astype(np.float64), nan=0.0, posinf=np.inf, neginf=-np.inf))
    low, high = whole <= float(limits.min), whole >= float(limits.max)
    inside = np.where(low | high, 0.0, whole).astype(wanted)
    return np.where(low, limits.min, np.where(high, limits.max, inside)).astype(wanted)


_BITS = {name: 8 * dtype.itemsize for name, dtype in DTYPES.items() if name != "bf16"} | {"f16": 16}


@top_op
class BitCast(TopOp):
    """The bits of the operand as a `source` read as a `to`. Source: ONNX BitCast.

    C1: source and to have as many bits
    """

    kind = Kind.FLOAT
    source = Str(choices=tuple(_BITS))
    to = Str(choices=tuple(_BITS))

    @staticmethod
    def example(rng: np.random.Generator) -> Example:
        """Return operands and attributes for the tests."""
        return [rng.normal(size=(2, 3))], {"source": "f32", "to": "i32"}

    def shapes(self, input: Shape) -> list[Shape]:
        """Return the shape of the operand."""
        self.require(_BITS[self.source] == _BITS[self.to], "C1", f"{self.source} to {self.to}")
        return [input]

    def elements(self, count: int) -> list[str]:
        """Return `to`."""
        return [self.to] * count

    def compute(self, input: np.ndarray) -> Arrays:
        """Return the bits; 16-bit floats are held as float32."""
        stored = np.ascontiguousarray(input.astype(_stored(self.source)))
        return [stored.view(_stored(self.to)).astype(DTYPES[self.to]).reshape(input.shape)]


def _stored(name: str) -> np.dtype:
    return np.dtype(np.float16) if name == "f16" else DTYPES[name]
