"""Ops that move elements: those that move nothing go, neighbours are merged."""

from stepdown.dialects.op import TensorOp
from stepdown.dialects.top.move import Pad, Reshape, Transpose
from stepdown.transforms.rewrite import Rewriter, pattern


@pattern("Reshape", "Transpose", "Slice", "Expand", "Tile", "Concat", "Cast", "Pad")
def drop_identity(graph: Rewriter, op: TensorOp) -> bool:
    """Drop an op whose result is its only operand."""
    if len(op.operands) != 1 or op.results[0].type != op.operands[0].type or not _keeps_order(op):
        return False
    return graph.bypass(op, op.operands[0])


def _keeps_order(op: TensorOp) -> bool:
    """Tell whether an op that keeps the shape leaves every element in its place."""
    if isinstance(op, Transpose):
        return op.order == tuple(range(len(op.order)))
    if isinstance(op, Pad):
        return not any(op.pads)
    return all(step > 0 for step in op.attribute_values().get("steps", ()))


@pattern("Reshape")
def merge_reshapes(graph: Rewriter, op: TensorOp) -> bool:
    """A Reshape of a Reshape is one."""
    inner = op.operands[0].owner
    if not isinstance(inner, Reshape) or inner.name != op.name:
        return False
    gone = [inner] if inner.results[0].has_one_use() else []
    graph.replace(op, Reshape, inner.operands, gone, shape=op.shape)  # type: ignore[attr-defined]
    return True


@pattern("Transpose")
def merge_transposes(graph: Rewriter, op: TensorOp) -> bool:
    """A Transpose of a Transpose is one."""
    inner = op.operands[0].owner
    if not isinstance(inner, Transpose) or inner.name != op.name:
        return False
    order = [inner.order[i] for i in op.order]  # type: ignore[attr-defined]
    gone = [inner] if inner.results[0].has_one_use() else []
    graph.replace(op, Transpose, inner.operands, gone, order=order)
    return True
