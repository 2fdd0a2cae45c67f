"""When a tensor of a lowered network is bad: below two fixed similarities, or much worse than its lowering makes it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from stepdown.diagnosis.causes import limits, step
from stepdown.diagnosis.noise import Noise
from stepdown.diagnosis.reference import Tensors, named, run_values
from stepdown.diagnosis.relower import lower, recipe_of, row_over
from stepdown.diagnosis.units import Unit, Units
from stepdown.dialects.types import quant_of
from stepdown.transforms.import_calibration_table import Row

WORSE = 2.0
"""A noise power this many times the expected one (3 dB) is no accident of rounding."""
_TOO_WIDE = 16.0
"""A range this many times as wide as the values wastes four of eight bits: it is taken for wrong."""


@dataclass(frozen=True)
class Likeness:
    """How like its reference a tensor of `count` elements is.

    `euclid` is 1 − ‖a − b‖ / ‖(a + b) / 2‖, `share` noise over signal.
    """

    cosine: float
    euclid: float
    share: float
    count: int


def likeness(found: np.ndarray, wanted: np.ndarray) -> Likeness:
    """Return how like `wanted` a tensor is; nothing is less like it than one that is not finite."""
    a, b = (np.asarray(x, np.float64).ravel() for x in (found, wanted))
    if not np.isfinite(a).all():
        return Likeness(-math.inf, -math.inf, math.inf, a.size)
    noise = Noise()
    noise.add(a, b)
    middle = float(np.linalg.norm(a + b)) / 2
    euclid = 1 - float(np.linalg.norm(a - b)) / middle if middle else float(not noise.error)
    return Likeness(noise.cosine, euclid, noise.share, a.size)


@dataclass(frozen=True)
class Tolerance:
    """The least cosine, and the least euclidean similarity, of every tensor."""

    cosine: float
    euclid: float

    def holds(self, name: str, found: Likeness) -> bool:
        """Tell whether the tensor `name` is within tolerance."""
        return found.cosine >= self.cosine and found.euclid >= self.euclid

    def expects(self, name: str) -> float | None:
        """Return the noise over signal that the tensor `name` should have: it does not say."""
        return None

    def given_output(self, name: str, found: Likeness) -> "Tolerance":
        """Return the tolerance for the tensors in front of the bad output `name`: the same."""
        return self

    def shown_by(self, name: str, found: Likeness) -> "Tolerance":
        """Return the tolerance that `found` leaves: the same."""
        return self


@dataclass(frozen=True)
class Expected:
    """Each tensor is compared with what the same lowering gives where nothing is broken; see `expected`."""

    tensors: Mapping[str, Likeness]
    factor: float = WORSE

    def holds(self, name: str, found: Likeness) -> bool:
        """Tell whether the noise of the tensor `name` is at most `factor` times the expected one, but for chance."""
        return self.excess(name, found) <= self.factor

    def excess(self, name: str, found: Likeness) -> float:
        """Return how many times the expected noise there is, beyond what chance makes of so few elements.

        Two sums of n squares of the same normal noise have a ratio whose logarithm has a variance of about 4 / n (F
        distribution); three deviations are left to chance.
        """
        share = self.tensors[name].share * math.exp(6 / math.sqrt(max(1, found.count)))
        if not found.share:
            return 0.0
        return found.share / share if share else math.inf

    def expects(self, name: str) -> float | None:
        """Return the noise over signal that the tensor `name` should have."""
        return self.tensors[name].share

    def given_output(self, name: str, found: Likeness) -> "Expected":
        """Return the tolerance for the tensors in front of the bad output `name`.

        The noise of a fault is diluted on its way by that of the ops behind it. So it stands out at the fault at least
        as much as at the output; halfway (in dB) between the expected noise and the output's leaves room either way.
        """
        return replace(self, factor=max(WORSE, math.sqrt(min(self.excess(name, found), 1e12))))

    def shown_by(self, name: str, found: Likeness) -> Tolerance:
        """Return fixed similarities between the expected ones and those of `found`, the geometric middle of both."""
        right = self.tensors[name]
        return Tolerance(_between(found.cosine, right.cosine), _between(found.euclid, right.euclid))


def _between(bad: float, good: float) -> float:
    """Return what lies between two similarities, above the worse one; rounded to what can be typed."""
    far, near = (max(1 - x, 1e-7) for x in (max(bad, -1.0), good))
    return round(1 - math.sqrt(far * near), 7)


def expected(units: Units, sample: Mapping[str, np.ndarray], tensors: Tensors, chip: str = "") -> Expected:
    """Return what every tensor of the target of `units` should be like on a sample, whose float tensors are given.

    The reference is lowered again as the target was, and run. Its weights, biases, multipliers and tables are right;
    ranges are the target's own, but for those that cut the sample's values or are far too wide, which are mended.

    Raises:
        InputError: the reference cannot be lowered as the target was.
    """
    observed = {unit.name: _ends(tensors[unit.name]) for unit in units.all}
    recipe = recipe_of(units, observed, chip)
    mended = {unit.name: row for unit in units.all if (row := _mended(unit, *observed[unit.name]))}
    found = named(run_values(lower(units.reference, recipe.changed(mended, {})), sample))
    return Expected({unit.name: likeness(found[unit.name], tensors[unit.name]) for unit in units.all})


def _ends(array: np.ndarray) -> tuple[float, float]:
    return float(array.min(initial=np.inf)), float(array.max(initial=-np.inf))


def _mended(unit: Unit, least: float, greatest: float) -> Row | None:
    """Return the range that a tensor should have, None where it has one; rounding of zero points moves it by a step."""
    params = quant_of(unit.value)
    if params is None:
        return None
    low, high = limits(unit.value)
    if least < low - step(params) or greatest > high + step(params):
        return row_over(min(low, least), max(high, greatest))
    largest = max(-least, greatest)
    return row_over(least, greatest) if 0 < _TOO_WIDE * largest < max(-low, high) else None
