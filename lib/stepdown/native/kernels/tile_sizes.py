"""Which size of tiles a convolution is made in, or none: as its rule of cost says, or as was found by measuring."""

from collections.abc import Mapping
from dataclasses import dataclass

from stepdown.native.kernels.base import Choice
from stepdown.native.schedules import Schedules

WITHOUT = 1
"""The size that stands for a convolution without tiles."""


@dataclass(frozen=True)
class TileSizes:
    """What a workload costs by the size of its tiles, `WITHOUT` among them, and the size that the rule likes best."""

    workload: str
    costs: Mapping[int, float]
    by_rule: int

    def taken(self, schedules: Schedules) -> int:
        """Return the size that is taken."""
        known = schedules.get(self.workload) or {}
        return known["results"] if known.get("results") in self.costs else self.by_rule

    def choice(self, taken: int) -> Choice:
        """Return the sizes, those first that cost least."""
        others = sorted((size for size in self.costs if size != taken), key=self.costs.__getitem__)
        return Choice(self.workload, {"results": taken}, tuple({"results": size} for size in others))
