"""Small networks of random ops, random groups and tiles for them, and chips with random memories."""

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from xdsl.ir import SSAValue
from xdsl.utils.exceptions import VerifyException

from stepdown.chips import Chip, load_chip
from stepdown.dialects.program import Program
from stepdown.dialects.top import TOP_OPS
from stepdown.dialects.top.source import Input, Weight
from stepdown.dialects.types import Shape, shape_of, tensor
from stepdown.npu.cost import local_memory
from stepdown.npu.groups.layers import Group
from stepdown.npu.groups.layout import lay_out
from stepdown.npu.groups.notes import runs
from stepdown.npu.groups.tiles import Parts, cut

LARGEST = 4000
"""Elements of a tensor."""


class Builder:
    """A network that grows by random ops on the values that it has."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        shape = (rng.randint(1, 2), rng.randint(1, 9), rng.randint(3, 13), rng.randint(3, 13))
        self.program = Program.empty("net", {"input": tensor(shape)}, "TEST")
        self.values = [self.program.add(Input.build("input", [self.program.block.args[0]]))]
        self._count = 0

    def grow(self, ops: int) -> Program:
        """Add so many ops; what nobody reads is a result."""
        while ops:
            ops -= self._add(self.rng.choice(MAKERS))
        read = {operand for op in self.program.ops for operand in op.operands}
        self.program.finish([value for value in self.values[1:] if value not in read])
        return self.program

    def _add(self, make: Callable[["Builder", SSAValue], SSAValue | None]) -> bool:
        try:
            value = make(self, self.rng.choice(self.values[-3:]))
        except VerifyException:  # the op allows no such sizes
            return False
        if value is not None:
            self.values.append(value)
        return value is not None

    def op(self, name: str, operands: list[SSAValue], **attributes: Any) -> SSAValue:
        """Add an op."""
        self._count += 1
        return self.program.add(TOP_OPS[name].build(f"t{self._count}", operands, **attributes))

    def weight(self, shape: Shape, scale: float = 1.0) -> SSAValue:
        """Add a constant."""
        self._count += 1
        key, seed = f"w{self._count}", self.rng.randrange(1 << 32)
        values = np.random.default_rng(seed).normal(size=shape) * scale
        self.program.weights[key] = values.astype(np.float32)
        return self.program.add(Weight.of(key, tensor(shape)))

    def relu(self) -> dict[str, Any]:
        """Return the attributes of a fused ReLU, or of none."""
        return {"do_relu": self.rng.random() < 0.4, "relu_limit": self.rng.choice((-1.0, 6.0, 1.3))}


def _conv(builder: Builder, x: SSAValue) -> SSAValue | None:
    shape, rng = shape_of(x), builder.rng
    if len(shape) != 4:
        return None
    divisors = [g for g in range(1, shape[1] + 1) if shape[1] % g == 0]
    group = rng.choice((1, rng.choice(divisors), shape[1]))
    channels = shape[1] if group == shape[1] > 1 and rng.random() < 0.8 else group * rng.randint(1, 1 + 20 // group)
    kernel, dilations = [rng.randint(1, 4) for _ in range(2)], [rng.randint(1, 2) for _ in range(2)]
    spans = [d * (k - 1) + 1 for k, d in zip(kernel, dilations, strict=True)]
    pads = [rng.randrange(span) for span in spans * 2]
    if any(size + pads[at] + pads[at + 2] < span for at, (size, span) in enumerate(zip(shape[2:], spans, strict=True))):
        return None
    bias = builder.weight((channels,)) if rng.random() < 0.7 else builder.program.add(TOP_OPS["Absent"].make())
    weights = builder.weight(
        (channels, shape[1] // group, *kernel), (shape[1] // group * kernel[0] * kernel[1]) ** -0.5
    )
    strides = [rng.randint(1, 2) for _ in range(2)]
    return builder.op("Conv", [x, weights, bias], strides=strides, pads=pads, dilations=dilations, group=group,
                      **builder.relu())  # fmt: skip


def _transposed(builder: Builder, x: SSAValue) -> SSAValue | None:
    shape, rng = shape_of(x), builder.rng
    if len(shape) != 4 or 9 * int(np.prod(shape)) > LARGEST:
        return None
    channels, kernel = rng.randint(1, 6), [rng.randint(2, 3) for _ in range(2)]
    weights, bias = builder.weight((shape[1], channels, *kernel), 0.5), builder.weight((channels,))
    return builder.op("ConvTranspose", [x, weights, bias], strides=[rng.randint(1, 2) for _ in range(2)],
                      pads=[rng.randint(0, 1) for _ in range(4)], dilations=[1, 1], group=1,
                      output_padding=[0, 0])  # fmt: skip


def _pool(builder: Builder, x: SSAValue) -> SSAValue | None:
    shape, rng = shape_of(x), builder.rng
    if len(shape) != 4:
        return None
    kernel = [rng.randint(1, min(4, size)) for size in shape[2:]]
    window = {"kernel_shape": kernel, "strides": [rng.randint(1, 3) for _ in range(2)], "dilations": [1, 1],
              "pads": [rng.randrange(k) for k in kernel * 2], "ceil_mode": rng.random() < 0.5}  # fmt: skip
    if rng.random() < 0.5:
        return builder.op("MaxPool", [x], **window)
    return builder.op("AveragePool", [x], **window, count_include_pad=rng.random() < 0.5)


def _two(builder: Builder, x: SSAValue) -> SSAValue | None:
    shape, name = shape_of(x), builder.rng.choice(("Add", "Sub", "Mul", "Max", "Min"))
    alike = [value for value in builder.values if shape_of(value) == shape]
    other = builder.rng.choice(alike)
    if builder.rng.random() < 0.4:
        repeated = tuple(builder.rng.choice((1, size)) if at else 1 for at, size in enumerate(shape))
        flat = builder.rng.random() < 0.2
        other = builder.weight((int(np.prod(repeated)),) if flat else repeated)
        other = builder.op("Reshape", [other], shape=repeated) if flat else other
    pair = [x, other] if builder.rng.random() < 0.8 or other not in builder.values else [other, x]
    return builder.op(name, pair, **(builder.relu() if name in ("Add", "Sub", "Mul") else {}))


def _function(builder: Builder, x: SSAValue) -> SSAValue:
    return builder.op(builder.rng.choice(("Relu", "Sigmoid", "HardSwish", "LeakyRelu", "HardSigmoid", "Tanh")), [x])


def _reduce(builder: Builder, x: SSAValue) -> SSAValue | None:
    if len(shape_of(x)) != 4:
        return None
    name = builder.rng.choice(("ReduceMean", "ReduceSum", "ReduceMax"))
    return builder.op(name, [x], axes=[2, 3], keepdims=builder.rng.random() < 0.7)


def _moved(builder: Builder, x: SSAValue) -> SSAValue | None:
    shape, rng = shape_of(x), builder.rng
    kind = rng.choice(("Transpose", "Concat", "Reshape", "Pad", "Slice"))
    if kind == "Transpose":
        return builder.op("Transpose", [x], order=rng.sample(range(len(shape)), len(shape)))
    if kind == "Reshape":
        return (
            builder.op("Reshape", [x], shape=[shape[0], shape[1] * shape[2], 1, shape[3]]) if len(shape) == 4 else None
        )
    if kind == "Concat":
        alike = [value for value in builder.values if shape_of(value) == shape]
        return builder.op("Concat", [x, rng.choice(alike)], axis=rng.randrange(len(shape)))
    if kind == "Pad":
        return builder.op("Pad", [x], pads=[rng.randint(0, 1) for _ in shape * 2], mode="constant", value=0.0)
    return None


def _product(builder: Builder, x: SSAValue) -> SSAValue | None:
    shape = shape_of(x)
    if len(shape) != 2:
        return None
    columns = builder.rng.randint(1, 20)
    return builder.op("MatMul", [x, builder.weight((shape[1], columns), shape[1] ** -0.5), builder.weight((columns,))])


MAKERS = (_conv, _conv, _conv, _transposed, _pool, _pool, _two, _two, _function, _reduce, _moved, _product)


def random_chip(rng: random.Random) -> Chip:
    """Return a chip of either kind with few lanes and little memory."""
    if rng.random() < 0.7:
        return replace(load_chip("bm1684x"), lanes=rng.choice((1, 2, 4, 8, 16)), local_bytes=1 << rng.randint(11, 16))
    size = 1 << rng.randint(12, 16)
    return replace(load_chip("gemmini"), scratchpad_bytes=size, accumulator_bytes=size // 4)


def note_random_groups(rng: random.Random, program: Program, chip: Chip) -> int:
    """Note random runs of layers as groups, each with random parts that fit; return how many have several tiles."""
    number = cut_up = 0
    for run in list(runs(program, chip)):
        if not isinstance(run, list):
            continue
        while run:
            size = rng.randint(1, min(4, len(run)))
            parts = None if (group := Group(run[:size])).problem() else random_parts(rng, group, chip)
            size, group = (size, group) if parts else (1, Group(run[:1]))
            parts = parts or random_parts(rng, group, chip)
            for layer in run[:size] if parts else ():
                layer.op.set_note("layer_group", number)
                layer.op.set_note("layer_tile", [parts.n, parts.channels, parts.rows])
            cut_up += parts is not None and parts.tiles > 1
            run, number = run[size:], number + 1
    return cut_up


def random_parts(rng: random.Random, group: Group, chip: Chip) -> Parts | None:
    """Return random parts with which a group fits local memory, None where none of some are such."""
    n, channels, rows, _ = (max(sizes) for sizes in zip(*(layer.kernel.shape for layer in group.layers), strict=True))
    for _ in range(12):
        parts = Parts(
            rng.randint(1, n), rng.randint(1, channels) if len(group.layers) == 1 else 1, rng.randint(1, rows)
        )
        tiles = cut(group, parts, local_memory(chip).lanes)
        if tiles and lay_out(group, tiles, parts, chip):
            return parts
    return None
