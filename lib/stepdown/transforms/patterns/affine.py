"""Scales and shifts a channel: BatchNorm, Scale and arithmetic with constants go into the weights before them."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from xdsl.ir import SSAValue

from stepdown.dialects.op import TensorOp, names_of
from stepdown.dialects.top.mac import Conv, ConvTranspose, MatMul
from stepdown.dialects.top.normalization import Scale
from stepdown.dialects.top.source import weight_key
from stepdown.dialects.types import DTYPES, is_float, is_none, shape_of, storage_of
from stepdown.transforms.rewrite import Rewriter, pattern


@dataclass(frozen=True)
class Affine:
    """y = x · scale + shift with one value, or one a channel; None stands for 1 or 0."""

    x: SSAValue
    scale: np.ndarray | None
    shift: np.ndarray | None


@pattern("BatchNorm", "Scale", "Add", "Sub", "Mul", "Div")
def fold_into_weights(graph: Rewriter, op: TensorOp) -> bool:
    """Fold an affine op into the Conv, ConvTranspose, MatMul or Scale that alone it reads."""
    for source in op.operands:
        target = source.owner
        if type(target) in _FOLDS and isinstance(target, TensorOp) and _foldable(graph, target, op):
            affine = affine_of(graph, op, source, _channel_axis(target))
            if affine and _fold(graph, target, op, affine):
                return True
    return False


@pattern("BatchNorm")
def batch_norm_to_scale(graph: Rewriter, op: TensorOp) -> bool:
    """Turn a BatchNorm with known statistics into a Scale."""
    affine = affine_of(graph, op, op.operands[0], 1)
    if affine is None or affine.scale is None or affine.shift is None or not _finite(affine.scale, affine.shift):
        return False
    parts = zip(op.operands[1:3], (affine.scale, affine.shift), strict=True)
    weights = [_stored(graph, op, a, weight_key(v) or names_of(op)[0], v) for v, a in parts]
    graph.replace(op, Scale, [op.operands[0], *weights])
    return True


@pattern("Div")
def division_to_product(graph: Rewriter, op: TensorOp) -> bool:
    """Multiply by the reciprocal of a constant divisor."""
    from stepdown.dialects.top.arithmetic import Mul

    dividend, divisor = op.operands
    constant = graph.constant(divisor)
    if constant is None or not is_float(divisor) or not _finite(constant) or (np.abs(constant) < 1e-30).any():
        return False
    factor = _stored(graph, op, 1 / constant.astype(np.float64), f"{names_of(op)[0]}/reciprocal", divisor)
    graph.replace(op, Mul, [dividend, factor])
    return True


def affine_of(graph: Rewriter, op: TensorOp, source: SSAValue, axis: int) -> Affine | None:
    """Return `op` as an affine function of its operand `source`, per channel along `axis`; None where it is not."""
    kind = op.name.removeprefix("top.")
    if kind in ("BatchNorm", "Scale"):
        return _statistics(graph, op) if source is op.operands[0] and axis % len(shape_of(source)) == 1 else None
    if len(op.operands) != 2 or shape_of(op.results[0]) != shape_of(source):
        return None
    first = source is op.operands[0]
    other = graph.constant(op.operands[1 if first else 0])
    vector = None if other is None else along(other, shape_of(source), axis)
    return None if vector is None else _arithmetic(kind, source, vector, first)


def _statistics(graph: Rewriter, op: TensorOp) -> Affine | None:
    arrays = [graph.constant(v) for v in op.operands[1:]]
    wide = [a.astype(np.float64) for a in arrays if a is not None]
    if len(wide) != len(arrays):
        return None
    if op.name == "top.Scale":
        return Affine(op.operands[0], wide[0], wide[1])
    scale, bias, mean, variance = wide
    with np.errstate(all="ignore"):
        scale = scale / np.sqrt(variance + op.epsilon)  # type: ignore[attr-defined]
        return Affine(op.operands[0], scale, bias - mean * scale)


def _arithmetic(kind: str, source: SSAValue, vector: np.ndarray, first: bool) -> Affine | None:
    """Return source ∘ vector, or vector ∘ source where the source is not `first`."""
    if kind == "Add":
        return Affine(source, None, vector)
    if kind == "Mul":
        return Affine(source, vector, None)
    if kind == "Sub":
        return Affine(source, None, -vector) if first else Affine(source, np.float64(-1) * np.ones(1), vector)
    with np.errstate(all="ignore"):
        return Affine(source, 1 / vector, None) if first else None


def along(array: np.ndarray, shape: tuple[int, ...], axis: int) -> np.ndarray | None:
    """Return what a constant adds to a tensor of `shape` as one value or one for each index of `axis`, else None."""
    if array.ndim > len(shape):
        return None
    sizes = (1,) * (len(shape) - array.ndim) + array.shape
    varying = [i for i, n in enumerate(sizes) if n != 1]
    return array.reshape(-1).astype(np.float64) if varying in ([], [axis % len(shape)]) else None


# --- folding


def _foldable(graph: Rewriter, target: TensorOp, op: TensorOp) -> bool:
    """Tell whether the weights of `target` are constants of its own floats, and only `op` reads its result."""
    result = target.results[0]
    plain = result.has_one_use() and not getattr(target, "do_relu", False)
    constants = [graph.constant(v) for v in target.operands[1:] if not is_none(v)]
    stored = all(storage_of(v) in ("f32", "f16", "f64") for v in target.operands if not is_none(v))
    return (
        plain and stored and all(c is not None for c in constants) and storage_of(result) == storage_of(op.results[0])
    )


def _channel_axis(target: TensorOp) -> int:
    return -1 if isinstance(target, MatMul) else 1


def _fold(graph: Rewriter, target: TensorOp, op: TensorOp, affine: Affine) -> bool:
    """Replace target and op by one op with new weights; False where they cannot be stored."""
    input, filter, *rest = target.operands
    old = graph.constant(filter)
    assert old is not None
    if isinstance(target, MatMul) and old.ndim < 2:
        return False
    bias = graph.constant(rest[0]) if rest and not is_none(rest[0]) else None
    channels = shape_of(target.results[0])[_channel_axis(target)]
    with np.errstate(all="ignore"):
        scaled = None if affine.scale is None else _FOLDS[type(target)](target, old.astype(np.float64), affine.scale)
        shifted = _shifted(bias, affine, channels)
    dtype = DTYPES[storage_of(filter)]
    if not _finite(*(a.astype(dtype) for a in (scaled, shifted) if a is not None)):
        return False
    weights = [filter if scaled is None else _stored(graph, op, scaled, _fixed(filter), filter)]
    if shifted is not None:
        weights.append(_stored(graph, op, shifted, _bias_key(target), rest[0] if bias is not None else filter))
    activation = {n: v for n, v in op.attribute_values().items() if n in ("do_relu", "relu_limit")}
    operands = [input, *weights, *rest[len(weights) - 1 :]]
    graph.replace(op, type(target), operands, [target], **{**target.attribute_values(), **activation})
    return True


def _shifted(bias: np.ndarray | None, affine: Affine, channels: int) -> np.ndarray | None:
    """Return bias · scale + shift, None where there is none."""
    if bias is None and affine.shift is None:
        return None
    start = np.zeros(channels) if bias is None else bias.astype(np.float64)
    return start * (1 if affine.scale is None else affine.scale) + (0 if affine.shift is None else affine.shift)


def _scale_conv(target: TensorOp, filter: np.ndarray, scale: np.ndarray) -> np.ndarray:
    return filter * scale.reshape(-1, *[1] * (filter.ndim - 1))


def _scale_transposed(target: TensorOp, filter: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Scale the output channels of filter[C, O / group, *K]."""
    group: int = target.group  # type: ignore[attr-defined]
    inside = filter.reshape(group, -1, *filter.shape[1:])
    each = np.broadcast_to(scale, (group * filter.shape[1],)).reshape(group, 1, -1, *[1] * (filter.ndim - 2))
    return (inside * each).reshape(filter.shape)


