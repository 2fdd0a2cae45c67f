"""Resizing 8-bit pixels to the bytes that Pillow 13.0.0 gives (`Image.resize`, modes L and RGB, no `box`).

It is what torchvision and timm resize photos with, and so most published accuracies. The facts, read in Pillow's
`src/libImaging/Resample.c` and `src/PIL/Image.py`, version 13.0.0:

*   Two passes, each of which ends in 8-bit pixels. Along the columns' axis (W → w) first, then along the rows' (H → h),
    but the other way round where the height shrinks and H − h > 2·(W − w). A pass with equal sizes is left out.
    (Pillow up to 12.3.0 always begins with the columns' axis, and is the same otherwise.)
*   A pass from n to m samples, in doubles: scale = n / m, stretch = max(scale, 1), centre of output i
    c = (i + 0.5)·scale, reach r = radius·stretch (radius 1 or 2). Its taps are the source samples j from
    max(0, trunc(c − r + 0.5)) to min(n, trunc(c + r + 0.5)), the latter excluded, with the kernel's value at
    |j − c + 0.5|·(1 / stretch), divided by their sum taken in the order of j.
*   Weights are rounded, half away from zero, to integers of 22 fractional bits, and need not sum to 1 then.
*   A sample is (2²¹ + Σ weight · pixel) >> 22 in 32-bit integers, limited to 0..255.

All is elementwise double or integer arithmetic, so the bytes depend neither on the machine nor on its threads.
"""

from collections.abc import Callable
from functools import lru_cache

import numpy as np

_FRACTION = 22
_HALF = 1 << (_FRACTION - 1)


def _bilinear(x: np.ndarray) -> np.ndarray:
    return np.maximum(1.0 - x, 0.0)


def _bicubic(x: np.ndarray) -> np.ndarray:
    """Return Keys' cubic of a = −1/2, its terms rounded in the order in which Pillow has them."""
    near = (1.5 * x - 2.5) * x * x + 1.0
    far = (((x - 5.0) * x + 8.0) * x - 4.0) * -0.5
    return np.where(x < 1.0, near, np.where(x < 2.0, far, 0.0))


# By kernel: its function of a distance ≥ 0, and where it ends.
_KERNELS: dict[str, tuple[Callable[[np.ndarray], np.ndarray], float]] = {
    "bilinear": (_bilinear, 1.0),
    "bicubic": (_bicubic, 2.0),
}


def resize_u8(pixels: np.ndarray, size: tuple[int, int], kernel: str) -> np.ndarray:
    """Return pixels uint8[H, W, C] as uint8[h, w, C] for `size` (h, w); `kernel` is "bilinear" or "bicubic".

    Source: Pillow 13.0.0, `ImagingResample`; see the module's docstring.
    """
    (height, width), (tall, wide) = pixels.shape[:2], size
    rows_first = height > tall and height - tall > 2 * (width - wide)
    if rows_first:
        return _columns(_rows(pixels, tall, kernel), wide, kernel)
    return _rows(_columns(pixels, wide, kernel), tall, kernel)


@lru_cache(maxsize=64)
def taps_u8(n: int, m: int, kernel: str) -> tuple[np.ndarray, np.ndarray]:
    """Return source indices int64[K, m] and weights int32[K, m], in units of 2⁻²², of a pass from n to m samples."""
    function, radius = _KERNELS[kernel]
    scale = n / m
    stretch = max(scale, 1.0)
    centre, reach = (np.arange(m) + 0.5) * scale, radius * stretch
    first = np.maximum((centre - reach + 0.5).astype(np.int64), 0)
    end = np.minimum((centre + reach + 0.5).astype(np.int64), n)
    source = first + np.arange((end - first).max())[:, None]
    values = function(np.abs(source - centre + 0.5) * (1.0 / stretch))
    values[source >= end] = 0
    values /= np.cumsum(values, axis=0)[-1]
    weights = np.trunc(values * (1 << _FRACTION) + np.copysign(0.5, values))
    return np.minimum(source, n - 1), weights.astype(np.int32)


def _columns(pixels: np.ndarray, count: int, kernel: str) -> np.ndarray:
    return _rows(pixels.transpose(1, 0, 2), count, kernel).transpose(1, 0, 2)


def _rows(lines: np.ndarray, count: int, kernel: str) -> np.ndarray:
    """Return lines uint8[n, W, C] as uint8[count, W, C]."""
    if lines.shape[0] == count:
        return lines
    flat = np.ascontiguousarray(lines).reshape(lines.shape[0], -1)
    total = np.full((count, flat.shape[1]), _HALF, np.int32)
    product = np.empty_like(total)
    for source, weight in zip(*taps_u8(lines.shape[0], count, kernel), strict=True):
        np.multiply(flat[source], weight[:, None], out=product)
        total += product
    total >>= _FRACTION
    return np.clip(total, 0, 255).astype(np.uint8).reshape(count, *lines.shape[1:])
