"""What is counted while samples are judged: exact, so that any split of the samples merges to the same tally."""

from collections import Counter
from dataclasses import dataclass, field, fields
from fractions import Fraction
from typing import Any, Self

from stepdown.evaluation.ranking import Ranking
from stepdown.evaluation.similarity import Likeness

Best = tuple[tuple[int, float], ...]


@dataclass
class Tally:
    """Counts over samples. `a + b` is exact, associative and commutative, `Tally()` is its zero.

    `top1`, `top5` count by the primary label, `accepted1`, `accepted5` by any accepted one. `confusion` counts pairs
    of primary label and predicted class (−1: none). Of the samples that a reference model was run on (`compared`),
    `finite` have finite scores on both sides, the SQNR of `measured` is a number, and `mixed` compare probabilities
    with other scores; their sums are fractions, without rounding. `skipped` and `wrong` have the number of a sample
    for a key: its error, its best classes.
    """

    samples: int = 0
    top1: int = 0
    top5: int = 0
    accepted1: int = 0
    accepted5: int = 0
    nan: int = 0
    tied1: int = 0
    tied5: int = 0
    confusion: Counter[tuple[int, int]] = field(default_factory=Counter)
    compared: int = 0
    agreed: int = 0
    finite: int = 0
    identical: int = 0
    measured: int = 0
    mixed: int = 0
    cosine: Fraction = Fraction(0)
    decibels: Fraction = Fraction(0)
    signal: Fraction = Fraction(0)
    noise: Fraction = Fraction(0)
    skipped: dict[int, str] = field(default_factory=dict)
    wrong: dict[int, Best] = field(default_factory=dict)

    def judge(self, label: int, accepted: frozenset[int], ranking: Ranking) -> bool:
        """Count a sample; return whether the class predicted is an accepted one."""
        right = ranking.predicted in accepted
        self.samples += 1
        self.top1 += ranking.predicted == label
        self.top5 += label in ranking.classes
        self.accepted1 += right
        self.accepted5 += not accepted.isdisjoint(ranking.classes)
        self.nan += not ranking.classes
        self.tied1 += ranking.tied_first
        self.tied5 += ranking.tied_last
        self.confusion[label, ranking.predicted] += 1
        return right

    def compare(self, agrees: bool, likeness: Likeness | None) -> None:
        """Count a sample that the reference was run on; `likeness` is None where scores are not finite."""
        self.compared += 1
        self.agreed += agrees
        if likeness is None:
            return
        self.finite += 1
        self.cosine += Fraction(likeness.cosine)
        self.signal += Fraction(likeness.signal)
        self.noise += Fraction(likeness.noise)
        self.identical += not likeness.noise
        self.mixed += likeness.mixed
        if likeness.decibels is not None:
            self.measured += 1
            self.decibels += Fraction(likeness.decibels)

    def __iadd__(self, other: "Tally") -> Self:
        """Take in the counts of other samples."""
        for name in (f.name for f in fields(self)):
            own, more = getattr(self, name), getattr(other, name)
            if isinstance(own, dict):
                own.update(more)  # a Counter adds
            else:
                setattr(self, name, own + more)
        return self

    def __add__(self, other: "Tally") -> "Tally":
        """Return the counts of both, which must be of different samples."""
        total = Tally()
        total += self
        total += other
        return total

    def to_plain(self) -> dict[str, Any]:
        """Return the counts as JSON can hold them; equal tallies give equal text."""
        return {f.name: _plain(getattr(self, f.name)) for f in fields(self)}

    @classmethod
    def from_plain(cls, values: dict[str, Any]) -> Self:
        """Return what `to_plain` gave. Raises KeyError, TypeError or ValueError where it is malformed."""
        made = {f.name: _unplain(values[f.name], getattr(cls(), f.name)) for f in fields(cls)}
        made["skipped"] = {int(k): str(v) for k, v in made["skipped"].items()}
        made["wrong"] = {int(k): tuple((int(c), float(s)) for c, s in v) for k, v in made["wrong"].items()}
        return cls(**made)


def _plain(value: Any) -> Any:
    if isinstance(value, Counter):
        return [[truth, predicted, count] for (truth, predicted), count in sorted(value.items())]
    if isinstance(value, Fraction):
        return str(value)
    if isinstance(value, tuple):
        return [[place, repr(score)] for place, score in value]  # JSON has no infinity
    return {str(key): _plain(value[key]) for key in sorted(value)} if isinstance(value, dict) else value


def _unplain(value: Any, like: Any) -> Any:
    if isinstance(like, Counter):
        return Counter({(truth, predicted): count for truth, predicted, count in value})
    return Fraction(value) if isinstance(like, Fraction) else type(like)(value)
