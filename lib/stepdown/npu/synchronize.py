"""Which commands a command must wait for: those of other engines that touched the same memory before it."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace

from stepdown.npu.cost import span
from stepdown.npu.isa import ENGINES, Command

Counts = tuple[int, ...]
"""By engine, in the order of ENGINES, how many of its commands."""
_NONE: Counts = (0,) * len(ENGINES)


@dataclass
class _Stretch:
    """Bytes of a memory that were used alike, and how many commands to wait for before reading or writing them."""

    high: int
    read: Counts
    written: Counts


class _Spans:
    """The use of one memory: stretches that do not overlap, by their first byte."""

    def __init__(self) -> None:
        self._lows: list[int] = []
        self._stretches: list[_Stretch] = []

    def use(self, low: int, high: int, writes: bool, engine: int, count: int) -> None:
        """Remember an access; a write makes all that it covers history: who waits for it waits for that too."""
        if writes:
            written = _with(_NONE, engine, count)
            self._replace(low, high, [(low, _Stretch(high, _NONE, written))])
            return
        pieces, at = [], low
        for start, stretch in self._within(low, high):
            if at < start:
                pieces.append((at, _Stretch(start, _with(_NONE, engine, count), _NONE)))
            pieces.append((start, _Stretch(stretch.high, _with(stretch.read, engine, count), stretch.written)))
            at = stretch.high
        if at < high:
            pieces.append((at, _Stretch(high, _with(_NONE, engine, count), _NONE)))
        self._replace(low, high, pieces)

    def before(self, low: int, high: int, writes: bool) -> Counts:
        """Return what an access must wait for."""
        found = _NONE
        for _, stretch in self._within(low, high):
            found = _most(found, stretch.written)
            if writes:
                found = _most(found, stretch.read)
        return found

    def _within(self, low: int, high: int) -> list[tuple[int, _Stretch]]:
        """Return the parts of stretches between two addresses."""
        first, last = self._covered(low, high)
        return [
            (max(low, start), replace(stretch, high=min(high, stretch.high)))
            for start, stretch in zip(self._lows[first:last], self._stretches[first:last], strict=True)
        ]

    def _covered(self, low: int, high: int) -> tuple[int, int]:
        first = bisect_right(self._lows, low)
        if first and self._stretches[first - 1].high > low:
            first -= 1
        return first, max(first, bisect_right(self._lows, high - 1))

    def _replace(self, low: int, high: int, pieces: Sequence[tuple[int, _Stretch]]) -> None:
        first, last = self._covered(low, high)
        kept: list[tuple[int, _Stretch]] = list(pieces)
        if first < last:
            start, end = self._lows[first], self._stretches[last - 1]
            if start < low:
                kept.insert(0, (start, replace(self._stretches[first], high=low)))
            if end.high > high:
                kept.append((high, end))
        self._lows[first:last] = [start for start, _ in kept]
        self._stretches[first:last] = [stretch for _, stretch in kept]


class Synchronizer:
    """Appends commands to the streams of the engines and gives each the waits that it needs.

    Spans are taken whole: tensors that interleave in memory wait for each other though they need not. A command waits
    only for what it does not know to have ended: from those before it in its stream, and from what these waited for.
    Global memory counts where two DMA engines share it.
    """

    def __init__(self, lanes: int, engines: Sequence[str] = ENGINES[:2]) -> None:
        self.streams: dict[str, list[Command]] = {engine: [] for engine in engines}
        self._lanes = lanes
        self._spans = {
            space: _Spans() for space in (("local", "global") if len(engines) > len(ENGINES[:2]) else ("local",))
        }
        self._known: dict[str, list[Counts]] = {engine: [] for engine in engines}

    def append(self, command: Command, engine: str = "") -> tuple[str, int]:
        """Append a command to a stream (that of its engine), after all that it depends on; returns where it is."""
        name = engine or command.engine
        at, stream, known = ENGINES.index(name), self.streams[name], self._known[name]
        accesses = [
            (tensor.space, *span(tensor, self._lanes), writes)
            for writes, tensors in ((False, command.reads()), (True, command.writes()))
            for tensor in tensors.values()
            if tensor.space in self._spans
        ]
        wanted = _NONE
        for space, low, high, writes in accesses:
            wanted = _most(wanted, self._spans[space].before(low, high, writes))
        have = known[-1] if known else _NONE
        news = tuple(0 if engine == at or count <= have[engine] else count for engine, count in enumerate(wanted))
        wait = self._needed(news)
        stream.append(replace(command, wait=(wait[0], wait[1], wait[2])))
        known.append(self._learnt(have, wait))
        for space, low, high, writes in accesses:
            self._spans[space].use(low, high, writes, at, len(stream))
        return name, len(stream) - 1

    def _needed(self, wait: Counts) -> Counts:
        """Return the counts of a wait that do not follow from the others."""
        told = [self._known[name][count - 1] for name, count in zip(ENGINES, wait, strict=True) if count]
        return tuple(0 if any(each[engine] >= count for each in told) else count for engine, count in enumerate(wait))

    def _learnt(self, have: Counts, wait: Counts) -> Counts:
        """Return how many commands of each engine have ended when one starts that has waited."""
        for engine, count in zip(ENGINES, wait, strict=True):
            if count:
                have = _most(have, self._known[engine][count - 1])
        return _most(have, wait)


def _most(a: Counts, b: Counts) -> Counts:
    return tuple(map(max, a, b))


def _with(counts: Counts, engine: int, count: int) -> Counts:
    return (*counts[:engine], count, *counts[engine + 1 :])
