"""How minimal filtering is cut: rows of tiles at a time, sums in registers, places in memory; and what it costs."""

from dataclasses import dataclass, replace
from functools import cached_property

from stepdown.native.dots import Dot
from stepdown.native.kernels.image import Cut, Image, cuts
from stepdown.native.kernels.minimal_forms import Form

_TAPS = 9
_APART = 32
"""Elements between planes, so that one place in all of them is not one set of a cache."""
_VECTORS = 2
_PRODUCT, _SIMPLE = 0.65, 0.3
"""Cycles of an instruction that multiplies, with its sum, and of others."""
_ROUND = 15
"""Cycles until the sums of a place are stored, besides."""
_MISSES = 2
"""How much longer a tile takes to be changed where its planes lie in the next cache."""
_THREADS = {1: 2.0, 2: 2.0, 4: 1.0}
"""By a number of threads, how much it counts how long all of them work."""


@dataclass(frozen=True)
class Cutting:
    """Bands of so many rows of tiles; as many as fit are changed at a time, and then all blocks of channels are summed.

    Threads share the bands, and each changes the weights: how many it has at a time is counted when it runs. Or they
    share the blocks of all such rounds, and those that have blocks of one round each change the image.
    """

    band: int
    by_bands: bool


@dataclass(frozen=True)
class Plan:
    """Tiles of `form.results` squared; positions × vectors of sums in registers; `room` the bytes for changed tiles."""

    form: Form
    over: Image
    dot: Dot
    registers: int
    room: int
    shared: bool = False
    """Whether threads share the work."""

    @property
    def across(self) -> int:
        """Tiles of a row."""
        return -(-self.over.out_width // self.form.results)

    @property
    def bands(self) -> int:
        """Bands of rows of tiles; the last one may have rows beyond the image."""
        return -(-self._down // self.cutting.band)

    @property
    def at_once(self) -> int:
        """Bands at a time: as many as fit, in rounds that are about alike."""
        return self._at_once(self.cutting.band)

    @cached_property
    def image(self) -> Image:
        """The image with whole tiles of results, and whole bands."""
        m = self.form.results
        return replace(self.over, out_height=self.bands * self.cutting.band * m, out_width=self.across * m)

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

    @property
    def blocks(self) -> list[Cut]:
        """The blocks of output channels."""
        return cuts(self.all_vectors, self.vectors)

    @property
    def positions(self) -> int:
        """Tiles whose sums are in registers."""
        return self._positions(self.cutting.band)

    @property
    def _down(self) -> int:
        return -(-self.over.out_height // self.form.results)

    @property
    def _fitting(self) -> int:
        """Rows of tiles that fit at a time."""
        return max(1, min(self._down, self.room // (2 * self.places * self.across * self.over.channels)))

    def _at_once(self, band: int) -> int:
        bands = -(-self._down // band)
        return -(-bands // -(-bands // (self._fitting // band)))

    def _positions(self, band: int) -> int:
        """Return as few rounds as registers allow, as even as they come."""
        tiles = band * self.across
        most = (self.registers - self.vectors - 2) // self.vectors
        return -(-tiles // -(-tiles // most))

    # --- cuts

    @cached_property
    def cutting(self) -> Cutting:
        """The way to cut that costs least; of those that cost the same, one of many bands."""
        ways = [Cutting(band, way) for band in range(1, self._fitting + 1) for way in (True, False)]
        return min(ways, key=lambda way: (self._score(way), way.band))

    def _score(self, way: Cutting) -> float:
        if not self.shared:
            return self._time(way, 1)
        return sum(weight * self._time(way, threads) * threads for threads, weight in _THREADS.items())

    def _time(self, way: Cutting, threads: int) -> float:
        """Return about how many cycles some threads take for an image: those of the one that has most to do."""
        bands, at_once, blocks = -(-self._down // way.band), self._at_once(way.band), self._blocks
        rows = bands * way.band
        sums = bands * self._band_cost(way.band) + rows * self.across * self._back * self.all_vectors
        image = _MISSES * rows * self.across * self._image_cost
        if way.by_bands:
            own = -(-bands // threads)
            return (sums + image) * own / bands + -(-own // at_once) * self._weights_cost
        rounds = -(-bands // at_once)
        own = -(-rounds * blocks // threads)
        met = min(rounds, -(-own // blocks) + (own % blocks > 0 and blocks % own > 0))
        return sums * own / (rounds * blocks) + image * met / rounds + self._weights_cost * own / blocks

    @property
    def anew(self) -> float:
        """The share of all work that a thread does once more for each further part of it."""
        image = self.cutting.band * self.at_once * self.across * self._image_cost * _MISSES
        return (self._weights_cost if self.cutting.by_bands else image) / self._time(self.cutting, 1)

    @property
    def _blocks(self) -> int:
        return sum(block.count for block in self.blocks)

    def _band_cost(self, band: int) -> float:
        """Return the cycles of the sums of a band: rounds of positions × vectors, and what is loaded for them."""
        steps = self.over.channels / self.dot.group
        return self.places * sum(
            p.count * v.count * (_ROUND + steps * (p.width * v.width * _PRODUCT + (p.width + v.width) * _SIMPLE))
            for p in cuts(band * self.across, self._positions(band))
            for v in self.blocks
        )

    # --- memory, in elements

    @property
    def copy(self) -> int:
        """Copied rows of one row of tiles."""
        image = self.image
        return image.band(self.form.results, 0) * image.band(image.out_width, 1) * image.channels

    @property
    def tiles_plane(self) -> int:
        """The tiles of bands at a time, changed: one place of each."""
        return self.at_once * self.cutting.band * self.across * self.over.channels + _APART

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
        """About how many cycles it takes, whatever the bands."""
        tiles, bands = self._down * self.across, -(-self._down // self._fitting)
        changes = tiles * (self._image_cost + self._back * self.all_vectors) + bands * self._weights_cost
        steps = self.over.channels / self.dot.group * self.all_vectors
        return self.over.batch * (changes + _PRODUCT * tiles * self.places * steps)

    @property
    def _image_cost(self) -> float:
        """Cycles to change a tile of the image."""
        return _SIMPLE * self._wide * (2 * self.form.size * self.form.operations[0] + 3 * self.places)

    @property
    def _weights_cost(self) -> float:
        """Cycles to change all weights."""
        each = (3 + self.form.size) * self.form.operations[1] + 2 * (_TAPS + self.places)
        return _SIMPLE * self._wide * each * self.over.out_channels

    @property
    def _back(self) -> float:
        """Cycles to change a vector of sums of a tile back."""
        size, results = self.form.size, self.form.results
        return _SIMPLE * ((size + results) * self.form.operations[2] + 2 * self.places + 3 * results**2)

    @property
    def _wide(self) -> float:
        return self.over.channels / (2 * self.dot.lanes)


def direct_cost(over: Image, dot: Dot) -> float:
    """Return about how many cycles the sums take one by one."""
    vectors = -(-over.out_channels // dot.lanes)
    return _PRODUCT * over.batch * over.out_height * over.out_width * _TAPS * -(-over.channels // dot.group) * vectors
