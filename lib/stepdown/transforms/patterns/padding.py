"""A Pad before windows becomes padding of theirs, where that is the same: no padded tensor is stored."""

from xdsl.ir import SSAValue

from stepdown.dialects.op import TensorOp
from stepdown.dialects.top.activation import Relu
from stepdown.dialects.top.base import Fused
from stepdown.dialects.top.mac import Conv
from stepdown.dialects.top.move import Pad
from stepdown.dialects.top.pool import AveragePool, MaxPool
from stepdown.dialects.types import quant_of, shape_of
from stepdown.transforms.rewrite import Rewriter, only_read_here, pattern, users


@pattern("Conv")
def fuse_pad_into_conv(graph: Rewriter, op: TensorOp) -> bool:
    """Fuse a Pad with zeros, or the zero points of stored integers, into the pads of a Conv; only Convs read it."""
    pad = op.operands[0].owner
    if not isinstance(pad, Pad) or not _is_read_by_convs(pad):
        return False
    spatial = _spatial_zeros(pad)
    if spatial is None:
        return False
    _fuse(graph, op, pad, spatial)
    return True


@pattern("AveragePool")
def fuse_pad_into_average(graph: Rewriter, op: TensorOp) -> bool:
    """Fuse a Pad with zeros into an AveragePool that counts padding, or that has none yet.

    Not of stored integers: what is added for padding, before a mean is rounded, differs from engine to engine.
    """
    assert isinstance(op, AveragePool)
    pad = only_read_here(op.operands[0], "Pad")
    spatial = _spatial_zeros(pad) if pad else None
    if pad is None or spatial is None or op.ceil_mode or (any(op.pads) and not op.count_include_pad):
        return False
    if quant_of(op.results[0]) or not _reach_inside(op, spatial):
        return False
    _fuse(graph, op, pad, spatial, count_include_pad=True)
    return True


@pattern("MaxPool")
def fuse_pad_into_max(graph: Rewriter, op: TensorOp) -> bool:
    """Fuse a Pad with zeros into a MaxPool: every window sees an element, and no element is below 0."""
    assert isinstance(op, MaxPool)
    pad = only_read_here(op.operands[0], "Pad")
    spatial = _spatial_zeros(pad) if pad and _is_never_negative(pad.operands[0]) else None
    if pad is None or spatial is None or op.ceil_mode or max(op.dilations) > 1 or not _reach_inside(op, spatial):
        return False
    _fuse(graph, op, pad, spatial)
    return True


def _is_read_by_convs(pad: Pad) -> bool:
    """Tell whether a Pad is read as the image of convolutions alone: it is no output either."""
    value = pad.results[0]
    return all(isinstance(user, Conv) and value not in user.operands[1:] for user in users(value))


def _is_never_negative(value: SSAValue) -> bool:
    """Tell whether a ReLU makes a tensor, or its stored integers hold nothing below 0."""
    maker, params = value.owner, quant_of(value)
    if params:
        return params.zero_point == params.bounds[0]
    return isinstance(maker, Relu) or (isinstance(maker, Fused) and maker.do_relu)


def _reach_inside(op: MaxPool | AveragePool, spatial: tuple[int, ...]) -> bool:
    """Tell whether no window would lie in padding alone."""
    return all(p + q < k for p, q, k in zip(spatial, op.pads, op.kernel_shape * 2, strict=True))


def _spatial_zeros(pad: TensorOp) -> tuple[int, ...] | None:
    """Return begins and ends of the spatial dimensions where a Pad adds zeros to these alone, else None."""
    assert isinstance(pad, Pad)
    source, rank = pad.operands[0], len(shape_of(pad.operands[0]))
    same = quant_of(source) == quant_of(pad.results[0])
    plain = pad.mode == "constant" and pad.value == 0 and min(pad.pads) >= 0
    if not (same and plain) or any(pad.pads[:2]) or any(pad.pads[rank : rank + 2]):
        return None
    return pad.pads[2:rank] + pad.pads[rank + 2 :]


def _fuse(graph: Rewriter, op: TensorOp, pad: TensorOp, spatial: tuple[int, ...], **changed: bool) -> None:
    own: tuple[int, ...] = op.pads  # type: ignore[attr-defined]
    pads = [a + b for a, b in zip(own, spatial, strict=True)]
    gone = [pad] if pad.results[0].has_one_use() else []
    operands: list[SSAValue] = [pad.operands[0], *op.operands[1:]]
    graph.replace(op, type(op), operands, gone, **{**op.attribute_values(), "pads": pads, **changed})
