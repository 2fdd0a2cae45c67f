"""Confidence intervals of proportions."""

import math

# The 0.975 quantile of the normal distribution: 95 % lie within.
Z_95 = 1.959963984540054


def wilson(hits: int, count: int, z: float = Z_95) -> tuple[float, float]:
    """Return the Wilson score interval of hits/count; (0, 1) where count is 0.

    Source: E. B. Wilson, Probable inference, the law of succession, and statistical inference (1927):
    (p + z²/2n ± z·√(p(1 − p)/n + z²/4n²)) / (1 + z²/n).
    """
    if not count:
        return 0.0, 1.0
    share, square = hits / count, z * z / count
    middle = share + square / 2
    reach = z * math.sqrt(share * (1 - share) / count + square / (4 * count))
    low, high = (middle - reach) / (1 + square), (middle + reach) / (1 + square)
    return (low if hits else 0.0), (high if hits < count else 1.0)
