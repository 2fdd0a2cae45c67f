"""Follows channels through a float network: which elements of which tensors must be scaled alike.

A tensor's pattern has its rank and holds, broadcast over the tensor, the number of each element's factor (tied.py). Ops
with weights begin new channels; moves carry numbers along, the moved array being that of the numbers; sums make two
tensors alike; a product of two tensors, as of attention, lets the factors of the right columns through, and those of
the summed dimension cancel: what one side is multiplied by, the other is divided by. Everything else keeps its tensors.
"""

from collections.abc import Callable, Sequence

import numpy as np
from xdsl.ir import SSAValue

from stepdown.correction.tied import FIXED, Tied
from stepdown.dialects.op import TensorOp
from stepdown.dialects.program import Program
from stepdown.dialects.top.mac import Conv
from stepdown.dialects.top.source import Weight
from stepdown.dialects.types import is_none, shape_of

MOVES = ("top.Reshape", "top.Transpose", "top.Slice", "top.Concat", "top.Split", "top.Expand", "top.Tile")
_MAX_PATTERN = 1 << 16
# Numbers in a pattern; a tensor that needs more keeps its scale.


class Patterns:
    """The patterns of all tensors of a program, and which ops' weights can take factors at their result and operand."""

    def __init__(self, program: Program) -> None:
        self.tied = Tied()
        self.of: dict[SSAValue, np.ndarray] = {}
        self.makers: list[TensorOp] = []
        """Ops that multiply the factors of their result into constants, the numbers in `absorbed`."""
        self.absorbed: dict[TensorOp, tuple[int, ...]] = {}
        self.readers: list[TensorOp] = []
        """Ops that divide the factors of their first operand out of a weight."""
        self.products: list[TensorOp] = []
        """Products of two tensors whose factors cancel each other."""
        for op in program.ops:
            if not isinstance(op, Weight):
                RULES.get(op.name, _keep)(self, op)
        for value in program.results:
            self.fix(value)

    def pattern(self, value: SSAValue) -> np.ndarray:
        """Return the pattern of a tensor; constants and inputs keep their scale."""
        return self.of.get(value, np.full((1,) * len(shape_of(value)), FIXED))

    def fix(self, value: SSAValue) -> None:
        """Let a tensor keep its scale."""
        if not is_none(value):
            self.tied.fix(self.pattern(value))

    def make(self, op: TensorOp, axis: int, *constants: int) -> None:
        """Begin new channels along an axis of the result."""
        shape = shape_of(op.results[0])
        self.of[op.results[0]] = self.tied.fresh(shape[axis]).reshape(_along(shape, axis))
        self.absorb(op, *constants)

    def absorb(self, op: TensorOp, *constants: int) -> None:
        """Note the operands that take the factors of the result in."""
        self.makers.append(op)
        self.absorbed[op] = tuple(i for i in constants if not is_none(op.operands[i]))

    def read(self, op: TensorOp, axis: int) -> None:
        """Let the weight of `op` take the factors of its first operand, where these differ along `axis` alone."""
        value = op.operands[0]
        if self.pattern(value).shape == _along(shape_of(value), axis):
            self.readers.append(op)
        else:
            self.fix(value)


def _along(shape: Sequence[int], axis: int) -> tuple[int, ...]:
    return tuple(n if i == axis % len(shape) else 1 for i, n in enumerate(shape))


def _constant(value: SSAValue) -> bool:
    return is_none(value) or isinstance(value.owner, Weight)


def clips(op: TensorOp) -> bool:
    """Tell whether `op` has a ReLU with an upper clip."""
    return bool(getattr(op, "do_relu", False)) and op.relu_limit >= 0  # type: ignore[attr-defined]


def is_depthwise(op: Conv) -> bool:
    """Tell whether each channel is convolved with one kernel of its own."""
    return bool(op.group == shape_of(op.operands[0])[1] == shape_of(op.operands[1])[0])


# --- rules


def _keep(patterns: Patterns, op: TensorOp) -> None:
    for value in op.operands:
        patterns.fix(value)


def _conv(patterns: Patterns, op: TensorOp) -> None:
    assert isinstance(op, Conv)
    if not all(_constant(v) for v in op.operands[1:]):
        return _keep(patterns, op)
    if op.group == 1 or is_depthwise(op):
        patterns.read(op, 1)
    else:
        patterns.fix(op.operands[0])
    return patterns.make(op, 1, 1, 2)


def _matmul(patterns: Patterns, op: TensorOp) -> None:
    weight, plain = op.operands[1], is_none(op.operands[2])
    if all(_constant(v) for v in op.operands[1:]) and len(shape_of(weight)) == 2 <= len(shape_of(op.operands[0])):
        patterns.read(op, -1)
        patterns.make(op, -1, 1, 2)
    elif plain and not clips(op) and min(len(shape_of(v)) for v in op.operands[:2]) >= 2:
        _product(patterns, op)
    else:
        _keep(patterns, op)


