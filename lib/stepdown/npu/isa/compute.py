"""The instructions of the compute engine. All operands lie in local memory."""

# ruff: noqa: RUF009  # defaults are declarations of fields, made once

import math
from dataclasses import dataclass

from stepdown.npu.isa.command import COMPUTE, Command, instruction
from stepdown.npu.isa.fields import flag, number, part, word
from stepdown.npu.isa.tensor import Four, Tensor

INTEGERS = ("i8", "u8", "i16", "u16", "i32")
LIMITS = {"i8": (-128, 127), "u8": (0, 255), "i16": (-32768, 32767), "u16": (0, 65535), "i32": (-(2**31), 2**31 - 1)}
RECORD_BYTES = {"none": 0, "bias": 4, "fixed": 12, "real": 12}
"""Bytes of the record of a channel by its sort."""
MAX_WIDENED = 1 << 28
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
        good = self.low <= self.high
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


@dataclass(frozen=True, kw_only=True, slots=True)
class Multiply(Windowed):
    """What sums products; see Conv.

    M1: integers are i8 or u8 and give integers; floating types are all the same
    M2: the output is covered by the window over the padded input
    M3: i32 and floating outputs have the record bias or none, others fixed, or real with the rounding away
    M4: accumulate goes with an i32 output
    M5: the input with inserted zeros and pads has at most 2^28 elements
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


@instruction(0x03, "pool", COMPUTE)
@dataclass(frozen=True, kw_only=True, slots=True)
class Pool(Windowed):
    """The maximum, minimum, sum or mean of what the window covers, within each lane. Pads are not data.

    max, min: the stored values. sum, mean of integers: Σ (input − input_zero), rescaled by the entry of the table for
    the number of covered elements (with include_pads: pads too), + output_zero; with no table the sum of the stored
    values is divided by that number, half away from zero. f16, bf16: summed in float64 over w of h; a mean is divided;
    rounded once, after the bounds. A reduction over h and w is a Pool with the window as large as the input.

    I1: the output has the number of windows of numerics.windows (with ceil_mode the last may reach over the edge)
    I2: input and output have one type, except sums and means of integers; all tensors have one lane
    """

    kind: str = word("what is made of the covered elements", "max", "min", "sum", "mean")
    ceil_mode: bool = flag("the last window may reach over the padded edge")
    include_pads: bool = flag("pads count as elements")
    rounding: str = word("how sums are rescaled", *ROUNDINGS, default="single")
    table: int = number("u32", "bytes", "where, in each lane, the multiplier i32 and shift i32 for first_count lie", 0)
    first_count: int = number("u32", "elements", "the number of elements that the first entry is for", 0)
    counts: int = number("u32", "entries", "entries of the table, each for one element more; 0: no table", 0)

    def check(self) -> None:
        """Check all constraints."""
        super(Pool, self).check()
        self.check_window()
        self.require(min(self.pads) >= 0, "a pad is negative (W1)")
        self.same("nc", self.input)
        wide = self.kind in ("sum", "mean") and not (self.input.is_float or self.output.is_float)
        self.require(wide or self.input.type == self.output.type, f"{self.input.type} to {self.output.type} (I2)")
        self.require(self.table % 4 == 0, f"the table at {self.table} is misaligned")
        self.require(self.counts <= math.prod(self.kernel), f"{self.counts} entries of the table")

    def reads(self) -> dict[str, Tensor]:
        """Return what it reads."""
        return {"input": self.input} | ({"table": self.entries()} if self.counts else {})

    def entries(self) -> Tensor:
        """Return the table as words, [1, C, 1, 2 · counts]."""
        return replicated("i32", self.output, self.table, 2 * self.counts)


@instruction(0x04, "eltwise", COMPUTE)
@dataclass(frozen=True, kw_only=True, slots=True)
class Eltwise(ComputeCommand):
    """Two tensors combined element by element, within each lane; sizes of 1 repeat.

    Integers: a side is (stored − zero) · 2^left_shift, times multiplier / 2^shift where shift is not 0. add, sub: of
    the sides; mul: of (stored − zero); the result is rescaled where output_shift is not 0, + output_zero, saturated.
    max, min: of the sides, each rescaled and saturated as an output; with both shifts 0, of the stored values.
    Floating: computed in float64 (f32: in float32), bounded, rounded once.

    I1: a size of a side is 1 or that of the output; all tensors have one lane
    I2: floating types are all the same; div is floating
    I3: shifts are at most 62, left_shift at most 30
    """

    kind: str = word("how elements are combined", "add", "sub", "mul", "max", "min", "div")
    a: Tensor = part("the left side")
    b: Tensor = part("the right side")
    left_shift: int = number("u8", "bits", "by how much a side is lifted", 0)
    rounding: str = word("how integers are rescaled", *ROUNDINGS, default="single")
    zeros: tuple[int, int] = number("i32", "stored", "the zero points of the sides", (0, 0), count=2)
    multipliers: tuple[int, int] = number("i32", "", "the multipliers of the sides", (0, 0), count=2)
    shifts: tuple[int, int] = number("u8", "bits", "the shifts of the sides; 0: no rescale", (0, 0), count=2)
    output_zero: int = number("i32", "stored", "the zero point of the output", 0)
    output_multiplier: int = number("i32", "", "the multiplier of the output", 0)
    output_shift: int = number("u8", "bits", "the shift of the output; 0: no rescale", 0)

    def check(self) -> None:
        """Check all constraints."""
        super(Eltwise, self).check()
        for side in (self.a, self.b):
            fits = all(n in (1, m) for n, m in zip(side.shape, self.output.shape, strict=True))
            self.require(fits, f"a side of {list(side.shape)} for {list(self.output.shape)} (I1)")
        self.same("", self.a, self.b)
        kinds = {self.a.type, self.b.type, self.output.type}
        floating = self.output.is_float
        good = len(kinds) == 1 if floating else self.kind != "div" and not (self.a.is_float or self.b.is_float)
        self.require(good, f"{self.kind} of {self.a.type}, {self.b.type} to {self.output.type} (I2)")
        self.require(max(*self.shifts, self.output_shift) <= 62 and self.left_shift <= 30, "a shift is too large (I3)")


@instruction(0x05, "rescale", COMPUTE)
@dataclass(frozen=True, kw_only=True, slots=True)
class Rescale(ComputeCommand):
    """Integers at another scale and zero point: saturate(rescale((stored − zero) · 2^left_shift) + output_zero).

    With a record, multiplier and shift (fixed) or scale (real) come from each channel's record, and its bias is added
    before. With shift 0 and no record integers are only lifted, moved and bounded.

    I1: input and output agree in sizes and lane
    I2: both hold integers; a record is fixed or real (with rounding away)
    I3: the shift is at most 62, left_shift at most 30
    """

    input: Tensor = part("the integers")
    zero: int = number("i32", "stored", "the zero point of the input", 0)
    output_zero: int = number("i32", "stored", "the zero point of the output", 0)
    left_shift: int = number("u8", "bits", "by how much they are lifted", 0)
    multiplier: int = number("i32", "", "the multiplier", 0)
    shift: int = number("u8", "bits", "the shift; 0: no rescale", 0)
    rounding: str = word("how they are rescaled", *ROUNDINGS, "away", default="single")
    record: str = word("what there is for each channel", *RECORD_BYTES, default="none")
    parameters: int = number("u32", "bytes", "where the records lie, as for conv", 0)

    def check(self) -> None:
        """Check all constraints."""
        super(Rescale, self).check()
        self.same("nchw", self.input)
        good = not (self.input.is_float or self.output.is_float) and self.record != "bias"
        self.require(good and (self.record == "real") == (self.rounding == "away"), f"record '{self.record}' (I2)")
        self.require(self.shift <= 62 and self.left_shift <= 30, "a shift is too large (I3)")
        self.require(self.parameters % 4 == 0, f"parameters at {self.parameters} are misaligned")

    def reads(self) -> dict[str, Tensor]:
        """Return what it reads."""
        return {"input": self.input} | ({} if self.record == "none" else {"parameters": self.records()})

    def records(self) -> Tensor:
        """Return the records of the channels as words, [1, C, 1, words]."""
        return channel_records(self.output, self.record, self.parameters)


@instruction(0x06, "convert", COMPUTE)
@dataclass(frozen=True, kw_only=True, slots=True)
class Convert(ComputeCommand):
    """The same values in another type: real = (stored − zero) · scale in float32; stored = real / scale + zero.

    A floating result is bounded, then rounded once; an integer is rounded by ties, moved, then saturated.

    I1: input and output agree in sizes and lane
    I2: scales are positive and finite
    """

    input: Tensor = part("the values")
    input_scale: float = number("f32", "real / stored", "the scale of an integer input", 1.0)
    input_zero: int = number("i32", "stored", "the zero point of an integer input", 0)
    output_scale: float = number("f32", "real / stored", "the scale of an integer output", 1.0)
    output_zero: int = number("i32", "stored", "the zero point of an integer output", 0)
    ties: str = word("where a value halfway between two integers goes", "even", "away", default="even")

    def check(self) -> None:
        """Check all constraints."""
        super(Convert, self).check()
        self.same("nchw", self.input)
        good = all(0 < scale < math.inf for scale in (self.input_scale, self.output_scale))
        self.require(good, f"scales {self.input_scale:g} and {self.output_scale:g} (I2)")


@instruction(0x07, "table", COMPUTE)
@dataclass(frozen=True, kw_only=True, slots=True)
class Table(ComputeCommand):
    """A function of one tensor by a table of its values; entry i is for the i-th stored value, the least first.

    Of 8-bit integers every lane has its own table of 256 entries: output = table[0, c, 0, i]. Of 16-bit elements (by
    their bit patterns) one table of 65,536 entries is spread over r channels, 65,536 / r a channel.
    The result is the entry, whatever the bounds.

    I1: input and output agree in sizes; all tensors of 8 bits have one lane
    I2: the table has [1, C, 1, 256] or [1, r, 1, 65536 / r] entries of the output's type
    """

    input: Tensor = part("the values to look up")
    table: Tensor = part("the table; a stride of 0 over channels shares it")

    def check(self) -> None:
        """Check all constraints."""
        super(Table, self).check()
        self.same("nchw", self.input)
        n, c, h, w = self.table.shape
        byte = self.input.element_bytes == 1
        whole = c == self.input.shape[1] and w == 256 if byte else c * w == 65536
        good = self.input.element_bytes <= 2 and (n, h) == (1, 1) and whole and self.table.type == self.output.type
        self.require(good, f"a table {list(self.table.shape)} of {self.table.type} for {self.input.type} (I2)")
        self.require(not byte or self.table.lane == self.output.lane, "the table lies in other lanes (I1)")


def channel_records(output: Tensor, record: str, address: int) -> Tensor:
    """Return the records of the channels of `output` as a tensor of words, [1, C, 1, words]."""
    size, word_type = RECORD_BYTES[record], "f32" if output.is_float else "i32"
    shape, strides = (1, output.shape[1], 1, size // 4), (size, size, size, 4)
    return Tensor(space="local", type=word_type, lane=output.lane, address=address, shape=shape, strides=strides)


def replicated(type: str, output: Tensor, address: int, length: int) -> Tensor:
    """Return what lies at one address in every lane of `output`, [1, C, 1, length] words."""
    shape = (1, output.shape[1], 1, length)
    return Tensor(space="local", type=type, lane=output.lane, address=address, shape=shape, strides=(0, 0, 0, 4))


def _covers(extent: int, count: int, stride: int, span: int) -> bool:
    return (count - 1) * stride + span <= extent
