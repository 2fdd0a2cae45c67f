"""How an op on its own is cut into tiles that fit local memory."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

from stepdown.errors import ResourceError
from stepdown.npu.isa import BYTES
from stepdown.npu.isa.tensor import Four
from stepdown.npu.kernels import Constant, Kernel, Region


@dataclass(frozen=True)
class Tiling:
    """Sizes of a tile of the output in n, channels and rows, and the local bytes of what it needs."""

    n: int
    channels: int
    rows: int
    constants: dict[str, int]
    inputs: tuple[int, ...]
    output: int

    def regions(self, shape: Four) -> Iterator[list[Region]]:
        """Yield the tiles, those of the same channels together."""
        for c in _cuts(shape[1], self.channels):
            whole = Region.whole(shape).within(1, *c)
            cuts = product(_cuts(shape[0], self.n), _cuts(shape[2], self.rows))
            yield [whole.within(0, *n).within(2, *h) for n, h in cuts]


def tile(kernel: Kernel, constants: dict[str, Constant], lanes: int, lane_bytes: int, alignment: int) -> Tiling:
    """Return the tiling with the fewest parts of the channels, then the fewest tiles, that fits twice.

    Inputs and output have two buffers, constants one.

    Raises:
        ResourceError: not even a row of the fewest channels fits.
    """
    for n, channels, rows in _choices(kernel, lanes):
        found = _sized(kernel, constants, (n, channels, rows), lanes, alignment)
        if sum(found.constants.values()) + 2 * (sum(found.inputs) + found.output) <= lane_bytes:
            return found
    what = f"one row of it does not fit the {lane_bytes} bytes of a lane"
    raise ResourceError(what, f'{kernel.op.name} loc("{kernel.op.tensor_name}")', "take a chip with more local memory")


def local_bytes(type: str, shape: Four, lanes: int, alignment: int) -> int:
    """Return the bytes of a lane that a tensor takes."""
    n, c, h, w = shape
    return _aligned(n * -(-c // lanes) * h * w * BYTES[type], alignment)


def _choices(kernel: Kernel, lanes: int) -> Iterator[tuple[int, int, int]]:
    """Yield sizes of n, channels and rows, the best first."""
    n, c, h, _ = kernel.shape
    groups = -(-c // lanes) if kernel.splits_channels else 1
    for parts in sorted({-(-groups // i) for i in range(1, groups + 1)}, reverse=True):
        channels = min(c, parts * lanes) if kernel.splits_channels else c
        yield n, channels, h
        yield from ((1, channels, rows) for rows in sorted({-(-h // i) for i in range(1, h + 1)}, reverse=True))


def _sized(
    kernel: Kernel, constants: dict[str, Constant], sizes: tuple[int, int, int], lanes: int, alignment: int
) -> Tiling:
    n, channels, rows = sizes
    box = Region.whole(kernel.shape).within(0, 0, n).within(1, 0, channels)
    tiles = [kernel.needs(box.within(2, *cut)) for cut in _cuts(kernel.shape[2], rows)]
    held = [
        max(local_bytes(kind, widened(kernel, at, each[at], box), lanes, alignment) for each in tiles)
        for at, kind in enumerate(kernel.input_types)
    ]
    shares = {
        name: local_bytes(constant.type, _share(constant, channels), lanes, alignment)
        for name, constant in constants.items()
    }
    output = local_bytes(kernel.type, box.within(2, 0, rows).shape, lanes, alignment)
    return Tiling(n, channels, rows, shares, tuple(held), output)


def widened(kernel: Kernel, at: int, needed: Region, region: Region) -> Four:
    """Return the shape of an input in local memory: one channel for all is repeated in the lanes of the output's."""
    n, c, h, w = needed.shape
    repeated = kernel.input_shapes[at][1] == 1 < kernel.shape[1] and kernel.repeats
    return n, region.shape[1] if repeated else c, h, w


def _share(constant: Constant, channels: int) -> Four:
    n, c, h, w = constant.values.shape
    return n, min(c, channels) if constant.by == "channel" else c, h, w


def _cuts(size: int, step: int) -> list[tuple[int, int]]:
    return [(start, min(start + step, size)) for start in range(0, size, step)]


def _aligned(size: int, alignment: int) -> int:
    return -(-size // alignment) * alignment
