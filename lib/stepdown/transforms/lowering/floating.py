"""Lowering to a floating type: every float operand is brought to it, every float result is made in it."""

from stepdown.dialects.op import Kind, TensorOp
from stepdown.dialects.types import is_float, is_none, storage_of
from stepdown.transforms.lowering.builder import Lowering


def lower_float(state: Lowering, op: TensorOp, element: str) -> None:
    """Append the twin of `op` in f32, f16 or bf16. The bias of a MAC stays f32: it is one addend of an exact sum."""
    operands = []
    for index, value in enumerate(op.operands):
        stays = is_none(value) or not is_float(value)
        bias = op.kind is Kind.MAC and index == 2
        operands.append(
            state.get(value, storage_of(value) if stays and not is_none(value) else "f32" if bias else element)
        )
    elements = [element if is_float(result) else storage_of(result) for result in op.results]
    state.emit(type(op).__name__, op, operands, elements)
