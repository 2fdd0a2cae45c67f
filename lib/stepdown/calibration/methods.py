"""From a sketch to the ranges that a tensor is quantised with.

Each method gives a threshold, for symmetric quantisation, and a minimum and a maximum, for asymmetric quantisation.
A tensor with no value below zero is unsigned when quantised symmetrically: 255 steps instead of 127.
"""

from collections.abc import Callable

import numpy as np

from stepdown.calibration.sketch import SIDE, Sketch
from stepdown.transforms.import_calibration_table import Row

SIGNED_STEPS, UNSIGNED_STEPS = 127, 255
DEFAULT_PERCENTILE = 99.99
# Candidates: first over the whole range, then between the neighbours of the best one.
_COARSE, _FINE = 48, 17
_LEAST_SHARE = 0.05
# The candidates of KL lie this many bins apart.
_KL_STRIDE = 8
_KL_LEVELS = 128
_NO_SHARE = 1e-30


def by_max(sketch: Sketch, percentile: float = DEFAULT_PERCENTILE) -> Row:
    """Return the exact extremes."""
    return Row(sketch.absmax, sketch.minimum, sketch.maximum)


def by_percentile(sketch: Sketch, percentile: float = DEFAULT_PERCENTILE) -> Row:
    """Return the values that `percentile` per cent of all lie below and above, interpolated inside their bins."""
    share = (100.0 - percentile) / 100.0
    low, high = _quantile(sketch, share), _quantile(sketch, 1.0 - share)
    return Row(max(-low, high, 0.0) or sketch.absmax, low, high)


def by_mse(sketch: Sketch, percentile: float = DEFAULT_PERCENTILE) -> Row:
    """Return the ranges with the least expected squared error of rounding and clipping to 8 bits together."""
    edges, density = _spread(sketch)
    absmax, signed = sketch.absmax, sketch.minimum < 0
    steps = SIGNED_STEPS if signed else UNSIGNED_STEPS

    def symmetric_error(thresholds: np.ndarray) -> np.ndarray:
        return expected_error(edges, density, -thresholds * signed, thresholds, steps * (1 + signed))

    threshold = _least(symmetric_error, absmax)
    low, high = _least_range(edges, density, min(sketch.minimum, 0.0), max(sketch.maximum, 0.0))
    return Row(threshold, max(low, sketch.minimum), min(high, sketch.maximum))


def by_kl(sketch: Sketch, percentile: float = DEFAULT_PERCENTILE) -> Row:
    """Return the threshold at which 128 levels keep most of the distribution of |x|, by Kullback-Leibler divergence.

    Source: S. Migacz, 8-bit Inference with TensorRT, GTC 2017. Values near zero (bin 0) are left out.
    """
    magnitudes = _magnitudes(sketch)
    used = int(np.flatnonzero(magnitudes)[-1]) + 1 if magnitudes.any() else 0
    if used <= _KL_LEVELS:
        return by_max(sketch)
    cuts = np.array([*range(_KL_LEVELS, used, _KL_STRIDE), used])
    best = int(np.argmin(divergences(magnitudes[:used], cuts)))
    threshold = min(sketch.absmax, int(cuts[best]) * sketch.bin_width)
    return Row(threshold, max(sketch.minimum, -threshold), min(sketch.maximum, threshold))


def by_auto(sketch: Sketch, percentile: float = DEFAULT_PERCENTILE) -> Row:
    """Return, for symmetric and asymmetric quantisation apart, what the other methods give with the least Σ |x − x'|.

    Unlike the square, which `by_mse` minimises, it lets a few outliers go where that serves the many.
    """
    rows = [method(sketch, percentile) for name, method in METHODS.items() if name != "auto"]
    thresholds = np.array([row.threshold for row in rows])
    lows, highs = (np.array([end(getattr(row, side), 0.0) for row in rows]) for end, side in _ENDS)
    signed = sketch.minimum < 0
    steps = 2 * SIGNED_STEPS if signed else UNSIGNED_STEPS
    best = rows[int(np.argmin(absolute_error(sketch, -thresholds * signed, thresholds, steps)))]
    range_row = rows[int(np.argmin(absolute_error(sketch, lows, highs, UNSIGNED_STEPS)))]
    return Row(best.threshold, range_row.minimum, range_row.maximum)


_ENDS = ((min, "minimum"), (max, "maximum"))
METHODS: dict[str, Callable[[Sketch, float], Row]] = {
    "mse": by_mse,
    "max": by_max,
    "percentile": by_percentile,
    "kl": by_kl,
    "auto": by_auto,
}


def choose_range(sketch: Sketch, method: str, percentile: float = DEFAULT_PERCENTILE) -> Row:
    """Return the ranges of a tensor by a method of `METHODS`, as float32 values; all zeros give a row of zeros."""
    if sketch.absmax == 0:
        return Row(0.0, 0.0, 0.0)
    row = METHODS[method](sketch, percentile)
    threshold, low, high = (float(np.float32(v)) for v in (row.threshold, row.minimum, row.maximum))
    return Row(threshold, low, high)


