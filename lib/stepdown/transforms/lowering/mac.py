"""Convolutions and matrix products in INT8: per-channel weights, int32 bias, one rescale a channel."""

import numpy as np
from xdsl.ir import SSAValue

from stepdown.dialects.op import TensorOp, value_name
from stepdown.dialects.top.mac import Conv, ConvTranspose
from stepdown.dialects.types import is_none, quant_of
from stepdown.errors import UnsupportedModel
from stepdown.numerics.accumulate import ACCUMULATOR_MAX
from stepdown.numerics.float_scale import float_scales
from stepdown.numerics.quantize import MIN_WEIGHT_SCALE, QuantParams, quantize_weight, weight_scales
from stepdown.numerics.rescale import multipliers_shifts
from stepdown.transforms.lowering.builder import Lowering

BIAS_MAX = 1 << 30
"""Half of the accumulator belongs to the bias; what is left is for the products."""


def lower_mac(state: Lowering, op: TensorOp) -> None:
    """Append the integer code of a convolution or matrix product."""
    source, target = state.params_of(op.operands[0]), state.params_of(op.results[0])
    weight, bias = state.constant(op.operands[1]), _bias(state, op)
    if weight is None:
        second = state.params_of(op.operands[1])
        right, scales = state.get(op.operands[1], second), np.array([second.scale], np.float64)
    elif given := quant_of(op.operands[1]):
        right, scales = _given_weight(state, op, given, bias, source)
    else:
        right, scales = _weight(state, op, weight, bias, source)
    input_scale = float(source.scale)  # type: ignore[arg-type]
    accumulator_scales = scales.astype(np.float64) * input_scale
    name = op.tensor_name
    operands = [
        state.get(op.operands[0], source),
        right,
        state.none if bias is None else state.weight(f"{name}_bias_i32", _stored_bias(state, op, accumulator_scales)),
        *_rescale(state, name, accumulator_scales / float(target.scale)),  # type: ignore[arg-type]
    ]
    state.emit(type(op).__name__, op, operands, [target], **({"rounding": "float"} if state.float_scale else {}))


def _rescale(state: Lowering, name: str, factors: np.ndarray) -> list[SSAValue]:
    """Append the constants that bring sums to the result's scale, by `factors`: one a channel, or one in all."""
    if state.float_scale:
        return [state.weight(f"{name}_multiplier", float_scales(factors)), state.none]
    multipliers, shifts = multipliers_shifts(factors)
    return [state.weight(f"{name}_multiplier", multipliers), state.weight(f"{name}_shift", shifts)]


def _bias(state: Lowering, op: TensorOp) -> np.ndarray | None:
    """Return the constant bias, None where there is none.

    Raises:
        UnsupportedModel: the bias is computed.
    """
    value = op.operands[2]
    if is_none(value):
        return None
    constant = state.constant(value)
    if constant is None:
        raise UnsupportedModel(
            "INT8 needs a constant bias", f"tensor '{op.tensor_name}'", "give the op a float mode in a qtable"
        )
    return constant


def _weight(
    state: Lowering, op: TensorOp, weight: np.ndarray, bias: np.ndarray | None, source: QuantParams
) -> tuple[SSAValue, np.ndarray]:
    """Append the int8 weight; returns it and its scales: one an output channel, or one in all.

    Raises:
        UnsupportedModel: the sums of a channel could leave int32.
    """
    axis = channel_axis(op, weight)
    together = 1 if state.chip is None else state.chip.channels_per_scale
    scales = lowered_scales(weight, bias, axis, source, op.group if isinstance(op, Conv) else 1, together)
    quantized = quantize_weight(weight, scales, axis)
    _check_accumulator(op, quantized, axis, source)
    key = value_name(op.operands[1])
    params = QuantParams(tuple(float(s) for s in scales), 0, "i8", axis)
    groups = op.group if isinstance(op, ConvTranspose) else 1
    return state.weight(f"{key}_i8", quantized, params), np.tile(scales, groups)


def lowered_scales(
    weight: np.ndarray, bias: np.ndarray | None, axis: int, source: QuantParams, groups: int, together: int
) -> np.ndarray:
    """Return the float32 scale of each channel of `weight` on a chip where `together` neighbours share one."""
    scales = channel_scales(weight, bias, axis, source)
    if together == 1:
        return scales
    dead = ~weight.any(axis=tuple(i for i in range(weight.ndim) if i != axis))
    own = np.where(dead, _bias_floor(bias, len(scales), source), scales)
    return shared_scales(own, groups, together)


