"""Means. Source: reference_integer_ops::AveragePool, reference_ops::QuantizedMeanOrSum."""

import numpy as np

from stepdown.numerics.tflite.fixed import quantize_multiplier


def mean_away(sums: np.ndarray, counts: np.ndarray | int) -> np.ndarray:
    """Return sums / counts rounded half away from zero, in int64."""
    sums, counts = sums.astype(np.int64), np.asarray(counts, np.int64)
    return np.sign(sums) * ((np.abs(sums) + counts // 2) // counts)


def mean_multiplier(scale: float, count: int) -> tuple[int, int]:
    """Return (multiplier, shift) of scale / count: the multiplier of `scale` lifted and divided, cut off."""
    multiplier, shift = quantize_multiplier(scale)
    lift = min(count.bit_length() - 1, 32, 31 + shift)
    return (multiplier << lift) // count, shift - lift
