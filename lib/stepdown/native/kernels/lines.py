"""Rows of an image copied as lines, for sums of each channel by itself: in the type that the processor multiplies.

Where it sums pairs of products, an element of a line is a pixel and the one below it, so that one step does two rows of
a window. Of neighbouring rows every second line does for all windows: those that begin in the middle of a line have
weights with a row of zeros before them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from stepdown.native.kernels.image import Image, along, powers
from stepdown.native.tir import Expr, Function, bits, cast, clamp, const, interleaved, repeat, select, span, tirx


@dataclass(frozen=True)
class Geometry:
    """Which lines the rows of results need; `step` rows a line."""

    image: Image
    step: int

    @property
    def _dilation(self) -> int:
        return self.image.dilations[0]

    @cached_property
    def pitch(self) -> int:
        """Copied rows of the image from one line to the next."""
        return self.step if self._dilation == 1 else 1

    @cached_property
    def together(self) -> int:
        """Rows of results that are made together, of the same lines."""
        return 2 if self.image.moves[0] % self.pitch and self.image.out_height > 1 else 1

    @property
    def moves(self) -> int:
        """Lines from one group of rows of results to the next."""
        return self.together * self.image.moves[0] // self.pitch

    @property
    def _phases(self) -> list[int]:
        """Where in a line windows may begin."""
        return sorted({row * self.image.moves[0] % self.pitch for row in range(self.together)})

    def _steps(self, phase: int) -> int:
        return -(-(self.image.kernel[0] + phase) // self.step)

    def taps(self, row: int) -> list[tuple[int, int]]:
        """Return the lines that row `row` of a group needs, and which row of packed weights belongs to each."""
        first, phase = divmod(row * self.image.moves[0], self.pitch)
        apart = self.step * self._dilation // self.pitch
        before = sum(self._steps(p) for p in self._phases if p < phase)
        return [(first + k * apart, before + k) for k in range(self._steps(phase))]

    def lines(self, rows: int) -> int:
        """Return how many lines so many rows of a group need."""
        return 1 + max(self.taps(row)[-1][0] for row in range(rows))

    def packed(self, weights: np.ndarray) -> np.ndarray:
        """Return weights[KH, KW, C] as [rows of packed weights, KW, C, step]."""
        parts = []
        for phase in self._phases:
            end = self._steps(phase) * self.step - phase - len(weights)
            filled = np.pad(weights, ((phase, end), (0, 0), (0, 0)))
            parts.append(filled.reshape(-1, self.step, *weights.shape[1:]).transpose(0, 2, 3, 1))
        return np.concatenate(parts)


@dataclass(frozen=True)
class Lines:
    """Lines of `width` elements a pixel, in a ring: line l takes the place of line l − ring.

    `change` makes an operand what is multiplied; 0 stands for what is outside of the image.
    """

    geometry: Geometry
    dtype: str
    zero_point: int
    change: Callable[[Expr], Expr]
    lanes: int

    @property
    def image(self) -> Image:
        """The image that is copied."""
        return self.geometry.image

    @cached_property
    def ring(self) -> int:
        """Lines that are kept, a power of two."""
        needed = max(self.geometry.lines(self.geometry.together), self.geometry.moves)
        return 1 << (needed - 1).bit_length()

    @property
    def columns(self) -> int:
        """Pixels of a line."""
        return self.image.band(self.image.out_width, 1)

    @property
    def pixel_bytes(self) -> int:
        """Bytes of the ring for each channel."""
        return self.ring * self.columns * np.dtype(self.dtype).itemsize

    def place(self, line: Expr, width: int) -> Expr:
        """Return where a line begins."""
        return tirx().bitwise_and(line, self.ring - 1) * (self.columns * width)

    def write(self, f: Function, x: Any, copy: Any, at: tuple[Expr, Expr, Expr], channels: int, width: int) -> None:
        """Copy a line: `channels` from (image, line, channel) `at` on, with padding left and right."""
        image, step = self.image, self.image.steps[1]
        left = -(-image.pads[1] // step)
        begin = left * step - image.pads[1]
        kept = max(0, min(self.columns - left, -(-(image.width - begin) // step)))
        target = f.let(self.place(at[1], width))
        for first, count in ((0, left), (left + kept, self.columns - left - kept)):
            self._zeros(f, copy, target + first * width, count * width)
        top = at[1] * (image.steps[0] * self.geometry.pitch) - image.pads[0]
        rows = [f.let(top + k * (image.dilations[0] * image.steps[0])) for k in range(self.geometry.step)]
        starts = [(at[0] * image.height + clamp(row, 0, image.height - 1)) * image.width for row in rows]
        sources = [f.let((start + begin) * image.channels + at[2]) for start in starts]
        mask = self._mask(f, rows)
        whole = channels == width == image.channels and step == 1
        with f.loop(1 if whole else kept) as c:
            pixel, place = c * (step * image.channels), target + (left + c) * width
            self._run(f, x, copy, [s + pixel for s in sources], place, channels * kept if whole else channels, mask)

    def _mask(self, f: Function, rows: list[Expr]) -> Expr | None:
        """Return the bits of an element that are in the image; None where all are."""
        if not self.image.leaves(0) and self.geometry.step == 1:
            return None
        width = 32 // len(rows)
        inside = [select((row >= 0) & (row < self.image.height), const(-1), const(0)) for row in rows]
        if len(rows) == 1:
            return f.let(inside[0])
        return f.let((inside[0] & const((1 << width) - 1)) | (inside[1] << const(width)))

    def _run(
        self, f: Function, x: Any, copy: Any, sources: list[Expr], target: Expr, length: int, mask: Expr | None
    ) -> None:
        if len(sources) == 2:
            self._pairs(f, x, copy, sources, target, length, mask)
            return
        along(f, length, 2 * self.lanes, lambda i: f.store(copy, target + i, self._masked(x[sources[0] + i], mask)))

    def _masked(self, value: Expr, mask: Expr | None) -> Expr:
        made = self.change(value)
        if mask is None:
            return made
        if self.dtype == "float32":
            return bits("float32", bits("int32", made) & mask)
        return made & cast(self.dtype, mask)

    def _pairs(
        self, f: Function, x: Any, copy: Any, sources: list[Expr], target: Expr, length: int, mask: Expr | None
    ) -> None:
        """Copy bytes of two rows side by side, made wide."""
        for first, count, lanes in powers(length, self.lanes):
            with f.loop(count) as i:
                at = i * lanes + first
                both = interleaved(x[span(sources[0] + at, lanes)], x[span(sources[1] + at, lanes)], lanes)
                wide = cast(f"int16x{2 * lanes}", both)
                centred = wide - repeat(const(self.zero_point, "int16"), 2 * lanes) if self.zero_point else wide
                pairs = bits("int32" if lanes == 1 else f"int32x{lanes}", centred)
                f.store(copy, span(target + at, lanes), pairs if mask is None else pairs & repeat(mask, lanes))

    def _zeros(self, f: Function, copy: Any, start: Expr, count: int) -> None:
        if count:
            along(f, count, 2 * self.lanes, lambda i: f.store(copy, start + i, const(0, self.dtype)))
