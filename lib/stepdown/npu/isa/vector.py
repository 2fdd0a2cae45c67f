"""The instructions that work on vectors within each lane: pooling, elementwise, scales, types, tables."""

# ruff: noqa: RUF009  # defaults are declarations of fields, made once

import math
from dataclasses import dataclass

from stepdown.npu.isa.command import COMPUTE, instruction
from stepdown.npu.isa.compute import (
    RECORD_BYTES,
    ROUNDINGS,
    ComputeCommand,
    Windowed,
    channel_records,
    replicated,
)
from stepdown.npu.isa.fields import flag, number, part, word
from stepdown.npu.isa.tensor import Tensor
from stepdown.numerics.windows import Window


@instruction(0x03, "pool", COMPUTE)
@dataclass(frozen=True, kw_only=True, slots=True)
class Pool(Windowed):
    """The maximum, minimum, sum or mean of what the window covers, within each lane. Pads are not data.

    max, min: the stored values. sum, mean of integers: Σ (input − input_zero), rescaled by the entry of the table for
    the number of covered elements (with include_pads: pads too), + output_zero; with no table the sum of the stored
    values is divided by that number, half away from zero. f16, bf16: summed in float64 over w of h; a mean is divided;
    rounded once, after the bounds. A reduction over h and w is a Pool with the window as large as the input.

    I1: the output has as many positions as the window (with ceil_mode the last may reach over the edge)
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
        counts = [window.count for window in self.windows()]
        self.require(counts == list(self.output.shape[2:]), f"the window has {counts} positions (I1)")
        self.same("nc", self.input)
        wide = self.kind in ("sum", "mean") and not (self.input.is_float or self.output.is_float)
        self.require(wide or self.input.type == self.output.type, f"{self.input.type} to {self.output.type} (I2)")
        self.require(self.table % 4 == 0, f"the table at {self.table} is misaligned")
        self.require(self.counts <= math.prod(self.kernel), f"{self.counts} entries of the table")

    def reads(self) -> dict[str, Tensor]:
        """Return what it reads."""
        return {"input": self.input} | ({"table": self.entries()} if self.counts else {})

    def windows(self) -> list[Window]:
        """Return the windows over h and w."""
        each = zip(
            self.input.shape[2:], self.kernel, self.window_strides, self.pads[:2], self.pads[2:], self.dilations,
            strict=True,
        )  # fmt: skip
        return [Window(n, k, s, begin, end, d, self.ceil_mode) for n, k, s, begin, end, d in each]

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
    I3: ties go away from zero in i8 and u8 results alone
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
        self.require(self.ties == "even" or self.output.type in ("i8", "u8"), f"ties away in {self.output.type} (I3)")


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
