"""What runs when: the cycles of every command, with what it waits for and what it contends for."""

from collections.abc import Sequence
from dataclasses import dataclass

from stepdown.chips import Chip
from stepdown.npu.cost import Cost, LocalMemory, cost, local_memory, span
from stepdown.npu.isa import COMPUTE, ENGINES, Command
from stepdown.sim.order import order
from stepdown.sim.program import Program


@dataclass(frozen=True)
class Event:
    """One command on the time line: it ran from `start` to `end`, in cycles since the program began."""

    engine: str
    index: int
    command: Command
    cost: Cost
    start: int

    @property
    def end(self) -> int:
        """The cycle in which it has ended."""
        return self.start + self.cost.cycles


def timeline(program: Program, chip: Chip) -> list[Event]:
    """Return what runs when, in the order of starting: each engine on its own, and waiting where it must.

    Of a compute command and a transfer that touch a bank at the same time, the later one is delayed by the cycles for
    which the transfer holds the bank (a vector of each lane a cycle).
    """
    clock = _Clock(program, chip)
    for engine, index in order(program.commands, program.parts, clock.earliest):
        clock.run(engine, index)
    return [event for _, event in sorted(clock.events, key=lambda pair: (pair[1].start, pair[0]))]


class _Clock:
    """Events up to now, and when the next command of an engine may start."""

    def __init__(self, program: Program, chip: Chip) -> None:
        self.events: list[tuple[int, Event]] = []
        self._program, self._chip, self._memory = program, chip, local_memory(chip)
        self._by_engine: dict[str, list[Event]] = {engine: [] for engine in program.commands}
        self._meetings = {(engine, part[engine]): part for part in program.parts for engine in part}

    def earliest(self, ready: list[str]) -> str:
        """Return the engine whose next command starts first."""
        return min(ready, key=self._start)

    def run(self, engine: str, index: int) -> None:
        """Put a command on the time line."""
        command, start = self._program.commands[engine][index], self._start(engine)
        running = [events[-1] for other, events in self._by_engine.items() if other != engine and events]
        price = _delayed(cost(command, self._chip), command, start, running, self._memory, self._chip)
        event = Event(engine, index, command, price, start)
        self._by_engine[engine].append(event)
        self.events.append((ENGINES.index(engine), event))

    def _start(self, engine: str) -> int:
        """Return when the next command of an engine may start: after its predecessor, and after all it waits for."""
        done = self._by_engine[engine]
        wait = dict(zip(ENGINES, self._program.commands[engine][len(done)].wait, strict=True))
        met = self._meetings.get((engine, len(done)), {})
        after = {other: max(wait.get(other, 0), met.get(other, 0)) for other in self._by_engine}
        ended = [self._by_engine[other][count - 1].end for other, count in after.items() if count]
        return max([*ended, *(event.end for event in done[-1:])], default=0)


def _delayed(
    price: Cost, command: Command, start: int, running: Sequence[Event], memory: LocalMemory, chip: Chip
) -> Cost:
    """Return the cost of a command that starts beside others."""
    stall = sum(_stall(event, command, start, memory, chip) for event in running)
    if not stall:
        return price
    parts = {**price.parts, "bank_conflict": price.parts.get("bank_conflict", 0) + stall}
    return Cost(parts, price.bytes, price.macs)


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
