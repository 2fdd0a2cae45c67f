"""Caffe's layers in plain loops, written from their definition: what the importer is checked against."""

import itertools
import math
from collections.abc import Iterator, Sequence

import numpy as np


def positions(shape: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """Yield every index of a shape."""
    return itertools.product(*map(range, shape))


def convolution(
    x: np.ndarray, w: np.ndarray, b: np.ndarray | None, stride: Sequence[int], pad: Sequence[int],
    dilation: Sequence[int], group: int,
) -> np.ndarray:  # fmt: skip
    """Return the convolution of x[N, C, *S] by w[O, C / group, *K]."""
    size = [(n + 2 * p - (d * (k - 1) + 1)) // s + 1
            for n, k, s, p, d in zip(x.shape[2:], w.shape[2:], stride, pad, dilation, strict=True)]  # fmt: skip
    y = np.zeros((len(x), len(w), *size))
    for n, o, *at in positions(y.shape):
        total = 0.0 if b is None else float(b[o])
        first = o // (len(w) // group) * w.shape[1]
        for c, *tap in positions(w.shape[1:]):
            place = [a * s - p + t * d for a, s, p, t, d in zip(at, stride, pad, tap, dilation, strict=True)]
            if all(0 <= i < limit for i, limit in zip(place, x.shape[2:], strict=True)):
                total += float(x[(n, first + c, *place)]) * float(w[(o, c, *tap)])
        y[(n, o, *at)] = total
    return y


def deconvolution(
    x: np.ndarray, w: np.ndarray, b: np.ndarray | None, stride: int, pad: int, dilation: int, group: int
) -> np.ndarray:
    """Return what spreads every element of x[N, C, H, W] by w[C, O / group, K, K]."""
    out = [stride * (n - 1) + dilation * (w.shape[2] - 1) + 1 - 2 * pad for n in x.shape[2:]]
    y = np.zeros((len(x), w.shape[1] * group, *out))
    if b is not None:
        y += b.reshape(1, -1, 1, 1)
    for n, c, i, j in positions(x.shape):
        first = c // (x.shape[1] // group) * w.shape[1]
        for o, p, q in positions(w.shape[1:]):
            row, column = i * stride - pad + p * dilation, j * stride - pad + q * dilation
            if 0 <= row < out[0] and 0 <= column < out[1]:
                y[n, first + o, row, column] += float(x[n, c, i, j]) * float(w[c, o, p, q])
    return y


def pooled_size(n: int, kernel: int, stride: int, pad: int) -> int:
    """Return Caffe's number of windows: ceiled, the last one clipped where there is padding."""
    size = math.ceil((n + 2 * pad - kernel) / stride) + 1
    if pad and (size - 1) * stride >= n + pad:
        size -= 1
    return size


def pooling(x: np.ndarray, method: str, kernel: Sequence[int], stride: Sequence[int], pad: Sequence[int]) -> np.ndarray:
    """Return the maxima or means of windows, as pooling_layer.cpp goes about it."""
    size = [pooled_size(*window) for window in zip(x.shape[2:], kernel, stride, pad, strict=True)]
    y = np.zeros((*x.shape[:2], *size))
    for n, c, i, j in positions(y.shape):
        top, left = i * stride[0] - pad[0], j * stride[1] - pad[1]
        bottom, right = min(top + kernel[0], x.shape[2] + pad[0]), min(left + kernel[1], x.shape[3] + pad[1])
        divisor = (bottom - top) * (right - left)
        seen = x[n, c, max(top, 0) : min(bottom, x.shape[2]), max(left, 0) : min(right, x.shape[3])]
        y[n, c, i, j] = seen.max() if method == "MAX" else seen.astype(np.float64).sum() / divisor
    return y


def lrn_across(x: np.ndarray, size: int, alpha: float, beta: float, k: float) -> np.ndarray:
    """Return x / (k + alpha / size · Σ x² over neighbouring channels)^beta."""
    y = np.zeros(x.shape)
    for n, c, i, j in positions(x.shape):
        near = x[n, max(0, c - size // 2) : c + size // 2 + 1, i, j].astype(np.float64)
        y[n, c, i, j] = x[n, c, i, j] / (k + alpha / size * (near**2).sum()) ** beta
    return y


def lrn_within(x: np.ndarray, size: int, alpha: float, beta: float) -> np.ndarray:
    """Return x / (1 + alpha / size² · Σ x² over a square)^beta."""
    y, r = np.zeros(x.shape), size // 2
    for n, c, i, j in positions(x.shape):
        near = x[n, c, max(0, i - r) : i + r + 1, max(0, j - r) : j + r + 1].astype(np.float64)
        y[n, c, i, j] = x[n, c, i, j] / (1 + alpha / size**2 * (near**2).sum()) ** beta
    return y


def softmax(x: np.ndarray, axis: int) -> np.ndarray:
    """Return e^x / Σ e^x."""
    e = np.exp(x.astype(np.float64))
    return e / e.sum(axis=axis, keepdims=True)


def shuffled(x: np.ndarray, group: int) -> np.ndarray:
    """Return channel i · group + g from channel g · (C / group) + i."""
    y, each = np.zeros_like(x), x.shape[1] // group
    for g, i in positions((group, each)):
        y[:, i * group + g] = x[:, g * each + i]
    return y


def interp(x: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return x resampled so that corners stay corners."""
    y = np.zeros((*x.shape[:2], height, width))
    for i, j in positions((height, width)):
        row = i * (x.shape[2] - 1) / (height - 1) if height > 1 else 0.0
        column = j * (x.shape[3] - 1) / (width - 1) if width > 1 else 0.0
        a, b = int(row), int(column)
        c, d = min(a + 1, x.shape[2] - 1), min(b + 1, x.shape[3] - 1)
        top = (1 - (column - b)) * x[:, :, a, b] + (column - b) * x[:, :, a, d]
        low = (1 - (column - b)) * x[:, :, c, b] + (column - b) * x[:, :, c, d]
        y[:, :, i, j] = (1 - (row - a)) * top + (row - a) * low
    return y


def arg_max(x: np.ndarray, top_k: int) -> list[tuple[float, int]]:
    """Return (value, place) of the largest elements of a vector, of equal ones the last first."""
    return sorted(((float(v), i) for i, v in enumerate(x)), reverse=True)[:top_k]