def _scale_matrix(target: TensorOp, filter: np.ndarray, scale: np.ndarray) -> np.ndarray:
    transposed: bool = target.right_transpose  # type: ignore[attr-defined]
    return filter * (scale[:, None] if transposed else scale)


def _scale_vector(target: TensorOp, filter: np.ndarray, scale: np.ndarray) -> np.ndarray:
    return filter * scale


_FOLDS: dict[type, Callable[[TensorOp, np.ndarray, np.ndarray], np.ndarray]] = {
    Conv: _scale_conv,
    ConvTranspose: _scale_transposed,
    MatMul: _scale_matrix,
    Scale: _scale_vector,
}


def _finite(*arrays: np.ndarray) -> bool:
    return all(bool(np.isfinite(a).all()) for a in arrays)


def _fixed(filter: SSAValue) -> str:
    """Return the key of a changed filter: `X.weight` → `X.weight_fix`."""
    return f"{(weight_key(filter) or 'weight').removesuffix('_fix')}_fix"


def _bias_key(target: TensorOp) -> str:
    """Return the key of a bias: the one it has, or that of the filter with `bias` in the place of `weight`."""
    _, filter, *rest = target.operands
    if rest and (key := weight_key(rest[0])):
        return key
    stem, dot, last = (weight_key(filter) or "").removesuffix("_fix").rpartition(".")
    return f"{stem}.bias" if dot and last == "weight" else f"{names_of(target)[0]}.bias"


def _stored(graph: Rewriter, op: TensorOp, array: np.ndarray, key: str, like: SSAValue) -> SSAValue:
    """Add a weight before `op` in the storage type of `like`."""
    kind = np.dtype(np.float16) if storage_of(like) == "f16" else DTYPES[storage_of(like)]
    with np.errstate(all="ignore"):
        return graph.weight(op, np.asarray(array).astype(kind), key, like)
