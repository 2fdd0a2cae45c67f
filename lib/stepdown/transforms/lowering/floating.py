"""Lowering to a floating type: every float operand is brought to it, every float result is made in it."""

from stepdown.dialects.op import Kind, TensorOp
from stepdown.transforms.lowering.builder import Lowering, element_for


def lower_float(state: Lowering, op: TensorOp, element: str) -> None:
    """Append the twin of `op` in f32, f16 or bf16. The bias of a MAC stays f32: it is one addend of an exact sum."""
    wanted = [element] * len(op.operands)
    if op.kind is Kind.MAC:
        wanted[2:] = ["f32"]
    operands = [state.get(v, element_for(v, w)) for v, w in zip(op.operands, wanted, strict=True)]
    state.emit(type(op).__name__, op, operands, [element_for(r, element) for r in op.results])
