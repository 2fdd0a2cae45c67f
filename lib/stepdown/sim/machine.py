"""The machine: executes a program on its memories, and says what took how long."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from stepdown.chips import Chip
from stepdown.errors import InputError
from stepdown.npu.cost import Cost, LocalMemory, cost, local_memory, span
from stepdown.npu.isa import (
    COMPUTE,
    ENGINES,
    Command,
    Conv,
    Convert,
    Depthwise,
    Eltwise,
    Fill,
    Gather,
    Move,
    Pool,
    Rescale,
    Table,
)
from stepdown.npu.isa.code import place
from stepdown.sim import multiply, transfer, vectors
from stepdown.sim.memory import Memory
from stepdown.sim.order import Choice, first, order
from stepdown.sim.program import Program

_EXECUTE: Mapping[type[Command], Callable[[Memory, Any], None]] = {
    Conv: multiply.multiply,
    Depthwise: multiply.multiply,
    Pool: vectors.pool,
    Eltwise: vectors.eltwise,
    Rescale: vectors.rescale,
    Convert: vectors.convert,
    Table: vectors.table,
    Move: transfer.move,
    Fill: transfer.fill,
    Gather: transfer.gather,
}


@dataclass(frozen=True)
class Event:
    """One command on the time line: it ran from `start` to `end`, in cycles since the program began."""

    engine: str
    index: int
    command: Command
    cost: Cost
    start: int
    end: int


class Machine:
    """A chip with its memories; `poison` is a seed that fills them with noise, so that nothing is 0 by chance."""

    def __init__(self, chip: Chip, global_bytes: int, *, poison: int | None = None) -> None:
        self.chip = chip
        self.memory = Memory(local_memory(chip), global_bytes, poison)

    def run(self, program: Program, *, shuffle: int | None = None) -> None:
        """Execute a program: each engine as far as its waits allow, or with a seed in a random order that they allow.

        Raises:
            InputError: a command met a value that it cannot work with; names it.
        """
        for engine, index in order(program.commands, _choice(shuffle)):
            self.execute(program.commands[engine][index], index, engine)

    def execute(self, command: Command, index: int = 0, engine: str = "") -> None:
        """Execute one command.

        Raises:
            InputError: it met a value that it cannot work with; names it.
        """
        try:
            with np.errstate(all="ignore"):
                _EXECUTE[type(command)](self.memory, command)
        except InputError as error:
            raise InputError(error.what, place(command, index, engine)) from None


def timeline(program: Program, chip: Chip) -> list[Event]:
    """Return what runs when, in the order of starting: each engine on its own, and waiting where it must.

    A compute command and a transfer that touch a bank at the same time delay the later one by the cycles that the
    transfer holds the bank (a vector of each lane a cycle).
    """
    memory = local_memory(chip)
    ends: dict[str, list[int]] = {engine: [] for engine in ENGINES}
    running: dict[str, Event] = {}
    events: list[Event] = []
    for engine, index in order(program.commands):
        command = program.commands[engine][index]
        waited = [ends[other][count - 1] for other, count in zip(ENGINES, command.wait, strict=True) if count]
        start = max([*waited, *ends[engine][-1:]], default=0)
        price = cost(command, chip)
        stall = sum(_stall(event, command, start, memory, chip) for name, event in running.items() if name != engine)
        if stall:
            price = Cost(
                {**price.parts, "bank_conflict": price.parts.get("bank_conflict", 0) + stall}, price.bytes, price.macs
            )
        events.append(Event(engine, index, command, price, start, start + price.cycles))
        ends[engine].append(start + price.cycles)
        running[engine] = events[-1]
    return sorted(events, key=lambda event: (event.start, ENGINES.index(event.engine)))


def _stall(event: Event, command: Command, start: int, memory: LocalMemory, chip: Chip) -> int:
    """Return by how many cycles a running command of another engine delays one that starts."""
    if event.end <= start or (event.engine == COMPUTE) == (command.engine == COMPUTE):
        return 0
    if not _banks(event.command, memory) & _banks(command, memory):
        return 0
    transfer = event.command if command.engine == COMPUTE else command
    moved = max(tensor.elements * tensor.element_bytes for tensor in transfer.writes().values())
    return min(-(-moved // (memory.lanes * max(1, chip.vector_bytes))), event.end - start)


def _banks(command: Command, memory: LocalMemory) -> set[int]:
    tensors = (*command.reads().values(), *command.writes().values())
    local = (tensor for tensor in tensors if tensor.space == "local")
    return {bank for tensor in local for bank in memory.banks(*span(tensor, memory.lanes))}


def _choice(seed: int | None) -> Choice:
    if seed is None:
        return first
    random = np.random.default_rng(seed)
    return lambda ready: ready[random.integers(len(ready))]
