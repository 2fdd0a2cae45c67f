"""Lowering of networks that TensorFlow Lite quantised: its own integer formula for each op (profile `tflite`)."""

from collections import Counter
from collections.abc import Callable

import numpy as np
from xdsl.ir import SSAValue

from stepdown.dialects.op import Kind, TensorOp
from stepdown.dialects.top.quantize import Dequantize
from stepdown.dialects.tpu import Convert, Lut, Rescale
from stepdown.dialects.tpu.tflite import SQUARE_LEFT_SHIFT
from stepdown.dialects.types import is_float, is_none, quant_of, shape_of, storage_of
from stepdown.errors import UnsupportedModel
from stepdown.numerics.quantize import QuantParams
from stepdown.numerics.rescale import ELTWISE_LEFT_SHIFT
from stepdown.numerics.tflite.fixed import multipliers_right_shifts
from stepdown.numerics.tflite.pool import mean_multiplier
from stepdown.numerics.tflite.softmax import softmax_multiplier
from stepdown.numerics.tflite.tables import TABLES, quantize_away, requantized, rescaled_as_float, scale_of
from stepdown.transforms.lowering.builder import Lowering
from stepdown.transforms.lowering.floating import lower_float
from stepdown.transforms.lowering.tflite_mac import lower_mac

Lower = Callable[[Lowering, TensorOp], None]
_BYTES = ("i8", "u8")
_F = np.float32


def lower_tflite(state: Lowering, op: TensorOp) -> None:
    """Append the integer code of `op`; without quantised tensors the op computes in floats."""
    values = [v for v in (*op.operands, *op.results) if not is_none(v)]
    if any(quant_of(v) for v in values):
        _rule(op)(state, op)  # type: ignore[misc]
    else:
        lower_float(state, op, "f32")


def refuse_unsupported(ops: list[TensorOp]) -> None:
    """Raise UnsupportedModel naming all ops on quantised tensors that have no integer code, with counts."""
    missing = Counter(reason for op in ops if op.kind is not Kind.SOURCE and (reason := _problem(op)))
    if missing:
        listed = ", ".join(f"{reason} ×{count}" for reason, count in sorted(missing.items()))
        raise UnsupportedModel(f"no integer code for {listed}", fix="import with --requantize and calibrate")


def _problem(op: TensorOp) -> str:
    """Return what of `op` has no integer code, '' where all has."""
    values = [v for v in (*op.operands, *op.results) if not is_none(v)]
    params = [p for v in values if (p := quant_of(v))]
    name = type(op).__name__
    if not params:
        return ""
    if _rule(op) is None:
        return name
    if name not in ("Quantize", "Dequantize") and any(is_float(v) for v in values):
        return f"{name} of integers and real numbers"
    if reason := _REFUSED.get(name, _nothing)(op):
        return f"{name} {reason}"
    wide = [p.type for v in (op.operands[0], *op.results) if (p := quant_of(v)) and p.type not in _BYTES]
    return f"{name} of {wide[0]}" if wide and not _moves(op) else ""


def _moves(op: TensorOp) -> bool:
    return op.kind is Kind.MOVE or isinstance(op, Dequantize)


def _nothing(op: TensorOp) -> str:
    return ""


def _compare_problem(op: TensorOp) -> str:
    scales = [scale_of(p) for v in op.operands if (p := quant_of(v))]
    return "of scales of 1 or more, which LiteRT leaves undefined" if max(scales, default=0) >= 1 else ""


def _count_problem(op: TensorOp) -> str:
    return "of more than two tensors" if len(op.operands) != 2 else ""


def _resize_problem(op: TensorOp) -> str:
    plain = op.mode == "linear" and shape_of(op.operands[0])[:2] == op.shape[:2] and len(op.shape) == 4  # type: ignore[attr-defined]
    return "" if plain else "other than linear, of height and width"


def _power_problem(op: TensorOp) -> str:
    return "" if op.exponent == -0.5 else f"of exponent {op.exponent:g}"  # type: ignore[attr-defined]


