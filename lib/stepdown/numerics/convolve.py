"""Convolution as sums of products, in the floating type of its operands.

Integers are convolved exactly by handing in values whose sums the type can hold (see `accumulate.exact_dtype`).
"""

import itertools
import math
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

Ints = Sequence[int]

# Bytes of the patch matrix made at a time, and of a channel block in the depthwise loop (second-level cache).
_PATCH_BYTES = 16 << 20
_DEPTHWISE_BYTES = 256 << 10


def output_size(size: int, kernel: int, stride: int, pad: int, dilation: int, ceil_mode: bool = False) -> int:
    """Return the output size of a window over `size` elements with `pad` elements added in all (ONNX Conv, Pool)."""
    span = size + pad - dilation * (kernel - 1) - 1
    return (-(-span // stride) if ceil_mode else span // stride) + 1


def pad_spatial(x: np.ndarray, pads: Ints, value: float = 0) -> np.ndarray:
    """Pad x[N, C, *S]; `pads` holds all begins, then all ends. Negative pads crop."""
    rank = x.ndim - 2
    if any(p < 0 for p in pads):
        cuts = [slice(max(0, -pads[i]), n - max(0, -pads[i + rank])) for i, n in enumerate(x.shape[2:])]
        x, pads = x[:, :, *cuts], [max(0, p) for p in pads]
    if not any(pads):
        return x
    begins, ends = pads[:rank], pads[rank:]
    shape = (*x.shape[:2], *(b + n + e for b, n, e in zip(begins, x.shape[2:], ends, strict=True)))
    out = np.full(shape, value, x.dtype)
    out[:, :, *(slice(b, b + n) for b, n in zip(begins, x.shape[2:], strict=True))] = x
    return out


def windows(x: np.ndarray, kernel: Ints, strides: Ints, dilations: Ints) -> np.ndarray:
    """Return the view [N, C, *O, *K] of the windows over padded x[N, C, *S]."""
    axes = tuple(range(2, x.ndim))
    spans = [d * (k - 1) + 1 for k, d in zip(kernel, dilations, strict=True)]
    view = sliding_window_view(x, spans, axis=axes)
    view = view[:, :, *(slice(None, None, s) for s in strides), *(slice(None, None, d) for d in dilations)]
    return np.asarray(view)


def convolve(x: np.ndarray, w: np.ndarray, strides: Ints, pads: Ints, dilations: Ints, group: int = 1) -> np.ndarray:
    """Return the convolution [N, O, *S'] of x[N, C, *S] with w[O, C / group, *K], zero-padded by `pads`.

    Source: ONNX Conv-22.
    """
    if len(w) == x.shape[1] == group:
        return _depthwise(pad_spatial(x, pads), w, strides, dilations)
    if all(k == 1 for k in w.shape[2:]) and not any(pads):
        x = x[:, :, *(slice(None, None, s) for s in strides)]
        out = np.matmul(_grouped(w, group), x.reshape(len(x), group, -1, math.prod(x.shape[2:])))
        return out.reshape(len(x), len(w), *x.shape[2:])
    return _patches(pad_spatial(x, pads), w, strides, dilations, group)


def deconvolve(
    x: np.ndarray, w: np.ndarray, strides: Ints, pads: Ints, dilations: Ints, group: int, output_shape: Ints
) -> np.ndarray:
    """Return the transposed convolution [N, O, *S'] of x[N, C, *S] with w[C, O / group, *K].

    `output_shape` is S'; positions before `pads` begins are cut off. Source: ONNX ConvTranspose-22.
    """
    rank, kernel = x.ndim - 2, w.shape[2:]
    full = [s * (n - 1) + d * (k - 1) + 1 for n, s, d, k in zip(x.shape[2:], strides, dilations, kernel, strict=True)]
    size = [max(f, p + o) for f, p, o in zip(full, pads[:rank], output_shape, strict=True)]
    columns = w.shape[1] * math.prod(kernel)
    weights = w.reshape(group, w.shape[0] // group, columns).swapaxes(1, 2)
    products = np.matmul(weights, x.reshape(len(x), group, -1, math.prod(x.shape[2:])))
    products = products.reshape(len(x), group * w.shape[1], *kernel, *x.shape[2:])
    out = np.zeros((len(x), group * w.shape[1], *size), x.dtype)
    for at in itertools.product(*map(range, kernel)):
        place = [
            slice(i * d, i * d + s * (n - 1) + 1, s)
            for i, d, s, n in zip(at, dilations, strides, x.shape[2:], strict=True)
        ]
        out[:, :, *place] += products[:, :, *at]
    return out[:, :, *(slice(p, p + o) for p, o in zip(pads[:rank], output_shape, strict=True))]


def _grouped(w: np.ndarray, group: int) -> np.ndarray:
    return w.reshape(group, len(w) // group, -1)


def _patches(x: np.ndarray, w: np.ndarray, strides: Ints, dilations: Ints, group: int) -> np.ndarray:
    """Convolve by matrix products with copied patches, some output rows at a time."""
    rank = w.ndim - 2
    view = windows(x, w.shape[2:], strides, dilations)
    view = view.transpose(0, 1, *range(2 + rank, 2 + 2 * rank), *range(2, 2 + rank))  # [N, C, *K, *O]
    size = view.shape[2 + rank :]
    out = np.empty((len(x), len(w), *size), x.dtype)
    weights = _grouped(w, group)
    row_bytes = max(1, view[:, :, ..., 0:1].size if rank == 1 else view.size // max(1, size[0])) * x.itemsize
    for rows in _steps(size[0], max(1, _PATCH_BYTES // row_bytes)):
        piece = view[:, :, *([slice(None)] * rank), rows]
        patches = piece.reshape(len(x), group, weights.shape[2], -1)
        out[:, :, rows] = np.matmul(weights, patches).reshape(len(x), len(w), -1, *size[1:])
    return out


def _depthwise(x: np.ndarray, w: np.ndarray, strides: Ints, dilations: Ints) -> np.ndarray:
    """Convolve each channel with its own kernel, adding up shifted copies."""
    size = [output_size(n, k, s, 0, d) for n, k, s, d in zip(x.shape[2:], w.shape[2:], strides, dilations, strict=True)]
    out = np.zeros((*x.shape[:2], *size), x.dtype)
    flat = w.reshape(1, len(w), -1, *([1] * len(size)))
    places = [
        tuple(slice(i * d, i * d + (n - 1) * s + 1, s) for i, d, n, s in zip(at, dilations, size, strides, strict=True))
        for at in itertools.product(*map(range, w.shape[2:]))
    ]
    plane_bytes = max(1, len(x) * math.prod(size) * x.itemsize)
    for channels in _steps(x.shape[1], max(1, _DEPTHWISE_BYTES // plane_bytes)):
        total, block, weights = out[:, channels], x[:, channels], flat[:, channels]
        product = np.empty_like(total)
        for tap, place in enumerate(places):
            np.multiply(block[:, :, *place], weights[:, :, tap], out=product)
            total += product
    return out


def _steps(count: int, step: int) -> Iterator[slice]:
    return (slice(i, min(i + step, count)) for i in range(0, count, step))
