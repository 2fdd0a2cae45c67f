"""Scales, shifts and normalisations."""

from collections.abc import Sequence

import numpy as np
from xdsl.ir import SSAValue

from stepdown.dialects.top import normalization as top
from stepdown.dialects.top.activation import PowScalar
from stepdown.dialects.top.arithmetic import Add, Div, Mul, Sub
from stepdown.dialects.top.base import TopOp
from stepdown.dialects.top.elementary import Sqrt
from stepdown.dialects.top.pool import AveragePool
from stepdown.dialects.top.reduce import ReduceMean, ReduceSum
from stepdown.formats.caffe.node import Node, Step
from stepdown.formats.caffe.rules import rule

_MVN_EPSILON = np.float32(1e-9)
"""That of top.MeanVarianceNorm."""


@rule("BatchNorm")
def batch_norm(node: Node) -> SSAValue:
    """(x − mean) / √(variance + eps); both statistics are stored times the third blob. Source: Caffe BatchNormLayer."""
    param, channels = node.message.batch_norm_param, node.shape(0)[1]
    if not param.use_global_stats:
        raise node.refuse("use_global_stats is false: its results depend on the other samples of the batch")
    node.expect_blobs(3)
    sums, factor = [node.array(i, (channels,)) for i in (0, 1)], node.array(2, (1,))
    with np.errstate(all="ignore"):  # what overflows is infinite, as in Caffe
        mean, variance = (np.where(factor == 0, 0, total / factor).astype(np.float32) for total in sums)
    ones = np.ones(channels, np.float32)
    arrays = {"scale": ones, "shift": 0 * ones, "mean": mean, "variance": variance}
    return node.emit(top.BatchNorm, node.value(0), *(node.stored(a, n) for n, a in arrays.items()), epsilon=param.eps)


@rule("Scale")
def scale(node: Node) -> SSAValue:
    """Multiply by a blob or the second bottom, plus a bias. Source: Caffe ScaleLayer."""
    param, learned = node.message.scale_param, len(node.inputs) == 1
    blobs = learned + param.bias_term
    if blobs:
        node.expect_blobs(blobs)
    shape = _covered(node, param) if learned else node.shape(1)
    axis = 0 if learned and param.num_axes == 0 else node.axis(param.axis, extra=1)
    if learned and shape == node.shape(0)[1:2] and axis == 1:
        return _per_channel(node, shape)
    factor = _learned(node, 0, shape, axis, "scale") if learned else _aligned(node, axis)
    if not param.bias_term:
        return node.emit(Mul, node.value(0), factor)
    return node.emit(
        Add, node.part("scaled", Mul, node.value(0), factor), _learned(node, blobs - 1, shape, axis, "shift")
    )


@rule("Bias")
def bias(node: Node) -> SSAValue:
    """Add a blob or the second bottom. Source: Caffe BiasLayer."""
    param = node.message.bias_param
    if len(node.inputs) > 1:
        return node.emit(Add, node.value(0), _aligned(node, node.axis(param.axis, extra=1)))
    node.expect_blobs(1)
    axis = 0 if param.num_axes == 0 else node.axis(param.axis, extra=1)
    return node.emit(Add, node.value(0), _learned(node, 0, _covered(node, param), axis, "shift"))


@rule("LRN")
def lrn(node: Node) -> SSAValue:
    """Local response normalisation across channels, or within each over a square. Source: Caffe LRNLayer."""
    param = node.message.lrn_param
    if param.local_size < 1 or param.local_size % 2 == 0:
        raise node.refuse(f"local_size {param.local_size} is not odd")
    if param.norm_region == 0:
        given = {"size": param.local_size, "alpha": param.alpha, "beta": param.beta, "bias": param.k}
        return node.emit(top.LRN, node.value(0), **given)
    return _lrn_within(node)


