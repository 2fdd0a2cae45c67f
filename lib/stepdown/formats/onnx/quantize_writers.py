"""Writes casts between real numbers and integers as ONNX nodes."""

import numpy as np

from stepdown.dialects.types import DTYPES, quant_of, shape_of, storage_of
from stepdown.errors import UnsupportedModel
from stepdown.formats.onnx.exporter import ELEMENT_TYPES, Draft, Written, writer
from stepdown.numerics.quantize import QuantParams


def scale_constants(draft: Draft, prefix: str, params: QuantParams) -> list[str]:
    """Add the scale and the zero point of a quantised tensor as constants; return their names."""
    scale = np.asarray(params.scale, np.float32)
    zeros = np.full(scale.shape, params.zero_point, DTYPES[params.type])
    named = ((f"{prefix}_scale", scale), (f"{prefix}_zero_point", zeros))
    return [draft.constant(name, array, array.dtype) for name, array in named]


@writer("Quantize")
def quantize(op: Written) -> None:
    """QuantizeLinear; its zero point says the type."""
    params, top = quant_of(op.op.results[0]), op.op
    if params is not None:
        if quant_of(top.operands[0]):
            raise UnsupportedModel("a change of scale cannot be written as ONNX", top.name, "lower the module first")
        op.emit(
            "QuantizeLinear", op.inputs[0], *scale_constants(op.draft, op.part_name("result"), params), **_axis(params)
        )
        return
    zero_point = op.inputs[2] if len(op.inputs) > 2 else ""
    if not zero_point:
        dtype = DTYPES[storage_of(top.results[0])]
        zero_point = op.constant("zero_point", np.zeros(shape_of(top.operands[1]), dtype), dtype)
    op.emit("QuantizeLinear", op.inputs[0], op.inputs[1], zero_point, **_along(op))


@writer("Dequantize")
def dequantize(op: Written) -> None:
    """DequantizeLinear; a result of another type than the scale's says so."""
    params, to = quant_of(op.op.operands[0]), storage_of(op.op.results[0])
    if params is not None:
        op.emit(
            "DequantizeLinear",
            op.inputs[0],
            *scale_constants(op.draft, op.part_name("operand"), params),
            **_axis(params),
        )
        return
    given = [name for name in op.inputs if name]
    wanted = {} if storage_of(op.op.operands[1]) == to else {"output_dtype": ELEMENT_TYPES[to]}
    op.emit("DequantizeLinear", *given, **_along(op), **wanted)


def _axis(params: QuantParams) -> dict[str, int]:
    return {} if params.axis is None else {"axis": params.axis}


def _along(op: Written) -> dict[str, int]:
    """Return the attributes that say where scales by channel or block lie."""
    if max((int(np.prod(shape_of(v))) for v in op.op.operands[1:2]), default=1) == 1:
        return {}
    block = {"block_size": op.op.block_size} if op.op.block_size else {}
    return {"axis": op.op.axis, **block}


@writer("Lookup")
def lookup(op: Written) -> None:
    """Gather from the table, by the byte less the least byte."""
    index = op.part("index", "Cast", op.inputs[0], to=ELEMENT_TYPES["i32"])
    least = np.iinfo(DTYPES[storage_of(op.op.operands[0])]).min
    if least:
        index = op.part("place", "Sub", index, op.constant("least", least, np.int32))
    op.emit("Gather", op.inputs[1], index, axis=0)
