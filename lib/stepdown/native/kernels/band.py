"""Copies of the rows of an image that some results need: with padding, in the type that a processor multiplies."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from stepdown.native.kernels.image import Image, along
from stepdown.native.tir import Expr, Function, const, tirx


@dataclass(frozen=True)
class Band:
    """How rows are copied: element by element through `change`, to `dtype`; `padding` is what stands for 0."""

    image: Image
    dtype: str
    change: Callable[[Expr], Expr]
    padding: int
    lanes: int
    as_it_is: bool = False
    """Whether the copy has the elements of the image, so that one row whose windows are its pixels needs none."""

    @property
    def pixel_bytes(self) -> int:
        """Bytes of the copy of one pixel."""
        return self.image.channels * np.dtype(self.dtype).itemsize

    def elements(self, rows: int, columns: int) -> int:
        """Return the elements of the copy that rows × columns of results need."""
        return self.image.band(rows, 0) * self.image.band(columns, 1) * self.image.channels

    def bytes(self, rows: int, columns: int) -> int:
        """Return the bytes of the copy that rows × columns of results need."""
        return self.elements(rows, columns) * np.dtype(self.dtype).itemsize

    def pixels(self, f: Function, x: Any, source: Expr, copy: Any, target: Expr, count: int) -> None:
        """Copy some pixels of a flat image, from one on to another place of the copy."""
        channels = self.image.channels
        self._run(f, x, source * channels, copy, target * channels, count * channels)

    def write(self, f: Function, x: Any, copy: Any, at: tuple[Expr, Expr, Expr], size: tuple[Expr, int]) -> None:
        """Copy what `size` results from (image, row, column) `at` on need."""
        image = self.image
        if image.is_flat:
            self.pixels(f, x, at[2], copy, 0, size[1])
            return
        columns = image.band(size[1], 1)
        with f.loop(image.band(size[0], 0)) as r:
            row = at[1] * image.strides[0] + r * image.steps[0] - image.pads[0]
            if image.spread != (1, 1):
                self._spread_row(f, x, (at[0], row), copy, r * columns * image.channels, columns)
                return
            source, target = (at[0] * image.height + row) * image.width * image.channels, r * columns * image.channels
            if not image.leaves(0):
                self._row(f, x, source, copy, target, columns)
                return
            f.either(
                (row >= 0) & (row < image.height),
                partial(self._row, f, x, source, copy, target, columns),
                partial(self._fill, f, copy, target, columns),
            )

    def _spread_row(self, f: Function, x: Any, at: tuple[Expr, Expr], copy: Any, target: Expr, columns: int) -> None:
        """Copy a row (image, row) of an image that is spread: zeros, and its pixels where it has some."""
        image, channels = self.image, self.image.channels
        down, across = image.spread
        height, width = ((n - 1) // s + 1 for n, s in zip((image.height, image.width), image.spread, strict=True))
        skipped = max(0, -image.pads[1])
        first = -(-skipped // across)
        left = image.pads[1] + first * across
        count = max(0, min(width - first, -(-(columns - left) // across)))
        batch, row = at
        self._fill(f, copy, target, columns)
        with f.when((row >= 0) & (row < image.height) & (tirx().truncmod(row, down) == 0)):
            line = (batch * height + tirx().truncdiv(row, down)) * width + first
            with f.loop(count) as c:
                self._run(f, x, (line + c) * channels, copy, target + (left + c * across) * channels, channels)

    def _row(self, f: Function, x: Any, source: Expr, copy: Any, target: Expr, columns: int) -> None:
        """Copy one row of the image with its padding left and right."""
        image, step = self.image, self.image.steps[1]
        left = math.ceil(image.pads[1] / step)
        begin = left * step - image.pads[1]
        kept = max(0, min(columns - left, math.ceil((image.width - begin) / step)))
        self._fill(f, copy, target, left)
        self._fill(f, copy, target + (left + kept) * image.channels, columns - left - kept)
        source, target = source + begin * image.channels, target + left * image.channels
        if step == 1:
            self._run(f, x, source, copy, target, kept * image.channels)
            return
        with f.loop(kept) as c:
            self._run(f, x, source + c * (step * image.channels), copy, target + c * image.channels, image.channels)

    def _run(self, f: Function, x: Any, source: Expr, copy: Any, target: Expr, length: int) -> None:
        along(f, length, self.lanes, lambda i: f.store(copy, target + i, self.change(x[source + i])))

    def _fill(self, f: Function, copy: Any, target: Expr, columns: int) -> None:
        length = columns * self.image.channels
        if length:
            along(f, length, self.lanes, lambda i: f.store(copy, target + i, const(self.padding, self.dtype)))
