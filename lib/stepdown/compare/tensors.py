"""Comparing two dumps tensor by tensor: names by the rules of `pairing`, values by those of `judge`.

Only one tensor of each file is in memory at a time.
"""

import math
import os
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from contextlib import closing
from dataclasses import dataclass, field

import numpy as np

from stepdown.compare.decode import PLAIN
from stepdown.compare.judge import Level, Stored, Tolerance, Verdict, judge
from stepdown.compare.metrics import Similarity
from stepdown.compare.pairing import Names, Pair, Pairing, pair_names
from stepdown.files.npz import NpzFile, NpzMetadata

DEFAULT_TOLERANCE = Tolerance()
_UNRANKED = (Level.EQUAL, Level.MISSING, Level.SHAPE)


@dataclass(frozen=True)
class Dump:
    """The tensors of a file or of a run, with their metadata; `name` is what messages call it."""

    name: str
    tensors: Mapping[str, np.ndarray]
    metadata: NpzMetadata = field(default_factory=NpzMetadata)

    @classmethod
    def of(cls, file: NpzFile) -> "Dump":
        """Wrap an open file."""
        return cls(file.path, file, file.metadata or NpzMetadata())

    def names(self) -> Names:
        """Return its tensor names and what is known about them."""
        return Names(self.tensors, self.metadata)

    def stored(self, name: str) -> Stored:
        """Read a tensor."""
        return Stored(self.tensors[name], self.metadata.tensors.get(name, PLAIN), f"{self.name}: tensor '{name}'")


@dataclass(frozen=True)
class TensorResult:
    """How one tensor came out; shape and types are empty where a file lacks it."""

    pair: Pair
    verdict: Verdict
    shape: tuple[int, ...] = ()
    dtype: str = ""
    reference_dtype: str = ""

    @property
    def name(self) -> str:
        """The name of the tensor."""
        return self.pair.name

    @property
    def level(self) -> Level:
        """How it came out."""
        return self.verdict.level

    @property
    def similarity(self) -> Similarity | None:
        """The similarities, None where values were not compared."""
        return self.verdict.similarity

    @property
    def passed(self) -> bool:
        """Whether it passes."""
        return self.level.passed


@dataclass
class Comparison:
    """All results of comparing two dumps, in the order of TARGET."""

    target: str
    reference: str
    tolerance: Tolerance
    pairing: Pairing
    results: list[TensorResult] = field(default_factory=list)

    @property
    def compared(self) -> int:
        """How many tensors are in both dumps."""
        return len(self.results) - self.counts()[Level.MISSING]

    @property
    def passed(self) -> bool:
        """Whether at least one tensor was compared and none failed."""
        return self.compared > 0 and all(result.passed for result in self.results)

    def counts(self) -> Counter[Level]:
        """Return how many tensors came out at each level."""
        return Counter(result.level for result in self.results)

    def min_similarity(self) -> tuple[float, float, float]:
        """Return the least cosine, euclid and SQNR [dB] of all tensors whose values were compared; NaN for none."""
        found = [result.similarity for result in self.results if result.similarity]
        if not found:
            return math.nan, math.nan, math.nan
        return min(s.cosine for s in found), min(s.euclid for s in found), min(s.sqnr_db for s in found)

    def worst(self, count: int) -> list[TensorResult]:
        """Return the tensors in both dumps that differ most: failures first, then the least euclid."""
        return sorted((r for r in self.results if r.level not in _UNRANKED), key=_rank)[:count]


OnResult = Callable[[TensorResult, Dump, Dump], None]


def compare(
    target: Dump,
    reference: Dump,
    tolerance: Tolerance = DEFAULT_TOLERANCE,
    excepts: Collection[str] = (),
    only: Collection[str] = (),
    on_result: OnResult | None = None,
) -> Comparison:
    """Compare all tensors of two dumps; `on_result` gets each result, and both dumps, as soon as it is known.

    `excepts` names tensors to leave out, `only` (where not empty) the ones to compare.
    """
    pairing = pair_names(target.names(), reference.names(), excepts, only)
    comparison = Comparison(target.name, reference.name, tolerance, pairing)
    for pair in pairing.pairs:
        result = compare_pair(pair, target, reference, tolerance)
        comparison.results.append(result)
        if on_result:
            on_result(result, target, reference)
    return comparison


def compare_npz(
    target: str | os.PathLike[str],
    reference: str | os.PathLike[str],
    tolerance: Tolerance = DEFAULT_TOLERANCE,
    excepts: Collection[str] = (),
    only: Collection[str] = (),
    on_result: OnResult | None = None,
) -> Comparison:
    """Compare two npz files as `compare` does.

    Raises:
        InputError: a file cannot be read, or its metadata does not fit its tensors.
    """
    with closing(NpzFile(target)) as target_file, closing(NpzFile(reference)) as reference_file:
        found = compare(Dump.of(target_file), Dump.of(reference_file), tolerance, excepts, only, on_result)
    if os.path.samefile(target, reference):
        found.pairing.warnings.append("TARGET and REFERENCE are the same file")
    return found


def compare_pair(pair: Pair, target: Dump, reference: Dump, tolerance: Tolerance) -> TensorResult:
    """Read and compare one tensor."""
    if pair.missing:
        return TensorResult(pair, Verdict(Level.MISSING, pair.missing))
    a, b = target.stored(pair.target), reference.stored(pair.reference)
    return TensorResult(pair, judge(a, b, tolerance), a.values.shape, str(a.values.dtype), str(b.values.dtype))


def _rank(result: TensorResult) -> tuple[bool, float]:
    return result.passed, result.similarity.euclid if result.similarity else -math.inf
