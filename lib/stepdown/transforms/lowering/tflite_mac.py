"""Convolutions and matrix products as TensorFlow Lite quantises them: stored weights and biases, gemmlowp rounding."""

import numpy as np
from xdsl.ir import SSAValue

from stepdown.dialects.op import TensorOp
from stepdown.dialects.top.mac import MatMul
from stepdown.dialects.types import is_none, quant_of
from stepdown.errors import UnsupportedModel
from stepdown.numerics.quantize import QuantParams
from stepdown.numerics.tflite.fixed import multipliers_right_shifts
from stepdown.transforms.lowering.builder import Lowering


def lower_mac(state: Lowering, op: TensorOp) -> None:
    """Append the integer code of a convolution or matrix product.

    Sums are int32 and wrap where a model's own weights and bias make them, as they do in the kernels.
    """
    source, weight, target = (_params(v, op) for v in (*op.operands[:2], op.results[0]))
    scales = _scales(source, weight, target)
    operands = [_own(state, op.operands[0]), _own(state, op.operands[1]), _bias(state, op)]
    name = op.tensor_name
    if _is_fully_connected(state, op):
        operands += [state.weight(f"{name}_scale", scales, "f64"), state.none]
        state.emit(type(op).__name__, op, operands, [target], rounding="away")
        return
    multipliers, shifts = multipliers_right_shifts(scales)
    operands += [state.weight(f"{name}_multiplier", multipliers), state.weight(f"{name}_shift", shifts)]
    state.emit(type(op).__name__, op, operands, [target], rounding="double")


def _is_fully_connected(state: Lowering, op: TensorOp) -> bool:
    """Tell whether the kernel is that of FULLY_CONNECTED, which multiplies by a double, not of BATCH_MATMUL."""
    return isinstance(op, MatMul) and state.stored(op.operands[1]) is not None


def _scales(source: QuantParams, weight: QuantParams, target: QuantParams) -> np.ndarray:
    """Return s_in · s_w / s_out in float64: one a channel, or one in all.

    Ops on u8 first round the product s_in · s_w to float32 (GetQuantizedConvolutionMultipler; others:
    PopulateConvolutionQuantizationParams).
    """
    product = np.atleast_1d(weight.scale).astype(np.float64) * float(source.scale)  # type: ignore[arg-type]
    if weight.axis is None and source.type == "u8":
        product = product.astype(np.float32).astype(np.float64)
    return np.asarray(product / float(target.scale))  # type: ignore[arg-type]


def _params(value: SSAValue, op: TensorOp) -> QuantParams:
    params = quant_of(value)
    if params is None:
        fix = "import with --requantize and calibrate"
        raise UnsupportedModel("multiplies integers with real numbers", f"tensor '{op.tensor_name}'", fix)
    return params


def _own(state: Lowering, value: SSAValue) -> SSAValue:
    params = quant_of(value)
    assert params is not None
    return state.get(value, params)


def _bias(state: Lowering, op: TensorOp) -> SSAValue:
    """Return the int32 bias as it is stored; its own scale is not looked at.

    Raises:
        UnsupportedModel: the bias is computed, or not int32.
    """
    value = op.operands[2]
    if is_none(value):
        return state.none
    stored = state.stored(value)
    if stored is None or stored.dtype != np.int32:
        raise UnsupportedModel("INT8 needs a constant int32 bias", f"tensor '{op.tensor_name}'")
    return state.weight(f"{op.tensor_name}_bias_i32", stored)
