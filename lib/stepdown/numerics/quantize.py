"""Scales and zero points, and the map between real values and stored integers.

real = (stored − zero_point) × scale. Scales are float32 values.
Sources: TOSA specification 1.0, ONNX QuantizeLinear-21.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

RANGES = {
    "i8": (-128, 127), "u8": (0, 255), "i16": (-32768, 32767), "u16": (0, 65535), "i32": (-(2**31), 2**31 - 1),
}  # fmt: skip
DTYPES = {"i8": np.int8, "u8": np.uint8, "i16": np.int16, "u16": np.uint16, "i32": np.int32}
WEIGHT_MAX = 127
# Below it a channel's weights are noise: its scale would make the bias leave int32.
MIN_WEIGHT_SCALE = 2.0**-40
_HUGE = 1e9  # beyond every 8-bit value
MIN_SCALE = float(np.finfo(np.float32).tiny)


@dataclass(frozen=True)
class QuantParams:
    """How one tensor is stored: one scale, or one a channel along `axis`."""

    scale: float | tuple[float, ...]
    zero_point: int = 0
    type: str = "i8"
    axis: int | None = None

    @property
    def bounds(self) -> tuple[int, int]:
        """The least and the greatest storable integer."""
        return RANGES[self.type]


def symmetric(threshold: float, minimum: float, unsigned: bool = True) -> QuantParams:
    """Return the parameters of a tensor in [−threshold, threshold], u8 where nothing is below zero and `unsigned`."""
    if minimum >= 0 and unsigned:
        return QuantParams(_scale(threshold, 255), 0, "u8")
    return QuantParams(_scale(threshold, 127), 0, "i8")


def asymmetric(minimum: float, maximum: float) -> QuantParams:
    """Return int8 parameters that cover [minimum, maximum] widened to include 0."""
    low, high = min(minimum, 0.0), max(maximum, 0.0)
    scale = _scale(high - low, 255)
    zero_point = round(-128 - low / scale)
    return QuantParams(scale, max(-128, min(127, zero_point)), "i8")


def weight_scales(weight: np.ndarray, axis: int = 0) -> np.ndarray:
    """Return the float32 scale of each channel of `weight` along `axis`, with a floor."""
    others = tuple(i for i in range(weight.ndim) if i != axis % weight.ndim)
    largest = np.abs(weight).max(axis=others, initial=0.0).astype(np.float64)
    return np.maximum(np.where(largest > 0, largest / WEIGHT_MAX, 1.0), MIN_WEIGHT_SCALE).astype(np.float32)


def quantize(x: np.ndarray | float, params: QuantParams) -> np.ndarray:
    """Return saturate(round_half_even(x / scale) + zero_point), the division in float32. NaN becomes the zero point."""
    low, high = params.bounds
    scaled = np.rint(np.divide(x, _along(params, np.ndim(x)), dtype=np.float32))
    scaled = np.nan_to_num(scaled, nan=0.0, posinf=_HUGE, neginf=-_HUGE) + np.float32(params.zero_point)
    return np.clip(scaled, low, high).astype(DTYPES[params.type])


def dequantize(q: np.ndarray, params: QuantParams) -> np.ndarray:
    """Return (q − zero_point) × scale as float32."""
    return (q.astype(np.int32) - params.zero_point).astype(np.float32) * _along(params, q.ndim)


def quantize_weight(weight: np.ndarray, scales: Sequence[float] | np.ndarray, axis: int = 0) -> np.ndarray:
    """Return int8 weights in [−127, 127]: round_half_even(w / scale), by channel along `axis`."""
    shape = [1] * weight.ndim
    shape[axis] = -1
    scaled = weight.astype(np.float64) / np.asarray(scales, np.float64).reshape(shape)
    return np.clip(np.rint(scaled), -WEIGHT_MAX, WEIGHT_MAX).astype(np.int8)


def _scale(span: float, steps: int) -> float:
    """Return span / steps as a float32 value; a degenerate span gets scale 1."""
    if not math.isfinite(span) or span <= 0:
        return 1.0
    return max(float(np.float32(span / steps)), MIN_SCALE)


def _along(params: QuantParams, rank: int) -> np.ndarray:
    """Return the scale as float32, shaped to broadcast along the quantised axis of a tensor of `rank` dimensions."""
    scale = np.asarray(params.scale, np.float32)
    if params.axis is None:
        return scale
    shape = [1] * rank
    shape[params.axis] = -1
    return scale.reshape(shape)
