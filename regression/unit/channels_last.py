"""Networks as importers of channels-last formats write them: channels-first ops between Transposes."""

from typing import Any

import numpy as np
from xdsl.ir import SSAValue

from stepdown.dialects.op import TensorOp
from stepdown.dialects.program import Program
from stepdown.dialects.top.activation import Relu
from stepdown.dialects.top.arithmetic import Add, Max, Mul, Sub
from stepdown.dialects.top.cast import Cast
from stepdown.dialects.top.elementary import Abs, Neg
from stepdown.dialects.top.index import Gather, TopK
from stepdown.dialects.top.logic import Compare, Where
from stepdown.dialects.top.mac import Conv, MatMul
from stepdown.dialects.top.move import Concat, Expand, Pad, Reshape, Slice, Split, Tile, Transpose
from stepdown.dialects.top.pool import AveragePool, MaxPool
from stepdown.dialects.top.reduce import ArgMax, CumSum, ReduceMax, ReduceMean
from stepdown.dialects.top.reorder import DepthToSpace, SpaceToDepth
from stepdown.dialects.top.resize import ResizeNearest
from stepdown.dialects.top.softmax import Softmax
from stepdown.dialects.top.source import Absent, Input, Weight
from stepdown.dialects.types import is_float, shape_of, tensor

WINDOW = {"kernel_shape": [2, 2], "strides": [1, 1], "pads": [0, 0, 1, 1], "dilations": [1, 1]}


