"""What an op costs in a mode, until a chip says how many cycles it takes: one place, so that it can be exchanged.

The unit is one INT8 multiply-accumulate. Ratios of modes are those of the peak rates that are published for an NPU of
the BM1684X class: 32 TOPS in INT8, 16 TFLOPS in 16-bit floats, 2 TFLOPS in F32 (assumption: they hold for others too).
A byte moved costs as much as `MACS_PER_BYTE` (assumption: half of the traffic stays in local memory).
"""

from dataclasses import dataclass
from math import prod

from stepdown.dialects.op import TensorOp
from stepdown.dialects.types import is_none, is_real, shape_of

MAC_COST = {"INT8": 1.0, "F16": 2.0, "BF16": 2.0, "F32": 16.0}
BYTES = {"INT8": 1, "F16": 2, "BF16": 2, "F32": 4}
MACS_PER_BYTE = 32.0


@dataclass(frozen=True)
class Work:
    """What an op does, whatever its mode: multiply-accumulates, and elements read and written."""

    macs: int
    elements: int


def work_of(op: TensorOp) -> Work:
    """Return the work of a TOP op; weights are read once."""
    values = [v for v in (*op.operands, *op.results) if not is_none(v) and is_real(v)]
    return Work(op.cost(), sum(prod(shape_of(v)) for v in values))


def op_cost(work: Work, mode: str) -> float:
    """Return what an op costs in a mode."""
    return work.macs * MAC_COST[mode] + work.elements * BYTES[mode] * MACS_PER_BYTE


def cast_cost(elements: int, source: str, target: str) -> float:
    """Return what it costs to bring a tensor from the type of one mode to that of another."""
    return elements * (BYTES[source] + BYTES[target]) * MACS_PER_BYTE if source != target else 0.0
