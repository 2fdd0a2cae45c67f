"""Statistics of a tensor's real values, accumulated in float64."""

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Statistics:
    """Of the finite elements; `nan` and `inf` count the others. Extremes keep the tensor's own type.

    All are None for a tensor without a finite element. The variance is that of the population (divided by the count).
    """

    count: int
    minimum: Any
    maximum: Any
    mean: float | None
    std: float | None
    abs_mean: float | None
    zeros: int
    nan: int
    inf: int

    @property
    def variance(self) -> float | None:
        """The square of the standard deviation."""
        return None if self.std is None else self.std**2

    @property
    def span(self) -> float | None:
        """Maximum − minimum."""
        return None if self.maximum is None else float(self.maximum) - float(self.minimum)


def statistics(x: np.ndarray) -> Statistics:
    """Return the statistics of all elements of a real tensor."""
    nan = inf = 0
    finite = x.ravel()
    if x.dtype.kind == "f" and not (good := np.isfinite(finite)).all():
        nan = int(np.count_nonzero(np.isnan(finite)))
        inf = x.size - int(np.count_nonzero(good)) - nan
        finite = finite[good]
    if not finite.size:
        return Statistics(x.size, None, None, None, None, None, 0, nan, inf)
    wide = finite.astype(np.float64)
    zeros = finite.size - int(np.count_nonzero(finite))
    spread, size = float(wide.std()), float(np.abs(wide).mean())
    return Statistics(x.size, finite.min(), finite.max(), float(wide.mean()), spread, size, zeros, nan, inf)


def channel_statistics(x: np.ndarray, axis: int) -> list[Statistics]:
    """Return the statistics of each index along `axis`."""
    return [statistics(channel) for channel in np.moveaxis(x, axis, 0)]
