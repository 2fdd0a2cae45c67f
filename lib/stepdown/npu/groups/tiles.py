"""How a group is cut: for each tile the box of every tensor that is made or brought."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

from stepdown.npu.groups.layers import Group, Load
from stepdown.npu.isa.tensor import Four
from stepdown.npu.kernels.base import Region


@dataclass(frozen=True)
class Parts:
    """Into how many parts the results of a group are cut, in n, in channels (a group of one op alone) and in rows."""

    n: int = 1
    channels: int = 1
    rows: int = 1

    @property
    def tiles(self) -> int:
        """The number of tiles."""
        return self.n * self.channels * self.rows


@dataclass(frozen=True)
class Tile:
    """What one tile makes, by layer; what it brings; and, of results that leave the group, the share that it stores."""

    made: tuple[Region, ...]
    loads: dict[Load, Region]
    shares: dict[int, Region]


def union(a: Region | None, b: Region) -> Region:
    """Return the least box around two boxes."""
    if a is None or a == b:
        return b
    n, c, h, w = ((min(i[0], j[0]), max(i[1], j[1])) for i, j in zip(a.spans, b.spans, strict=True))
    return Region((n, c, h, w))


def cut(group: Group, parts: Parts, lanes: int) -> list[Tile]:
    """Return the tiles of a group, those of the same channels together, rows innermost.

    Every row of every result is made in some tile, even where no later layer reads it. Where a tile would have nothing
    of a tensor, there are no tiles.
    """
    places = list(product(range(parts.channels), range(parts.n), range(parts.rows)))
    wanted: list[list[Region | None]] = [[None] * len(places) for _ in group.layers]
    loads: list[dict[Load, Region]] = [{} for _ in places]
    shares: list[dict[int, Region]] = [{} for _ in places]
    for number in reversed(range(len(group.layers))):
        layer = group.layers[number]
        if number in group.outputs:
            for tile, place in enumerate(places):
                shares[tile][number] = share(layer.kernel.shape, parts, place, layer.kernel.channel_unit(lanes))
                wanted[number][tile] = union(wanted[number][tile], shares[tile][number])
        regions = _covering(wanted[number], parts.rows, layer.kernel.shape[2])
        wanted[number] = [*regions]
        for tile, region in enumerate(regions):
            for source, need in zip(group.sources[number], layer.needs(region), strict=True):
                if isinstance(source, int):
                    wanted[source][tile] = union(wanted[source][tile], need)
                else:
                    loads[tile][source] = union(loads[tile].get(source), need)
    tiles = [Tile(_known(each), loads[at], shares[at]) for at, each in enumerate(zip(*wanted, strict=True))]
    return tiles if all(_is_whole(tile) for tile in tiles) else []


def share(shape: Four, parts: Parts, place: tuple[int, int, int], unit: int) -> Region:
    """Return the part of a result that one tile is for: `place` is its number in channels, n and rows.

    Channels are cut between multiples of `unit`; what has one n or less rows than parts has all of it in every tile.
    """
    n, c, h, _ = shape
    channel, batch, row = place
    rounds = -(-c // unit)
    step = -(-rounds // parts.channels) * unit if parts.channels > 1 else c
    whole = Region.whole(shape).within(1, min(c, channel * step), min(c, (channel + 1) * step))
    return whole.within(0, *_slice(n, parts.n, batch)).within(2, *_slice(h, parts.rows, row))


def _slice(size: int, parts: int, at: int) -> tuple[int, int]:
    return (size * at // parts, size * (at + 1) // parts) if size > 1 else (0, size)


def _covering(regions: Sequence[Region | None], rows: int, height: int) -> list[Region]:
    """Return boxes that reach at least to the next one below, the first from the top and the last to the bottom."""
    found = []
    for at, region in enumerate(_known(regions)):
        start, stop = region.spans[2]
        following = regions[at + 1] if at % rows < rows - 1 else None
        reach = following.spans[2][0] if following else height
        found.append(region.within(2, start if at % rows else 0, max(stop, reach)))
    return found


def _known(regions: Sequence[Region | None]) -> tuple[Region, ...]:
    return tuple(region for region in regions if region is not None)


def _is_whole(tile: Tile) -> bool:
    return all(min(region.shape) > 0 for region in (*tile.made, *tile.loads.values(), *tile.shares.values()))
