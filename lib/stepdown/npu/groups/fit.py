"""The plainest way to cut a group: the fewest parts that fit local memory."""

from collections.abc import Callable, Iterator

from stepdown.chips import Chip
from stepdown.errors import ResourceError
from stepdown.npu.cost import local_memory
from stepdown.npu.groups.layers import Group
from stepdown.npu.groups.layout import Layout, items, lay_out, usable_bytes
from stepdown.npu.groups.tiles import Parts, Tile, cut, shapes_of

Choice = Callable[[Group], Parts | None]
"""Says how to cut a group; None leaves it to others."""


def fitted(group: Group, chip: Chip, choose: Choice | None = None, flipped: bool = False) -> tuple[list[Tile], Layout]:
    """Return tiles and layout of a group: as chosen, as noted on its ops, or the plainest.

    Raises:
        ResourceError: it does not fit local memory.
    """
    chosen = (choose(group) if choose else None) or noted_parts(group) or plainest(group, chip)[0]
    tiles = cut(group, chosen, local_memory(chip).lanes)
    layout = lay_out(group, tiles, chosen, chip, flipped) if tiles else None
    if layout is None:
        named = f"{chosen.n} × {chosen.channels} × {chosen.rows} parts"
        raise _too_large(group, chip, named)
    return tiles, layout


def plainest(group: Group, chip: Chip) -> tuple[Parts, list[Tile]]:
    """Return the fewest parts that fit; those of an op alone with two buffers for inputs and results.

    Raises:
        ResourceError: none do.
    """
    for parts in candidates(group, chip):
        tiles = cut(group, parts, local_memory(chip).lanes)
        fits = tiles and (len(group.layers) > 1 or fits_twice(group, tiles, parts, chip))
        if fits and lay_out(group, tiles, parts, chip):
            return parts, tiles
    raise _too_large(group, chip, "any parts")


def noted_parts(group: Group) -> Parts | None:
    """Return how a group is cut by the notes of its first op, None where there are none."""
    noted = group.layers[0].op.note("layer_tile")
    return Parts(*noted) if noted else None


def candidates(group: Group, chip: Chip) -> Iterator[Parts]:
    """Yield ways to cut a group, those with fewer parts first: of channels (of an op alone), of n, of rows."""
    kernels = [layer.kernel for layer in group.layers]
    n = max(kernel.shape[0] for kernel in kernels)
    rows = min((kernels[number].shape[2] for number in group.outputs), default=1)
    rounds = 1
    if len(kernels) == 1:
        rounds = -(-kernels[0].shape[1] // kernels[0].channel_unit(local_memory(chip).lanes))
    for channels in counts(rounds):
        yield Parts(1, channels, 1)
        yield from (Parts(n, channels, h) for h in counts(rows) if n * h > 1)


def counts(size: int) -> list[int]:
    """Return numbers of parts that a size can have, each with another greatest part."""
    return sorted({-(-size // step) for step in range(1, size + 1)})


def fits_twice(group: Group, tiles: list[Tile], parts: Parts, chip: Chip) -> bool:
    """Tell whether inputs and results of an op alone fit in two buffers each, even where it has a single tile."""
    held = items(group, [shapes_of(group, tile, 0) for tile in tiles], parts, chip)
    return sum(item.bytes * (1 if isinstance(item.held, tuple) else 2) for item in held) <= usable_bytes(chip)


def _too_large(group: Group, chip: Chip, parts: str) -> ResourceError:
    op, lane_bytes = group.layers[0].op, local_memory(chip).lane_bytes
    where = f'{op.name} loc("{op.tensor_name}")'
    if noted_parts(group) or len(group.layers) > 1:
        what = f"a group of {len(group.layers)} ops does not fit the {lane_bytes} bytes of a lane in {parts}"
        return ResourceError(what, where, "run --layer-group again for this chip")
    what = f"one row of it does not fit the {lane_bytes} bytes of a lane"
    return ResourceError(what, where, "take a chip with more local memory")
