"""The memory map of a network's code: where tensors lie, from which step to which."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

from xdsl.ir import SSAValue

from stepdown.dialects.op import TensorOp, names_of, value_name
from stepdown.dialects.program import Program
from stepdown.dialects.types import shape_of
from stepdown.model import Region
from stepdown.model.schema import GLOBAL, LOCAL, lanes_layout
from stepdown.npu.code import Code, LocalConstant, LocalPart
from stepdown.npu.cost import LocalMemory, span
from stepdown.npu.groups.layers import is_alias, readers, root_of
from stepdown.npu.isa import BYTES
from stepdown.npu.isa.tensor import Four
from stepdown.npu.subnets import subnet_kinds


def regions(program: Program, code: Code, local: LocalMemory) -> Iterator[Region]:
    """Yield the regions of all tensors of the code."""
    use = _Use(program, code)
    for op in program.ops:
        for value in op.results:
            if value_name(value) in code.tensors:
                yield use.whole(value)
    for part in code.local:
        for named in _with_aliases(part.value, use.kinds):
            yield from _part(named, part, local)
    yield from _copies(code, use.kinds, local)


def _copies(code: Code, kinds: Sequence[str], local: LocalMemory) -> Iterator[Region]:
    """Yield the regions of what lies in local memory beside global memory; those that nothing names are scratch."""
    tensors = {*code.tensors, *code.layers}
    for copy in code.copies:
        views = (_part(named, copy, local) for named in _with_aliases(copy.value, kinds))
        parts = (part for view in views for part in view if part.name in code.tensors or part.name in code.constants)
        yield next(parts, _scratch(copy, local))
    for constant in code.brought:
        yield replace(_scratch(constant, local), name="" if constant.name in tensors else constant.name)


def _scratch(held: LocalPart | LocalConstant, local: LocalMemory) -> Region:
    """Return the region of something in local memory, without a name."""
    low, high = span(held.place, local.lanes)
    return Region("", LOCAL, low, high - low, held.made, held.made, held.last)


class _Use:
    """When values in global memory are made and read, in steps."""

    def __init__(self, program: Program, code: Code) -> None:
        self.kinds = subnet_kinds(program)
        self._code, self._end = code, max(len(code.steps) - 1, 0)
        self._outputs = {root_of(value, self.kinds) for value in program.results}
        self._made: dict[str, tuple[int, int]] = {}
        for number, step in enumerate(code.steps):
            name = code.layers[step.layer]
            self._made[name] = self._made.get(name, (number, 0))[0], number
        self._read = {name: last for name, (_, last) in self._made.items()}
        for host in code.host:
            self._made[host.op.tensor_name] = (min(host.steps, self._end),) * 2
            self._read[host.op.tensor_name] = max(host.steps - 1, 0)

    def whole(self, value: SSAValue) -> Region:
        """Return where a tensor lies; what is given to the network is there from the first step on."""
        root = root_of(value, self.kinds)
        first, ready = self._made.get(_name(root.owner), (0, 0))
        last = self._end if root in self._outputs else ready
        last = max([last, *(self._read.get(_name(op), 0) for op in readers(root, self.kinds))])
        place = self._code.tensors[value_name(value)][0]
        return Region(value_name(value), GLOBAL, place.address, place.elements * BYTES[place.type], first, ready, last)


def _name(op: object) -> str:
    return names_of(op)[0] if isinstance(op, TensorOp) else ""


def _with_aliases(value: SSAValue, kinds: Sequence[str]) -> Iterator[SSAValue]:
    yield value
    for use in value.uses:
        if is_alias(use.operation, kinds):
            yield from _with_aliases(use.operation.results[0], kinds)


def _part(value: SSAValue, part: LocalPart, local: LocalMemory) -> Iterator[Region]:
    """Yield the region of a part in local memory, in the dimensions of the tensor; none where they do not say it."""
    shape, axes = shape_of(value), axes_of(shape_of(value), part.whole)
    if axes is None:
        return
    origin, sizes, strides = [0] * len(shape), list(shape), [0] * len(shape)
    for dims, (start, stop), whole, stride in zip(axes, part.region.spans, part.whole, part.place.strides, strict=True):
        if (start, stop) != (0, whole) and stop - start != 1 and len(dims) > 1:
            return
        for dim in reversed(dims):
            strides[dim] = stride
            stride *= shape[dim]
            if (start, stop) != (0, whole):
                origin[dim] = start % shape[dim] if len(dims) > 1 else start
                sizes[dim] = 1 if len(dims) > 1 else stop - start
                start //= shape[dim]
    low, high = span(part.place, local.lanes)
    yield Region(
        value_name(value), LOCAL, low, high - low, part.made, part.made, part.last, tuple(origin), tuple(sizes),
        tuple(strides), lanes_layout(axes[1][0]),
    )  # fmt: skip


def axes_of(shape: Sequence[int], whole: Four) -> tuple[list[int], ...] | None:
    """Return which dimensions of a tensor are its n, c, h and w, None where they are not; c is one dimension."""
    found: list[list[int]] = [[], [], [], []]
    left = list(range(len(shape)))
    for axis in (3, 2):
        while left and math.prod(shape[dim] for dim in found[axis]) < whole[axis]:
            found[axis].insert(0, left.pop())
    while left and len(left) > 1 and shape[left[-1]] == 1 < whole[1]:
        found[2].insert(0, left.pop())
    if not left:
        return None
    found[1], found[0] = [left.pop()], left
    sizes = tuple(math.prod(shape[dim] for dim in dims) for dims in found)
    return tuple(found) if sizes == whole else None
