"""Pooling, with Caffe's output sizes."""

from typing import Any

from xdsl.ir import SSAValue

from stepdown.dialects.top.pool import AveragePool, MaxPool, Pool
from stepdown.formats.caffe.node import Node
from stepdown.formats.caffe.rules import refuse, rule
from stepdown.formats.caffe.window import sizes, spatial_rank

refuse("pyramids of pooling are not imported", "SPP")


@rule("Pooling")
def pooling(node: Node) -> SSAValue:
    """The largest or mean value of each window; the last window of a row may reach over the edge.

    The number of windows is ceil((n + 2·pad − kernel) / stride) + 1, less one that would start behind the data and its
    leading padding. A mean is divided by the window's size including padding, not by what reaches further.
    Source: Caffe PoolingLayer.
    """
    param = node.message.pooling_param
    label = param.DESCRIPTOR.fields_by_name["pool"].enum_type.values_by_number[param.pool].name
    if label == "STOCHASTIC" or len(node.outputs) > 1:
        raise node.refuse("stochastic pooling" if label == "STOCHASTIC" else "the places of the maxima as a second top")
    op: type[Pool] = {"MAX": MaxPool, "AVE": AveragePool}[label]
    own = {"count_include_pad": True} if op is AveragePool else {}
    return node.emit(op, node.value(0), **_window(node), **own)


def _window(node: Node) -> dict[str, Any]:
    rank, param, size = spatial_rank(node), node.message.pooling_param, node.shape(0)[2:]
    pads = sizes(node, param, "pad", "pad", rank, 0)
    strides = sizes(node, param, "stride", "stride", rank, 1)
    if param.global_pooling:
        if any(pads) or set(strides) != {1}:
            raise node.refuse("global_pooling with a pad or a stride")
        kernel = list(size)
    else:
        kernel = sizes(node, param, "kernel_size", "kernel", rank, None)
    upward = param.ceil_mode and param.round_mode == 0
    _check(node, kernel, strides, pads, upward)
    window = {"kernel_shape": kernel, "strides": strides, "pads": [*pads, *pads], "dilations": [1] * rank}
    return {**window, "ceil_mode": upward}


def _check(node: Node, kernel: list[int], strides: list[int], pads: list[int], upward: bool) -> None:
    """Refuse what Caffe refuses, and windows that see nothing: Caffe drops those only where there is padding."""
    if any(pad >= k for pad, k in zip(pads, kernel, strict=True)) or min(strides) < 1:
        raise node.refuse(f"pad {pads}, kernel {kernel}, stride {strides}: a window must see data")
    for n, k, s in zip(node.shape(0)[2:], kernel, strides, strict=True):
        if upward and not any(pads) and -(-(n - k) // s) * s >= n:
            raise node.refuse(f"the last window lies outside {n} elements (kernel {k}, stride {s})")