def _neg_problem(op: TensorOp) -> str:
    source, target = quant_of(op.operands[0]), quant_of(op.results[0])
    plain = source == target and source is not None and (source.zero_point, source.type) == (0, "i8")
    return "" if plain else "with zero points, two scales or u8, which LiteRT does not look at"


_REFUSED: dict[str, Callable[[TensorOp], str]] = {
    "Compare": _compare_problem,
    "Neg": _neg_problem,
    "Add": _count_problem,
    "Resize": _resize_problem,
    "PowScalar": _power_problem,
}


# --- values


def own(state: Lowering, value: SSAValue) -> SSAValue:
    """Return the TPU value of a TOP value as it is stored."""
    if is_none(value):
        return state.none
    return state.get(value, state.native.get(value) or quant_of(value) or storage_of(value))


def _params(value: SSAValue) -> QuantParams:
    params = quant_of(value)
    if params is None:
        raise UnsupportedModel("mixes integers with real numbers", fix="import with --requantize and calibrate")
    if params.axis is not None:
        raise UnsupportedModel("only filters may be quantised by channel", fix="import with --requantize and calibrate")
    return params


def _emit(state: Lowering, op: TensorOp, scales: list[float] | None = None, **attributes: object) -> None:
    """Append the twin of `op` over its operands as they are stored, results in their own types."""
    if scales is not None:
        multipliers, shifts = multipliers_right_shifts(scales)
        attributes |= {"multipliers": multipliers, "shifts": shifts, "rounding": "double"}
    elements = [quant_of(r) or storage_of(r) for r in op.results]
    state.emit(type(op).__name__, op, [own(state, v) for v in op.operands], elements, **attributes)


def _table(state: Lowering, op: TensorOp, table: np.ndarray) -> None:
    target = _params(op.results[0])
    weight = state.weight(f"{op.tensor_name}_table", table, target)
    state.append(Lut, op, [own(state, op.operands[0]), weight], [target], {})


# --- ops


def _lower_table(state: Lowering, op: TensorOp) -> None:
    source, target = _params(op.operands[0]), _params(op.results[0])
    options = {name: getattr(op, name) for name in op.fields}
    with np.errstate(all="ignore"):
        _table(state, op, TABLES[type(op).__name__](source, target, options))


def _lower_quantize(state: Lowering, op: TensorOp) -> None:
    source, target = quant_of(op.operands[0]), _params(op.results[0])
    if source is None:
        operand = state.get(op.operands[0], "f32")
        state.append(Convert, op, [operand], [target], {"ties": Convert.fields["ties"].encode("away")})
    elif source.type in _BYTES and target.type in _BYTES:
        _table(state, op, requantized(source, target))
    else:
        multiplier, shift = multipliers_right_shifts([scale_of(source) / scale_of(target)])
        numbers = {"multiplier": multiplier[0], "shift": shift[0], "rounding": "double"}
        encoded = {name: Rescale.fields[name].encode(value) for name, value in numbers.items()}
        state.append(Rescale, op, [own(state, op.operands[0])], [target], encoded)


def _lower_dequantize(state: Lowering, op: TensorOp) -> None:
    state.append(Convert, op, [own(state, op.operands[0])], ["f32"], {})


def _lower_sum(state: Lowering, op: TensorOp) -> None:
    """Both sides are brought to twice the larger scale, lifted by 20 bits. Source: TFLite add.cc, sub.cc."""
    a, b, target = (scale_of(_params(v)) for v in (*op.operands, op.results[0]))
    common = 2 * max(a, b)
    _emit(state, op, [a / common, b / common, common / (2.0**ELTWISE_LEFT_SHIFT * target)])


def _lower_product(state: Lowering, op: TensorOp) -> None:
    """The scale is s_a · s_b / s_out in float32. Source: TFLite mul.cc."""
    a, b, target = (_F(scale_of(_params(v))) for v in (*op.operands, op.results[0]))
    _emit(state, op, [float(a * b / target)])


def _lower_quotient(state: Lowering, op: TensorOp) -> None:
    """The scale is s_a / (s_b · s_out) in float32. Source: TFLite div.cc."""
    a, b, target = (_F(scale_of(_params(v))) for v in (*op.operands, op.results[0]))
    _emit(state, op, [float(a / (b * target))])


