"""What runs when: the cycles of every command, with what it waits for and what it contends for."""

from collections.abc import Mapping, Sequence
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


def timeline(program: Program, chip: Chip, host: Sequence[int] = ()) -> list[Event]:
    """Return what runs when, in the order of starting: each engine on its own, and waiting where it must.

    Of a compute command and a transfer that touch a bank at the same time, the later one is delayed by the cycles for
    which the transfer holds the bank (a vector of each lane a cycle). All DMA engines share `dma_bytes_per_cycle`: the
    bytes of a transfer follow those of one that started earlier. `host` says for each part how many cycles the
    host works in it, after all before has ended and before anything later starts (none: not at all).
    """
    clock = _Clock(program, chip, host)
    for engine, index in order(program.commands, program.parts, clock.earliest):
        clock.run(engine, index)
    return [event for _, event in sorted(clock.events, key=lambda pair: (pair[1].start, pair[0]))]


def part_starts(program: Program, events: Sequence[Event], host: Sequence[int] = ()) -> list[int]:
    """Return when each part of a program may start: the one before has ended, with the host's work in it."""
    ends = {(event.engine, event.index): event.end for event in events}
    starts = [0]
    for number, part in enumerate(program.parts):
        ended = (ends[engine, count - 1] for engine, count in part.items() if count)
        starts.append(max(starts[-1], *ended, 0) + _at(host, number))
    return starts


def _at(host: Sequence[int], number: int) -> int:
    return host[number] if number < len(host) else 0


class _Clock:
    """Events up to now, and when the next command of an engine may start."""

    def __init__(self, program: Program, chip: Chip, host: Sequence[int]) -> None:
        self.events: list[tuple[int, Event]] = []
        self._program, self._chip, self._host, self._memory = program, chip, host, local_memory(chip)
        self._by_engine: dict[str, list[Event]] = {engine: [] for engine in program.commands}
        self._meetings = {(e, count): number for number, part in enumerate(program.parts) for e, count in part.items()}
        self._met: list[int] = []

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
        ended = self._ends({other: wait[other] for other in self._by_engine})
        met = self._end_of_part(self._meetings.get((engine, len(done)), -1))
        return max([met, *ended, *(event.end for event in done[-1:])])

    def _ends(self, counts: Mapping[str, int]) -> list[int]:
        """Return when so many commands of each engine have ended."""
        return [self._by_engine[engine][count - 1].end for engine, count in counts.items() if count]

    def _end_of_part(self, number: int) -> int:
        """Return when a part has ended, all of whose commands have run; 0 for what is before the first."""
        while len(self._met) <= number:
            at = len(self._met)
            ended = max([*self._met[-1:], *self._ends(self._program.parts[at])], default=0)
            self._met.append(ended + _at(self._host, at))
        return self._met[number] if number >= 0 else 0


def _delayed(
    price: Cost, command: Command, start: int, running: Sequence[Event], memory: LocalMemory, chip: Chip
) -> Cost:
    """Return the cost of a command that starts beside others."""
    parts = dict(price.parts)
    if stall := sum(_stall(event, command, start, memory, chip) for event in running):
        parts["bank_conflict"] = parts.get("bank_conflict", 0) + stall
    if queue := max((_queue(event, command, price, start) for event in running), default=0):
        parts["bus"] = queue
    return Cost(parts, price.bytes, price.macs)


def _queue(event: Event, command: Command, price: Cost, start: int) -> int:
    """Return for how long a transfer waits until one of another DMA engine has moved its bytes."""
    if COMPUTE in (event.engine, command.engine) or not (_is_remote(event.command) and _is_remote(command)):
        return 0
    moved = event.end - event.cost.parts.get("bank_conflict", 0)
    return max(0, moved - (start + price.cycles - price.parts["transfer"]))


def _is_remote(command: Command) -> bool:
    return any(tensor.space == "global" for tensor in command.tensors().values())


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
