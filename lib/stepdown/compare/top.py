"""The largest elements of a tensor."""

import numpy as np


def top_indices(x: np.ndarray, count: int) -> list[int]:
    """Return the flat indices of the `count` largest elements, largest first, equal ones by index; NaN come first."""
    keys = x.ravel()
    if keys.dtype.kind == "f":
        keys = np.where(np.isnan(keys), np.inf, keys)
    chosen = np.arange(keys.size)
    if 0 < count < keys.size:
        least = np.partition(keys, keys.size - count)[keys.size - count]
        chosen = np.flatnonzero(keys >= least)
    ascending = np.argsort(keys[chosen][::-1], kind="stable")  # reversed twice: stable among equal ones
    return [int(chosen[chosen.size - 1 - i]) for i in ascending[::-1][:count]]
