"""What no way to cut a group goes below, found quickly: most groups need no closer look."""

from collections.abc import Sequence
from itertools import accumulate

from xdsl.ir import Operation, SSAValue

from stepdown.npu.cost import local_memory
from stepdown.npu.groups.layers import Layer
from stepdown.npu.groups.layout import constant_shape, local_bytes, usable_bytes
from stepdown.npu.groups.prices import Prices


class Limits:
    """Bounds of the groups of a run of layers; a group is the layers `begin` … `end` − 1."""

    def __init__(self, layers: Sequence[Layer], prices: Prices) -> None:
        self._layers, self._prices, self._capacity = layers, prices, usable_bytes(prices.chip)
        self._two = prices.chip.dma_engines > 1
        works = [prices.work(layer, layer.kernel.shape) for layer in layers]
        moves = [sum(prices.constant(each, name, each.kernel.shape[1]) for name in each.constants) for each in layers]
        self._works, self._moves = [0, *accumulate(works)], [0, *accumulate(moves)]
        self._constants = [self._constant_bytes(layer) for layer in layers]
        self._held = [0, *accumulate(self._constants)]
        self._numbers: dict[Operation, int] = {layer.op: at for at, layer in enumerate(layers)}
        self._made = {layer.result: at for at, layer in enumerate(layers)}
        self._last_read = [self._last_reader(layer) for layer in layers]
        self._bytes = [self._local_bytes(layer.kernel.type, layer.kernel.shape) for layer in layers]

    def least_cycles(self, begin: int, end: int) -> int:
        """Return the cycles that the busiest engine works at least for a group."""
        work, moved = self._works[end] - self._works[begin], self._moves[end] - self._moves[begin]
        loads, stores = moved + self._loading(begin, end), self._storing(begin, end)
        return max(work, loads, stores) if self._two else max(work, loads + stores)

    def may_fit(self, begin: int, end: int) -> bool:
        """Tell whether a group may fit: with several tiles all constants stay, with one all rows are there at once."""
        alone = end == begin + 1
        return alone or self._held[end] - self._held[begin] <= self._capacity or self.may_fit_whole(begin, end)

    def may_fit_whole(self, begin: int, end: int) -> bool:
        """Tell whether a group may fit in one tile."""
        inner = range(begin, end)
        return all(
            self._constants[at] + sum(self._bytes[other] for other in range(begin, at + 1) if self._lasts(other, at))
            <= self._capacity
            for at in inner
        )

    def _lasts(self, made: int, at: int) -> bool:
        return self._last_read[made] >= at

    def _last_reader(self, layer: Layer) -> int:
        """Return the last layer that reads a result; one behind all where others read it."""
        end = len(self._layers)
        return max((self._numbers.get(op, end) for op in layer.readers), default=end)

    def _loading(self, begin: int, end: int) -> int:
        """Return the cycles of bringing every value that a group reads from outside, once."""
        found: dict[SSAValue, int] = {}
        for layer in self._layers[begin:end]:
            for at, value in enumerate(layer.sources):
                if not begin <= self._made.get(value, -1) < end and value not in found:
                    kind, shape = layer.kernel.input_types[at], layer.kernel.input_shapes[at]
                    found[value] = self._prices.moved(kind, shape, shape)
        return sum(found.values())

    def _storing(self, begin: int, end: int) -> int:
        kernels = (self._layers[at].kernel for at in range(begin, end) if self._last_read[at] >= end)
        return sum(self._prices.moved(kernel.type, kernel.shape, kernel.shape) for kernel in kernels)

    def _constant_bytes(self, layer: Layer) -> int:
        lanes, channels = self._prices.lanes, layer.kernel.shape[1]
        return sum(self._local_bytes(c.type, constant_shape(c, channels, lanes)) for c in layer.constants.values())

    def _local_bytes(self, type: str, shape: tuple[int, int, int, int]) -> int:
        chip = self._prices.chip
        return local_bytes(type, shape, local_memory(chip).lanes, chip.local_alignment_bytes)
