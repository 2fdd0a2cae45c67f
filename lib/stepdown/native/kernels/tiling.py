"""How the work of a convolution by tiles is cut, what it costs, and where its parts lie in memory."""

from dataclasses import dataclass, replace
from functools import cached_property

from stepdown.native.constant_products import operations
from stepdown.native.cook_toom import TAPS, Matrix, MinimalFilter
from stepdown.native.kernels.image import Cut, Image, cuts, last_apart

_SPACE = 16
"""Elements between planes, so that the same elements of all do not meet in one set of a cache."""
_DEPTH, _BLOCK, _ROUNDS = 64, 32, 2
"""Input and output channels of a block; rounds of rows of tiles that threads share."""
_LATENCY = 4.0
"""Cycles from a multiply-add to the next one on the same sum."""


@dataclass(frozen=True)
class Tiling:
    """A convolution of 3 × 3 over an image in tiles of m × m results, for vectors of some lanes."""

    image: Image
    filter: MinimalFilter
    lanes: int
    registers: int
    operands: int
    """Elements of operands at a time where the image has so few columns."""
    shared: bool = False
    """Whether threads share the work: rows of tiles, where there is but one block of output channels to divide."""

    # --- sizes

    @property
    def places(self) -> int:
        """Places of a transformed tile."""
        return self.filter.size**2

    @cached_property
    def tiles(self) -> tuple[int, int]:
        """Tiles of the image, down and across."""
        return -(-self.image.out_height // self.filter.results), -(-self.image.out_width // self.filter.results)

    @cached_property
    def vectors(self) -> int:
        """Vectors of output channels."""
        return -(-self.image.out_channels // self.lanes)

    @cached_property
    def whole(self) -> Image:
        """The image with whole tiles of results."""
        down, across = (count * self.filter.results for count in self.tiles)
        return replace(self.image, out_height=down, out_width=across)

    def cost(self) -> float:
        """Return what an image costs, in products of vectors."""
        image, made, tiles = self.image, self.filter, self.tiles[0] * self.tiles[1]
        outward = _twice(made.outward, made.size) * self.vectors
        weights = _twice(made.of_weights, TAPS) * image.channels * self.vectors
        return tiles * (self.places * image.channels * self.vectors + self._inward + outward) + weights

    @property
    def operands_share(self) -> float:
        """What transforming the operands is of all."""
        return self.tiles[0] * self.tiles[1] * self._inward / self.cost()

    @property
    def _inward(self) -> float:
        return _twice(self.filter.inward, self.filter.size) * -(-self.image.channels // self.lanes)

    # --- cuts

    @cached_property
    def rows(self) -> int:
        """Rows of tiles at a time: so many that their operands fit, and all about alike."""
        down, across = self.tiles
        fitting = self.operands // (self.places * self.image.channels * across)
        rounds = -(-down // max(1, min(down, fitting)))
        if self.shared and self.image.out_channels <= _BLOCK:
            rounds = min(down, max(rounds, _ROUNDS))
        return -(-down // rounds)

    @property
    def held(self) -> int:
        """Tiles at a time."""
        return self.rows * self.tiles[1]

    @property
    def depth(self) -> int:
        """Input channels at a time."""
        return min(self.image.channels, _DEPTH)

    @cached_property
    def block(self) -> int:
        """Vectors of output channels at a time."""
        vectors = self.in_registers[1]
        return min(self.vectors, vectors * max(1, _BLOCK // (vectors * self.lanes)))

    @cached_property
    def blocks(self) -> list[Cut]:
        """The blocks of output vectors; the last one is apart where its last vector is not full."""
        blocks = cuts(self.vectors, self.block)
        return last_apart(blocks) if self.image.out_channels % self.lanes else blocks

    @cached_property
    def in_registers(self) -> tuple[int, int]:
        """Tiles and vectors whose sums are in registers: those of the least cost, rests included."""
        shapes = [
            (self._step_cost(p, v), -p, v)
            for v in range(1, min(4, self.vectors) + 1)
            for p in range(1, min(12, self.held) + 1)
            if p * v + v + 1 <= self.registers
        ]
        _, negative, vectors = min(shapes)
        return -negative, vectors

    def _step_cost(self, tiles: int, vectors: int) -> float:
        return sum(
            c.count * p.count * max(0.5 * c.width * p.width, 0.5 * (c.width + p.width), _LATENCY)
            for c in cuts(self.vectors, vectors)
            for p in cuts(self.held, tiles)
        )

    # --- memory

    @property
    def operand_plane(self) -> int:
        """Elements from a place of the operands to the next."""
        return self.held * self.depth + _SPACE

    @property
    def weight_plane(self) -> int:
        """Elements from a place of the weights to the next."""
        return self.depth * self.block * self.lanes + _SPACE

    @property
    def sum_plane(self) -> int:
        """Elements from a place of the sums to the next."""
        return self.held * self.block * self.lanes + _SPACE

    def starts(self, copied: int) -> tuple[int, int, int, int]:
        """Return where operands, weights and sums begin after so many copied elements, and where the memory ends."""
        chunks = -(-self.image.channels // self.depth)
        planes = (chunks * self.operand_plane, self.weight_plane, self.sum_plane)
        found = [-(-copied // _SPACE) * _SPACE]
        for plane in planes:
            found.append(found[-1] + self.places * plane)
        return tuple(found)  # type: ignore[return-value]


def _twice(matrix: Matrix, size: int) -> float:
    """Return what it costs to transform a square of some size, with its loads and stores, in multiply-adds."""
    return operations(matrix) * (size + len(matrix)) + size**2 + 2 * len(matrix) ** 2
