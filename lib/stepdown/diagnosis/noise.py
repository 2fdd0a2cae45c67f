"""Powers of errors, summed over samples: signal-to-noise ratios and cosines that add up exactly one way."""

import math
from dataclasses import dataclass

import numpy as np

DECIBEL_CAP = 200.0
"""What an exact result counts as where a number is needed."""


@dataclass
class Noise:
    """Sums over elements of an error e and its reference r: Σe², Σr², Σr, Σ(r + e)², Σr·(r + e) and their count."""

    error: float = 0.0
    square: float = 0.0
    total: float = 0.0
    target: float = 0.0
    product: float = 0.0
    count: int = 0

    def add(self, target: np.ndarray, reference: np.ndarray) -> None:
        """Take in a tensor and its reference, of any shape."""
        r, t = (np.asarray(x, np.float64).ravel() for x in (reference, target))
        e = t - r
        self.error += float(e @ e)
        self.square += float(r @ r)
        self.total += float(r.sum())
        self.target += float(t @ t)
        self.product += float(t @ r)
        self.count += r.size

    @property
    def share(self) -> float:
        """Noise over signal, Σe² / Σ(r − mean r)²; inf where it is no number."""
        if not self.error:
            return 0.0
        signal = self.square - self.total * self.total / max(1, self.count)
        ratio = self.error / signal if signal > 0 else math.inf
        return ratio if math.isfinite(ratio) else math.inf

    @property
    def sqnr_db(self) -> float:
        """10·log10(signal / noise), inf for no noise."""
        share = self.share
        return -10 * math.log10(share) if 0 < share < math.inf else (math.inf if share == 0 else -math.inf)

    @property
    def cosine(self) -> float:
        """a·b / (‖a‖‖b‖); 1 where both are zero."""
        if not math.isfinite(self.target):
            return 0.0
        norms = math.sqrt(self.target * self.square)
        return self.product / norms if norms else float(self.target == self.square)

    @property
    def cosine_share(self) -> float:
        """Noise over Σr²: what `cosine` falls by, twice, while the noise is small and at right angles to r."""
        return self.error / self.square if self.square else (math.inf if self.error else 0.0)


def decibel(share: float) -> float:
    """Return a ratio of noise to signal in decibels, capped at ±`DECIBEL_CAP`."""
    if share <= 0:
        return DECIBEL_CAP
    return max(-DECIBEL_CAP, min(DECIBEL_CAP, -10 * math.log10(share))) if math.isfinite(share) else -DECIBEL_CAP
