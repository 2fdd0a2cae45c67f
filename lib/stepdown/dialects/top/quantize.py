"""Where real numbers become stored integers, and back."""

from typing import Any

import numpy as np

from stepdown.dialects.fields import Int, Str
from stepdown.dialects.op import Arrays, Kind
from stepdown.dialects.top.base import Example, TopOp, top_op
from stepdown.dialects.types import DTYPES, Shape, quant_of, storage_of
from stepdown.numerics import quantize as numbers
from stepdown.numerics.floats import ROUND

BYTES = ("i8", "u8")
STORED = (*BYTES, "i16", "u16", "i32")


class Scaled(TopOp):
    """A map between real numbers and integers by scale and zero point.

    Both are operands: one for the whole tensor, one a channel along `axis`, or one for every `block_size` elements
    along it. They are absent where the type of the integers says them (`!quant.uniform<…>`).

    C1: scale and zero point have one value, one a channel along axis, or one a block
    """

    kind = Kind.FLOAT
    inputs = ("input", "scale?", "zero_point?")
    axis = Int(1)
    block_size = Int(0)

    @staticmethod
    def example(rng: np.random.Generator) -> Example:
        """Return operands by channel for the tests that run over the registry."""
        x = (rng.standard_normal((2, 3, 4)) * 50).astype(np.float32)
        return [x, np.array([0.5, 1, 2], np.float32), np.array([1, 0, -3], np.int8)], {}

    def shapes(self, input: Shape, scale: Shape | None = None, zero_point: Shape | None = None) -> list[Shape]:
        """Return the shape of the operand."""
        for part in (scale, zero_point):
            fits = part is None or part in ((), (1,)) or part == self._parts(input)
            self.require(fits, "C1", f"{part} for {input}, axis {self.axis}, block_size {self.block_size}")
        return [input]

    def _parts(self, input: Shape) -> Shape | None:
        """Return the shape that a scale by channel or by block has, None where the operand has no such axis."""
        if not -len(input) <= self.axis < len(input):
            return None
        size = input[self.axis]
        if not self.block_size:
            return (size,)
        parts = list(input)
        parts[self.axis] = -(-size // self.block_size)
        return tuple(parts)

    def spread(self, part: np.ndarray, like: np.ndarray) -> np.ndarray:
        """Return a scale or zero point shaped to broadcast to `like`."""
        if part.size == 1:
            return part.reshape(())
        if self.block_size:
            return np.repeat(part, self.block_size, self.axis).take(range(like.shape[self.axis]), self.axis)
        shape = [1] * like.ndim
        shape[self.axis] = -1
        return part.reshape(shape)


@top_op
class Quantize(Scaled):
    """saturate(round_half_even(x / scale) + zero_point), stored as `to`. Source: ONNX QuantizeLinear-25."""

    to = Str("i8", choices=STORED)

    def elements(self, count: int) -> list[str]:
        """Return `to`."""
        return [self.to] * count

    def compute(self, input: np.ndarray, scale: Any = None, zero_point: Any = None) -> Arrays:
        """Return the stored integers; NaN becomes the zero point."""
        if scale is None:
            return [numbers.quantize(self._real(input), self._params())]
        limits = np.iinfo(DTYPES[self.to])
        x = np.rint(np.divide(input, self.spread(scale, input), dtype=np.float32)).astype(np.float64)
        x = np.nan_to_num(x, nan=0.0, posinf=np.inf, neginf=-np.inf)
        if zero_point is not None:
            x = x + self.spread(zero_point, input)
        return [np.clip(x, limits.min, limits.max).astype(DTYPES[self.to])]

    def _real(self, input: np.ndarray) -> np.ndarray:
        source = quant_of(self.operands[0])
        return numbers.dequantize(input, source) if source else input

    def _params(self) -> numbers.QuantParams:
        params = quant_of(self.results[0])
        if params is None:
            raise ValueError("neither an operand nor the result's type says the scale")
        return params


@top_op
class Dequantize(Scaled):
    """(q − zero_point) × scale as `to`. Source: ONNX DequantizeLinear-25."""

    to = Str("f32", choices=("f32", "f16"))

    @staticmethod
    def example(rng: np.random.Generator) -> Example:
        """Return operands by block for the tests that run over the registry."""
        q = rng.integers(0, 255, (2, 5)).astype(np.uint8)
        scale, zero_point = rng.uniform(0.5, 2, (2, 3)).astype(np.float32), np.full((2, 3), 128, np.uint8)
        return [q, scale, zero_point], {"block_size": 2}

    def elements(self, count: int) -> list[str]:
        """Return `to`."""
        return [self.to] * count

    def compute(self, input: np.ndarray, scale: Any = None, zero_point: Any = None) -> Arrays:
        """Return the real numbers, rounded once where they are f16."""
        params = quant_of(self.operands[0])
        if scale is None:
            if params is None:
                raise ValueError("neither an operand nor the operand's type says the scale")
            return [ROUND[self.to](numbers.dequantize(input, params))]
        centred = input.astype(np.int64)
        if zero_point is not None:
            centred = centred - self.spread(zero_point, input)
        return [ROUND[self.to](centred.astype(np.float32) * self.spread(scale, input).astype(np.float32))]


@top_op
class Lookup(TopOp):
    """table[q − the least q] of every 8-bit integer q. Sources: TOSA 1.0 TABLE; ONNX Gather from 256 constants.

    C1: the operand holds 8-bit integers, and the table has an entry for each of them
    """

    kind = Kind.FLOAT
    inputs = ("input", "table")

    @staticmethod
    def example(rng: np.random.Generator) -> Example:
        """Return operands for the tests that run over the registry."""
        return [rng.integers(-128, 128, (2, 3)).astype(np.int8), rng.integers(0, 256, 256).astype(np.uint8)], {}

    def shapes(self, input: Shape, table: Shape) -> list[Shape]:
        """Return the shape of the operand."""
        storage = storage_of(self.operands[0])
        self.require(storage in BYTES and table == (256,), "C1", f"{storage}, {table}")
        return [input]

    def elements(self, count: int) -> list[str]:
        """Return the type of the table's entries."""
        return [storage_of(self.operands[1])] * count

    def compute(self, input: np.ndarray, table: np.ndarray) -> Arrays:
        """Look every element up."""
        return [table[input.astype(np.int32) - int(np.iinfo(input.dtype).min)]]
