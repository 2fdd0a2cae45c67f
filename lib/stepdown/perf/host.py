"""What the processor beside the engine takes for an op: an estimate from its operations and elements."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from xdsl.ir import SSAValue

from stepdown.chips import Chip
from stepdown.dialects.op import TensorOp, value_name
from stepdown.dialects.program import Program, Weights
from stepdown.dialects.text import parse_module
from stepdown.dialects.types import is_none, shape_of, storage_of
from stepdown.model import ModelFile, Subnet
from stepdown.model.schema import HOST

HOST_WORK = "host_work"
_SOURCES = (".Input", ".Weight", ".None")


@dataclass(frozen=True)
class HostOp:
    """An op of a host subnet: `cycles` are those of the engines' clock."""

    name: str
    op: str
    cycles: int
    macs: int
    reads: Mapping[str, str]
    writes: Mapping[str, str]


def host_ops(model: ModelFile, subnet: Subnet, chip: Chip) -> list[HostOp]:
    """Return the ops that the host runs for a subnet, in order; none where the engines run it.

    An op takes two operations for each multiply-accumulate, and one for each element that it reads or makes, whichever
    is more of inputs and results: an assumption, as the rate `host_operations_per_cycle` is.
    """
    if subnet.kind != HOST:
        return []
    module = parse_module(model.text(subnet.text), f"{model.path}, section '{subnet.text}'")
    ops = Program(module, Weights()).ops
    return [_host_op(op, chip) for op in ops if not op.name.endswith(_SOURCES)]


def _host_op(op: TensorOp, chip: Chip) -> HostOp:
    reads = [value for value in op.operands if not is_none(value)]
    elements = max(sum(math.prod(shape_of(v)) for v in values) for values in (reads, op.results))
    operations = 2 * op.cost() + elements
    cycles = -(-operations // chip.host_operations_per_cycle)
    writes = {value_name(value): _text(value) for value in op.results}
    named = {value_name(value): _text(value) for value in reads}
    return HostOp(op.tensor_name, op.name.split(".")[-1], cycles, op.cost(), named, writes)


def _text(value: SSAValue) -> str:
    return f"{storage_of(value)}{list(shape_of(value))}"
