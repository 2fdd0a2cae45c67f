"""Convolutions and products with constant matrices, of integers."""

from typing import Any

import numpy as np

from stepdown.dialects.tpu.base import centred
from stepdown.dialects.types import shape_of
from stepdown.native.dots import dot_of
from stepdown.native.kernels.band import Band
from stepdown.native.kernels.base import CHANNELS_LAST, LOGICAL, Buffers, Kernel, kernel
from stepdown.native.kernels.image import Image
from stepdown.native.kernels.mac import MacCode
from stepdown.native.rescaling import Output, Scale
from stepdown.native.tir import Expr, Function, cast, const


class IntegerMac(Kernel):
    """Sums of products with constant weights, rescaled: subclasses say which image they are over."""

    def check(self) -> None:
        """Refuse what is not of integers, or has weights that are not constant."""
        if not all(self.op.params(i) for i in (0, 1)) or self.weights[1] is None:
            raise self.refuse("is not of integers with constant weights")
        self.stored_filter = centred(self.weights[1], self.op.params(1), np.int16)
        self.dot = dot_of(self.machine)
        if not -128 <= self.stored_filter.min() <= self.stored_filter.max() <= 127:
            raise self.refuse("has weights whose zero point takes them beyond 8 bits")
        self.over = self.image().flattened()
        self.input, self.bias = self.op.params(0), self.weights[2]
        self.scale = Scale(self.weights[3], self.weights[4], self.op.rounding, self._bound())  # type: ignore[attr-defined]
        self.output = Output(self.op.result_dtype.__name__, self.op.result_params.zero_point, self.op.bounds())

        self.prepare()

    def prepare(self) -> None:
        """Decide how the work is cut."""
        self._code = MacCode(self.over, self.dot, self._band(), self.machine.scratch_bytes)

    def image(self) -> Image:
        """Return what is summed over."""
        raise NotImplementedError

    def filter(self) -> np.ndarray:
        """Return the weights as [O, C / group, KH, KW]."""
        raise NotImplementedError

    def _band(self) -> Band:
        dot, zero_point = self.dot, self.input.zero_point
        offset = -zero_point if dot.centred else dot.offset(self.input.type)

        def change(x: Expr) -> Expr:
            return cast(dot.operand, cast("int16", x) + const(offset, "int16")) if offset else cast(dot.operand, x)

        return Band(self.over, dot.operand, change, zero_point + offset, 4 * dot.lanes)

    def _bound(self) -> int:
        """Return what no |sum| exceeds."""
        least, most = (bound - self.input.zero_point for bound in self.input.bounds)
        flat = np.abs(self.filter().astype(np.int64)).reshape(self.over.out_channels, -1)
        sums = flat.sum(1) * max(-least, most)
        return int((sums + (0 if self.bias is None else np.abs(self.bias.astype(np.int64)))).max(initial=1))

    def constants(self) -> dict[str, np.ndarray]:
        """Return packed weights, the sums to begin with, and the scales of the channels."""
        channels = self.over.out_channels
        start = np.zeros(channels, np.int64) if self.bias is None else self.bias.astype(np.int64)
        if not self.dot.centred:
            extra = self.input.zero_point + self.dot.offset(self.input.type)
            start = start - extra * self.filter().reshape(channels, -1).sum(1, dtype=np.int64)
        scales = {n: self._code.by_channel(v) for n, v in self.scale.constants(channels).items()}
        weights = self._code.weights(self.filter().astype(np.int8))
        return {"weights": weights, "bias": self._code.by_channel(start.astype(np.int32)), **scales}

    @property
    def scratch(self) -> tuple[str, int]:
        """The copy of rows."""
        return self.dot.operand, self._code.scratch

    def write(self, f: Function, inputs: Any, results: Any, constants: Buffers) -> None:
        """Write the sums."""
        self._code.write(f, inputs[0], results[0], constants, self.scale, self.output)


class Windowed(IntegerMac):
    """A convolution over one or two dimensions."""

    layout = CHANNELS_LAST

    def image(self) -> Image:
        """Return the image; one dimension is a row."""
        (n, c, *size), (_, o, *out) = shape_of(self.op.operands[0]), shape_of(self.op.results[0])
        rank = len(size)
        if rank > 2:
            raise self.refuse("has three spatial dimensions")
        op: Any = self.op

        def pair(values: Any, fill: int) -> tuple[int, int]:
            return (*([fill] * (2 - rank)), *values)

        return Image(
            n, *pair(size, 1), c, *pair(out, 1), o, pair(self.stored_filter.shape[2:], 1), pair(op.strides, 1),
            pair(op.dilations, 1), pair(op.pads[:rank], 0), op.group,
        )  # fmt: skip

    def filter(self) -> np.ndarray:
        """Return the weights as [O, C / group, KH, KW]."""
        w = self.stored_filter
        return w if w.ndim == 4 else w[:, :, None]


@kernel("Conv")
class Convolution(Windowed):
    """Convolution, in groups of several channels."""

    def prepare(self) -> None:
        """Leave convolutions of each channel by itself to `depthwise`."""
        if self.over.group == self.over.channels == self.over.out_channels > 1:
            raise self.refuse("is depthwise")
        super().prepare()


@kernel("MatMul")
class Product(IntegerMac):
    """The product with a constant matrix: every row is a pixel."""

    layout = LOGICAL

    def image(self) -> Image:
        """Return the rows as one row of pixels."""
        shape, w = shape_of(self.op.operands[0]), self.filter()
        if self.stored_filter.ndim != 2:
            raise self.refuse("has a constant side that is no matrix")
        rows = int(np.prod(shape[:-1]))
        return Image(1, 1, rows, shape[-1], 1, rows, len(w))

    def filter(self) -> np.ndarray:
        """Return the matrix as [O, C, 1, 1]."""
        w = self.stored_filter if self.op.right_transpose else self.stored_filter.swapaxes(-1, -2)  # type: ignore[attr-defined]
        return w.reshape(*w.shape[:2], 1, 1)
