"""Ops that move elements: those that move nothing go, neighbours are merged, pads go into windows."""

from xdsl.ir import SSAValue

from stepdown.dialects.op import TensorOp
from stepdown.dialects.top.move import Pad, Reshape, Transpose
from stepdown.dialects.top.pool import AveragePool
from stepdown.dialects.types import shape_of
from stepdown.transforms.rewrite import Rewriter, only_read_here, pattern


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


@pattern("Conv")
def fuse_pad_into_conv(graph: Rewriter, op: TensorOp) -> bool:
    """Fuse a Pad with zeros into the pads of the Conv that alone reads it."""
    pad = only_read_here(op.operands[0], "Pad")
    spatial = _spatial_zeros(pad) if pad else None
    if pad is None or spatial is None:
        return False
    _fuse(graph, op, pad, spatial)
    return True


@pattern("AveragePool")
def fuse_pad_into_average(graph: Rewriter, op: TensorOp) -> bool:
    """Fuse a Pad with zeros into an AveragePool that counts padding, or that has none yet."""
    assert isinstance(op, AveragePool)
    pad = only_read_here(op.operands[0], "Pad")
    spatial = _spatial_zeros(pad) if pad else None
    if pad is None or spatial is None or op.ceil_mode or (any(op.pads) and not op.count_include_pad):
        return False
    if any(p + q >= k for p, q, k in zip(spatial, op.pads, op.kernel_shape * 2, strict=True)):
        return False
    _fuse(graph, op, pad, spatial, count_include_pad=True)
    return True


def _spatial_zeros(pad: TensorOp) -> tuple[int, ...] | None:
    """Return begins and ends of the spatial dimensions where a Pad adds zeros to these alone, else None."""
    assert isinstance(pad, Pad)
    rank = len(shape_of(pad.operands[0]))
    plain = pad.mode == "constant" and pad.value == 0 and min(pad.pads) >= 0
    if not plain or any(pad.pads[:2]) or any(pad.pads[rank : rank + 2]):
        return None
    return pad.pads[2:rank] + pad.pads[rank + 2 :]


def _fuse(graph: Rewriter, op: TensorOp, pad: TensorOp, spatial: tuple[int, ...], **changed: bool) -> None:
    own: tuple[int, ...] = op.pads  # type: ignore[attr-defined]
    pads = [a + b for a, b in zip(own, spatial, strict=True)]
    operands: list[SSAValue] = [pad.operands[0], *op.operands[1:]]
    graph.replace(op, type(op), operands, [pad], **{**op.attribute_values(), "pads": pads, **changed})
