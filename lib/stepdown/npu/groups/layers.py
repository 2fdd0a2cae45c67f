"""Ops as groups see them: kernels with their constants, and which of their tensors may stay in local memory."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from xdsl.ir import Operation, SSAValue

from stepdown.dialects.op import TensorOp
from stepdown.npu.isa.tensor import Four
from stepdown.npu.kernels import Constant, Kernel
from stepdown.npu.kernels.base import Region
from stepdown.npu.subnets import is_constant, on_host


def is_alias(op: Operation, kinds: Sequence[str]) -> bool:
    """Tell whether an op's result lies where its operand lies: a reshape that the host does not execute.

    One of a constant is a copy: a tensor has a place of its own.
    """
    if not isinstance(op, TensorOp) or not op.name.endswith(".Reshape"):
        return False
    return not on_host(op, kinds) and not is_constant(op.operands[0])


def root_of(value: SSAValue, kinds: Sequence[str]) -> SSAValue:
    """Return the value whose bytes a value has: through reshapes."""
    while isinstance(value.owner, Operation) and is_alias(value.owner, kinds):
        value = value.owner.operands[0]
    return value


def readers(value: SSAValue, kinds: Sequence[str]) -> Iterator[Operation]:
    """Yield the ops that read a value or a reshape of it; the end of the function is one."""
    for use in value.uses:
        if is_alias(use.operation, kinds):
            yield from readers(use.operation.results[0], kinds)
        else:
            yield use.operation


class Layer:
    """An op with a kernel: `constants` by name, `sources` what it reads and `readers` who reads it, behind reshapes."""

    def __init__(self, kernel: Kernel, constants: Mapping[str, Constant], kinds: Sequence[str]) -> None:
        self.kernel, self.constants = kernel, constants
        self.op: TensorOp = kernel.op
        self.result: SSAValue = kernel.op.results[0]
        self.sources = tuple(root_of(value, kinds) for value in kernel.operands)
        self.readers = tuple(readers(self.result, kinds))
        self._rows: dict[tuple[int, int], tuple[tuple[int, int], ...]] = {}

    def rows(self, start: int, stop: int) -> tuple[tuple[int, int], ...]:
        """Return first and last + 1 row of every operand that rows of the output are made of."""
        key = start, stop
        if key not in self._rows:
            needs = self.kernel.needs(Region.whole(self.kernel.shape).within(2, start, stop))
            self._rows[key] = tuple(need.spans[2] for need in needs)
        return self._rows[key]

    def repeats(self, at: int) -> bool:
        """Tell whether an operand's only channel is repeated for all channels of the output."""
        return self.kernel.repeats and self.kernel.input_shapes[at][1] == 1 < self.kernel.shape[1]


@dataclass(frozen=True)
class Load:
    """What a group brings into local memory: a value under a shape; its channel `repeated` for so many of a reader."""

    value: SSAValue
    shape: Four
    type: str
    repeated: int = 0


class Group:
    """A run of layers that are computed tile by tile.

    `sources` has for each operand of each layer the number of the layer that makes it, or the Load that brings it.
    """

    def __init__(self, layers: Sequence[Layer]) -> None:
        self.layers = tuple(layers)
        self._made = {layer.result: number for number, layer in enumerate(self.layers)}
        self.sources = tuple(
            tuple(self._source(layer, at) for at in range(len(layer.sources))) for layer in self.layers
        )

    def _source(self, layer: Layer, at: int) -> "int | Load":
        value, kernel = layer.sources[at], layer.kernel
        made = self._made.get(value)
        if made is not None:
            return made
        return Load(value, kernel.input_shapes[at], kernel.input_types[at], layer.repeats(at) * kernel.shape[1])

    @cached_property
    def loads(self) -> dict[Load, int]:
        """What is brought in, and the first layer that needs it."""
        found: dict[Load, int] = {}
        for number, sources in enumerate(self.sources):
            for source in sources:
                if isinstance(source, Load):
                    found.setdefault(source, number)
        return found

    @cached_property
    def last_use(self) -> dict["int | Load", int]:
        """Of every layer's result and every load, the last layer that reads it."""
        found: dict[int | Load, int] = {number: number for number in range(len(self.layers))}
        for number, sources in enumerate(self.sources):
            found.update(dict.fromkeys(sources, number))
        return found

    @cached_property
    def outputs(self) -> frozenset[int]:
        """The layers whose results are read outside, or by nobody."""
        ops = {id(layer.op) for layer in self.layers}
        found = set()
        for number, layer in enumerate(self.layers):
            if not layer.readers or any(id(op) not in ops for op in layer.readers):
                found.add(number)
        return frozenset(found)

    def problem(self) -> str:
        """Return why the layers cannot be computed tile by tile, empty where they can."""
        for layer, sources in zip(self.layers, self.sources, strict=True):
            for at, source in enumerate(sources):
                if isinstance(source, int) and (found := _edge_problem(self.layers[source], layer, at)):
                    return f"{layer.op.tensor_name} {found} {self.layers[source].op.tensor_name}"
        return ""


def _edge_problem(producer: Layer, consumer: Layer, at: int) -> str:
    """Return why a tensor cannot stay in local memory between two layers, empty where it can."""
    if producer.kernel.shape != consumer.kernel.input_shapes[at]:
        return "sees other rows and channels of"
    return "repeats in all lanes" if consumer.repeats(at) else ""
