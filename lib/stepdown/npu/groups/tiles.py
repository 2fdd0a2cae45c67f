"""How a group is cut: for each tile the box of every tensor that is made or brought."""

from dataclasses import dataclass
from itertools import islice, product

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


@dataclass(frozen=True)
class Shapes:
    """The sizes in local memory of what one tile makes, by layer, of what it brings, and of what it stores.

    `part` is the number of its part of the channels.
    """

    made: tuple[Four, ...]
    loads: dict[Load, Four]
    shares: dict[int, Four]
    part: int = 0


def cut(group: Group, parts: Parts, lanes: int, limit: int | None = None) -> list[Tile]:
    """Return the tiles of a group (the first ones, with a limit), those of the same channels together, rows innermost.

    Every row of every result is made in some tile, even where no later layer reads it. Where a tile would have nothing
    of a tensor, there are no tiles.
    """
    rows = rows_of(group, parts.rows)
    places = islice(product(range(parts.channels), range(parts.n), range(parts.rows)), limit)
    tiles = [_tile(group, parts, place, rows, lanes) for place in places] if rows else []
    return tiles if all(_is_whole(tile) for tile in tiles) else []


def shapes_of(group: Group, tile: Tile, part: int) -> Shapes:
    """Return the sizes of a tile."""
    made = tuple(region.shape for region in tile.made)
    loads = {load: _local(load, region.shape, made[group.loads[load]]) for load, region in tile.loads.items()}
    return Shapes(made, loads, {number: region.shape for number, region in tile.shares.items()}, part)


def first_shapes(group: Group, parts: Parts, lanes: int, limit: int) -> list[Shapes]:
    """Return the sizes of the first tiles, quickly where channels are whole; none where `cut` makes no tiles."""
    if parts.channels > 1:
        tiles = cut(group, parts, lanes, limit * limit)
        return [shapes_of(group, tile, at // (parts.n * parts.rows)) for at, tile in enumerate(tiles)]
    rows = rows_of(group, parts.rows, limit)
    if rows is None:
        return []
    count = min(parts.rows, limit)
    each = [_whole_channels(group, parts, rows, row) for row in range(count)]
    return [each[at % count] for at in range(min(parts.n * count, limit))]


def share(shape: Four, parts: Parts, place: tuple[int, int, int], unit: int) -> Region:
    """Return the part of a result that one tile is for: `place` is its number in channels, n and rows.

    Channels are cut between multiples of `unit`; what has one n or one row has all of it in every tile.
    """
    n, c, h, _ = shape
    channel, batch, row = place
    rounds = -(-c // unit)
    step = -(-rounds // parts.channels) * unit if parts.channels > 1 else c
    whole = Region.whole(shape).within(1, min(c, channel * step), min(c, (channel + 1) * step))
    return whole.within(0, *_slice(n, parts.n, batch)).within(2, *_slice(h, parts.rows, row))


@dataclass(frozen=True)
class Rows:
    """By layer and load, first and last + 1 row in each part; by layer that leaves, the rows that it stores."""

    made: list[list[tuple[int, int]]]
    loads: dict[Load, list[tuple[int, int]]]
    shares: dict[int, list[tuple[int, int]]]


def rows_of(group: Group, rows: int, limit: int = 1 << 30) -> Rows | None:
    """Return the rows of the first parts, at most `limit`; None where a part of something has none."""
    count = min(rows, limit + 1)
    wanted: list[list[tuple[int, int]]] = [[_NOTHING] * count for _ in group.layers]
    loads: dict[Load, list[tuple[int, int]]] = {load: [_NOTHING] * count for load in group.loads}
    shares: dict[int, list[tuple[int, int]]] = {}
    for number in reversed(range(len(group.layers))):
        layer, mine = group.layers[number], wanted[number]
        height = layer.kernel.shape[2]
        if number in group.outputs:
            shares[number] = [_slice(height, rows, part) for part in range(count)]
            mine = [_around(*pair) for pair in zip(mine, shares[number], strict=True)]
        for part, (start, stop) in enumerate(mine):
            reach = height if part == rows - 1 else mine[part + 1][0] if part < count - 1 else stop
            mine[part] = start if part else 0, max(stop, reach)
            if mine[part][0] >= mine[part][1]:
                return None
            for source, need in zip(group.sources[number], layer.rows(*mine[part]), strict=True):
                where = wanted[source] if isinstance(source, int) else loads[source]
                where[part] = _around(where[part], need)
        wanted[number] = mine
    return (
        None if any(start >= stop for each in loads.values() for start, stop in each) else Rows(wanted, loads, shares)
    )


_NOTHING = (1 << 30, -1)


def _around(a: tuple[int, int], b: tuple[int, int]) -> tuple[int, int]:
    return min(a[0], b[0]), max(a[1], b[1])


def _tile(group: Group, parts: Parts, place: tuple[int, int, int], rows: Rows, lanes: int) -> Tile:
    """Return a tile with its boxes in all dimensions."""
    shares = [share(layer.kernel.shape, parts, place, layer.kernel.channel_unit(lanes)) for layer in group.layers]
    made = [own.within(2, *rows.made[number][place[2]]) for number, own in enumerate(shares)]
    loads: dict[Load, Region] = {}
    for layer, sources, region in zip(group.layers, group.sources, made, strict=True):
        for source, need in zip(sources, layer.kernel.needs(region), strict=True):
            if isinstance(source, Load):
                loads[source] = need.within(2, *rows.loads[source][place[2]])
    return Tile(tuple(made), loads, {number: shares[number] for number in group.outputs})


def _whole_channels(group: Group, parts: Parts, rows: Rows, row: int) -> Shapes:
    """Return the sizes of the tile of one part of the rows."""
    made = tuple(
        _part(layer.kernel.shape, parts.n, *spans[row]) for layer, spans in zip(group.layers, rows.made, strict=True)
    )
    loads = {
        load: _local(load, _part(load.shape, parts.n, *rows.loads[load][row]), made[layer])
        for load, layer in group.loads.items()
    }
    shares = {at: _part(group.layers[at].kernel.shape, parts.n, *spans[row]) for at, spans in rows.shares.items()}
    return Shapes(made, loads, shares)


def _part(shape: Four, n: int, start: int, stop: int) -> Four:
    return -(-shape[0] // n) if shape[0] > 1 else 1, shape[1], stop - start, shape[3]


def _local(load: Load, shape: Four, made: Four) -> Four:
    return (shape[0], made[1], shape[2], shape[3]) if load.repeated else shape


def _slice(size: int, parts: int, at: int) -> tuple[int, int]:
    return (size * at // parts, size * (at + 1) // parts) if size > 1 else (0, size)


def _is_whole(tile: Tile) -> bool:
    return all(min(region.shape) > 0 for region in (*tile.made, *tile.loads.values(), *tile.shares.values()))
