"""Multiply-accumulate ops: exact integer sums and one rescale, or the correctly rounded exact sum."""

import math
from typing import Any

import numpy as np
from xdsl.ir import Attribute

from stepdown.dialects.fields import Str
from stepdown.dialects.op import Arrays
from stepdown.dialects.top.mac import Conv, ConvTranspose, MatMul
from stepdown.dialects.tpu.base import TpuOp, centred
from stepdown.dialects.types import is_none, shape_of, storage_of, tensor
from stepdown.numerics.accumulate import correctly_rounded, exact_dtype, sum_bound
from stepdown.numerics.convolve import pad_spatial, windows
from stepdown.numerics.float_scale import rescale_by_float
from stepdown.numerics.floats import ROUND
from stepdown.numerics.quantize import QuantParams
from stepdown.numerics.rescale import rescale
from stepdown.numerics.tflite.fixed import round_away


class MacOp(TpuOp):
    """A convolution or matrix product.

    Quantised, it has two more operands: `multiplier` (i32) and `shift` (i8), one a channel, and its bias is i32 in
    units of input scale × weight scale. `rounding` is double in networks that TensorFlow Lite quantised, or
    away: then `multiplier` holds real scales (f64), there is no shift, and products are rounded half away from zero.
    Where it is float, `multiplier` holds float32 scales, and there is no shift (`numerics.float_scale`).
    """

    rounding = Str("single", choices=("single", "double", "away", "float"))

    def infer(self) -> list[Attribute]:
        """Return the result types, from the operands that the TOP op has."""
        self.check_operands()
        shapes = self.shapes(*(None if is_none(v) else shape_of(v) for v in self.operands[:3]))
        return [tensor(shape, storage_of(self.operands[0])) for shape in shapes]

    def run_integer(self, *inputs: Any) -> Arrays:
        """Return saturate(rescale(Σ (x − zp)·w + bias)), the sum in int32."""
        x, w, bias, multiplier, shift = inputs
        w = centred(w, self.params(1), np.int16)
        dtype = exact_dtype(self._channels_first(w), _largest(self.params(0)))
        total = self.accumulate(centred(x, self.params(0), dtype), w.astype(dtype))  # type: ignore[attr-defined]
        along = self._along(total.ndim)
        total = _wrapped(total)
        if bias is not None:
            total += bias.reshape(along)
        zero_point = self.result_params.zero_point
        if self.rounding == "float":
            factors = multiplier.reshape(along)
            return [rescale_by_float(total, factors, zero_point, self.bounds(), self.result_dtype)]
        if self.rounding == "away":
            scaled = round_away(total * multiplier.reshape(along)) + zero_point
            return [np.clip(scaled, *self.bounds()).astype(self.result_dtype)]
        scales = (
            (multiplier.reshape(along), shift.reshape(along))
            if multiplier.size > 1
            else (multiplier.item(), shift.item())
        )
        return [rescale(total, *scales, zero_point, self.bounds(), self.result_dtype, self.rounding)]

    def run_rounded(self, *inputs: Any) -> Arrays:
        """Return the exact sum rounded once to the result's format, then the fused ReLU with its limit rounded so."""
        x, w = inputs[0].astype(np.float64), inputs[1].astype(np.float64)
        bias = None if inputs[2] is None else inputs[2].astype(np.float64)
        total = self.accumulate(x, w)  # type: ignore[attr-defined]
        terms = self._terms_a_sum()
        bound = sum_bound(terms, self._weight_sums(w), float(np.abs(x).max(initial=0.0)))
        along = self._along(total.ndim)
        if bias is not None:
            total += bias.reshape(along)
            bound = bound + 2.0**-52 * np.abs(bias)
        bound = bound.reshape(along) if bound.size > 1 else bound.reshape(())
        round_to = ROUND[storage_of(self.results[0])]
        exact = correctly_rounded(
            total, bound + 2.0**-52 * np.abs(total), round_to, lambda i: self._terms(i, total.shape, x, w, bias)
        )
        bounded = self.activate(exact)  # type: ignore[attr-defined]
        return [round_to(bounded) if self.relu_limit > 0 else bounded]  # type: ignore[attr-defined]

    def _terms_a_sum(self) -> int:
        return max(1, self.cost() // max(1, math.prod(shape_of(self.results[0])))) + 1

    def _weight_sums(self, w: np.ndarray) -> np.ndarray:
        flat = np.abs(self._channels_first(w))
        return flat.reshape(len(flat), -1).sum(axis=1)

    def _channels_first(self, w: np.ndarray) -> np.ndarray:
        """Return the weights with output channels first, every row the weights of one sum."""
        raise NotImplementedError

    def _along(self, rank: int) -> tuple[int, ...]:
        """Return the shape that puts a value a channel along the result's channel axis."""
        raise NotImplementedError

    def _terms(
        self, index: np.ndarray, shape: tuple[int, ...], x: np.ndarray, w: np.ndarray, bias: np.ndarray | None
    ) -> np.ndarray:
        """Return the addends [N, K] of the results at flat positions `index`."""
        raise NotImplementedError


class ConvMac(MacOp, Conv):
    """`tpu.Conv`."""

    def _channels_first(self, w: np.ndarray) -> np.ndarray:
        return w

    def _along(self, rank: int) -> tuple[int, ...]:
        return (1, -1, *([1] * (rank - 2)))

    def _terms(
        self, index: np.ndarray, shape: tuple[int, ...], x: np.ndarray, w: np.ndarray, bias: np.ndarray | None
    ) -> np.ndarray:
        view = windows(pad_spatial(x, self.pads), w.shape[2:], self.strides, self.dilations)
        return _window_terms(index, shape, view, w, self.group, bias)


class ConvTransposeMac(MacOp, ConvTranspose):
    """`tpu.ConvTranspose`."""

    def _channels_first(self, w: np.ndarray) -> np.ndarray:
        return _as_convolution_weight(w, self.group)

    def _along(self, rank: int) -> tuple[int, ...]:
        return (1, -1, *([1] * (rank - 2)))

    def _terms(
        self, index: np.ndarray, shape: tuple[int, ...], x: np.ndarray, w: np.ndarray, bias: np.ndarray | None
    ) -> np.ndarray:
        rank, kernel = x.ndim - 2, w.shape[2:]
        spread = np.zeros((*x.shape[:2], *(s * (n - 1) + 1 for s, n in zip(self.strides, x.shape[2:], strict=True))))
        spread[:, :, *(slice(None, None, s) for s in self.strides)] = x
        reach = [d * (k - 1) for d, k in zip(self.dilations, kernel, strict=True)]
        begins = [r - p for r, p in zip(reach, self.pads[:rank], strict=True)]
        ends = [o + r - b - n for o, r, b, n in zip(shape[2:], reach, begins, spread.shape[2:], strict=True)]
        view = windows(pad_spatial(spread, [*begins, *ends]), kernel, [1] * rank, self.dilations)
        flipped = np.flip(_as_convolution_weight(w, self.group), tuple(range(2, 2 + rank)))
        return _window_terms(index, shape, view, flipped, self.group, bias)


class MatMulMac(MacOp, MatMul):
    """`tpu.MatMul`; quantised, its right side may be an activation too."""

    def _channels_first(self, w: np.ndarray) -> np.ndarray:
        return self._rows(w).reshape(-1, w.shape[-1] if self.right_transpose or w.ndim == 1 else w.shape[-2])

    def _rows(self, w: np.ndarray) -> np.ndarray:
        """Return the right side as [..., N, K]."""
        return np.atleast_2d(w) if self.right_transpose or w.ndim == 1 else w.swapaxes(-1, -2)

    def _along(self, rank: int) -> tuple[int, ...]:
        return (*([1] * (rank - 1)), -1) if rank else ()

    def _weight_sums(self, w: np.ndarray) -> np.ndarray:
        return super()._weight_sums(w).max(keepdims=True) if w.ndim > 2 else super()._weight_sums(w)

    def _terms(
        self, index: np.ndarray, shape: tuple[int, ...], x: np.ndarray, w: np.ndarray, bias: np.ndarray | None
    ) -> np.ndarray:
        x, rows = np.atleast_2d(x), self._rows(w)
        batch = np.broadcast_shapes(x.shape[:-2], rows.shape[:-2])
        at = np.unravel_index(index, (*batch, x.shape[-2], rows.shape[-2]))
        left = np.broadcast_to(x, (*batch, *x.shape[-2:]))[*at[:-2], at[-2]]
        right = np.broadcast_to(rows, (*batch, *rows.shape[-2:]))[*at[:-2], at[-1]]
        terms = left * right
        return terms if bias is None else np.column_stack([terms, bias[at[-1]]])


def _wrapped(total: np.ndarray) -> np.ndarray:
    """Return exact sums as int32; those of imported networks wrap as their own kernels' do."""
    return total.astype(np.int32) if total.dtype == np.float32 else total.astype(np.int64).astype(np.int32)


def _largest(params: QuantParams) -> int:
    """Return the largest |q − zero_point|."""
    return max(params.bounds[1] - params.zero_point, params.zero_point - params.bounds[0])


def _window_terms(
    index: np.ndarray, shape: tuple[int, ...], view: np.ndarray, w: np.ndarray, group: int, bias: np.ndarray | None
) -> np.ndarray:
    """Return products of the windows view[N, C, *O, *K] with w[O, C / group, *K] at flat positions, and the bias."""
    rank, channels = w.ndim - 2, w.shape[1]
    at = np.unravel_index(index, shape)
    rows = view.transpose(0, *range(2, 2 + rank), 1, *range(2 + rank, 2 + 2 * rank))[at[0], *at[2:]]  # [N, C, *K]
    start = at[1] // (len(w) // group) * channels
    picked = np.take_along_axis(
        rows, (start[:, None] + np.arange(channels)).reshape(-1, channels, *([1] * rank)), axis=1
    )
    terms = (picked * w[at[1]]).reshape(len(index), -1)
    return terms if bias is None else np.column_stack([terms, bias[at[1]]])


def _as_convolution_weight(w: np.ndarray, group: int) -> np.ndarray:
    """Return w[C, O / group, *K] as [O, C / group, *K]."""
    grouped = w.reshape(group, len(w) // group, *w.shape[1:]).swapaxes(1, 2)
    return grouped.reshape(-1, len(w) // group, *w.shape[2:])


MAC_OPS: dict[str, type[MacOp]] = {"Conv": ConvMac, "ConvTranspose": ConvTransposeMac, "MatMul": MatMulMac}
