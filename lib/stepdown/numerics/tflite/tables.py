"""Functions of one 8-bit tensor as tables of their 256 values.

`f` in the texts is `TABLES`' key, an op of the TOP dialect; x is q − zero point of the input.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from stepdown.numerics.erf import erf
from stepdown.numerics.quantize import QuantParams
from stepdown.numerics.tflite.fixed import (
    INT32_MAX,
    divide_by_pot,
    inverse_sqrt,
    multiply,
    quantize_multiplier,
    round_away,
)

Options = Mapping[str, Any]
_F = np.float32
_RSQRT_SHIFT = 20


def stored_values(source: QuantParams) -> np.ndarray:
    """Return every value a tensor can store, ascending."""
    low, high = source.bounds
    return np.arange(low, high + 1, dtype=np.int64)


def scale_of(params: QuantParams) -> float:
    """Return the one scale of a tensor."""
    return float(params.scale)  # type: ignore[arg-type]


def saturated(y: np.ndarray, target: QuantParams) -> np.ndarray:
    """Return y + zero point within the storage type, as it is stored."""
    dtype = np.uint8 if target.type == "u8" else np.int8
    return np.clip(y + target.zero_point, *target.bounds).astype(dtype)


def activation_bounds(target: QuantParams, low: float | None, high: float | None) -> tuple[int, int]:
    """Return the stored bounds of an activation: zero point + round_away(bound / scale), the division in float32.

    Source: CalculateActivationRangeQuantized.
    """
    least, most = target.bounds
    if low is not None:
        least = max(least, _stored(low, target))
    if high is not None:
        most = min(most, _stored(high, target))
    return least, most


def _stored(real: float, target: QuantParams) -> int:
    return target.zero_point + int(round_away(np.asarray(_F(real) / _F(scale_of(target)))))


def quantize_away(x: np.ndarray, target: QuantParams) -> np.ndarray:
    """Return saturate(round_away(x / scale) + zero point), the division in float32 (AffineQuantize)."""
    with np.errstate(all="ignore"):
        scaled = round_away(np.divide(x, _F(scale_of(target)), dtype=_F).astype(np.float64))
    limit = 2.0**31
    return saturated(np.nan_to_num(np.clip(scaled, -limit, limit)).astype(np.int64), target)


# --- tables of a float32 function: dequantised, computed, multiplied by 1 / scale, rounded half away from zero


def _float_table(function: Callable[[np.ndarray], np.ndarray]) -> "Table":
    def table(source: QuantParams, target: QuantParams, options: Options) -> np.ndarray:
        x = (stored_values(source) - source.zero_point).astype(_F) * _F(scale_of(source))
        y = function(x.astype(np.float64), **options).astype(_F)
        return _from_float(y * (_F(1) / _F(scale_of(target))), target)

    return table


def _from_float(scaled: np.ndarray, target: QuantParams) -> np.ndarray:
    limit = _F(1 << 30)
    return saturated(round_away(np.nan_to_num(np.clip(scaled, -limit, limit))).astype(np.int64), target)


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def _elu(x: np.ndarray, alpha: float = 1.0) -> np.ndarray:
    return np.where(x < 0, np.expm1(x), x)


def _gelu(x: np.ndarray, approximate: str = "none") -> np.ndarray:
    if approximate == "tanh":
        return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    return 0.5 * x * (1 + erf(x / math.sqrt(2)))


# --- tables of integer arithmetic


def requantized(source: QuantParams, target: QuantParams, bounds: tuple[int, int] | None = None) -> np.ndarray:
    """Return clamp(x · s_in / s_out + zero point): QUANTIZE from integers, RELU and its kin."""
    scaled = multiply(stored_values(source) - source.zero_point, *quantize_multiplier(_ratio(source, target)))
    low, high = bounds or target.bounds
    return np.clip(saturated(scaled, target), low, high)


def rescaled_as_float(source: QuantParams, target: QuantParams) -> np.ndarray:
    """Return round_away(q · s + b) + zero point in float32, s = s_in · (1 / s_out), b = −zp_in · s.

    Source: ConcatenationWithScaling.
    """
    scale = _F(scale_of(source)) * (_F(1) / _F(scale_of(target)))
    bias = _F(-source.zero_point) * scale
    return _from_float(stored_values(source).astype(_F) * scale + bias, target)


def _ratio(source: QuantParams, target: QuantParams, factor: float = 1.0) -> float:
    return scale_of(source) * factor / scale_of(target)


def _relu(source: QuantParams, target: QuantParams, options: Options) -> np.ndarray:
    limit = options.get("relu_limit", -1.0)
    return requantized(source, target, activation_bounds(target, 0.0, limit if limit >= 0 else None))


def _clip(source: QuantParams, target: QuantParams, options: Options) -> np.ndarray:
    low, high = (v if math.isfinite(v) else None for v in (options["min"], options["max"]))
    return requantized(source, target, activation_bounds(target, low, high))


def _leaky_relu(source: QuantParams, target: QuantParams, options: Options) -> np.ndarray:
    """Two multipliers: s_in / s_out where x ≥ 0, s_in · alpha / s_out elsewhere."""
    x = stored_values(source) - source.zero_point
    alpha = float(_F(options["alpha"]))
    below = multiply(x, *quantize_multiplier(_ratio(source, target, alpha)))
    above = multiply(x, *quantize_multiplier(_ratio(source, target)))
    return saturated(np.where(x >= 0, above, below), target)


def _abs(source: QuantParams, target: QuantParams, options: Options) -> np.ndarray:
    x = np.abs(stored_values(source) - source.zero_point)
    return saturated(multiply(x, *quantize_multiplier(_ratio(source, target))), target)


def _rsqrt(source: QuantParams, target: QuantParams, options: Options) -> np.ndarray:
    """1 / √x by Newton steps, lifted by 20 bits; the largest value for 0. Negative inputs stop the kernel."""
    x = np.maximum(stored_values(source) - source.zero_point, 0)
    multiplier, shift = quantize_multiplier(1 / (math.sqrt(scale_of(source)) * scale_of(target)))
    root, root_shift = inverse_sqrt(x)
    lifted = multiply(np.ones_like(x), root, root_shift + _RSQRT_SHIFT)
    y = saturated(multiply(lifted, multiplier, shift - _RSQRT_SHIFT), target)
    return np.where(x == 0, target.bounds[1], y).astype(y.dtype)


def _power(source: QuantParams, target: QuantParams, options: Options) -> np.ndarray:
    if options["exponent"] != -0.5:
        raise KeyError("only 1 / √x has integers")
    return _rsqrt(source, target, options)


def _hard_swish(source: QuantParams, target: QuantParams, options: Options) -> np.ndarray:
    """Return x · relu6(x + 3) / 6 in int16, x on 128 times its scale.

    Source: reference_ops::HardSwish. Every step saturates or wraps at int16.
    """
    high_scale = _F(1 / 128) * _F(scale_of(source))
    out_multiplier, out_shift = _int16_multiplier(high_scale / _F(scale_of(target)))
    relu_multiplier, relu_shift = _int16_multiplier(high_scale / _F(3 / 32768))
    x = _int16((stored_values(source) - source.zero_point) << 7)
    gate = x if relu_shift <= 0 else _saturate16(x << (relu_shift - 1))
    gate = _doubling_high_mul16(gate, relu_multiplier)
    gate = _saturate16(gate << 1) if relu_shift > 0 else divide_by_pot(gate, -relu_shift)
    gate = (gate + (1 << 15)) >> 1
    product = gate * _doubling_high_mul16(x, out_multiplier)
    y = np.sign(product) * (np.abs(product) >> 15)
    return saturated(divide_by_pot(y, max(0, -out_shift)), target)


def _int16_multiplier(scale: np.floating[Any]) -> tuple[int, int]:
    multiplier, shift = quantize_multiplier(float(_F(scale)))
    return 32767 if multiplier >= INT32_MAX - (1 << 15) else (multiplier + (1 << 15)) >> 16, shift


def _doubling_high_mul16(a: np.ndarray, b: int) -> np.ndarray:
    return np.minimum((a * b + (1 << 14)) >> 15, 32767)


def _saturate16(x: np.ndarray) -> np.ndarray:
    return np.clip(x, -32768, 32767)


def _int16(x: np.ndarray) -> np.ndarray:
    return x.astype(np.int16).astype(np.int64)


def _negated(source: QuantParams, target: QuantParams, options: Options) -> np.ndarray:
    """Return −q modulo 256: the kernel knows neither scales nor zero points."""
    return (-stored_values(source)).astype(np.int8)


def _sqrt(source: QuantParams, target: QuantParams, options: Options) -> np.ndarray:
    """Return √x / s_out cut off. Negative inputs stop the kernel."""
    x = np.maximum(stored_values(source) - source.zero_point, 0) * scale_of(source)
    return saturated(np.trunc(np.sqrt(x) / scale_of(target)).astype(np.int64), target)


def _logarithm(x: np.ndarray) -> np.ndarray:
    return np.log(np.maximum(x, 0))  # the smallest stored value where there is no logarithm


Table = Callable[[QuantParams, QuantParams, Options], np.ndarray]
TABLES: dict[str, Table] = {
    "Abs": _abs,
    "Clip": _clip,
    "Elu": _float_table(_elu),
    "Exp": _float_table(np.exp),
    "Gelu": _float_table(_gelu),
    "HardSwish": _hard_swish,
    "LeakyRelu": _leaky_relu,
    "Log": _float_table(_logarithm),
    "Neg": _negated,
    "PowScalar": _power,
    "Relu": _relu,
    "Sigmoid": _float_table(_sigmoid),
    "Sqrt": _sqrt,
    "Tanh": _float_table(np.tanh),
}
"""By TOP op: the stored results of every stored input, from the parameters of both and the op's attributes."""
