"""Convolutions and products with constant matrices, of integers and of f32."""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from stepdown.dialects.tpu.base import centred
from stepdown.dialects.types import quant_of, storage_of
from stepdown.native.dots import Dot, dot_of, float_dot
from stepdown.native.effort import FROM_BLOCKS
from stepdown.native.kernels.band import Band
from stepdown.native.kernels.base import Buffers, Choice, Kernel, kernel
from stepdown.native.kernels.image import Image
from stepdown.native.kernels.joined import OTHER, Joined
from stepdown.native.kernels.mac import MacCode
from stepdown.native.kernels.results import Run, is_vectorised, store_scaled
from stepdown.native.kernels.windows import OverRows, OverSpread, OverWindows
from stepdown.native.pairs import packs
from stepdown.native.rescaling import Output, Scale
from stepdown.native.tir import Expr, Function, cast, clamp, const, largest

_REGISTERS_OF_BOTH = 32
"""Of a processor that adds integers beside sums: with 16, as of AVX2, compilers spill sums, and a network of residual
blocks took 1 to 6 % longer than with additions by themselves."""


class Mac(Kernel):
    """Sums of products with constant weights: a subclass says of what image, and of which numbers."""

    copies_rows: ClassVar[bool] = True
    dot: Dot
    stored_filter: np.ndarray
    """The weights as the op has them, without their zero point."""
    bias: np.ndarray | None
    joined: Joined | None = None
    """What is made of each result before it is stored; else the result is."""

    def check(self) -> None:
        """Refuse a processor without memory to copy rows to; `direct` is for those."""
        if self.copies_rows and not self.machine.scratch_bytes:
            raise self.refuse("copies rows, and its chip has no memory for that")

    def image(self) -> Image:
        """Return what is summed over."""
        raise NotImplementedError

    def filter(self) -> np.ndarray:
        """Return the weights as [O, C / group, KH, KW]."""
        raise NotImplementedError

    def band(self) -> Band:
        """Return how rows of the image are copied."""
        raise NotImplementedError

    def opened(self, value: Expr) -> Expr:
        """Return an operand as a number that code can compute with."""
        return value

    def finish(self, total: Expr, channel: Expr, constants: Buffers) -> Expr:
        """Return what is stored of a sum."""
        raise NotImplementedError

    def stored(self, made: Expr, target: Expr, constants: Buffers) -> Expr:
        """Return what is stored at `target` where `made` is the op's result."""
        return self.joined.element(made, target, constants) if self.joined else made

    def store(self, f: Function, sums: Any, y: Any, runs: Sequence[Run], width: int, constants: Buffers) -> None:
        """Store what is made of runs of `width` sums each."""
        for run in runs:
            with f.loop(width, "vector") as lane:
                made = self.finish(sums[run.source + lane], run.channel + lane, constants)
                f.store(y, run.target + lane, self.stored(made, run.target + lane, constants))

    def first_sums(self) -> np.ndarray:
        """Return what the sum of each channel begins with: the bias, or zeros."""
        return np.zeros(self.over.out_channels) if self.bias is None else self.bias

    def unpacked(self, weights: np.ndarray) -> dict[str, np.ndarray]:
        """Return weights as they lie, the sums to begin with and the scales of channels: for loops without blocks."""
        dtype, scale = self.dot.sums, getattr(self, "scale", None)
        return {
            "weights": weights.astype(np.int8 if dtype == "int32" else np.float32).ravel(),
            "bias": self.first_sums().astype(dtype),
            **(scale.constants(self.over.out_channels) if scale else {}),
        }

    @property
    def has_room(self) -> bool:
        """Whether what is joined leaves the sums in registers."""
        return True

    def join(self, joined: Joined) -> None:
        """Make an op of each result: its other operand is one of the inputs from now on, unless it is overwritten."""
        self.joined, self.results = joined, [joined.result]
        self.tensors = [self.tensors[0], *([] if joined.in_place else [joined.other])]

    def begin(self, f: Function) -> None:
        """Note the function that is going to be written, for the joined op, too."""
        if self.joined:
            self.joined.kernel.begin(f)

    def beside(self, inputs: Sequence[Any], results: Sequence[Any]) -> dict[str, Any]:
        """Return the other operand of the joined op."""
        if not self.joined:
            return {}
        return {OTHER: results[0] if self.joined.in_place else inputs[1]}

    def prepare(self) -> None:
        """Decide how the work is cut."""
        self.over = self.image().flattened()
        self.code = MacCode(self.over, self.dot, self.band(), self.machine)

    def choice(self) -> Choice | None:
        """Return the ways to cut the work."""
        return self.code.choice

    @property
    def scratch(self) -> tuple[str, int] | None:
        """The copy of rows, where there is one."""
        return (self.dot.operand, self.code.scratch) if self.code.copies else None

    def write(self, f: Function, inputs: Sequence[Any], results: Sequence[Any], constants: Buffers) -> None:
        """Write the sums."""
        self.code.write(f, inputs[0], results[0], constants, self.store)


