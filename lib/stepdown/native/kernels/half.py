"""Sums of products of f16 and bf16: computed wide and rounded once.

In float32, where products are exact, the error of a sum of K products is at most K·2⁻²⁴ of the sum of their magnitudes;
those of 3 × 3 by tiles err as those of f32. In float64, the rounded sum is the rounded exact one, as the reference's,
unless that lies so near to the middle of two neighbours that the error of the sum, some 2⁻⁵⁰ of it, decides.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from stepdown.dialects.types import storage_of
from stepdown.native.dots import Dot, Plain
from stepdown.native.halves import HALVES, Half, half_of, stored
from stepdown.native.kernels.band import Band
from stepdown.native.kernels.base import Buffers, kernel
from stepdown.native.kernels.conv import Mac, activated
from stepdown.native.kernels.depthwise import DepthwiseCode
from stepdown.native.kernels.direct import Direct
from stepdown.native.kernels.windows import OverRows, OverSpread, OverWindows
from stepdown.native.kernels.winograd import WinogradCode
from stepdown.native.machine import Machine
from stepdown.native.tir import BF16_PAIRS, Expr, Function, bits, repeat, span, standing

_F16 = Half("f16")


@dataclass(frozen=True)
class HalfDot(Plain):
    """Products of f32 operands and 16-bit weights, exact in the wide type; a multiply-add has the same bits."""

    operand: str = "float32"
    half: Half = _F16

    @property
    def text(self) -> str:
        """What it is, with what its weights are stored as and made."""
        return f"{super().text} {self.half.kind} {self.sums}"

    def weights(self, f: Function, buffer: Any, index: Expr) -> Any:
        """Return where the weights are in the wide type: they are made wide once for all positions."""
        wide = f.local(self.sums, self.lanes)
        with f.loop(self.lanes, "vector") as lane:
            f.store(wide, lane, self.half.opened(buffer[index + lane]))
        return wide, 0


@dataclass(frozen=True)
class Bf16Pairs(Dot):
    """Two products of bf16 a lane: vdpbf16ps. It takes subnormal numbers for 0, and gives none."""

    lanes: int = 16
    group: int = 2
    operand: str = "uint16"
    sums: str = "float32"

    def weights(self, f: Function, buffer: Any, index: Expr) -> Any:
        """Return the pairs of weights of all lanes."""
        return f.let(bits(f"int32x{self.lanes}", buffer[span(index, self.group * self.lanes)]))

    def operands(self, f: Function, buffer: Any, index: Expr) -> Expr:
        """Return a pair of operands in all lanes."""
        return f.let(repeat(bits("int32", buffer[span(index, self.group)]), self.lanes))

    def add(self, f: Function, sums: Any, at: Expr, operands: Expr, weights: Any) -> None:
        """Add both products in each lane, the second one first."""
        place = span(at, self.lanes)
        f.store(sums, place, standing(f"float32x{self.lanes}", BF16_PAIRS, sums[place], operands, weights))


def bf16_pairs(machine: Machine) -> Dot | None:
    """Return the step of a machine for pairs of bf16; None where it has none."""
    return Bf16Pairs() if machine.has_bf16_pairs else None


class HalfMac(Mac):
    """Sums of products of f16 or bf16."""

    def check(self) -> None:
        """Refuse other types, and weights that are not constant."""
        super().check()
        self.kind = storage_of(self.op.operands[0])
        kinds = {self.kind, storage_of(self.op.operands[1]), storage_of(self.op.results[0])}
        if self.kind not in HALVES or len(kinds) > 1 or self.weights[1] is None:
            raise self.is_not_of("f16 or bf16 with constant weights")
        self.half = half_of(self.kind, self.machine)
        lanes = self.machine.lanes if self.half.wide == "float32" else max(1, self.machine.lanes // 2)
        self.dot = HalfDot(lanes, sums=self.half.wide, half=self.half)
        self.stored_filter, self.bias = self.weights[1].astype(np.float32), self.weights[2]
        self.prepare()

    def opened(self, value: Expr) -> Expr:
        """Return an operand as float32."""
        return self.half.real(value)

    def prepare(self) -> None:
        """Decide how the work is cut; pairs of products only where there is no half of one, which might be NaN."""
        if self.kind == "bf16" and self.image().flattened().run % 2 == 0:
            self.dot = bf16_pairs(self.machine) or self.dot
        super().prepare()

    def band(self) -> Band:
        """Return a copy in the type that is multiplied."""
        if self.dot.operand == "float32":
            return Band(self.over, "float32", self.opened, 0, 4 * self.dot.lanes)
        return Band(self.over, self.dot.operand, lambda x: x, 0, 4 * self.dot.lanes, as_it_is=True)

    def constants(self) -> dict[str, np.ndarray]:
        """Return packed weights and the bias."""
        weights = self.code.weights(stored(self.filter(), self.kind))
        return {"weights": weights, "bias": self.code.by_channel(self.first_sums().astype(self.half.wide))}

    def finish(self, total: Expr, channel: Expr, constants: Buffers) -> Expr:
        """Return the sum after the fused ReLU, rounded."""
        return self.half.closed(activated(self.op, total, self.half.wide))


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
        return {"weights": self._packed_weights(np.float32), "bias": self._packed_bias(np.dtype(self.half.wide).type)}


@kernel("Conv", first=True)
class HalfWinograd(WinogradCode, HalfMac):
    """Convolution of 3 × 3 by tiles, in float32."""

    def prepare(self) -> None:
        """Refuse sums in float64, which are to be exact, and pairs of products, which are as fast."""
        if self.half.wide != "float32" or (self.kind == "bf16" and bf16_pairs(self.machine)):
            raise self.refuse("is not summed in float32 product by product")
        super().prepare()

    def constants(self) -> dict[str, np.ndarray]:
        """Return weights and bias."""
        return {"weights": stored(self.packed_weights(), self.kind), "bias": self.packed_bias()}

    def opened_weight(self, value: Expr) -> Expr:
        """Return a stored weight as float32."""
        return self.half.real(value)


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
