"""Resizing with the same bytes on every machine and in every language.

The algorithm, for pixels x[H, W, C] to h × w. Rows first (H → h), then columns (W → w); each pass maps a line of n
samples to m:

1.  Positions are integers in units of 1/(2m) of a source pixel: output i lies at c = (2i + 1)·n, source j at
    (2j + 1)·m (half-pixel centres). Let p = |(2j + 1)·m − (2i + 1)·n| and S = 2·max(n, m): p/S is the distance
    measured in source pixels when enlarging and in output pixels when shrinking, so a smaller image is an average
    over all the pixels that it covers (antialiasing).
2.  Kernel, as an integer a(p), in 64 bits:
        bilinear, p < S:        S − p
        bicubic,  p < S:        3p³ − 5p²S + 2S³
                  S ≤ p < 2S:   −p³ + 5p²S − 8pS² + 4S³       (Keys' cubic, a = −1/2, times 2S³)
    and 0 beyond. Taps outside 0 ≤ j < n are dropped.
3.  Weights: with the taps in order of j, C_k = a_0 + … + a_k and A = the sum of all,
        q_k = floor(C_k / A · 32768 + 0.5)   all as doubles;    w_k = (q_k − q_{k−1}) / 32768   in float32, q_{−1} = 0.
    So the weights are multiples of 2⁻¹⁵ whose sum is exactly 1: 8-bit pixels times them, and their partial
    sums, fit in a float32, and a constant image stays constant to the bit.
4.  y_i = ((0 + w_0·x_0) + w_1·x_1) + …  over the taps in order of j; float32, each product rounded before it is
    added (in C and C++: `-ffp-contract=off`). Zero weights may be left out.

After both passes values are limited to [0, 255]. A pass with n = m changes nothing.

The kernels are those of Pillow, which also rounds to 8 bits after each pass. Methods ending in `_u8` have its very
bytes; their arithmetic is another and is told in `resize_u8`.
"""

from collections.abc import Callable
from functools import lru_cache

import numpy as np

from stepdown.data.resize_u8 import resize_u8
from stepdown.errors import InputError

# Bounds the 64-bit sums of the bicubic kernel: 2·(2·16384)³·16384 < 2⁶³.
MAX_SIDE = 16384
_ONE = 32768


def _bilinear(p: np.ndarray, s: int) -> np.ndarray:
    return np.maximum(s - p, 0)


def _bicubic(p: np.ndarray, s: int) -> np.ndarray:
    near = 3 * p**3 - 5 * p**2 * s + 2 * s**3
    far = -(p**3) + 5 * p**2 * s - 8 * p * s**2 + 4 * s**3
    return np.where(p < s, near, np.where(p < 2 * s, far, 0))


# By method: the kernel, and its radius in units of S.
_KERNELS: dict[str, tuple[Callable[[np.ndarray, int], np.ndarray], int]] = {
    "bilinear": (_bilinear, 1),
    "bicubic": (_bicubic, 2),
}
METHODS = (*_KERNELS, *(f"{name}_u8" for name in _KERNELS))


def resize(pixels: np.ndarray, size: tuple[int, int], method: str = "bilinear") -> np.ndarray:
    """Return pixels[H, W, C] (uint8, or float32 in 0..255) as float32[h, w, C] for `size` (h, w).

    Methods ending in `_u8` take uint8. The exact arithmetic is in the module's docstring and in that of `resize_u8`.

    Raises:
        InputError: a side is 0 or larger than `MAX_SIDE`.
    """
    if not all(0 < side <= MAX_SIDE for side in (*pixels.shape[:2], *size)):
        raise InputError(
            f"cannot resize {pixels.shape[0]}×{pixels.shape[1]} to {size[0]}×{size[1]} pixels",
            fix=f"sides go from 1 to {MAX_SIDE}",
        )
    if method.endswith("_u8"):
        return resize_u8(pixels, size, method.removesuffix("_u8")).astype(np.float32)
    tall = _resample(pixels, size[0], method)
    resized = _resample(tall.transpose(1, 0, 2), size[1], method).transpose(1, 0, 2)
    return np.clip(np.ascontiguousarray(resized), np.float32(0), np.float32(255))


@lru_cache(maxsize=64)
def taps(n: int, m: int, method: str) -> tuple[np.ndarray, np.ndarray]:
    """Return source indices int64[K, m] and weights float32[K, m] of a pass from n to m samples (see the module)."""
    kernel, radius = _KERNELS[method]
    s = 2 * max(n, m)
    centre = (2 * np.arange(m, dtype=np.int64) + 1) * n
    first = (centre - radius * s - m) // (2 * m) + 1
    source = first + np.arange(-(-radius * s // m), dtype=np.int64)[:, None]
    values = kernel(np.abs((2 * source + 1) * m - centre), s)
    values[(source < 0) | (source >= n)] = 0
    summed = np.cumsum(values, axis=0)
    steps = np.floor(summed / summed[-1] * _ONE + 0.5)
    weights = (np.diff(steps, axis=0, prepend=0) / _ONE).astype(np.float32)
    return np.clip(source, 0, n - 1), weights


def _resample(lines: np.ndarray, count: int, method: str) -> np.ndarray:
    """Return lines[n, W, C] as float32[count, W, C]."""
    if lines.shape[0] == count:
        return lines.astype(np.float32)
    source, weights = taps(lines.shape[0], count, method)
    flat = np.ascontiguousarray(lines).reshape(lines.shape[0], -1)
    total = np.zeros((count, flat.shape[1]), np.float32)
    product = np.empty_like(total)
    for index, weight in zip(source, weights, strict=True):
        np.multiply(flat[index], weight[:, None], out=product)
        total += product
    return total.reshape(count, *lines.shape[1:])