def _lrn_within(node: Node) -> SSAValue:
    """Return x · (1 + alpha · mean of x² over the square, zeros around it counted)^−beta; k has no part in it."""
    param, rank = node.message.lrn_param, len(node.shape(0)) - 2
    size, before = param.local_size, (param.local_size - 1) // 2
    window = {"kernel_shape": [size] * rank, "strides": [1] * rank, "pads": [before] * 2 * rank}
    square = node.part("square", Mul, node.value(0), node.value(0))
    mean = node.part(
        "mean", AveragePool, square, **window, dilations=[1] * rank, count_include_pad=True, ceil_mode=False
    )
    scaled = node.part("scaled", Mul, mean, node.scalar(param.alpha, "alpha"))
    base = node.part("base", Add, scaled, node.scalar(1.0, "one"))
    return node.emit(Mul, node.value(0), node.part("power", PowScalar, base, exponent=-param.beta))


@rule("MVN")
def mvn(node: Node) -> SSAValue:
    """(x − mean) / (standard deviation + eps) of each channel or of all of a sample. Source: Caffe MVNLayer."""
    param, rank = node.message.mvn_param, len(node.shape(0))
    axes = list(range(1 if param.across_channels else 2, rank))
    if param.normalize_variance and np.float32(param.eps) == _MVN_EPSILON:
        return node.emit(top.MeanVarianceNorm, node.value(0), axes=axes)
    mean = node.part("mean", ReduceMean, node.value(0), axes=axes)
    if not param.normalize_variance:
        return node.emit(Sub, node.value(0), mean)
    centred = node.part("centred", Sub, node.value(0), mean)
    variance = node.part("variance", ReduceMean, node.part("square", Mul, centred, centred), axes=axes)
    deviation = node.part("deviation", Sqrt, variance)
    return node.emit(Div, centred, node.part("divisor", Add, deviation, node.scalar(param.eps, "eps")))


@rule("Normalize")
def normalize(node: Node) -> SSAValue:
    """Divide by √(Σ x² + eps) at each place, or over a whole sample, scale by a blob. Source: SSD NormalizeLayer."""
    param, shape = node.message.norm_param, node.shape(0)
    node.expect_blobs(1)
    axes = list(range(1, len(shape))) if param.across_spatial else [1]
    count = 1 if param.channel_shared else shape[1]
    factor = node.stored(node.array(0, (count,)).reshape(-1, *[1] * (len(shape) - 2)), "scale")
    total = node.part("total", ReduceSum, node.part("square", Mul, node.value(0), node.value(0)), axes=axes)
    norm = node.part("norm", Sqrt, node.part("shifted", Add, total, node.scalar(param.eps, "eps")))
    return node.chain(node.value(0), [Step("unit", Div, [norm]), Step("scaled", Mul, [factor])])


def _covered(node: Node, param: "object") -> tuple[int, ...]:
    """Return the shape of the learned blob of Scale and Bias."""
    axis, count = param.axis, param.num_axes  # type: ignore[attr-defined]
    if count == 0:
        return ()
    first = node.axis(axis)
    shape = node.shape(0)[first:] if count < 0 else node.shape(0)[first : first + count]
    if count > 0 and len(shape) != count:
        raise node.refuse(f"num_axes {count} from axis {axis} of a blob of shape {node.shape(0)}")
    return shape


def _learned(node: Node, index: int, shape: Sequence[int], axis: int, label: str) -> SSAValue:
    """Return blob `index`, whose first dimension stands at `axis`, ready to be broadcast."""
    behind = len(node.shape(0)) - axis - len(shape)
    return node.stored(node.array(index, shape).reshape((*shape, *[1] * (behind if shape else 0))), label)


def _aligned(node: Node, axis: int) -> SSAValue:
    """Return the second bottom, whose first dimension stands at `axis`, ready to be broadcast."""
    shape = node.shape(1)
    if node.shape(0)[axis : axis + len(shape)] != shape:
        raise node.refuse(f"a second blob of shape {shape} from axis {axis} of {node.shape(0)}")
    return node.reshaped(node.value(1), (*shape, *[1] * (len(node.shape(0)) - axis - len(shape))), "aligned")


def _per_channel(node: Node, shape: tuple[int, ...]) -> SSAValue:
    has_bias = node.message.scale_param.bias_term
    shift = node.array(1, shape) if has_bias else np.zeros(shape, np.float32)
    op: type[TopOp] = top.Scale
    return node.emit(op, node.value(0), node.stored(node.array(0, shape), "scale"), node.stored(shift, "shift"))
