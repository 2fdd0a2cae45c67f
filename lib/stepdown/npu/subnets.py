"""Subnets of a program: runs of ops that the engines or the host execute, as attributes of ops and module say.

Every op has the number of its subnet, `subnet`; the module has their kinds in order, `module.subnets`. Without these a
program is one subnet of commands.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from xdsl.dialects.builtin import ArrayAttr, StringAttr
from xdsl.ir import SSAValue

from stepdown.dialects.op import TensorOp
from stepdown.dialects.program import Program
from stepdown.dialects.text import describe
from stepdown.dialects.types import is_none
from stepdown.errors import InputError
from stepdown.model.schema import HOST, NPU

ATTRIBUTE = "module.subnets"


@dataclass(frozen=True, eq=False)
class Part:
    """A subnet of a program: its kind, and its ops in order (inputs and constants of the network left out)."""

    number: int
    kind: str
    ops: tuple[TensorOp, ...]

    @property
    def reads(self) -> list[SSAValue]:
        """What it reads from outside: inputs of the network, and what subnets before it made."""
        own = set(self.ops)
        read = dict.fromkeys(v for op in self.ops for v in op.operands)
        return [v for v in read if v.owner not in own and not is_constant(v)]

    def makes(self, program: Program) -> list[SSAValue]:
        """Return what it makes for others: for later subnets, or as an output of the network."""
        own, given = set(self.ops), set(program.results)
        made = (value for op in self.ops for value in op.results)
        return [v for v in made if v in given or any(use.operation not in own for use in v.uses)]


def subnet_kinds(program: Program) -> list[str]:
    """Return the kinds of the subnets; none where the program is not divided.

    Raises:
        InputError: the attribute is no list of kinds.
    """
    attribute = program.module.attributes.get(ATTRIBUTE)
    if attribute is None:
        return []
    items = attribute.data if isinstance(attribute, ArrayAttr) else ()
    kinds = [item.data if isinstance(item, StringAttr) else "" for item in items]
    if not kinds or not set(kinds) <= {NPU, HOST}:
        raise InputError(f"{ATTRIBUTE} is {attribute}, want a list of '{NPU}' and '{HOST}'", program.path)
    return kinds


def set_subnet_kinds(program: Program, kinds: Sequence[str]) -> None:
    """Write the kinds of the subnets."""
    program.module.attributes[ATTRIBUTE] = ArrayAttr([StringAttr(kind) for kind in kinds])


def parts_of(program: Program) -> list[Part]:
    """Return the subnets of a program in order.

    Raises:
        InputError: an op has no subnet or one that is not there, or they are mixed; names it.
    """
    kinds = subnet_kinds(program)
    ops: list[list[TensorOp]] = [[] for _ in kinds or [NPU]]
    for op, number in _numbered(program, len(ops)) if kinds else ((op, 0) for op in program.ops):
        if not is_source(op):
            ops[number].append(op)
    return [Part(at, kind, tuple(each)) for at, (kind, each) in enumerate(zip(kinds or [NPU], ops, strict=True))]


def _numbered(program: Program, count: int) -> Iterator[tuple[TensorOp, int]]:
    """Yield the ops with their numbers, which never fall; every op comes after what it reads."""
    last, made = 0, set[SSAValue](program.block.args)
    for op in program.ops:
        number = op.note("subnet")
        if number is None or not last <= number < count:
            fix = "divide it with --subnet-divide before other passes of the NPU"
            what = f"is of subnet {number} after one of {last}, and there are {count}"
            raise InputError(f"{describe(op)} {what}", program.path, fix)
        if any(value not in made for value in op.operands):
            raise InputError(f"{describe(op)} stands before an op that it reads", program.path)
        made.update(op.results)
        last = number
        yield op, number


def is_source(op: TensorOp) -> bool:
    """Tell whether an op computes nothing: an input of the network, a constant, or what stands for nothing."""
    return op.name.endswith((".Input", ".Weight", ".None"))


def is_constant(value: SSAValue) -> bool:
    """Tell whether a value is a weight or absent."""
    return is_none(value) or (isinstance(value.owner, TensorOp) and value.owner.name.endswith(".Weight"))


def on_host(op: TensorOp, kinds: Sequence[str]) -> bool:
    """Tell whether the host executes an op, by its number among the kinds of the program's subnets."""
    number = op.note("subnet") if kinds and not is_source(op) else None
    return number is not None and number < len(kinds) and kinds[number] == HOST


def read_by_engines(value: SSAValue, kinds: Sequence[str]) -> bool:
    """Tell whether an op reads a value that the host does not execute."""
    return any(isinstance(use.operation, TensorOp) and not on_host(use.operation, kinds) for use in value.uses)
