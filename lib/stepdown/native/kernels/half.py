"""Ops of f16 and bf16: computed in float64 and rounded once, as the reference does.

A sum of products is one of float64, in which products are exact. Rounded, it is the rounded exact sum unless that lies
so near to the middle of two neighbours that the error of the sum, some 2⁻⁵⁰ of it, decides.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from stepdown.dialects.types import storage_of
from stepdown.native.dots import Plain
from stepdown.native.halves import HALVES, rounded, stored, widened
from stepdown.native.kernels.band import Band
from stepdown.native.kernels.base import Buffers, kernel
from stepdown.native.kernels.conv import Mac, OverRows, OverSpread, OverWindows, activated
from stepdown.native.kernels.depthwise import DepthwiseCode
from stepdown.native.kernels.direct import Direct
from stepdown.native.machine import Machine
from stepdown.native.tir import Expr, Function, cast

WIDE = "float64"


def wide_lanes(machine: Machine) -> int:
    """Return how many float64 a vector register holds."""
    return max(1, machine.lanes // 2)


@dataclass(frozen=True)
class HalfDot(Plain):
    """Products of f32 operands and 16-bit weights, exact in float64; a multiply-add has the same bits."""

    operand: str = "float32"
    sums: str = WIDE
    kind: str = "f16"

    def weights(self, f: Function, buffer: Any, index: Expr) -> Any:
        """Return where the weights are as float64: they are made wide once for all positions."""
        wide = f.local(WIDE, self.lanes)
        with f.loop(self.lanes, "vector") as lane:
            f.store(wide, lane, cast(WIDE, widened(buffer[index + lane], self.kind)))
        return wide, 0


class HalfMac(Mac):
    """Sums of products of f16 or bf16, in float64."""

    def check(self) -> None:
        """Refuse other types, and weights that are not constant."""
        super().check()
        self.kind = storage_of(self.op.operands[0])
        kinds = {self.kind, storage_of(self.op.operands[1]), storage_of(self.op.results[0])}
        if self.kind not in HALVES or len(kinds) > 1 or self.weights[1] is None:
            raise self.refuse("is not of f16 or bf16 with constant weights")
        self.dot = HalfDot(wide_lanes(self.machine), kind=self.kind)
        self.stored_filter, self.bias = self.weights[1].astype(np.float32), self.weights[2]
        self.prepare()

    def opened(self, value: Expr) -> Expr:
        """Return an operand as float32."""
        return widened(value, self.kind)

    def band(self) -> Band:
        """Return a copy in float32."""
        return Band(self.over, "float32", self.opened, 0, 4 * self.dot.lanes)

    def constants(self) -> dict[str, np.ndarray]:
        """Return packed weights and the bias."""
        start = np.zeros(self.over.out_channels) if self.bias is None else self.bias
        weights = self.code.weights(stored(self.filter(), self.kind))
        return {"weights": weights, "bias": self.code.by_channel(start.astype(np.float64))}

    def finish(self, total: Expr, channel: Expr, constants: Buffers) -> Expr:
        """Return the sum after the fused ReLU, rounded."""
        return rounded(activated(self.op, total, WIDE), self.kind)


@kernel("Conv")
class HalfConvolution(OverWindows, HalfMac):
    """Convolution in groups of several channels."""

    def prepare(self) -> None:
        """Leave convolutions of each channel by itself to the next kernel."""
        if self.is_depthwise:
            raise self.refuse("is depthwise")
        super().prepare()


@kernel("Conv")
class HalfDepthwise(DepthwiseCode, HalfMac):
    """Convolution of each channel by itself."""

    def constants(self) -> dict[str, np.ndarray]:
        """Return weights and bias, channels filled up to whole vectors."""
        return {"weights": self._packed_weights(np.float32), "bias": self._packed_bias(np.float64)}


@kernel("ConvTranspose")
class HalfTransposed(OverSpread, HalfMac):
    """Transposed convolution."""


@kernel("MatMul")
class HalfProduct(OverRows, HalfMac):
    """A product with a constant matrix."""


@kernel("Conv")
class HalfDirectConvolution(Direct, OverWindows, HalfMac):
    """Convolution that copies nothing."""


@kernel("MatMul")
class HalfDirectProduct(Direct, OverRows, HalfMac):
    """A product with a constant matrix that copies nothing."""
