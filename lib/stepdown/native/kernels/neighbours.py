"""Ops that look at neighbours of an element: channels beside its own, and the blocks that lie over a pixel."""

from collections.abc import Sequence
from contextlib import ExitStack
from math import prod
from typing import Any

from stepdown.native.kernels import functions as of
from stepdown.native.kernels import wide
from stepdown.native.kernels.base import LOGICAL, Buffers, kernel
from stepdown.native.kernels.functions import Let, real
from stepdown.native.kernels.image import cuts
from stepdown.native.kernels.reals import RealKernel, View
from stepdown.native.kernels.spread import shared_one
from stepdown.native.tir import Expr, Function, largest, smallest, tirx

_VECTORS = 2


@kernel("LRN")
class ChannelNorm(RealKernel):
    """x / (bias + alpha / size · Σ x²)^beta, the sum over neighbouring channels; lanes are pixels."""

    layout = LOGICAL

    def write(self, f: Function, inputs: Sequence[Any], results: Sequence[Any], constants: Buffers) -> None:
        """Write the loops over channels and pixels."""
        x, y = self.views(inputs, results)
        batch, channels, *space = self.tensors[0].shape
        pixels = prod(space)
        with f.loop(batch) as n, f.shared(channels) as channel:
            for part in cuts(pixels, _VECTORS * self.machine.lanes):
                with f.loop(part.count) as i:
                    first = n * (channels * pixels) + i * part.width + part.first
                    total = self._sums(f, x, first, channel, part.width)
                    target = first + channel * pixels
                    with f.loop(part.width, "vector") as lane:
                        made = x[target + lane] * self._scale(f.once, total[lane])
                        f.store(y.buffer, target + lane, y.closed(f.once(made)))

    def _sums(self, f: Function, x: View, first: Expr, channel: Expr, width: int) -> Any:
        """Return the sums of the squares of neighbouring channels of some pixels."""
        size: int = self.op.size  # type: ignore[attr-defined]
        _, channels, *space = self.tensors[0].shape
        before, after = (min(n, channels) for n in ((size - 1) // 2, size - 1 - (size - 1) // 2))
        total = f.local("float32", width)
        with f.loop(width, "vector") as lane:
            f.store(total, lane, real(0.0))
        low, high = f.let(largest(channel - before, 0)), f.let(smallest(channel + after + 1, channels))
        with f.between(low, high) as other, f.loop(width, "vector") as lane:
            value = f.once(x[first + other * prod(space) + lane])
            f.store(total, lane, total[lane] + value * value)
        return total

    def _scale(self, let: Let, total: Expr) -> Expr:
        """Return (bias + alpha / size · Σ)^−beta."""
        op: Any = self.op
        base = let(total * real(op.alpha / op.size) + real(op.bias))
        if op.beta == _THREE_QUARTERS:
            root = let(of.sqrt(let, base))
            return real(1.0) / (root * of.sqrt(let, root))
        return wide.power(let, base, real(-op.beta))


_THREE_QUARTERS = 0.75
"""The exponent of AlexNet and GoogLeNet, and ONNX's own; its power is made of two roots."""


@kernel("Col2Im")
class Columns(RealKernel):
    """Each pixel is the sum of the elements of all blocks that lie over it."""

    layout = LOGICAL

    def write(self, f: Function, inputs: Sequence[Any], results: Sequence[Any], constants: Buffers) -> None:
        """Write the loops over pixels and over places in a block."""
        x, y = self.views(inputs, results)
        shape, blocks = self.results[0].shape, self.op.block_shape  # type: ignore[attr-defined]
        with ExitStack() as loops:
            shared = shared_one(shape)
            at = [loops.enter_context(f.shared(n) if i == shared else f.loop(n)) for i, n in enumerate(shape)]
            total = f.local("float32", 1)
            f.store(total, 0, real(0.0))
            with ExitStack() as inner:
                place = [inner.enter_context(f.loop(n)) for n in blocks]
                row: Expr = at[0] * shape[1] + at[1]
                for i, n in zip(place, blocks, strict=True):
                    row = row * n + i
                column, inside = self._column(f, at[2:], place)
                with f.when(inside):
                    f.store(total, 0, total[0] + x[row * self.tensors[0].shape[2] + column])
            f.store(y.buffer, self.results[0].at(*at), y.closed(f.once(total[0])))

    def _column(self, f: Function, pixel: Sequence[Expr], place: Sequence[Expr]) -> tuple[Expr, Expr]:
        """Return which block has a place over a pixel, and whether there is one."""
        column: Expr = 0
        inside: Expr = None
        for window, at, i in zip(self.op.windows(), pixel, place, strict=True):  # type: ignore[attr-defined]
            moved = f.let(at + window.begin - i * window.dilation)
            number = f.let(tirx().truncdiv(moved, window.stride))
            fits = (moved >= 0) & (number * window.stride).equal(moved) & (number < window.count)
            inside = fits if inside is None else inside & fits
            column = column * window.count + number
        return column, inside
