"""The methods against the definitions that they compute from a histogram."""

import numpy as np
import pytest

from stepdown.calibration.methods import METHODS, Row, choose_range, divergences
from stepdown.calibration.sketch import Sketch

RANDOM = np.random.default_rng(7)
SAMPLES = {
    "laplace": RANDOM.laplace(size=50_000),
    "relu": np.maximum(RANDOM.standard_normal(50_000), 0),
    "heavy": RANDOM.standard_normal(50_000) ** 3,
    "shifted": RANDOM.standard_normal(50_000) * 0.5 + 3,
    "negative": -np.abs(RANDOM.standard_normal(50_000)),
    "one_sided": np.concatenate([RANDOM.standard_normal(50_000) * 0.1, [50.0]]),
}
SAMPLES = {name: values.astype(np.float32) for name, values in SAMPLES.items()}


def sketch_of(values: np.ndarray) -> Sketch:
    sketch = Sketch()
    sketch.update(values)
    return sketch


def error(values: np.ndarray, low: float, high: float, steps: int) -> float:
    """Return Σ (x − x')² of quantising to `steps` + 1 levels over [low, high], 0 among them."""
    delta = (high - low) / steps
    lowest = np.rint(low / delta)
    exact = values.astype(np.float64)
    return float(np.sum((exact - np.clip(np.rint(exact / delta), lowest, lowest + steps) * delta) ** 2))


@pytest.mark.parametrize("values", SAMPLES.values(), ids=SAMPLES)
def test_mse_threshold_is_as_good_as_the_best_of_many(values: np.ndarray) -> None:
    row = choose_range(sketch_of(values), "mse")
    signed = bool(values.min() < 0)
    steps = 254 if signed else 255
    candidates = np.abs(values).max() * np.linspace(0.05, 1, 300)
    best = min(error(values, -t * signed, t, steps) for t in candidates)
    assert error(values, -row.threshold * signed, row.threshold, steps) <= 1.02 * best


@pytest.mark.parametrize("values", SAMPLES.values(), ids=SAMPLES)
def test_mse_range_is_as_good_as_the_best_of_many(values: np.ndarray) -> None:
    row = choose_range(sketch_of(values), "mse")
    low, high = min(float(values.min()), 0.0), max(float(values.max()), 0.0)
    shares = np.linspace(0.05, 1, 20)
    best = min(error(values, low * a, high * b, 255) for a in shares for b in shares if low * a < high * b)
    assert error(values, min(row.minimum, 0.0), max(row.maximum, 0.0), 255) <= 1.05 * best


@pytest.mark.parametrize("values", SAMPLES.values(), ids=SAMPLES)
def test_max_is_exact(values: np.ndarray) -> None:
    row = choose_range(sketch_of(values), "max")
    assert row == Row(float(np.abs(values).max()), float(values.min()), float(values.max()))


@pytest.mark.parametrize("values", SAMPLES.values(), ids=SAMPLES)
def test_percentiles_lie_within_two_bins_of_the_exact_ones(values: np.ndarray) -> None:
    sketch = sketch_of(values)
    row = choose_range(sketch, "percentile", 99.0)
    low, high = np.percentile(values, [1, 99])
    assert abs(row.minimum - low) <= 2 * sketch.bin_width
    assert abs(row.maximum - high) <= 2 * sketch.bin_width


def test_the_hundredth_percentile_is_the_maximum() -> None:
    sketch = sketch_of(SAMPLES["heavy"])
    row = choose_range(sketch, "percentile", 100.0)
    assert abs(row.maximum - sketch.maximum) <= sketch.bin_width
    assert abs(row.minimum - sketch.minimum) <= sketch.bin_width


def test_kl_cuts_an_outlier_off_and_keeps_a_flat_distribution() -> None:
    assert choose_range(sketch_of(SAMPLES["one_sided"]), "kl").threshold < 10
    flat = sketch_of(np.linspace(-1, 1, 100_001, dtype=np.float32))
    assert choose_range(flat, "kl").threshold > 0.95


def divergence(counts: np.ndarray, cut: int) -> float:
    """Return Σ p·log(p / q) bin by bin: p with what lies beyond `cut` in its last bin, q a level's mean where p was."""
    kept = counts[:cut].astype(np.float64)
    p, q = kept.copy(), np.zeros(cut)
    p[-1] += counts[cut:].sum()
    for level in range(128):
        bins = slice(level * cut // 128, (level + 1) * cut // 128)
        there = kept[bins] > 0
        q[bins] = there * kept[bins].sum() / max(there.sum(), 1)
    p, q = p / p.sum(), np.maximum(q / max(kept.sum(), 1), 1e-30)
    return float(np.sum(p[p > 0] * np.log(p[p > 0] / q[p > 0])))


@pytest.mark.parametrize("kind", ["dense", "sparse", "empty start"])
def test_divergences_are_those_of_the_definition(kind: str) -> None:
    counts = np.random.default_rng(3).poisson({"dense": 40.0, "sparse": 0.3, "empty start": 2.0}[kind], 700)
    counts[: 300 if kind == "empty start" else 1] = 0
    cuts = np.array([128, 129, 200, 256, 699, 700])
    assert divergences(counts, cuts) == pytest.approx([divergence(counts, cut) for cut in cuts], abs=1e-9)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("values", [[0.0], [-2.5], [1e-38, 2e-38], [3.0], [3e38, -3e38], [-1e-30, 5.0]], ids=str)
def test_odd_tensors_get_a_usable_range_inside_what_was_seen(method: str, values: list[float]) -> None:
    sketch = sketch_of(np.array(values, np.float32))
    row = choose_range(sketch, method)
    assert 0 <= row.threshold <= sketch.absmax
    assert sketch.minimum <= row.minimum <= row.maximum <= sketch.maximum
    assert (row.threshold > 0) == (sketch.absmax > 0)


def absolute(values: np.ndarray, low: float, high: float, steps: int) -> float:
    """Return Σ |x − x'| of quantising to `steps` + 1 levels over [low, high], 0 among them."""
    delta = (high - low) / steps
    lowest = np.rint(low / delta)
    exact = values.astype(np.float64)
    return float(np.abs(exact - np.clip(np.rint(exact / delta), lowest, lowest + steps) * delta).sum())


@pytest.mark.parametrize("values", SAMPLES.values(), ids=SAMPLES)
def test_auto_takes_what_has_the_least_absolute_error(values: np.ndarray) -> None:
    sketch, signed = sketch_of(values), bool(values.min() < 0)
    rows = {name: choose_range(sketch, name) for name in METHODS}

    def symmetric(row: Row) -> float:
        return absolute(values, -row.threshold * signed, row.threshold, 254 if signed else 255)

    def asymmetric(row: Row) -> float:
        return absolute(values, min(row.minimum, 0.0), max(row.maximum, 0.0), 255)

    auto = rows.pop("auto")
    for measure in (symmetric, asymmetric):
        assert measure(auto) <= 1.02 * min(map(measure, rows.values()))
    assert auto.threshold in {row.threshold for row in rows.values()}
    assert (auto.minimum, auto.maximum) in {(row.minimum, row.maximum) for row in rows.values()}
