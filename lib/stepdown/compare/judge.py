"""The verdict on one tensor against its reference.

- The shapes must be the same: nothing is reshaped or cropped.
- EQUAL: the same bytes with the same meaning; for tensors stored in different ways, the same values.
- Integers, flags and text without a scale are exact: anything but the same values is NOT_EQUAL.
- Everything else is compared as real numbers, quantised tensors by their own scales. It passes where it meets the
  tolerance; it is then called CLOSE where `Similarity.close_order` is not 0, else SIMILAR.
- NaN and infinities must be the same and in the same places on both sides; the rest is then compared, and the note says
  so. A tensor with no finite element fails: there is nothing in it that could show an error.
"""

import math
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from stepdown.compare.decode import is_exact, real_values, same_storage
from stepdown.compare.metrics import SAME, Similarity, peak, similarity
from stepdown.files.npz import TensorInfo

_BYTES_BLOCK = 1 << 16
_NUMBERS = "biuf"


class Level(StrEnum):
    """How a tensor came out; the first three pass."""

    EQUAL = "EQUAL"
    CLOSE = "CLOSE"
    SIMILAR = "SIMILAR"
    NOT_EQUAL = "NOT_EQUAL"
    NOT_SIMILAR = "NOT_SIMILAR"
    MISSING = "MISSING"
    SHAPE = "SHAPE"
    NOT_FINITE = "NOT_FINITE"

    @property
    def passed(self) -> bool:
        """Whether the tensor passes."""
        return self in (Level.EQUAL, Level.CLOSE, Level.SIMILAR)


@dataclass(frozen=True)
class Tolerance:
    """The least cosine and euclidean similarity with which a tensor passes."""

    cosine: float = 0.99
    euclid: float = 0.99

    def met(self, by: Similarity) -> bool:
        """Tell whether both are reached."""
        return by.cosine >= self.cosine and by.euclid >= self.euclid


@dataclass(frozen=True)
class Stored:
    """A tensor as it lies in a dump, with what it means; `where` is what errors call it."""

    values: np.ndarray
    meaning: TensorInfo
    where: str = ""

    def real(self) -> np.ndarray:
        """Return its real values."""
        return real_values(self.values, self.meaning, self.where)


@dataclass(frozen=True)
class Verdict:
    """How a tensor came out; `note` says why it failed, or what to know although it passed."""

    level: Level
    note: str = ""
    similarity: Similarity | None = None


def judge(target: Stored, reference: Stored, tolerance: Tolerance) -> Verdict:
    """Compare a tensor with its reference.

    Raises:
        InputError: a file's metadata does not fit its tensor.
    """
    a, b = target.values, reference.values
    if a.shape != b.shape:
        return Verdict(Level.SHAPE, _shape_note(target, reference))
    alike = a.dtype == b.dtype and same_storage(target.meaning, reference.meaning)
    if alike and _same_bytes(a, b):
        return _judge_equal(target.real())
    exact = is_exact(a, target.meaning) or is_exact(b, reference.meaning)
    a, b = target.real(), reference.real()
    return _judge_exact(a, b) if exact else _judge_real(a, b, alike, tolerance)


def non_finite_text(x: np.ndarray) -> str:
    """Return how many NaN and infinities a tensor has, for people: `2 NaN, 1 inf`; empty where it has none."""
    if x.dtype.kind != "f":
        return ""
    counts = {
        "NaN": int(np.count_nonzero(np.isnan(x))),
        "inf": int(np.count_nonzero(np.isposinf(x))),
        "-inf": int(np.count_nonzero(np.isneginf(x))),
    }
    return ", ".join(f"{count} {what}" for what, count in counts.items() if count)


def _shape_note(target: Stored, reference: Stored) -> str:
    sides = [f"{s.values.shape}{f' ({s.meaning.layout})' if s.meaning.layout else ''}" for s in (target, reference)]
    return f"{sides[0]} in TARGET, {sides[1]} in REFERENCE"


def _same_bytes(a: np.ndarray, b: np.ndarray) -> bool:
    if not a.nbytes:
        return True
    a, b = (np.ascontiguousarray(x).reshape(-1).view(np.uint8) for x in (a, b))
    return all(np.array_equal(a[i : i + _BYTES_BLOCK], b[i : i + _BYTES_BLOCK]) for i in range(0, a.size, _BYTES_BLOCK))


def _judge_equal(x: np.ndarray) -> Verdict:
    if x.dtype.kind != "f" or math.isfinite(peak(x)):
        return Verdict(Level.EQUAL, similarity=SAME)
    if not np.isfinite(x).any():
        return Verdict(Level.NOT_FINITE, f"no finite element on either side: {non_finite_text(x)}")
    return Verdict(Level.EQUAL, f"warning: {non_finite_text(x)} in both", SAME)


def _judge_exact(a: np.ndarray, b: np.ndarray) -> Verdict:
    numbers = a.dtype.kind in _NUMBERS and b.dtype.kind in _NUMBERS
    if not numbers and a.dtype.kind != b.dtype.kind:
        return Verdict(Level.NOT_EQUAL, f"{a.dtype} in TARGET cannot be compared with {b.dtype} in REFERENCE")
    differs = a != b
    if not differs.any():
        return Verdict(Level.EQUAL, similarity=SAME)
    finite = numbers and math.isfinite(peak(a)) and math.isfinite(peak(b))
    note = f"{np.count_nonzero(differs)} of {a.size} elements differ, {_first(differs, a, b)}"
    return Verdict(Level.NOT_EQUAL, note, similarity(a, b) if finite else None)


def _judge_real(a: np.ndarray, b: np.ndarray, alike: bool, tolerance: Tolerance) -> Verdict:
    note = ""
    if not (math.isfinite(peak(a)) and math.isfinite(peak(b))):
        finite_a, finite_b = np.isfinite(a), np.isfinite(b)
        misplaced = (finite_a != finite_b) | ~(finite_a | (a == b) | (np.isnan(a) & np.isnan(b)))
        if misplaced.any():
            return Verdict(Level.NOT_FINITE, _misplaced_note(misplaced, a, b))
        if not finite_a.any():
            return _judge_equal(a)
        note = f"warning: {non_finite_text(a)} in the same places of both, the rest is compared"
        a, b = a[finite_a], b[finite_a]
    return _level(similarity(a, b), alike, tolerance, note)


def _level(found: Similarity, alike: bool, tolerance: Tolerance, note: str) -> Verdict:
    # Tensors stored alike whose values are the same but not their bytes have zeros of different signs.
    if not found.max_difference and not alike:
        return Verdict(Level.EQUAL, note, found)
    if tolerance.met(found):
        return Verdict(Level.CLOSE if found.close_order else Level.SIMILAR, note, found)
    if found.close_order and not note:
        note = f"close at order {found.close_order}, but below the tolerance"
    return Verdict(Level.NOT_SIMILAR, note, found)


def _misplaced_note(misplaced: np.ndarray, a: np.ndarray, b: np.ndarray) -> str:
    sides = f"TARGET has {non_finite_text(a) or 'none'}, REFERENCE has {non_finite_text(b) or 'none'}"
    return f"NaN or infinities differ: {sides}; {_first(misplaced, a, b)}"


def _first(chosen: np.ndarray, a: np.ndarray, b: np.ndarray) -> str:
    index = np.unravel_index(int(np.argmax(chosen)), chosen.shape)
    place = tuple(int(i) for i in index)
    return f"first at {place}: {a[index]!s} against {b[index]!s}"
