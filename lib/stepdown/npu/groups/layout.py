"""Where a group's tensors lie in local memory, and from when on what is brought has its place."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from stepdown.chips import Chip
from stepdown.npu.cost import local_memory
from stepdown.npu.groups.layers import Group, Load
from stepdown.npu.groups.packing import Packing
from stepdown.npu.groups.tiles import Parts, Shapes, Tile, shapes_of
from stepdown.npu.isa import BYTES
from stepdown.npu.isa.tensor import Four
from stepdown.npu.kernels.base import Constant

Held = int | Load | tuple[int, str]
"""What lies in local memory: the result of a layer, what is brought, a constant of a layer by name."""


@dataclass(frozen=True)
class Item:
    """Something in local memory: bytes of a lane in `copies`, needed by the layers `use` … `last` of a tile.

    One that is `brought` may be there before; one that `stays` is there in all tiles.
    """

    held: Held
    bytes: int
    use: int
    last: int
    copies: int = 1
    brought: bool = False
    stays: bool = False


@dataclass(frozen=True)
class Layout:
    """The addresses of the copies of everything; `starts`: the layer of a tile before which loading may begin."""

    addresses: Mapping[Held, tuple[int, ...]]
    starts: Mapping[Held, int]


def local_bytes(type: str, shape: Four, lanes: int, alignment: int) -> int:
    """Return the bytes of a lane that a tensor takes."""
    n, c, h, w = shape
    return -(-n * -(-c // lanes) * h * w * BYTES[type] // alignment) * alignment


def constant_shape(constant: Constant, channels: int, lanes: int) -> Four:
    """Return the shape of a constant in local memory for a tile of so many channels."""
    n, c, h, w = constant.values.shape
    if constant.by == "all":
        return n, min(lanes, channels), h, w
    return n, min(c, channels) if constant.by == "channel" else c, h, w


def items(group: Group, tiles: Sequence[Shapes], parts: Parts, chip: Chip, twice: bool = False) -> Iterator[Item]:
    """Yield all that a group holds; with `twice` constants that change from tile to tile have two buffers."""
    lanes, alignment, several = local_memory(chip).lanes, chip.local_alignment_bytes, parts.tiles > 1
    for load, use in group.loads.items():
        size = max(local_bytes(load.type, shape, lanes, alignment) for shape in {tile.loads[load] for tile in tiles})
        yield Item(load, size, use, group.last_use[load], 1 + several, True, several)
    for number, layer in enumerate(group.layers):
        shapes = {tile.made[number] for tile in tiles}
        channels = max(shape[1] for shape in shapes)
        for name, constant in layer.constants.items():
            copies = 2 if twice and parts.channels > 1 and constant.by == "channel" else 1
            size = local_bytes(constant.type, constant_shape(constant, channels, lanes), lanes, alignment)
            yield Item((number, name), size, number, number, copies, True, several)
        size = max(local_bytes(layer.kernel.type, shape, lanes, alignment) for shape in shapes)
        leaves = number in group.outputs
        last = len(group.layers) - 1 if leaves else group.last_use[number]
        yield Item(number, size, number, last, 1 + (several and leaves), False, several and leaves)


def lay_out(group: Group, tiles: Sequence[Tile], parts: Parts, chip: Chip, flipped: bool = False) -> Layout | None:
    """Return a layout that fits local memory, None where none is found; `flipped` counts addresses from the end."""
    shapes = [shapes_of(group, tile, 0) for tile in tiles]
    for twice in (True, False) if parts.channels > 1 else (False,):
        held = list(items(group, shapes, parts, chip, twice))
        for pack in (_in_order, _tightly):
            if found := pack(held, group, chip):
                return _turned(found, held, usable_bytes(chip)) if flipped else found
    return None


def usable_bytes(chip: Chip) -> int:
    """Return the bytes of a lane that whole units of the alignment fill."""
    return local_memory(chip).lane_bytes // chip.local_alignment_bytes * chip.local_alignment_bytes


def _turned(layout: Layout, held: Sequence[Item], capacity: int) -> Layout:
    sizes = {item.held: item.bytes for item in held}
    moved = {held: tuple(capacity - low - sizes[held] for low in lows) for held, lows in layout.addresses.items()}
    return Layout(moved, layout.starts)


def _in_order(held: Sequence[Item], group: Group, chip: Chip) -> Layout | None:
    """Place what is made first, then what is brought, each as early as memory allows; keeps operands in other banks."""
    packing, end = Packing(usable_bytes(chip), local_memory(chip).bank_bytes), len(group.layers) - 1
    boxes: dict[Held, list[int]] = {}
    addresses: dict[Held, tuple[int, ...]] = {}
    starts: dict[Held, int] = {}
    least = 0
    by_use = sorted(held, key=lambda item: (item.brought, item.use))
    for item in [*(i for i in by_use if i.stays), *(i for i in by_use if not i.stays)]:
        partners = [box for other in _partners(group, item.held) for box in boxes.get(other, ())]
        lows: list[int] = []
        for _ in range(item.copies):
            first, last = (0, end) if item.stays else (item.use, item.last)
            if item.brought and not item.stays:
                early = packing.earliest(item.bytes, least, item.use, item.last, partners)
                low, first = early if early else (None, 0)
                least = starts[item.held] = first
            else:
                low = packing.fixed(item.bytes, first, last, partners)
            if low is None:
                return None
            lows.append(low)
            boxes.setdefault(item.held, []).append(packing.add(low, item.bytes, first, last))
        addresses[item.held] = tuple(lows)
    return Layout(addresses, starts)


def _tightly(held: Sequence[Item], group: Group, chip: Chip) -> Layout | None:
    """Place everything for as long as it is needed only: what stays, then the largest first."""
    packing, end = Packing(usable_bytes(chip)), len(group.layers) - 1
    addresses: dict[Held, tuple[int, ...]] = {}
    for item in sorted(held, key=lambda item: (not item.stays, -item.bytes, item.use)):
        first, last = (0, end) if item.stays else (item.use, item.last)
        lows: list[int] = []
        for _ in range(item.copies):
            low = packing.fixed(item.bytes, first, last)
            if low is None:
                return None
            packing.add(low, item.bytes, first, last)
            lows.append(low)
        addresses[item.held] = tuple(lows)
    return Layout(addresses, {item.held: item.use for item in held if item.brought and not item.stays})


def _partners(group: Group, held: Held) -> Iterator[Held]:
    """Yield what some layer uses together with something."""
    if isinstance(held, tuple):
        yield from (held[0], *group.sources[held[0]])
        return
    for number, sources in enumerate(group.sources):
        if held == number or held in sources:
            yield from (other for other in (number, *sources) if other != held)
            yield from ((number, name) for name in group.layers[number].constants)
