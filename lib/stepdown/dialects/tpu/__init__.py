"""The TPU dialect: what a chip computes. Every TOP op has a twin here; casts, rescales and tables are its own."""

from xdsl.ir import Dialect, Operation, SSAValue

from stepdown.dialects.op import Kind, TensorOp, value_name
from stepdown.dialects.top import TOP_OPS, TopOp
from stepdown.dialects.tpu.base import FloatOp, TpuOp
from stepdown.dialects.tpu.convert import Convert, Lut, Rescale
from stepdown.dialects.tpu.elementwise import INTEGER_OPS, MoveOp
from stepdown.dialects.tpu.mac import MAC_OPS
from stepdown.dialects.tpu.tflite import TFLITE_OPS
from stepdown.dialects.types import quant_of


def _twin(name: str, top: type[TopOp]) -> type[TensorOp]:
    """Return the TPU class of a TOP op: the TOP op with the execution of its kind in front."""
    spelled = top.name.replace("top.", "tpu.")
    if name in MAC_OPS:
        return type(name, (MAC_OPS[name],), {"name": spelled, "inputs": (*top.inputs, "multiplier?", "shift?")})
    execution = {**INTEGER_OPS, **TFLITE_OPS}.get(name, MoveOp if top.kind in (Kind.MOVE, Kind.SOURCE) else FloatOp)
    return type(name, (execution, top), {"name": spelled, "__doc__": top.__doc__})


TPU_OPS: dict[str, type[TensorOp]] = {name: _twin(name, top) for name, top in TOP_OPS.items()}
"""The TPU twin of every TOP op, by class name."""

TPU = Dialect("tpu", [*TPU_OPS.values(), Convert, Rescale, Lut])


def has_integer_code(op: TensorOp) -> bool:
    """Tell whether a TOP op can be lowered to integers."""
    name = type(op).__name__
    return op.kind in (Kind.LUT, Kind.MOVE) or name in MAC_OPS or name in INTEGER_OPS


def view_of(value: SSAValue) -> str:
    """Return the name of the tensor that `value` repeats in another type, '' where it is a tensor of its own.

    The quantised tensor has the plain name; its float and rescaled copies are views of it.
    """
    owner = value.owner
    if isinstance(owner, Rescale) or (isinstance(owner, Convert) and not quant_of(value)):
        return view_of(owner.operands[0]) or value_name(owner.operands[0])
    for use in value.uses:
        if _quantises(use.operation, value):
            return value_name(use.operation.results[0])
    return ""


def _quantises(user: Operation, value: SSAValue) -> bool:
    return isinstance(user, Convert) and not quant_of(value) and quant_of(user.results[0]) is not None


__all__ = ["TPU", "TPU_OPS", "Convert", "Lut", "Rescale", "TpuOp", "has_integer_code", "view_of"]
