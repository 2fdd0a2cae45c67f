"""How minimal filtering is cut: rows of tiles at a time, sums in registers, places in memory; and what it costs."""

from dataclasses import dataclass, replace
from functools import cached_property

from stepdown.native.dots import Dot
from stepdown.native.kernels.image import Image
from stepdown.native.kernels.minimal_forms import Form

_TAPS = 9
_APART = 32
"""Elements between planes, so that one place in all of them is not one set of a cache."""
_VECTORS = 2
_PRODUCT, _SIMPLE = 0.65, 0.3
"""Cycles of an instruction that multiplies, with its sum, and of others."""


@dataclass(frozen=True)
class Plan:
    """Tiles of `form.results` squared; positions × vectors of sums in registers; `room` the bytes for changed tiles."""

    form: Form
    over: Image
    dot: Dot
    registers: int
    room: int

    @property
    def down(self) -> int:
        """Rows of tiles."""
        return -(-self.over.out_height // self.form.results)

    @property
    def across(self) -> int:
        """Tiles of a row."""
        return -(-self.over.out_width // self.form.results)

    @cached_property
    def image(self) -> Image:
        """The image with whole tiles of results."""
        m = self.form.results
        return replace(self.over, out_height=self.down * m, out_width=self.across * m)

    @property
    def places(self) -> int:
        """Products of a tile and a filter."""
        return self.form.size**2

    @property
    def all_vectors(self) -> int:
        """Vectors of output channels."""
        return self.over.out_channels // self.dot.lanes

    @property
    def vectors(self) -> int:
        """Vectors of output channels a block: as many as registers are good for whose weights stay in a cache."""
        changed = 2 * self.places * self.over.channels * self.dot.lanes
        return min(_VECTORS, self.all_vectors, max(1, self.room // changed))

    @cached_property
    def rows(self) -> int:
        """Rows of tiles at a time."""
        fitting = self.room // (2 * self.places * self.across * self.over.channels)
        return -(-self.down // -(-self.down // max(1, fitting)))

    @cached_property
    def positions(self) -> int:
        """Tiles whose sums are in registers: as few rounds as these allow, as even as they come."""
        tiles = self.rows * self.across
        most = (self.registers - self.vectors - 2) // self.vectors
        return -(-tiles // -(-tiles // most))

    # --- memory, in elements

    @property
    def copy(self) -> int:
        """Copied rows of one row of tiles."""
        image = self.image
        return image.band(self.form.results, 0) * image.band(image.out_width, 1) * image.channels

    @property
    def tiles_plane(self) -> int:
        """The tiles of a band, changed: one place of each."""
        return self.rows * self.across * self.over.channels + _APART

    @property
    def weights_plane(self) -> int:
        """The weights of a block, changed: one place of each."""
        return self.over.channels * self.vectors * self.dot.lanes + _APART

    @property
    def starts(self) -> tuple[int, int, int]:
        """Where tiles and weights begin after the copied rows, and where they end."""
        first = -(-self.copy // _APART) * _APART
        second = first + self.places * self.tiles_plane
        return first, second, second + self.places * self.weights_plane

    @property
    def bytes(self) -> int:
        """All of it."""
        return 2 * self.starts[-1]

    # --- time

    @property
    def cost(self) -> float:
        """About how many cycles it takes."""
        size, results = self.form.size, self.form.results
        tiles = self.over.batch * self.down * self.across
        wide = self.over.channels / (2 * self.dot.lanes)
        image = 2 * size * self.form.operations[0] + 3 * self.places
        weights = (3 + size) * self.form.operations[1] + 2 * (_TAPS + self.places)
        back = (size + results) * self.form.operations[2] + 2 * self.places + 3 * results**2
        bands = self.over.batch * -(-self.down // self.rows)
        changes = tiles * (image * wide + back * self.all_vectors) + bands * weights * wide * self.over.out_channels
        return _SIMPLE * changes + _PRODUCT * tiles * self.places * self._steps

    @property
    def _steps(self) -> float:
        return self.over.channels / self.dot.group * self.all_vectors


def direct_cost(over: Image, dot: Dot) -> float:
    """Return about how many cycles the sums take one by one."""
    vectors = -(-over.out_channels // dot.lanes)
    return _PRODUCT * over.batch * over.out_height * over.out_width * _TAPS * -(-over.channels // dot.group) * vectors
