"""Which integer tensors of a float program have one known scale wherever they are read."""

import numpy as np
from xdsl.dialects.func import ReturnOp
from xdsl.ir import Operation, SSAValue

from stepdown.dialects.op import Kind, TensorOp
from stepdown.dialects.program import Program
from stepdown.dialects.top.base import TopOp
from stepdown.dialects.top.quantize import Dequantize, Lookup, Quantize
from stepdown.dialects.top.source import Input, Weight
from stepdown.dialects.tpu import INTEGER_OPS
from stepdown.dialects.tpu.elementwise import MoveOp
from stepdown.dialects.types import is_float, is_none, quant_of, storage_of
from stepdown.numerics.quantize import RANGES, QuantParams
from stepdown.transforms.rewrite import users

ACTIVATIONS = ("i8", "u8", "i16", "u16")


def is_quantised(program: Program) -> bool:
    """Tell whether the program quantises what it computes by constant scales."""
    return any(constant_params(program, op) for op in program.ops if isinstance(op, Quantize))


def constant_params(program: Program, op: TensorOp) -> QuantParams | None:
    """Return the parameters of a Quantize or Dequantize op: of its types, or of constant operands for the whole tensor.

    None where they are computed, differ by channel or block, or are none.
    """
    if len(op.operands) == 1:
        return quant_of(op.operands[0]) or quant_of(op.results[0])
    arrays = [_constant(program, v) for v in op.operands[1:]]
    if any(a is None and not is_none(v) for a, v in zip(arrays, op.operands[1:], strict=True)):
        return None
    scale, zero_point = arrays[0], arrays[1] if len(arrays) > 1 else None
    storage = storage_of(op.results[0] if isinstance(op, Quantize) else op.operands[0])
    if scale is None or scale.size != 1 or (zero_point is not None and zero_point.size != 1) or storage not in RANGES:
        return None
    value = float(np.float32(scale.item()))
    if not (np.isfinite(value) and value > 0):
        return None
    return QuantParams(value, 0 if zero_point is None else int(zero_point.item()), storage)


def _constant(program: Program, value: SSAValue) -> np.ndarray | None:
    return program.weights[value.owner.key] if isinstance(value.owner, Weight) else None


def stored_tensors(program: Program, tables: bool = True) -> dict[SSAValue, QuantParams]:
    """Return the integer tensors that only Dequantize ops of the same parameters read, directly or moved.

    With `tables` a Lookup may read and make one too.
    """
    known: dict[SSAValue, QuantParams] = {}
    for op in program.ops:
        if params := _origin(program, op, known):
            known[op.results[0]] = params
    while wrong := [value for value in known if not _consistent(program, value, known, tables)]:
        for value in wrong:
            del known[value]
    return known


def _origin(program: Program, op: TensorOp, known: dict[SSAValue, QuantParams]) -> QuantParams | None:
    """Return the parameters of what an op makes: it quantises, moves what is quantised, or is an input."""
    if isinstance(op, Quantize):
        params = constant_params(program, op)
    elif isinstance(op, Input | Lookup):
        params = next((constant_params(program, u) for u in users(op.results[0]) if isinstance(u, Dequantize)), None)
    else:
        params = known.get(op.operands[0]) if _moves_integers(op, known) else None
    return params if params and params.type in ACTIVATIONS and params.axis is None else None


def _moves_integers(op: TensorOp, known: dict[SSAValue, QuantParams]) -> bool:
    moved = (
        [v for v in op.operands if not is_none(v) and storage_of(v) == storage_of(op.results[0])] if op.results else []
    )
    alone = len(op.results) == 1 and op.operands[:1] == tuple(moved) and not _fills(op)
    return alone and bool(moved) and moved[0] in known and not is_float(moved[0]) and _is_move(op)


def _fills(op: TensorOp) -> tuple[str, ...]:
    return op.fills if isinstance(op, TopOp) else ()


def _is_move(op: TensorOp) -> bool:
    return op.kind is Kind.MOVE or issubclass(INTEGER_OPS.get(type(op).__name__, Operation), MoveOp)


def _consistent(program: Program, value: SSAValue, known: dict[SSAValue, QuantParams], tables: bool) -> bool:
    """Tell whether every reader of a tensor takes it for what it is, and what it was moved from still is that too."""
    owner = value.owner
    if isinstance(owner, TensorOp) and not isinstance(owner, Quantize | Input) and owner.operands[0] not in known:
        return False
    if isinstance(owner, Lookup) and not tables:
        return False
    return all(_agrees(program, user, value, known) for user in users(value))


def _agrees(program: Program, user: Operation, value: SSAValue, known: dict[SSAValue, QuantParams]) -> bool:
    if isinstance(user, Dequantize):
        return constant_params(program, user) == known[value] and user.to == "f32"
    if isinstance(user, ReturnOp):
        return True
    moved = isinstance(user, TensorOp) and len(user.results) == 1 and user.results[0] in known
    return moved and user.operands[0] is value