def _lower_squared_difference(state: Lowering, op: TensorOp) -> None:
    """Both sides are brought to twice the larger scale, lifted by 7 bits. Source: TFLite squared_difference.cc."""
    a, b, target = (scale_of(_params(v)) for v in (*op.operands, op.results[0]))
    common = 2 * max(a, b)
    _emit(state, op, [a / common, b / common, common * common / (4.0**SQUARE_LEFT_SHIFT * target)])


def _lower_prelu(state: Lowering, op: TensorOp) -> None:
    x, slope, target = (scale_of(_params(v)) for v in (*op.operands, op.results[0]))
    _emit(state, op, [x / target, x * slope / target])


def _lower_compare(state: Lowering, op: TensorOp) -> None:
    _emit(state, op, [scale_of(_params(v)) for v in op.operands])


def _lower_reduce(state: Lowering, op: TensorOp) -> None:
    """A mean's multiplier is that of s_in / s_out divided by the count. Source: TFLite reduce.cc."""
    source, target = (scale_of(_params(v)) for v in (op.operands[0], op.results[0]))
    mean = type(op).__name__ == "ReduceMean"
    count = op.count(shape_of(op.operands[0])) if mean else 1  # type: ignore[attr-defined]
    multiplier, shift = mean_multiplier(source / target, count)
    _emit(state, op, multipliers=[multiplier], shifts=[31 - shift], rounding="double")


def _lower_softmax(state: Lowering, op: TensorOp) -> None:
    multiplier, shift = softmax_multiplier(scale_of(_params(op.operands[0])))
    _emit(state, op, multiplier=multiplier, lift=shift)


def _lower_concat(state: Lowering, op: TensorOp) -> None:
    """Operands on another scale than the result are brought to it, in float32. Source: ConcatenationWithScaling."""
    target = _params(op.results[0])
    operands = [_joined(state, v, target) for v in op.operands]
    state.emit(type(op).__name__, op, operands, [target])


def _joined(state: Lowering, value: SSAValue, target: QuantParams) -> SSAValue:
    source = _params(value)
    if (source.scale, source.zero_point) == (target.scale, target.zero_point):
        return own(state, value)
    return state.looked_up(value, rescaled_as_float(source, target), target)


def _lower_move(state: Lowering, op: TensorOp) -> None:
    """Stored integers pass as they are, whatever the types of operand and result say; fills are quantised."""
    target = quant_of(op.results[0])
    fills = {} if target is None else {n: float(quantize_away(np.asarray(getattr(op, n)), target)) for n in _fills(op)}
    _emit(state, op, None, **fills)


def _fills(op: TensorOp) -> tuple[str, ...]:
    return getattr(op, "fills", ())


RULES: dict[str, Lower] = {
    **dict.fromkeys(TABLES, _lower_table),
    **dict.fromkeys(["Conv", "ConvTranspose", "MatMul"], lower_mac),
    **dict.fromkeys(["Add", "Sub"], _lower_sum),
    **dict.fromkeys(["ReduceMean", "ReduceSum"], _lower_reduce),
    **dict.fromkeys(["Softmax", "LogSoftmax"], _lower_softmax),
    **dict.fromkeys(
        ["Max", "Min", "AveragePool", "MaxPool", "ReduceMax", "ReduceMin", "LpNorm", "Resize"], _lower_move
    ),
    **dict.fromkeys(["ArgMax", "ArgMin", "Where", "ScatterND", "TopK"], _lower_move),
    "Mul": _lower_product,
    "Div": _lower_quotient,
    "PRelu": _lower_prelu,
    "SquaredDifference": _lower_squared_difference,
    "Compare": _lower_compare,
    "Concat": _lower_concat,
    "Quantize": _lower_quantize,
    "Dequantize": _lower_dequantize,
}
"""By TOP op: how it is lowered. Other ops that move elements pass as they are."""


def _rule(op: TensorOp) -> Lower | None:
    return RULES.get(type(op).__name__, _lower_move if op.kind is Kind.MOVE else None)
