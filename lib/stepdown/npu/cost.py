"""What commands cost: cycles from the figures of a chip, and where they go.

The formulas are told in docs/design.md, with their sources; they know nothing of values.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from stepdown.chips import Chip
from stepdown.npu.isa import COMPUTE, Command, Convert, Depthwise, Eltwise, Multiply, Pool, Rescale, Table, Tensor

TABLE_ENTRIES_PER_CYCLE = 16
"""Assumption: entries of a table that a lane looks up in a cycle."""
_MODES = {"i8": "INT8", "u8": "INT8", "f16": "F16", "bf16": "BF16", "f32": "F32"}


@dataclass(frozen=True)
class LocalMemory:
    """The memory beside the engine, as lanes: channel c of a tensor lies in lane c mod lanes."""

    lanes: int
    lane_bytes: int
    bank_bytes: int

    def banks(self, low: int, high: int) -> range:
        """Return the banks that hold the bytes low … high − 1 of a lane."""
        return range(low // self.bank_bytes, -(-high // self.bank_bytes))


@dataclass(frozen=True)
class Cost:
    """What one command takes: cycles, split by what they are spent on; bytes moved; multiply-accumulates done."""

    parts: Mapping[str, int]
    bytes: int = 0
    macs: int = 0

    @property
    def cycles(self) -> int:
        """The cycles from start to end."""
        return sum(self.parts.values())


def local_memory(chip: Chip) -> LocalMemory:
    """Return the local memory of a chip.

    A systolic array has a lane a column: its share of the scratchpad, and behind that its share of the accumulators.
    """
    if chip.lanes:
        return LocalMemory(chip.lanes, chip.local_bytes, chip.bank_bytes)
    lanes = chip.array_columns
    return LocalMemory(lanes, (chip.scratchpad_bytes + chip.accumulator_bytes) // lanes, chip.bank_bytes // lanes)


def span(tensor: Tensor, lanes: int) -> tuple[int, int]:
    """Return the first byte that a tensor touches and the one behind the last: of its lanes, or of global memory."""
    n, c, h, w = tensor.shape
    channels = -(-(tensor.lane + c) // lanes) if tensor.space == "local" else c
    reach = [s * (size - 1) for s, size in zip(tensor.strides, (n, channels, h, w), strict=True)]
    low = tensor.address + sum(min(r, 0) for r in reach)
    return low, tensor.address + sum(max(r, 0) for r in reach) + tensor.element_bytes


def cost(command: Command, chip: Chip) -> Cost:
    """Return what a command costs when it runs alone."""
    waits = {"synchronize": chip.synchronize_cycles} if any(command.wait) else {}
    if command.engine != COMPUTE:
        return _transfer(command, chip, waits)
    memory = local_memory(chip)
    started = waits | {"start": chip.compute_overhead_cycles}
    if isinstance(command, Multiply):
        work = _systolic(command, chip) if chip.array_rows else _lanes(command, chip, memory)
        return Cost(started | work, macs=command.output.elements * math.prod(command.weights.shape[2:]))
    return Cost(started | {type(command).__name__.lower(): _vector(command, chip, memory)})


def peak_macs(command: Command, chip: Chip) -> int:
    """Return the most multiply-accumulates of a cycle in the type of a command's input; 0 where it does none."""
    if not isinstance(command, Multiply):
        return 0
    return chip.macs_per_cycle.get(_MODES[command.input.type], 0)


