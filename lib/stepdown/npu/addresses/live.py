"""Live ranges of the values that lie in global memory.

A step is an op; the ops of a layer group, or of a subnet of the host, are one step together: all that it reads and
makes is in use at once. A Reshape of the engines takes no step, and its result lies where its operand lies. An input
of the network is in use from the first step and may make room after its last use; an output is in use to the last one.
"""

from dataclasses import dataclass, field

from xdsl.ir import SSAValue

from stepdown.dialects.op import TensorOp, value_name
from stepdown.dialects.program import Program
from stepdown.dialects.types import shape_of, storage_of
from stepdown.errors import InputError
from stepdown.model.arrays import stored_bytes
from stepdown.npu.addresses.interval import Interval
from stepdown.npu.groups.layers import is_alias
from stepdown.npu.moves import is_move
from stepdown.npu.subnets import is_constant, on_host, subnet_kinds


@dataclass(eq=False)
class Tenant:
    """Values that share a place: one and its reshapes. `maker` makes it, `readers` read it, in `steps` it is in use."""

    maker: TensorOp
    values: list[SSAValue]
    readers: list[TensorOp] = field(default_factory=list)
    steps: list[int] = field(default_factory=list)
    is_output: bool = False

    @property
    def interval(self) -> Interval:
        """The bytes that it takes, and from which step to which."""
        value = self.values[0]
        return Interval(stored_bytes(shape_of(value), storage_of(value)), min(self.steps), max(self.steps))

    @property
    def names(self) -> str:
        """The names of its tensors."""
        return ", ".join(value_name(value) for value in self.values)


def tenants(program: Program) -> list[Tenant]:
    """Return what lies in global memory, in the order of the ops.

    Raises:
        InputError: the ops of a layer group or of a subnet do not follow each other.
    """
    kinds = subnet_kinds(program)
    steps = steps_of(program)
    known: dict[SSAValue, Tenant] = {}
    for op in program.ops:
        alias = is_alias(op, kinds) and not is_constant(op.operands[0])
        for value in dict.fromkeys(op.operands):
            if value in known and not alias:
                known[value].readers.append(op)
        for value in op.results:
            if alias:
                known[value] = known[op.operands[0]]
                known[value].values.append(value)
            elif not is_constant(value):
                known[value] = Tenant(op, [value])
    for value in program.results:
        if value in known:
            known[value].is_output = True
    found = [each for each in dict.fromkeys(known.values()) if lies_in_global(each, kinds)]
    for each in found:
        each.steps = _steps_in_use(each, steps)
    return found


def steps_of(program: Program) -> dict[TensorOp, int]:
    """Return the step of every op that runs.

    Raises:
        InputError: the ops of a layer group or of a subnet do not follow each other.
    """
    kinds = subnet_kinds(program)
    steps: dict[TensorOp, int] = {}
    numbers: dict[object, int] = {}
    for op in program.ops:
        if op.name.endswith((".Input", ".Weight", ".None")) or is_alias(op, kinds):
            continue
        key = _key(op, kinds)
        if key in numbers and numbers[key] != len(numbers) - 1:
            what = f"ops of {key[0]} {key[1]} do not follow each other: '{op.tensor_name}' comes after others"
            raise InputError(what, program.path)
        steps[op] = numbers.setdefault(key, len(numbers))
    return steps


def _key(op: TensorOp, kinds: list[str]) -> tuple[str, object]:
    """Return what an op shares with those of its step."""
    group = group_of(op)
    if on_host(op, kinds):
        return "subnet", op.note("subnet")
    return ("layer group", group) if group is not None else ("op", op)


def group_of(op: TensorOp) -> int | None:
    """Return the layer group of an op; one that moves values from global to global memory has none."""
    group: int | None = op.note("layer_group")
    return None if is_move(op) else group


def lies_in_global(tenant: Tenant, kinds: list[str]) -> bool:
    """Tell whether values lie in global memory.

    Those of the network's inputs and of the host do where the engines read them. Those of the engines do unless they
    are made and read in one layer group alone.
    """
    maker = tenant.maker
    if maker.name.endswith(".Input") or on_host(maker, kinds):
        return len(tenant.values) > 1 or any(not on_host(op, kinds) for op in tenant.readers)
    group = group_of(maker)
    within = group is not None and all(group_of(op) == group for op in tenant.readers)
    return tenant.is_output or not tenant.readers or not within


def _steps_in_use(tenant: Tenant, steps: dict[TensorOp, int]) -> list[int]:
    last = max(steps.values(), default=0)
    used = [steps.get(tenant.maker, 0), *(steps[op] for op in tenant.readers if op in steps)]
    return [*used, last] if tenant.is_output else used
