"""How long a group takes: its commands put on a time line of the engines, memory counted by the byte.

What it leaves out: banks, gaps between tensors in local memory, and what the groups before and after overlap with it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from stepdown.npu.groups.layers import Group, Load
from stepdown.npu.groups.layout import Held, Item, items, usable_bytes
from stepdown.npu.groups.prices import Prices
from stepdown.npu.groups.tiles import Parts, Shapes, first_shapes

SIMULATED = 8
"""Tiles on the time line; those behind them take as long as the last of these."""


def estimate(group: Group, parts: Parts, prices: Prices) -> float | None:
    """Return the cycles that a group takes alone, None where it does not fit local memory."""
    tiles = first_shapes(group, parts, prices.lanes, SIMULATED)
    held = list(items(group, tiles, parts, prices.chip)) if tiles else []
    starts = _starts(held, len(group.layers), usable_bytes(prices.chip)) if tiles else None
    if starts is None:
        return None
    line = _Line(group, tiles, starts, prices, parts.tiles > 1)
    ends = [line.tile(number) for number in range(len(tiles))]
    left, half = parts.tiles - len(ends), len(ends) // 2
    return line.end() + (left * (ends[-1] - ends[half]) / (len(ends) - 1 - half) if left else 0.0)


def _starts(held: Sequence[Item], layers: int, capacity: int) -> dict[Held, int] | None:
    """Return from which layer on there is room for what is brought, None where there is never enough."""
    used = np.zeros(layers, np.int64)
    for item in held:
        if item.stays or not item.brought:
            used[slice(None) if item.stays else slice(item.use, item.last + 1)] += item.bytes * item.copies
    if used.max() > capacity:
        return None
    starts: dict[Held, int] = {}
    least = 0
    for item in sorted((i for i in held if i.brought and not i.stays), key=lambda item: item.use):
        full = np.flatnonzero(used[least : item.last + 1] > capacity - item.bytes)
        least += int(full[-1]) + 1 if len(full) else 0
        if least > item.use:
            return None
        used[least : item.last + 1] += item.bytes
        starts[item.held] = least
    return starts


@dataclass
class _Line:
    """The engines of a chip, each with the cycle in which it is free; the order is that of `groups.emit`."""

    group: Group
    tiles: Sequence[Shapes]
    starts: dict[Held, int]
    prices: Prices
    several: bool
    compute: float = 0
    load: float = 0
    store: float = 0
    arrived: dict[Held, float] = field(default_factory=dict)
    made: dict[tuple[int, int], float] = field(default_factory=dict)
    stored: dict[tuple[int, int], float] = field(default_factory=dict)

    def tile(self, number: int) -> float:
        """Put a tile on the time line; return when it is computed."""
        due = sorted(self._due(number), key=lambda pair: pair[0])
        for layer in range(len(self.group.layers)):
            while due and (self.several or self.starts[due[0][1]] <= layer):
                self._bring(number, due.pop(0)[1])
            if self.several and not layer and number > 1:
                self._leave(number - 2)
            self._work(number, layer)
        if not self.several:
            self._leave(number)
        return self.compute

    def end(self) -> float:
        """Return when all is done: what is not stored yet is stored now."""
        for number in sorted({tile for tile, _ in self.made} - {tile for tile, _ in self.stored}):
            self._leave(number)
        return max(self.compute, self.load, self.store)

    def _due(self, number: int) -> list[tuple[int, Held]]:
        tile = self.tiles[number]
        found: list[tuple[int, Held]] = [(self.group.loads[load], load) for load in tile.loads]
        if not number or self.tiles[number - 1].part != tile.part:
            for layer, each in enumerate(self.group.layers):
                found += [(layer, (layer, name)) for name in each.constants]
        return found

    def _bring(self, number: int, held: Held) -> None:
        tile, free = self.tiles[number], 0.0
        if isinstance(held, Load):
            cycles = self.prices.loaded(held, tile.loads[held])
            free = self.made.get((number - 2, self.group.last_use[held]), 0.0)
        else:
            assert isinstance(held, tuple)
            cycles = self.prices.constant(self.group.layers[held[0]], held[1], tile.made[held[0]][1])
            free = self.made.get((number - 1, held[0]), 0.0)
        if held in self.starts:
            free = self.made.get((number, self.starts[held] - 1), 0.0)
        waits = self.prices.chip.synchronize_cycles if free else 0
        self.load = self.arrived[held] = max(self.load, free) + cycles + waits
        if self.prices.chip.dma_engines == 1:
            self.store = self.load

    def _work(self, number: int, layer: int) -> None:
        sources = self.group.sources[layer]
        brought = [self.arrived[source] for source in sources if isinstance(source, Load)]
        brought += [self.arrived[layer, name] for name in self.group.layers[layer].constants]
        start = max([self.compute, *brought, self.stored.get((number - 2, layer), 0.0)])
        waits = self.prices.chip.synchronize_cycles if brought else 0
        cycles = self.prices.work(self.group.layers[layer], self.tiles[number].made[layer])
        self.compute = self.made[number, layer] = start + waits + cycles

    def _leave(self, number: int) -> None:
        for layer, share in sorted(self.tiles[number].shares.items()):
            kernel = self.group.layers[layer].kernel
            cycles = self.prices.moved(kernel.type, kernel.shape, share) + self.prices.chip.synchronize_cycles
            self.store = self.stored[number, layer] = max(self.store, self.made[number, layer]) + cycles
            if self.prices.chip.dma_engines == 1:
                self.load = self.store