def _product(patterns: Patterns, op: TensorOp) -> None:
    """Rule of a product of two tensors [..., M, K] and [..., K, N]."""
    left, right = (patterns.pattern(v) for v in op.operands[:2])
    if op.right_transpose:  # type: ignore[attr-defined]
        right = right.swapaxes(-1, -2)
    if right.shape[-2] == 1:
        patterns.fix(op.operands[0])
        ones = (1,) * (len(shape_of(op.results[0])) - right.ndim)
        patterns.of[op.results[0]] = right.reshape(*ones, *right.shape)
    elif left.swapaxes(-1, -2).shape == right.shape and right.shape[-1] == 1:
        patterns.tied.tie(left.swapaxes(-1, -2), right, -1)
        patterns.products.append(op)
    else:
        _keep(patterns, op)


def _layer_norm(patterns: Patterns, op: TensorOp) -> None:
    patterns.fix(op.operands[0])
    shape = shape_of(op.operands[0])
    if op.axis % len(shape) == len(shape) - 1 and all(_constant(v) for v in op.operands[1:]):  # type: ignore[attr-defined]
        patterns.make(op, -1, 1, 2)


def _move(patterns: Patterns, op: TensorOp) -> None:
    """Rule of moves: what they do with the numbers of the elements."""
    if not any(v in patterns.of for v in op.operands):
        return
    full = [np.broadcast_to(patterns.pattern(v), shape_of(v)) for v in op.operands]
    for value, moved in zip(op.results, op.compute(*full), strict=True):
        pattern = _compact(moved)
        if pattern.size > _MAX_PATTERN:
            patterns.tied.fix(pattern)
        else:
            patterns.of[value] = pattern


def _compact(full: np.ndarray) -> np.ndarray:
    """Return the numbers without the dimensions along which they do not differ."""
    for axis in range(full.ndim):
        first = full.take([0], axis)
        if (full == first).all():
            full = first
    return full


def _pool(patterns: Patterns, op: TensorOp) -> None:
    if patterns.pattern(op.operands[0]).shape[2:] == (1,) * (len(shape_of(op.operands[0])) - 2):
        patterns.of[op.results[0]] = patterns.pattern(op.operands[0])
    else:
        _keep(patterns, op)


def _mean(patterns: Patterns, op: TensorOp) -> None:
    pattern, axes = patterns.pattern(op.operands[0]), op.axes_of(shape_of(op.operands[0]))  # type: ignore[attr-defined]
    if any(pattern.shape[axis] != 1 for axis in axes):
        return _keep(patterns, op)
    patterns.of[op.results[0]] = pattern if op.keepdims else pattern.squeeze(axes)  # type: ignore[attr-defined]
    return None


def _sum(patterns: Patterns, op: TensorOp) -> None:
    """Rule of sums: operands are scaled alike; one that is constant takes the factors in."""
    moving = [v for v in op.operands if not _constant(v)]
    if clips(op) or not moving:
        return _keep(patterns, op)
    rank = len(shape_of(op.results[0]))
    found = [_lifted(patterns.pattern(v), rank) for v in moving]
    for other in found[1:]:
        patterns.tied.tie(other, found[0])
    patterns.of[op.results[0]] = max(found, key=np.size)
    constants = [i for i, v in enumerate(op.operands) if _constant(v)]
    if constants:
        patterns.absorb(op, *constants)
    return None


def _scaled(patterns: Patterns, op: TensorOp) -> None:
    """Rule of products and quotients element by element: the factors of the larger operand pass."""
    first, second = op.operands[:2]
    shape = shape_of(op.results[0])
    passes = [v for v in (first, second)[: 1 if op.name == "top.Div" else 2] if shape_of(v) == shape]
    keeps = [v for v in (first, second) if shape_of(v) != shape or _constant(v)]
    if clips(op) or not passes or not keeps:
        return _keep(patterns, op)
    through = next((v for v in passes if v not in keeps), None)
    if through is None:
        return _keep(patterns, op)
    for value in keeps:
        patterns.fix(value)
    patterns.of[op.results[0]] = patterns.pattern(through)
    return None


def _homogeneous(patterns: Patterns, op: TensorOp) -> None:
    """Rule of functions f with f(k·x) = k·f(x) for positive k."""
    if getattr(op, "relu_limit", -1.0) >= 0:
        return _keep(patterns, op)
    patterns.of[op.results[0]] = patterns.pattern(op.operands[0])
    return None


def _lifted(pattern: np.ndarray, rank: int) -> np.ndarray:
    return pattern.reshape((1,) * (rank - pattern.ndim) + pattern.shape)


RULES: dict[str, Callable[[Patterns, TensorOp], None]] = {
    "top.Conv": _conv,
    "top.MatMul": _matmul,
    "top.LayerNorm": _layer_norm,
    "top.ReduceMean": _mean,
    **dict.fromkeys(("top.AveragePool", "top.MaxPool"), _pool),
    **dict.fromkeys(("top.Add", "top.Sub", "top.Max", "top.Min"), _sum),
    **dict.fromkeys(("top.Mul", "top.Div"), _scaled),
    **dict.fromkeys(("top.Relu", "top.LeakyRelu", "top.PRelu", "top.Abs"), _homogeneous),
    **dict.fromkeys(MOVES, _move),
}
