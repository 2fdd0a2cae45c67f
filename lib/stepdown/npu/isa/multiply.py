"""The instructions that sum products."""

# ruff: noqa: RUF009  # defaults are declarations of fields, made once

import math
from dataclasses import dataclass

from stepdown.npu.isa.command import COMPUTE, instruction
from stepdown.npu.isa.compute import LIMITS, RECORD_BYTES, ROUNDINGS, Windowed, channel_records
from stepdown.npu.isa.fields import flag, number, part, word
from stepdown.npu.isa.tensor import Tensor

MAX_WIDENED = 1 << 28


@dataclass(frozen=True, kw_only=True, slots=True)
class Multiply(Windowed):
    """What sums products; see Conv.

    M1: integers are i8 or u8 and give integers; floating types are all the same
    M2: the output is covered by the window over the padded input
    M3: i32 and floating outputs have the record bias or none, others fixed, or real with the rounding away
    M4: accumulate goes with an i32 output
    M5: the input with inserted zeros and pads has at most 2^28 elements
    M6: the zero points of integer operands are values of their types
    """

    weights: Tensor = part("[1, output channels, input channels of a group, kernel elements]")
    weight_zero: int = number("i32", "stored", "the zero point of the weights", 0)
    inserts: tuple[int, int] = number("u8", "elements", "zeros inserted between elements of the input", (0, 0), count=2)
    record: str = word("what there is for each output channel", *RECORD_BYTES, default="none")
    parameters: int = number(
        "u32", "bytes", "where the record of position p = lane + channel lies: + ⌊p / lanes⌋ · size", 0
    )
    rounding: str = word("how sums are rescaled", *ROUNDINGS, "away", default="single")
    accumulate: bool = flag("add to what the output holds")

    def check(self) -> None:
        """Check all constraints."""
        super(Multiply, self).check()
        self.check_window()
        kinds = {self.input.type, self.weights.type, self.output.type}
        integer = {self.input.type, self.weights.type} <= {"i8", "u8"} and not self.output.is_float
        self.require(integer or (len(kinds) == 1 and self.output.is_float), f"types {sorted(kinds)} (M1)")
        self.require(
            all(map(_covers, self.extent(), self.output.shape[2:], self.window_strides, self.spans())),
            "the output is larger than the windows (M2)",
        )
        plain = self.output.is_float or self.output.type == "i32"
        good = (
            self.record in ("none", "bias")
            if plain
            else self.record == ("real" if self.rounding == "away" else "fixed")
        )
        self.require(good, f"a record '{self.record}' with rounding '{self.rounding}' and {self.output.type} (M3)")
        self.require(self.parameters % 4 == 0, f"parameters at {self.parameters} are misaligned")
        self.require(not self.accumulate or self.output.type == "i32", f"accumulates {self.output.type} (M4)")
        zeros = ((self.input, self.input_zero), (self.weights, self.weight_zero))
        for tensor, zero in zeros if integer else ():
            low, high = LIMITS[tensor.type]
            self.require(low <= zero <= high, f"the zero point {zero} is no {tensor.type} (M6)")
        widened = math.prod(self.input.shape[:2]) * math.prod(self.extent())
        self.require(widened <= MAX_WIDENED, f"the widened input has {widened} elements (M5: at most 2^28)")

    def extent(self) -> list[int]:
        """Return the height and width of the input with inserted zeros and pads."""
        sizes = ((n - 1) * (i + 1) + 1 for n, i in zip(self.input.shape[2:], self.inserts, strict=True))
        return [n + begin + end for n, begin, end in zip(sizes, self.pads[:2], self.pads[2:], strict=True)]

    def reads(self) -> dict[str, Tensor]:
        """Return what it reads."""
        reads = {"input": self.input, "weights": self.weights}
        if self.record != "none":
            reads["parameters"] = self.records()
        return reads | ({"output": self.output} if self.accumulate else {})

    def records(self) -> Tensor:
        """Return the records of the channels as words, [1, C, 1, words]."""
        return channel_records(self.output, self.record, self.parameters)


@instruction(0x01, "conv", COMPUTE)
@dataclass(frozen=True, kw_only=True, slots=True)
class Conv(Multiply):
    """Sums of products over all input channels of a group and all positions of the kernel, at once.

        sum[n, o, y, x] = Σ (input − input_zero) · (weights − weight_zero), over the input widened by inserted zeros and
        pads (both stand for input_zero); plus the bias. Integers are summed in int32, which wraps; then
        output = saturate(rescale(sum) + output_zero) within the bounds, i32 outputs are the sums themselves.
        f16 and bf16: the exact sum, rounded once, then the bounds: so no order of summation shows, whatever the tiling.
        f32: summed in float32, in an order that is not told. A matrix product [M, K] × [K, N] is a 1 × 1 convolution of
    [1, K, 1, M] with [1, N, K, 1]; a transposed convolution is one with inserts, flipped weights and pads
    span − 1 − pad. Records: bias (i32 or f32); fixed: bias, multiplier, shift, all i32; real: bias i32, scale f64.
    With the rounding float, here and in every instruction, a multiplier is the bits of a float32 and its shift is 1.
    All lanes see all input channels; an output channel is computed in the lane that holds its weights.

    I1: weights have 1 × O × C / group × kernel elements, group divides both, and lie in the output's lanes
    """

    group: int = number("u32", "", "groups of channels", 1)

    def check(self) -> None:
        """Check all constraints."""
        super(Conv, self).check()
        group, channels, shape = self.group, self.input.shape[1], self.weights.shape
        self.require(group > 0 and channels % group == 0 and self.output.shape[1] % group == 0, f"{group} groups (I1)")
        wanted = (1, self.output.shape[1], channels // group, math.prod(self.kernel))
        self.require(shape == wanted, f"weights are {list(shape)}, want {list(wanted)} (I1)")
        self.require(self.input.shape[0] == self.output.shape[0], "the sizes n differ (I1)")
        self.same("c", self.weights)


@instruction(0x02, "depthwise", COMPUTE)
@dataclass(frozen=True, kw_only=True, slots=True)
class Depthwise(Multiply):
    """A Conv of each channel with a kernel of its own, within its lane.

    I1: weights have 1 × C × 1 × kernel elements; all tensors have one lane
    """

    def check(self) -> None:
        """Check all constraints."""
        super(Depthwise, self).check()
        wanted = (1, self.input.shape[1], 1, math.prod(self.kernel))
        self.require(self.weights.shape == wanted, f"weights are {list(self.weights.shape)}, want {list(wanted)} (I1)")
        self.same("c", self.weights)
        self.same("nc", self.input)


def _covers(extent: int, count: int, stride: int, span: int) -> bool:
    return (count - 1) * stride + span <= extent