class IntegerMac(Mac):
    """Exact sums of integers, rescaled."""

    packs_two: ClassVar[bool] = True
    """Whether two vectors of results are packed together: where the scales of channels stay the same for many."""

    def check(self) -> None:
        """Refuse what is not of integers, or has weights that are not constant."""
        super().check()
        op: Any = self.op
        if not all(map(quant_of, op.operands[:2])) or self.weights[1] is None:
            raise self.is_not_of("integers with constant weights")
        self.dot = dot_of(self.machine)
        self.input, self.bias = op.params(0), self.weights[2]
        self.stored_filter = centred(self.weights[1], op.params(1), np.int16)
        if not -128 <= self.stored_filter.min() <= self.stored_filter.max() <= 127:
            raise self.refuse("has weights whose zero point takes them beyond 8 bits")
        self.prepare()
        self.scale = Scale(self.weights[3], self.weights[4], op.rounding, self._bound())
        self.output = Output(op.result_dtype.__name__, op.result_params.zero_point, op.bounds())
        if self.packs_two and is_vectorised(self.scale, self.machine) and packs(self.machine.lanes, self.output.dtype):
            least, most = (bound - self.output.zero_point for bound in self.output.bounds)
            self.scale.narrow(least, most, self._reached())

    def band(self) -> Band:
        """Return a copy in the type of the dot product."""
        dot, zero_point = self.dot, self.input.zero_point
        offset = -zero_point if dot.centred else dot.offset(self.input.type)

        def change(x: Expr) -> Expr:
            return cast(dot.operand, cast("int16", x) + const(offset, "int16")) if offset else cast(dot.operand, x)

        return Band(self.over, dot.operand, change, zero_point + offset, 4 * dot.lanes)

    def _bound(self) -> int:
        """Return what no |sum| exceeds."""
        least, most = self._reached()
        return int(np.maximum(-least, most).max(initial=1))

    def _reached(self) -> tuple[np.ndarray, np.ndarray]:
        """Return bounds of the sums of each channel."""
        least, most = (bound - self.input.zero_point for bound in self.input.bounds)
        flat = np.abs(self.filter().astype(np.int64)).reshape(self.over.out_channels, -1)
        reach, first = flat.sum(1) * max(-least, most), self.first_sums().astype(np.int64)
        return first - reach, first + reach

    def constants(self) -> dict[str, np.ndarray]:
        """Return packed weights, the sums to begin with, and the scales of the channels."""
        scales = {n: self.code.by_channel(v) for n, v in self.scale.constants(self.over.out_channels).items()}
        weights = self.code.weights(self.filter().astype(np.int8))
        start = self.first_sums() if self.dot.centred else self.compensated_sums()
        return {"weights": weights, "bias": self.code.by_channel(start.astype(np.int32)), **scales}

    def compensated_sums(self) -> np.ndarray:
        """Return the first sums less what the zero point and the offset of stored operands add to each."""
        extra = self.input.zero_point + self.dot.offset(self.input.type)
        sums = self.filter().reshape(self.over.out_channels, -1).sum(1, dtype=np.int64)
        return np.asarray(self.first_sums().astype(np.int64) - extra * sums)

    @property
    def has_room(self) -> bool:
        """Whether registers hold the constants of both scales beside the sums; sums that copy nothing are few."""
        machine = self.machine
        return not self.copies_rows or machine.is_c or machine.lanes == 1 or machine.registers >= _REGISTERS_OF_BOTH

    def finish(self, total: Expr, channel: Expr, constants: Buffers) -> Expr:
        """Return the rescaled sum."""
        return self.output.stored(self.scale.apply(total, self.scale.values(constants, channel)), self.scale.wide)

    def store(self, f: Function, sums: Any, y: Any, runs: Sequence[Run], width: int, constants: Buffers) -> None:
        """Store rescaled sums."""
        if is_vectorised(self.scale, self.machine):
            store_scaled(f, self.scale, self.output, self.machine.lanes, sums, y, runs, width, constants, self.joined)
        else:
            super().store(f, sums, y, runs, width, constants)


