"""Arrays as a section stores them: little-endian, row-major, 16-bit floats in their 16 bits."""

import math
from collections.abc import Sequence

import numpy as np

from stepdown.model.container import Content
from stepdown.numerics.floats import bf16_bits, from_bf16_bits

STORED: dict[str, np.dtype] = {
    "f32": np.dtype("<f4"),
    "f16": np.dtype("<f2"),
    "bf16": np.dtype("<u2"),
    "f64": np.dtype("<f8"),
    "i1": np.dtype("?"),
    **{f"{kind}{8 * size}": np.dtype(f"<{kind}{size}") for kind in "iu" for size in (1, 2, 4, 8)},
}
"""By storage name, how an element lies in a section; bf16 as its bits."""
MAX_RANK = 64
MAX_ELEMENTS = 1 << 40


def stored_bytes(shape: Sequence[int], type_name: str) -> int:
    """Return the bytes that an array takes."""
    return math.prod(shape) * STORED[type_name].itemsize


def stored_array(content: Content, shape: Sequence[int], type_name: str) -> np.ndarray:
    """Return a read-only array over the bytes of a section, without a copy."""
    array = np.frombuffer(content, STORED[type_name]).reshape(shape)
    array.flags.writeable = False
    return array


def values(array: np.ndarray, type_name: str) -> np.ndarray:
    """Return a stored array as the rest of the package holds it: 16-bit floats as float32 values."""
    if type_name == "bf16":
        return from_bf16_bits(array)
    return array.astype(np.float32) if type_name == "f16" else array


def stored_values(array: np.ndarray, type_name: str) -> np.ndarray:
    """Return an array of `values` as it is stored."""
    return bf16_bits(array) if type_name == "bf16" else array.astype(STORED[type_name])
