"""Over what image a convolution or product sums."""

from dataclasses import replace
from typing import Any, ClassVar

import numpy as np

from stepdown.dialects.types import shape_of
from stepdown.native.kernels.base import CHANNELS_LAST, LOGICAL
from stepdown.native.kernels.image import Image


class OverWindows:
    """A convolution over one or two dimensions; mixed in front of a `Mac`."""

    layout: ClassVar[str] = CHANNELS_LAST
    op: Any
    stored_filter: np.ndarray
    refuse: Any

    def image(self) -> Image:
        """Return the image; one dimension is a row."""
        (n, c, *size), (_, o, *out) = shape_of(self.op.operands[0]), shape_of(self.op.results[0])
        rank = len(size)
        if rank > 2:
            raise self.refuse("has three spatial dimensions")
        op = self.op

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

    @property
    def is_depthwise(self) -> bool:
        """Whether every channel is convolved by itself."""
        return self.image().is_depthwise


class OverRows:
    """The product with a constant matrix: every row is a pixel; mixed in front of a `Mac`."""

    layout: ClassVar[str] = LOGICAL
    op: Any
    stored_filter: np.ndarray
    refuse: Any

    def image(self) -> Image:
        """Return the rows as one row of pixels."""
        shape = shape_of(self.op.operands[0])
        if self.stored_filter.ndim != 2:
            raise self.refuse("has a constant side that is no matrix")
        rows = int(np.prod(shape[:-1]))
        return Image(1, 1, rows, shape[-1], 1, rows, len(self.filter()))

    def filter(self) -> np.ndarray:
        """Return the matrix as [O, C, 1, 1]."""
        w = self.stored_filter if self.op.right_transpose else self.stored_filter.swapaxes(-1, -2)
        return w.reshape(*w.shape[:2], 1, 1)


class OverSpread(OverWindows):
    """A transposed convolution: one over the image with zeros between its pixels, by the kernel turned around."""

    def image(self) -> Image:
        """Return the image that is spread; padding may be negative: then its edges are cut off."""
        plain, (height, width) = super().image(), self.filter().shape[2:]
        rank = len(self.op.strides)
        pads = (*([0] * (2 - rank)), *self.op.pads[:rank])
        apart, dilations, kernel = plain.strides, plain.dilations, (height, width)
        size = [s * (n - 1) + 1 for s, n in zip(apart, (plain.height, plain.width), strict=True)]
        begins = [d * (k - 1) - p for d, k, p in zip(dilations, kernel, pads, strict=True)]
        return replace(
            plain, height=size[0], width=size[1], kernel=kernel, strides=(1, 1), pads=(begins[0], begins[1]),
            spread=apart,
        )  # fmt: skip

    def filter(self) -> np.ndarray:
        """Return the weights w[C, O / group, *K] as [O, C / group, KH, KW], turned around."""
        w = super().filter()
        grouped = w.reshape(self.op.group, -1, *w.shape[1:]).swapaxes(1, 2)
        return np.flip(grouped.reshape(-1, len(w) // self.op.group, *w.shape[2:]), (2, 3))