def conflicts(command: Command, memory: LocalMemory, ports: int) -> int:
    """Return how many accesses at most meet in one bank, in units of what its ports serve in a cycle; at least 1."""
    counts: dict[int, int] = {}
    for tensor in (*command.reads().values(), *command.writes().values()):
        if tensor.space == "local":
            for bank in memory.banks(*span(tensor, memory.lanes)):
                counts[bank] = counts.get(bank, 0) + 1
    return max(1, -(-max(counts.values(), default=1) // max(1, ports)))


def _rows(tensor: Tensor, lanes: int) -> int:
    """Return the planes [h, w] that the busiest lane holds."""
    return tensor.shape[0] * -(-(tensor.lane % lanes + tensor.shape[1]) // lanes)


def _lanes(command: Multiply, chip: Chip, memory: LocalMemory) -> dict[str, int]:
    """Every lane makes its output channels: some positions at a time, a vector of input channels at a time."""
    size = command.input.element_bytes
    vector = chip.vector_bytes // size
    planes, positions = _rows(command.output, memory.lanes), math.prod(command.output.shape[2:])
    taps = math.prod(command.kernel)
    if isinstance(command, Depthwise):
        return _sustained(planes * -(-positions // vector) * taps, chip)
    rate = max(1, chip.macs_per_cycle[_MODES[command.input.type]] // chip.lanes)
    at_once = max(1, rate // vector)
    steps = _steps(command.weights.shape[2], taps, min(vector, rate), chip.packs_kernel)
    written = planes * -(-positions * command.output.element_bytes // chip.vector_bytes)
    shared = conflicts(command, memory, chip.bank_ports) - 1
    work = _sustained(planes * -(-positions // at_once) * steps, chip)
    return {**work, "bank_conflict": shared * written}


def _steps(channels: int, taps: int, vector: int, packs: bool) -> int:
    """Return the vectors that a sum is made of: of channels at one element of the kernel, or at some where few fit."""
    packed = vector // channels if packs and channels < vector else 1
    return -(-channels // vector) * -(-taps // packed)


def _sustained(cycles: int, chip: Chip) -> dict[str, int]:
    """Split what a convolution takes: at the peak, and what it stalls because the peak is not kept up."""
    return {"matmul": cycles, "stall": -(-cycles * 100 // chip.sustained_percent) - cycles}


def _systolic(command: Multiply, chip: Chip) -> dict[str, int]:
    """Weights stay in the array: a pass for each tile of rows × columns, one position a cycle, then fill and drain."""
    positions = command.output.shape[0] * math.prod(command.output.shape[2:])
    depth, columns = math.prod(command.weights.shape[2:]), command.output.shape[1]
    groups = command.input.shape[1] // command.weights.shape[2]
    tiles = groups * -(-depth // chip.array_rows) * -(-columns // groups // chip.array_columns)
    patches = positions * depth * groups if math.prod(command.kernel) > 1 else 0
    return {
        "im2col": -(-patches // chip.array_rows),
        "bias": -(-positions * columns // chip.array_columns) if command.record != "none" else 0,
        "matmul": tiles * (positions + chip.array_rows + chip.array_columns),
        "requantize": -(-positions * columns // chip.requantized_per_cycle),
    }


def _vector(command: Command, chip: Chip, memory: LocalMemory) -> int:
    """Vectors go through the lanes, one a cycle and pass; operands in one bank wait for each other."""
    output = command.writes()[command.result]
    size = max(tensor.element_bytes for tensor in (*command.reads().values(), output))
    width = (chip.vector_bytes or chip.array_columns) // size or 1
    if isinstance(command, Table):
        width = min(width, TABLE_ENTRIES_PER_CYCLE)
    vectors = _rows(output, memory.lanes) * -(-math.prod(output.shape[2:]) // width)
    return vectors * _passes(command) * conflicts(command, memory, chip.bank_ports)


def _passes(command: Command) -> int:
    """Return how often every vector goes through the lane: once, and once for each rescale; a window, per element."""
    if isinstance(command, Pool):
        return math.prod(command.kernel) + (command.counts > 0)
    if isinstance(command, Eltwise):
        return 1 + sum(shift > 0 for shift in (*command.shifts, command.output_shift))
    return 2 if isinstance(command, Rescale | Convert) else 1


def _transfer(command: Command, chip: Chip, waits: dict[str, int]) -> Cost:
    """Bytes cross the bus in whole bursts; each side is read or written in runs without gaps."""
    tensors = (*command.reads().values(), *command.writes().values())
    remote = [tensor for tensor in tensors if tensor.space == "global"] or [command.writes()[command.result]]
    moved = max(tensor.elements * tensor.element_bytes for tensor in tensors)
    bursts = max(_bursts(tensor, chip.dma_burst_bytes) for tensor in remote)
    parts = waits | {
        "start": chip.dma_overhead_cycles,
        "latency": chip.dma_latency_cycles,
        "transfer": -(-bursts * chip.dma_burst_bytes // chip.dma_bytes_per_cycle),
    }
    return Cost(parts, bytes=moved)


def _bursts(tensor: Tensor, burst_bytes: int) -> int:
    """Return how many bursts a tensor takes, walked so that its smallest step comes last."""
    run, size = tensor.element_bytes, 1
    for stride, count in sorted(zip(map(abs, tensor.strides), tensor.shape, strict=True)):
        if count > 1 and stride == run:
            run, size = run * count, size * count
    return tensor.elements // size * -(-run // burst_bytes)
