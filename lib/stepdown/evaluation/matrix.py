"""The confusion matrix and what follows from it.

Rows are truths, columns are predictions: recall divides the diagonal by the sum of its row, precision by that of its
column.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from stepdown.evaluation.ranking import NO_CLASS

Pairs = Mapping[tuple[int, int], int]


@dataclass(frozen=True)
class ClassFigures:
    """The figures of one class: how many samples are of it, how many were predicted to be, how many of both.

    `recall` is None where the class has no sample, `precision` where it was never predicted, `f1` where both are 0/0.
    """

    label: int
    truths: int
    predictions: int
    hits: int

    @property
    def recall(self) -> float | None:
        """Hits / sum of the row."""
        return self.hits / self.truths if self.truths else None

    @property
    def precision(self) -> float | None:
        """Hits / sum of the column."""
        return self.hits / self.predictions if self.predictions else None

    @property
    def f1(self) -> float | None:
        """2·hits / (row + column): the harmonic mean of recall and precision."""
        total = self.truths + self.predictions
        return 2 * self.hits / total if total else None


def class_figures(pairs: Pairs) -> list[ClassFigures]:
    """Return the figures of every class that occurs, by class."""
    rows, columns = sums(pairs)
    return [
        ClassFigures(label, rows[label], columns[label], pairs.get((label, label), 0)) for label in occurring(pairs)
    ]


def sums(pairs: Pairs) -> tuple[Counter[int], Counter[int]]:
    """Return the sum of each row and of each column."""
    rows: Counter[int] = Counter()
    columns: Counter[int] = Counter()
    for (truth, predicted), count in pairs.items():
        rows[truth] += count
        columns[predicted] += count
    return rows, columns


def occurring(pairs: Pairs) -> list[int]:
    """Return the classes that are a truth or a prediction, in order, without `NO_CLASS`."""
    return sorted({label for pair in pairs for label in pair} - {NO_CLASS})


def dense(pairs: Pairs, rows: Sequence[int], columns: Sequence[int]) -> list[list[int]]:
    """Return the counts of the rows and columns named."""
    return [[pairs.get((truth, predicted), 0) for predicted in columns] for truth in rows]


def most_confused(pairs: Pairs, limit: int) -> list[int]:
    """Return at most `limit` of the occurring classes, in order: those of which most samples lie off the diagonal.

    A sample off the diagonal counts for its row and its column; of equal ones the lower class is kept.
    """
    classes = occurring(pairs)
    if len(classes) <= limit:
        return classes
    confused: Counter[int] = Counter()
    for (truth, predicted), count in pairs.items():
        if truth != predicted:
            confused[truth] += count
            confused[predicted] += count
    return sorted(sorted(classes, key=lambda label: (-confused[label], label))[:limit])


def folded(pairs: Pairs, kept: Sequence[int], others: int) -> Counter[tuple[int, int]]:
    """Return the matrix with all classes but `kept` (and `NO_CLASS`) joined to the class `others`.

    The sum of all counts stays; samples of joined classes that were predicted right lie at (others, others).
    """
    known = {*kept, NO_CLASS}
    joined: Counter[tuple[int, int]] = Counter()
    for (truth, predicted), count in pairs.items():
        joined[truth if truth in known else others, predicted if predicted in known else others] += count
    return joined