def channel_scales(weight: np.ndarray, bias: np.ndarray | None, axis: int, source: QuantParams) -> np.ndarray:
    """Return the float32 scale of each channel of `weight` along `axis`, for an op that reads `source`.

    A nearly dead channel with a large bias gets a larger scale, so that its bias fits.
    """
    scales = weight_scales(weight, axis)
    return np.maximum(scales, _bias_floor(bias, len(scales), source))


def _bias_floor(bias: np.ndarray | None, channels: int, source: QuantParams) -> np.ndarray:
    """Return the least float32 scale of each channel at which its bias fits."""
    if bias is None:
        return np.full(channels, MIN_WEIGHT_SCALE, np.float32)
    needed = np.abs(bias).reshape(-1, channels).max(axis=0) / (float(source.scale) * BIAS_MAX)  # type: ignore[arg-type]
    least = np.nextafter(needed.astype(np.float32), np.float32(np.inf))
    return np.maximum(least, np.float32(MIN_WEIGHT_SCALE))


def shared_scales(scales: np.ndarray, groups: int, together: int) -> np.ndarray:
    """Return the scales[C] of channels, each raised to the largest among those that share one with it.

    `together` neighbouring channels of a group share one, all channels where it is 0.
    """
    if together == 0:
        return np.full_like(scales, scales.max(initial=0.0))
    rows = scales.reshape(groups, -1)
    largest = np.maximum.reduceat(rows, range(0, rows.shape[1], together), axis=1)
    return np.asarray(np.repeat(largest, together, axis=1)[:, : rows.shape[1]].reshape(-1))


def _given_weight(
    state: Lowering, op: TensorOp, params: QuantParams, bias: np.ndarray | None, source: QuantParams
) -> tuple[SSAValue, np.ndarray]:
    """Append a weight that comes quantised, as it is; returns it and its scales.

    Raises:
        UnsupportedModel: its scales lie along another axis than the output channels, or sums could leave int32.
    """
    stored = state.stored(op.operands[1])
    assert stored is not None
    axis = channel_axis(op, stored)
    if params.axis not in (None, axis):
        raise UnsupportedModel(f"its scales lie along axis {params.axis}, not {axis}", f"tensor '{op.tensor_name}'")
    _check_accumulator(op, stored.astype(np.int64) - params.zero_point, axis, source)
    groups = op.group if isinstance(op, ConvTranspose) and params.axis is not None else 1
    return state.get(op.operands[1], params), np.tile(np.atleast_1d(params.scale), groups)


def _stored_bias(state: Lowering, op: TensorOp, scales: np.ndarray) -> np.ndarray:
    """Return the int32 bias at `scales`: as it is where it comes at those, up to the rounding of a float32."""
    value = op.operands[2]
    given, stored, bias = quant_of(value), state.stored(value), state.constant(value)
    if given and given.type == "i32" and stored is not None and np.allclose(given.scale, scales, 1e-6, 0.0):
        return stored
    assert bias is not None
    return _quantized_bias(bias, scales)


def channel_axis(op: TensorOp, weight: np.ndarray) -> int:
    """Return the axis of a weight's output channels (of a group, for ConvTranspose)."""
    if isinstance(op, Conv):
        return 0
    if isinstance(op, ConvTranspose):
        return 1
    return weight.ndim - 2 if op.right_transpose and weight.ndim > 1 else weight.ndim - 1  # type: ignore[attr-defined]


def _check_accumulator(op: TensorOp, quantized: np.ndarray, axis: int, source: QuantParams) -> None:
    largest = max(source.bounds[1] - source.zero_point, source.zero_point - source.bounds[0])
    others = tuple(i for i in range(quantized.ndim) if i != axis)
    sums = np.abs(quantized.astype(np.int64)).sum(axis=others)
    if int(sums.max(initial=0)) * largest + BIAS_MAX > ACCUMULATOR_MAX:
        raise UnsupportedModel(
            "its sums could leave int32", f"tensor '{op.tensor_name}'", "give the op a float mode in a qtable"
        )


def _quantized_bias(bias: np.ndarray, scales: np.ndarray) -> np.ndarray:
    """Return round_half_even(bias / (input scale × weight scale)) as int32."""
    return np.rint(bias.astype(np.float64) / scales).astype(np.int32)
