"""How alike the scores of a network and of its reference are, on one sample."""

import math
from dataclasses import dataclass

import numpy as np

from stepdown.compare.metrics import similarity


@dataclass(frozen=True)
class Likeness:
    """Cosine and SQNR as `compare.metrics` defines them, and the sums Σ(b − mean b)² and Σ(a − b)² behind the SQNR.

    `decibels` is None where it is infinite: the scores are the same, or the reference's are constant. `mixed` tells
    that one side's scores lie in 0..1 and the other's do not: one network ends in a softmax, and the rest says
    nothing.
    """

    cosine: float
    decibels: float | None
    signal: float
    noise: float
    mixed: bool = False


def likeness(scores: np.ndarray, reference: np.ndarray) -> Likeness | None:
    """Compare scores[C] with the reference's; None where one, or a sum of squares, is not finite."""
    a, b = np.asarray(scores, np.float64).reshape(-1), np.asarray(reference, np.float64).reshape(-1)
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        return None
    found = similarity(a, b)
    about_mean, difference = b - b.mean(), a - b
    signal, noise = float(about_mean @ about_mean), float(difference @ difference)
    if not (math.isfinite(signal) and math.isfinite(noise)):
        return None
    decibels = found.sqnr_db if math.isfinite(found.sqnr_db) else None
    return Likeness(found.cosine, decibels, signal, noise, _in_unit(a) != _in_unit(b))


def _in_unit(scores: np.ndarray) -> bool:
    return bool(scores.min() >= 0 and scores.max() <= 1)
