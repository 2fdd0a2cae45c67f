"""What the instructions of the compute engine share. All their operands lie in local memory."""

# ruff: noqa: RUF009  # defaults are declarations of fields, made once

import math
from dataclasses import dataclass

from stepdown.npu.isa.command import Command
from stepdown.npu.isa.fields import number, part
from stepdown.npu.isa.tensor import Four, Tensor

INTEGERS = ("i8", "u8", "i16", "u16", "i32")
LIMITS = {"i8": (-128, 127), "u8": (0, 255), "i16": (-32768, 32767), "u16": (0, 65535), "i32": (-(2**31), 2**31 - 1)}
RECORD_BYTES = {"none": 0, "bias": 4, "fixed": 12, "real": 12}
"""Bytes of the record of a channel by its sort."""
ROUNDINGS = ("single", "double", "float")
"""How integers are rescaled: by multiplier / 2^shift (numerics.rescale), or by a float32 (numerics.float_scale)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ComputeCommand(Command):
    """What the commands of the compute engine share: the bounds of the result.

    B1: low ≤ high; where the output holds integers, they are integers of its type, or infinite
    """

    output: Tensor = part("the result")
    low: float = number("f64", "in units of the output", "no result is below", -math.inf)
    high: float = number("f64", "in units of the output", "no result is above", math.inf)

    def check(self) -> None:
        """Check the constraints of tensors and bounds."""
        super(ComputeCommand, self).check()
        good = self.low <= self.high and self.low < math.inf and self.high > -math.inf
        if not self.output.is_float:
            least, most = LIMITS[self.output.type]
            good = good and all(math.isinf(b) or (b == int(b) and least <= b <= most) for b in (self.low, self.high))
        self.require(good, f"the bounds are {self.low:g} to {self.high:g} (B1: in order, of the output's type)")

    def bounds(self) -> tuple[int, int]:
        """Return the bounds of an integer result: those of its type where none are given."""
        least, most = LIMITS[self.output.type]
        return int(max(self.low, least)), int(min(self.high, most))

    def same(self, sizes: str, *others: Tensor) -> None:
        """Require tensors to agree with the output in some of the sizes n, c, h, w, and in their lane."""
        for other in others:
            for name in sizes:
                at = "nchw".index(name)
                agree = other.shape[at] == self.output.shape[at]
                self.require(agree, f"sizes {name} {other.shape[at]} and {self.output.shape[at]} differ (O1)")
            self.require(other.lane == self.output.lane, f"lanes {other.lane} and {self.output.lane} differ (O1)")


@dataclass(frozen=True, kw_only=True, slots=True)
class Windowed(ComputeCommand):
    """What slides a window over h and w.

    W1: kernel, strides and dilations are at least 1, and a pad is less than the span of the kernel
    """

    input: Tensor = part("the tensor under the window")
    input_zero: int = number("i32", "stored", "the zero point of the input", 0)
    output_zero: int = number("i32", "stored", "the zero point of the output", 0)
    kernel: tuple[int, int] = number("u16", "elements", "height and width", count=2)
    window_strides: tuple[int, int] = number("u16", "elements", "steps of the window over h and w", (1, 1), count=2)
    dilations: tuple[int, int] = number("u16", "elements", "distances between elements of the kernel", (1, 1), count=2)
    pads: Four = number("i16", "elements", "zeros around the input: top, left, bottom, right", (0, 0, 0, 0), count=4)

    def check_window(self) -> None:
        """Check W1."""
        least = min(*self.kernel, *self.window_strides, *self.dilations)
        self.require(least >= 1, "a size of the window is 0 (W1)")
        spans = self.spans()
        good = all(pad < span for pad, span in zip(self.pads, (*spans, *spans), strict=True))
        self.require(good, f"pads {list(self.pads)} around a window of {list(spans)} (W1)")

    def spans(self) -> list[int]:
        """Return the height and width that the dilated kernel covers."""
        return [d * (k - 1) + 1 for k, d in zip(self.kernel, self.dilations, strict=True)]


def channel_records(output: Tensor, record: str, address: int) -> Tensor:
    """Return the records of the channels of `output` as a tensor of words, [1, C, 1, words]."""
    size, word_type = RECORD_BYTES[record], "f32" if output.is_float else "i32"
    shape, strides = (1, output.shape[1], 1, size // 4), (size, size, size, 4)
    return Tensor(space="local", type=word_type, lane=output.lane, address=address, shape=shape, strides=strides)


def replicated(type: str, output: Tensor, address: int, length: int) -> Tensor:
    """Return what lies at one address in every lane of `output`, [1, C, 1, length] words."""
    shape = (1, output.shape[1], 1, length)
    return Tensor(space="local", type=type, lane=output.lane, address=address, shape=shape, strides=(0, 0, 0, 4))