class Net:
    """A network that grows op by op; `values` are the source model's tensors in its own layout."""

    def __init__(self, shape: tuple[int, ...] = (1, 4, 6, 3), seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        self.program = Program.empty("net", {"x": tensor(shape, "f32")}, "TEST")
        self.values: list[SSAValue] = [self.program.add(Input.build("x", list(self.program.block.args)))]

    @property
    def x(self) -> SSAValue:
        """The network's input."""
        return self.values[0]

    def op(self, cls: type[TensorOp], *operands: SSAValue, **attributes: Any) -> SSAValue:
        """Append an op on tensors in the source's layout and return its first result."""
        count = len(attributes["sizes"]) if cls is Split else cls.results_count
        names = [f"t{len(self.values) + i}" for i in range(count)]
        made = cls.build(names, list(operands), **attributes)
        self.program.add(made)
        self.values += made.results
        return made.results[0]

    def first(self, cls: type[TensorOp], x: SSAValue, *others: SSAValue, **attributes: Any) -> SSAValue:
        """Append a channels-first op between two Transposes and return its result in the source's layout."""
        name, rank = f"t{len(self.values)}", len(shape_of(x))
        order = [0, rank - 1, *range(1, rank - 1)]
        before = self.program.add(Transpose.build(f"{name}/in", [x], internal=True, order=order))
        made = self.program.add(cls.build(f"{name}/nchw", [before, *others], internal=True, **attributes))
        after = self.program.add(Transpose.build(name, [made], order=[0, *range(2, rank), 1]))
        self.values.append(after)
        return after

    def weight(self, *shape: int, dtype: Any = np.float32) -> SSAValue:
        """Append a constant of random values; integers are 0 or 1."""
        key = f"w{len(self.program.weights)}"
        if dtype is np.float32:
            self.program.weights[key] = self.rng.standard_normal(shape).astype(np.float32)
            return self.program.add(Weight.of(key, tensor(shape, "f32")))
        self.program.weights[key] = self.rng.integers(0, 2, shape).astype(dtype)
        return self.program.add(Weight.of(key, tensor(shape, {np.int64: "i64", np.bool_: "i1"}[dtype])))

    def conv(self, x: SSAValue, channels: int = 3) -> SSAValue:
        """Append a convolution that keeps height and width."""
        filter = self.weight(channels, shape_of(x)[-1], 2, 2)
        window = {name: value for name, value in WINDOW.items() if name != "kernel_shape"}
        return self.first(Conv, x, filter, self.weight(channels), **window)

    def finish(self, *outputs: SSAValue) -> Program:
        """End the network."""
        self.program.finish(list(outputs or self.values[-1:]))
        return self.program


def random_net(seed: int, length: int, outputs: int = 1) -> Program:
    """Return a network of `length` operators drawn from all that a layout may pass through, and some it may not."""
    net = Net(seed=seed)
    draw = net.rng
    size = tuple(int(n) for n in draw.choice([1, 2, 4], 3))
    net = Net((int(draw.integers(1, 3)), *size), seed)
    while len(net.values) <= length:
        floats = [v for v in net.values if is_float(v) and shape_of(v)]
        x = floats[int(draw.integers(max(0, len(floats) - 3), len(floats)))]
        STEPS[int(draw.integers(len(STEPS)))](net, x)
    chosen = draw.choice(len(net.values) - 1, min(outputs - 1, len(net.values) - 1), replace=False) + 1
    return net.finish(*dict.fromkeys([net.values[-1], *(net.values[int(i)] for i in chosen)]))


def _axis(net: Net, x: SSAValue) -> int:
    return int(net.rng.integers(len(shape_of(x))))


def _pooled(net: Net, x: SSAValue) -> None:
    if len(shape_of(x)) == 4:
        net.first(MaxPool if net.rng.integers(2) else AveragePool, x, **WINDOW)


def _convolved(net: Net, x: SSAValue) -> None:
    if len(shape_of(x)) == 4:
        net.conv(x, int(net.rng.choice([1, 2, 4])))


def _resized(net: Net, x: SSAValue) -> None:
    shape = shape_of(x)
    if len(shape) == 4 and shape[1] * shape[2] < 64:
        doubled = [shape[0], shape[3], 2 * shape[1], 2 * shape[2]]
        net.first(ResizeNearest, x, shape=doubled, scales=[1, 1, 2, 2])


def _reordered(net: Net, x: SSAValue) -> None:
    shape = shape_of(x)
    if len(shape) == 4 and shape[3] % 4 == 0:
        net.first(DepthToSpace, x, block_size=2)
    elif len(shape) == 4 and shape[1] % 2 == shape[2] % 2 == 0:
        net.first(SpaceToDepth, x, block_size=2)


def _unary(net: Net, x: SSAValue) -> None:
    net.op([Relu, Neg, Abs][int(net.rng.integers(3))], x)


def _cast(net: Net, x: SSAValue) -> None:
    net.op(Cast, net.op(Cast, x, to="i32"), to="f32")


def _summed(net: Net, x: SSAValue) -> None:
    """Two tensors of one shape, or of shapes that broadcast."""
    fits = [v for v in net.values if is_float(v) and _broadcasts(shape_of(x), shape_of(v))]
    other = fits[int(net.rng.integers(len(fits)))]
    net.op([Add, Sub, Max][int(net.rng.integers(3))], *([x, other] if net.rng.integers(2) else [other, x]))


def _broadcasts(a: tuple[int, ...], b: tuple[int, ...]) -> bool:
    tail = zip(a[::-1], b[::-1], strict=False)
    return all(m == n or 1 in (m, n) for m, n in tail)


def _scaled(net: Net, x: SSAValue) -> None:
    shape = shape_of(x)
    rank = int(net.rng.integers(len(shape) + 1))
    kept = [n if net.rng.integers(2) else 1 for n in shape[len(shape) - rank :]]
    net.op(Mul, x, net.weight(*kept))


def _chosen(net: Net, x: SSAValue) -> None:
    zero = net.weight(*shape_of(x)[-1:])
    net.op(Where, net.op(Compare, x, zero, mode="Less"), x, zero)


def _joined(net: Net, x: SSAValue) -> None:
    axis = _axis(net, x)
    if shape_of(x)[axis] < 16:
        net.op(Concat, x, net.values[-1] if shape_of(net.values[-1]) == shape_of(x) else x, axis=axis)


def _cut(net: Net, x: SSAValue) -> None:
    axis = _axis(net, x)
    if (size := shape_of(x)[axis]) > 1:
        net.op(Split, x, axis=axis, sizes=[1, size - 1])


def _sliced(net: Net, x: SSAValue) -> None:
    shape = shape_of(x)
    starts = [int(net.rng.integers(n)) for n in shape]
    backwards = [bool(net.rng.integers(2)) for _ in shape]
    ends = [-1 if b else n for b, n in zip(backwards, shape, strict=True)]
    net.op(Slice, x, starts=starts, ends=ends, steps=[-1 if b else 1 for b in backwards])


def _padded(net: Net, x: SSAValue) -> None:
    if max(shape_of(x)) < 10:
        net.op(Pad, x, pads=[int(n) for n in net.rng.integers(0, 2, 2 * len(shape_of(x)))], value=1.5)


def _repeated(net: Net, x: SSAValue) -> None:
    if max(shape_of(x)) < 9:
        net.op(Tile, x, repeats=[int(n) for n in net.rng.integers(1, 3, len(shape_of(x)))])


def _expanded(net: Net, x: SSAValue) -> None:
    net.op(Expand, x, shape=[2 if n == 1 else n for n in shape_of(x)])


def _reduced(net: Net, x: SSAValue) -> None:
    if (rank := len(shape_of(x))) > 1:
        axes = [-1 - int(a) for a in net.rng.choice(rank, int(net.rng.integers(1, min(rank, 3))), replace=False)]
        net.op([ReduceMean, ReduceMax][int(net.rng.integers(2))], x, axes=axes, keepdims=bool(net.rng.integers(2)))


def _spatial_mean(net: Net, x: SSAValue) -> None:
    if len(shape_of(x)) == 4:
        net.op(ReduceMean, x, axes=[1, 2], keepdims=bool(net.rng.integers(2)))


def _distributed(net: Net, x: SSAValue) -> None:
    if shape_of(x):
        net.op([Softmax, CumSum][int(net.rng.integers(2))], x, axis=-1)


def _placed(net: Net, x: SSAValue) -> None:
    if len(shape_of(x)) > 1:
        net.op(Cast, net.op(ArgMax, x, axis=_axis(net, x), keepdims=bool(net.rng.integers(2))), to="f32")


def _gathered(net: Net, x: SSAValue) -> None:
    axis = _axis(net, x) if shape_of(x) else None
    if axis is not None and shape_of(x)[axis] > 1:
        net.op(Gather, x, net.weight(*[2] * int(net.rng.integers(2)), dtype=np.int64), axis=axis)


def _highest(net: Net, x: SSAValue) -> None:
    if shape_of(x):
        net.op(TopK, x, k=1, axis=_axis(net, x))


def _reshaped(net: Net, x: SSAValue) -> None:
    """Two neighbours merged, or a dimension of size 1 more or less."""
    shape = list(shape_of(x))
    at = int(net.rng.integers(len(shape) + 1))
    if len(shape) > 3 and at < len(shape) - 1:
        shape[at : at + 2] = [shape[at] * shape[at + 1]]
    elif 1 in shape:
        shape.remove(1)
    elif len(shape) < 4:
        shape.insert(at, 1)
    net.op(Reshape, x, shape=shape)


def _multiplied(net: Net, x: SSAValue) -> None:
    if len(shape_of(x)) > 1:
        net.op(MatMul, x, net.weight(shape_of(x)[-1], 2), net.program.add(Absent.make()))


def _turned(net: Net, x: SSAValue) -> None:
    """A transpose that the source model has itself."""
    net.op(Transpose, x, order=[int(d) for d in net.rng.permutation(len(shape_of(x)))])


STEPS = [
    _pooled, _pooled, _convolved, _convolved, _resized, _reordered, _unary, _cast, _summed, _summed, _scaled, _chosen,
    _joined, _cut, _sliced, _padded, _repeated, _expanded, _reduced, _spatial_mean, _distributed, _placed, _gathered,
    _highest, _reshaped, _reshaped, _multiplied, _turned,
]  # fmt: skip
