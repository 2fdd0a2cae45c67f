"""Lowering to INT8, by kind (profiles `tosa` and `float_scale`)."""

from collections.abc import Callable

import numpy as np

from stepdown.dialects.op import Kind, TensorOp
from stepdown.dialects.top import TopOp
from stepdown.dialects.top.quantize import Lookup
from stepdown.dialects.tpu import INTEGER_OPS, Lut, has_integer_code
from stepdown.dialects.tpu.elementwise import AverageOp, MoveOp, PickOp, ProductOp, SumOp, SumReduceOp
from stepdown.dialects.types import is_none, is_real, quant_of, range_of, shape_of
from stepdown.errors import UnsupportedModel
from stepdown.numerics.float_scale import float_scales
from stepdown.numerics.quantize import QuantParams, dequantize, quantize
from stepdown.numerics.rescale import ELTWISE_LEFT_SHIFT, multipliers_shifts
from stepdown.transforms.lowering.builder import Lowering, element_for
from stepdown.transforms.lowering.mac import lower_mac

_MAX_ADDENDS = 8
"""Operands of one Add: each is at most 2^27 after its rescale, and their sum must stay in int32."""


def can_lower(state: Lowering, op: TensorOp) -> bool:
    """Tell whether `op` has integer code and every float tensor at it has a range."""
    if not has_integer_code(op) or (len(op.operands) > _MAX_ADDENDS and op.kind is Kind.ELTWISE):
        return False
    values = [v for v in (*op.operands, *op.results) if not is_none(v) and is_real(v)]
    known = all(range_of(v) or quant_of(v) or state.constant(v) is not None for v in values)
    return bool(values) and known and is_real(op.results[0])


def lower_integer(state: Lowering, op: TensorOp) -> None:
    """Append the integer code of `op`."""
    if op.kind is Kind.MAC:
        lower_mac(state, op)
    elif op.kind is Kind.LUT:
        _lower_lut(state, op)
    elif isinstance(op, Lookup):
        _lower_lookup(state, op)
    else:
        execution = INTEGER_OPS.get(type(op).__name__, MoveOp)
        next(lower for base, lower in _BY_EXECUTION.items() if issubclass(execution, base))(state, op)


def _lower_lut(state: Lowering, op: TensorOp) -> None:
    """Make the table from the op's own float meaning, in float64."""
    source, target = state.params_of(op.operands[0]), state.params_of(op.results[0])
    low, high = source.bounds
    stored = np.arange(low, high + 1)
    real = dequantize(stored, source).astype(np.float64)
    with np.errstate(all="ignore"):
        table = quantize(op.compute(real)[0], target)
    operand = state.get(op.operands[0], source)
    key = state.weight(f"{op.tensor_name}_table", table, target)
    state.append(Lut, op, [operand, key], [target], {})


def _lower_lookup(state: Lowering, op: TensorOp) -> None:
    """Take the table as it comes."""
    source, target, table = (
        state.params_of(op.operands[0]),
        state.params_of(op.results[0]),
        state.stored(op.operands[1]),
    )
    assert table is not None
    key = state.weight(f"{op.tensor_name}_table", table, target)
    state.append(Lut, op, [state.get(op.operands[0], source), key], [target], {})


def _lower_sum(state: Lowering, op: TensorOp) -> None:
    params, target = _sides(state, op)
    if state.float_scale:
        common = max(_scale(p) for p in params)
        scales = [*(_scale(p) / common for p in params), common / _scale(target)]
        _emit_scaled(state, op, params, scales, target)
        return
    common = 2 * max(_scale(p) for p in params)
    output = common / (2.0**ELTWISE_LEFT_SHIFT * _scale(target))
    _emit_scaled(state, op, params, [*(_scale(p) / common for p in params), output], target)


def _lower_product(state: Lowering, op: TensorOp) -> None:
    params, target = _sides(state, op)
    _emit_scaled(state, op, params, [_scale(params[0]) * _scale(params[1]) / _scale(target)], target)


def _lower_pick(state: Lowering, op: TensorOp) -> None:
    params, target = _sides(state, op)
    _emit_scaled(state, op, params, [_scale(p) / _scale(target) for p in params], target)


def _lower_average(state: Lowering, op: TensorOp) -> None:
    params, target = _sides(state, op)
    counts = np.unique(op.counts(shape_of(op.operands[0])))  # type: ignore[attr-defined]
    scales = [_scale(params[0]) / (int(count) * _scale(target)) for count in counts]
    _emit_scaled(state, op, params, scales, target)


def _lower_sum_reduce(state: Lowering, op: TensorOp) -> None:
    params, target = _sides(state, op)
    count = op.count(shape_of(op.operands[0])) if type(op).__name__ == "ReduceMean" else 1  # type: ignore[attr-defined]
    _emit_scaled(state, op, params, [_scale(params[0]) / (count * _scale(target))], target)


def _lower_move(state: Lowering, op: TensorOp) -> None:
    """Move integers: the result takes the parameters of the one operand it moves.

    Where several meet, or a number is written among them, all take the parameters of the result's own range; where
    the result's type says its parameters, they take those.
    """
    moved = [v for v in op.operands if not is_none(v) and is_real(v)]
    alone = len(moved) == 1 and state.constant(moved[0]) is None and not any(getattr(op, name) for name in _fills(op))
    params = quant_of(op.results[0]) or state.params_of(moved[0] if alone else op.results[0])
    operands = [state.get(v, element_for(v, params)) for v in op.operands]
    elements = [element_for(r, params) for r in op.results]
    state.emit(type(op).__name__, op, operands, elements, **_stored_fills(op, params))


def _stored_fills(op: TensorOp, params: QuantParams) -> dict[str, float]:
    """Return the constants that `op` writes among moved elements as stored integers."""
    return {name: float(quantize(getattr(op, name), params)) for name in _fills(op)}


def _fills(op: TensorOp) -> tuple[str, ...]:
    return op.fills if isinstance(op, TopOp) else ()


def _sides(state: Lowering, op: TensorOp) -> tuple[list[QuantParams], QuantParams]:
    """Return the parameters of the operands and of the result."""
    return [state.params_of(v) for v in op.operands], state.params_of(op.results[0])


def _emit_scaled(
    state: Lowering, op: TensorOp, params: list[QuantParams], scales: list[float], target: QuantParams
) -> None:
    """Append the twin of `op` over its quantised operands, with its rescales as attributes."""
    operands = [state.get(v, p) for v, p in zip(op.operands, params, strict=True)]
    name = type(op).__name__
    if state.float_scale:
        state.emit(name, op, operands, [target], scales=float_scales(scales), rounding="float")
        return
    multipliers, shifts = multipliers_shifts(scales)
    state.emit(name, op, operands, [target], multipliers=multipliers, shifts=shifts)


def _scale(params: QuantParams) -> float:
    if isinstance(params.scale, tuple):
        raise UnsupportedModel("elementwise integer code needs one scale a tensor")
    return params.scale


_BY_EXECUTION: dict[type, Callable[[Lowering, TensorOp], None]] = {
    SumOp: _lower_sum,
    ProductOp: _lower_product,
    PickOp: _lower_pick,
    AverageOp: _lower_average,
    SumReduceOp: _lower_sum_reduce,
    MoveOp: _lower_move,
}