class FloatMac(Mac):
    """Sums of f32, in an order of our own, with or without rounding of each product."""

    def check(self) -> None:
        """Refuse what is not of f32, or has weights that are not constant."""
        super().check()
        if storage_of(self.op.operands[0]) != "f32" or self.weights[1] is None:
            raise self.is_not_of("f32 with constant weights")
        self.dot = float_dot(self.machine)
        self.stored_filter, self.bias = self.weights[1].astype(np.float32), self.weights[2]
        self.prepare()

    def band(self) -> Band:
        """Return a plain copy."""
        return Band(self.over, "float32", lambda x: x, 0, 4 * self.dot.lanes, as_it_is=True)

    def constants(self) -> dict[str, np.ndarray]:
        """Return packed weights and the bias."""
        weights = self.code.weights(self.filter())
        return {"weights": weights, "bias": self.code.by_channel(self.first_sums().astype(np.float32))}

    def finish(self, total: Expr, channel: Expr, constants: Buffers) -> Expr:
        """Return the sum after the fused ReLU."""
        return activated(self.op, total)


def activated(op: Any, value: Expr, dtype: str = "float32") -> Expr:
    """Return a real result after the ReLU that is fused into its op."""
    if not getattr(op, "do_relu", False):
        return value
    if op.relu_limit >= 0:
        return clamp(value, 0.0, op.relu_limit, dtype)
    return largest(value, const(0.0, dtype))


@kernel("Conv")
class Convolution(OverWindows, IntegerMac):
    """Convolution of integers, in groups of several channels."""

    levels = FROM_BLOCKS

    def prepare(self) -> None:
        """Leave convolutions of each channel by itself to `depthwise`."""
        if self.is_depthwise:
            raise self.refuse("is depthwise")
        super().prepare()


@kernel("Conv")
class FloatConvolution(OverWindows, FloatMac):
    """Convolution of f32, in groups of several channels."""

    levels = FROM_BLOCKS

    def prepare(self) -> None:
        """Leave convolutions of each channel by itself to `depthwise`."""
        if self.is_depthwise:
            raise self.refuse("is depthwise")
        super().prepare()


@kernel("ConvTranspose")
class Transposed(OverSpread, IntegerMac):
    """Transposed convolution of integers."""


@kernel("ConvTranspose")
class FloatTransposed(OverSpread, FloatMac):
    """Transposed convolution of f32."""


@kernel("MatMul")
class Product(OverRows, IntegerMac):
    """A product of integers."""

    levels = FROM_BLOCKS


@kernel("MatMul")
class FloatProduct(OverRows, FloatMac):
    """A product of f32."""

    levels = FROM_BLOCKS
