"""Which ops become groups: the cuts of a run of ops whose groups take the fewest cycles together, and their parts."""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from stepdown.chips import Chip
from stepdown.npu.groups.estimate import estimate
from stepdown.npu.groups.fit import candidates, plainest
from stepdown.npu.groups.layers import Group, Layer
from stepdown.npu.groups.layout import lay_out
from stepdown.npu.groups.limits import Limits
from stepdown.npu.groups.prices import Prices
from stepdown.npu.groups.tiles import Parts, cut

LONGEST = 256
"""Ops of a group at most: more would cost time to choose, and gain next to nothing."""
MORE_PARTS = (1, 2, 4)
"""Beside the fewest parts that fit, so many times as many are tried."""
SHORT = 12
"""A group of more ops that fits whole is not cut: its first loads and last stores are little beside the rest."""
CLOSE = 1.03
"""A group that takes so many times the work of the busiest engine cannot be cut much better."""


@dataclass(frozen=True)
class Chosen:
    """A group of some layers, its parts, and the cycles that it is believed to take."""

    group: Group
    parts: Parts
    cycles: float


def choose(layers: Sequence[Layer], chip: Chip, longest: int = LONGEST) -> list[Chosen]:
    """Return the groups of a run of layers, in order; none has more than `longest`.

    Raises:
        ResourceError: a layer alone does not fit local memory.
    """
    return _Choice(layers, chip).groups(longest)


class _Choice:
    """Dynamic programming over the cuts of a run."""

    def __init__(self, layers: Sequence[Layer], chip: Chip) -> None:
        self._layers, self._chip, self._prices = layers, chip, Prices(chip)
        self._limits = Limits(layers, self._prices)
        self._known: dict[tuple[int, int], Chosen | None] = {}
        self._cycles: dict[tuple[Group, Parts], float | None] = {}
        self._refused: set[tuple[int, int, Parts]] = set()

    def groups(self, longest: int) -> list[Chosen]:
        """Return the best groups; those for which no layout is found are left out, and all is chosen again."""
        while True:
            found = self._best(longest)
            refused = [each for each in found if not self._has_layout(each)]
            if not refused:
                return [chosen for _, _, chosen in found]
            for begin, end, chosen in refused:
                self._refused.add((begin, end, chosen.parts))
                del self._known[begin, end]

    def _best(self, longest: int) -> list[tuple[int, int, Chosen]]:
        best: list[tuple[float, int]] = [(0.0, 0)]
        for end in range(1, len(self._layers) + 1):
            found = float("inf"), end
            for begin in range(max(0, end - longest), end):
                least = best[begin][0] + self._limits.least_cycles(begin, end)
                if least < found[0] and not self._would_join(best[begin][1], begin, end):
                    chosen = self._chosen(begin, end)
                    if chosen and best[begin][0] + chosen.cycles < found[0]:
                        found = best[begin][0] + chosen.cycles, begin
            best.append(found)
        return list(self._cuts([begin for _, begin in best]))[::-1]

    def _would_join(self, before: int, begin: int, end: int) -> bool:
        """Tell whether a long group fits whole together with the one before it: apart they would overlap less."""
        joined = self._known.get((before, end)) if end - begin > SHORT and before < begin else None
        return joined is not None and joined.parts.tiles == 1

    def _cuts(self, begins: Sequence[int]) -> Iterator[tuple[int, int, Chosen]]:
        end = len(self._layers)
        while end:
            chosen = self._chosen(begins[end], end)
            assert chosen is not None
            yield begins[end], end, chosen
            end = begins[end]

    def _chosen(self, begin: int, end: int) -> Chosen | None:
        """Return the best parts of a group, None where it cannot be one."""
        if (begin, end) not in self._known:
            self._known[begin, end] = self._tried(begin, end)
        return self._known[begin, end]

    def _tried(self, begin: int, end: int) -> Chosen | None:
        if not self._limits.may_fit(begin, end) or self._is_hopeless(begin, end):
            return None
        group = Group(self._layers[begin:end])
        if group.problem():
            return None
        found: Chosen | None = None
        for parts in self._parts(group, self._limits.may_fit_whole(begin, end)):
            each = None if (begin, end, parts) in self._refused else self._priced(group, parts)
            found = each if each and not (found and found.cycles <= each.cycles) else found
            if found and self._is_good(found, begin, end):
                break
        if found is None and end == begin + 1:
            return Chosen(group, plainest(group, self._chip)[0], self._limits.least_cycles(begin, end))
        return found

    def _is_good(self, found: Chosen, begin: int, end: int) -> bool:
        """Tell whether other parts of a group would gain little."""
        whole = found.parts.tiles == 1 and end - begin > SHORT
        return whole or found.cycles <= CLOSE * self._limits.least_cycles(begin, end)

    def _is_hopeless(self, begin: int, end: int) -> bool:
        """Tell whether two groups that are shorter by one and two layers do not fit."""
        shorter = [(begin, at) for at in (end - 1, end - 2)]
        return end - begin > MORE_PARTS[-1] and all(
            each in self._known and self._known[each] is None for each in shorter
        )

    def _priced(self, group: Group, parts: Parts) -> Chosen | None:
        key = group, parts
        if key not in self._cycles:
            self._cycles[key] = estimate(group, parts, self._prices)
        cycles = self._cycles[key]
        return None if cycles is None else Chosen(group, parts, cycles)

    def _parts(self, group: Group, whole: bool) -> Iterator[Parts]:
        """Yield ways to cut a group that are worth a look: for each cut of the channels the fewest parts and more."""
        if whole:
            yield Parts()
        by_channels: dict[int, list[Parts]] = {}
        for parts in candidates(group, self._chip):
            if parts.tiles > 1:
                by_channels.setdefault(parts.channels, []).append(parts)
        looked = 0
        for each in list(by_channels.values()):
            first = bisect_left(each, True, key=lambda parts: self._priced(group, parts) is not None)
            least = each[first].tiles if first < len(each) else 0
            for times in MORE_PARTS:
                at = bisect_left(each, least * times, key=lambda parts: parts.tiles)
                if first <= at < len(each):
                    yield each[at]
            looked += first < len(each)
            if looked == len(MORE_PARTS):
                return

    def _has_layout(self, each: tuple[int, int, Chosen]) -> bool:
        chosen = each[2]
        tiles = cut(chosen.group, chosen.parts, self._prices.lanes)
        return lay_out(chosen.group, tiles, chosen.parts, self._chip) is not None