def expected_error(edges: np.ndarray, density: np.ndarray, low: np.ndarray, high: np.ndarray, steps: int) -> np.ndarray:
    """Return, a candidate range each, the expected Σ (x − x')² of rounding x to `steps` + 1 levels that include 0.

    Values are spread evenly inside a bin: `density[i]` values a unit between `edges[i]` and `edges[i + 1]`. With
    u = x / Δ and n the level that x goes to, the error's integral is Δ³ (n / 12 + (u − n)³ / 3), which holds for
    rounded and clipped values alike; differences between the edges of a bin are its error.
    """
    delta = ((high - low) / steps)[:, None]
    lowest = np.rint(low[:, None] / delta)
    u = edges / delta
    level = np.rint(u)
    np.clip(level, lowest, lowest + steps, out=level)
    u -= level
    cubes = np.multiply(u, u)
    cubes *= u
    level /= 12
    level += np.divide(cubes, 3, out=cubes)
    errors = np.subtract(level[:, 1:], level[:, :-1], out=u[:, 1:])
    return np.asarray(errors @ density * delta[:, 0] ** 3)


def divergences(counts: np.ndarray, cuts: np.ndarray) -> np.ndarray:
    """Return, a cut each, how far 128 levels of the first `cut` bins are from these with what lies beyond in the last.

    With p the bins' shares and q that of a bin's level, evenly over its bins that are not empty, Σ p·log p is a
    prefix sum and Σ p·log q needs a logarithm a level: no loop goes over bins. An empty last bin has q = 1e-30.
    """
    total, kept = float(counts.sum()), np.concatenate([[0], np.cumsum(counts)])
    filled = np.concatenate([[0], np.cumsum(counts > 0)])
    entropies = np.concatenate([[0.0], np.cumsum(_times_log(counts, counts))])
    last, beyond = counts[cuts - 1], counts.sum() - kept[cuts]
    own = entropies[cuts] - _times_log(last, last) + _times_log(last + beyond, last + beyond)
    edges = np.arange(_KL_LEVELS + 1) * cuts[:, None] // _KL_LEVELS
    inside, bins = np.diff(kept[edges], axis=1), np.diff(filled[edges], axis=1)
    level = np.maximum(inside / np.maximum(bins, 1) / np.maximum(kept[cuts], 1)[:, None], _NO_SHARE)
    last_level = np.where(last > 0, level[:, -1], _NO_SHARE)
    cross = (inside * np.log(level)).sum(axis=1) + beyond * np.log(last_level)
    return (own - cross) / total - np.log(total)


def absolute_error(sketch: Sketch, low: np.ndarray, high: np.ndarray, steps: int) -> np.ndarray:
    """Return, a candidate range each, the expected Σ |x − x'| of rounding x to `steps` + 1 levels, and clipping it.

    A value is taken at the middle of its bin; rounding errs evenly up to Δ/2, on the mean Δ/4.
    """
    edges, density = _spread(sketch)
    middle, count = (edges[1:] + edges[:-1]) / 2, density * np.diff(edges)
    below, above = low[:, None] - middle, middle - high[:, None]
    beyond = np.maximum(np.maximum(below, above), 0.0)
    return beyond @ count + (beyond == 0) @ count * (high - low) / steps / 4


def _spread(sketch: Sketch) -> tuple[np.ndarray, np.ndarray]:
    """Return edges and density of the bins in use; bin 0, whose values are nearly or exactly zero, is left out."""
    used = np.flatnonzero(sketch.counts)
    first, last = min(int(used[0]), SIDE), max(int(used[-1]), SIDE)
    whole = np.arange(first - 1, last + 2) - SIDE
    edges = whole[whole != 0] * sketch.bin_width
    counts = sketch.counts[first : last + 1].copy()
    counts[SIDE - first] = 0
    return edges, counts / np.diff(edges)


def _least(error: Callable[[np.ndarray], np.ndarray], largest: float) -> float:
    """Return the candidate up to `largest` with the least error, the largest of equals."""
    candidates = largest * np.linspace(1.0, _LEAST_SHARE, _COARSE)
    step = candidates[0] - candidates[1]
    best = candidates[int(np.argmin(error(candidates)))]
    fine = np.linspace(min(largest, best + step), max(best - step, step / _FINE), _FINE)
    return float(fine[int(np.argmin(error(fine)))])


def _least_range(edges: np.ndarray, density: np.ndarray, low: float, high: float) -> tuple[float, float]:
    """Return the range inside [low, high] with the least error, one end at a time, the wider end first."""

    def high_error(highs: np.ndarray) -> np.ndarray:
        return expected_error(edges, density, np.full_like(highs, low), highs, 255)

    def low_error(lows: np.ndarray) -> np.ndarray:
        return expected_error(edges, density, -lows, np.full_like(lows, high), 255)

    first_high = high >= -low
    for end in (first_high, not first_high, first_high):
        if end and high > 0:
            high = _least(high_error, high)
        elif not end and low < 0:
            low = -_least(low_error, -low)
    return low, high


def _magnitudes(sketch: Sketch) -> np.ndarray:
    """Return the histogram of |x| in bins of `bin_width`, without bin 0."""
    positive, negative = sketch.counts[SIDE:], sketch.counts[SIDE:0:-1]
    folded = positive + negative
    folded[0] = 0
    return folded


def _times_log(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return a·log b, 0 where b is."""
    return np.asarray(a * np.log(np.maximum(b, 1)))


def _quantile(sketch: Sketch, share: float) -> float:
    """Return the value below which `share` of all values lie."""
    below = np.concatenate([[0], np.cumsum(sketch.counts)])
    wanted = share * sketch.count
    index = min(max(int(np.searchsorted(below, wanted, "right")) - 1, 0), 2 * SIDE - 1)
    number = index - SIDE
    left, right = number - (number <= 0), number + (number >= 0)
    inside = (wanted - below[index]) / max(int(sketch.counts[index]), 1)
    value = (left + min(inside, 1.0) * (right - left)) * sketch.bin_width
    return float(min(max(value, sketch.minimum), sketch.maximum))
