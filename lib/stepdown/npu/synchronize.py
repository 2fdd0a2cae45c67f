"""Which commands a command must wait for: those of other engines that touched the same local memory before it."""

from dataclasses import dataclass, replace

from stepdown.npu.cost import span
from stepdown.npu.isa import ENGINES, Command, Tensor


@dataclass
class _Use:
    """A span of local memory, and how many commands of each engine to wait for before reading or writing it."""

    low: int
    high: int
    read: list[int]
    written: list[int]


class Synchronizer:
    """Appends commands to the streams of the engines and gives each the waits that it needs.

    Spans are taken whole: tensors that interleave in local memory wait for each other though they need not.
    Global memory is the DMA engine's alone, which runs in order.
    """

    def __init__(self, lanes: int) -> None:
        self.streams: dict[str, list[Command]] = {engine: [] for engine in ENGINES[:2]}
        self._lanes = lanes
        self._uses: list[_Use] = []

    def append(self, command: Command) -> None:
        """Append a command to the stream of its engine, after all that it depends on."""
        at = ENGINES.index(command.engine)
        wait = [0] * len(ENGINES)
        accesses = [(t, False) for t in command.reads().values()] + [(t, True) for t in command.writes().values()]
        local = [(tensor, writes) for tensor, writes in accesses if tensor.space == "local"]
        for tensor, writes in local:
            for use in self._touching(tensor):
                counts = [max(r, w) for r, w in zip(use.read, use.written, strict=True)] if writes else use.written
                wait = [max(have, more) for have, more in zip(wait, counts, strict=True)]
        wait[at] = 0
        stream = self.streams[command.engine]
        known = stream[-1].wait if stream else (0, 0, 0)
        stream.append(replace(command, wait=(max(wait[0], known[0]), max(wait[1], known[1]), max(wait[2], known[2]))))
        for tensor, writes in local:
            self._note(tensor, writes, at, len(stream))

    def _touching(self, tensor: Tensor) -> list[_Use]:
        low, high = span(tensor, self._lanes)
        return [use for use in self._uses if use.low < high and low < use.high]

    def _note(self, tensor: Tensor, writes: bool, engine: int, count: int) -> None:
        """Remember an access; a write makes all that it covers history, for whoever waits for it waits for that too."""
        low, high = span(tensor, self._lanes)
        if writes:
            self._uses = [use for use in self._uses if not (low <= use.low and use.high <= high)]
        same = next((use for use in self._uses if (use.low, use.high) == (low, high)), None)
        if same is None:
            same = _Use(low, high, [0] * len(ENGINES), [0] * len(ENGINES))
            self._uses.append(same)
        (same.written if writes else same.read)[engine] = count
