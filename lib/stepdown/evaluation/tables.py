"""The tables of an evaluation as CSV: the confusion matrix, the figures of each class, the samples judged wrong."""

import csv
import io
import os
from collections.abc import Callable, Iterable

from stepdown.evaluation.matrix import Pairs, class_figures, dense, occurring
from stepdown.evaluation.ranking import NO_CLASS, TOP
from stepdown.evaluation.samples import LabelledSet
from stepdown.evaluation.tally import Tally
from stepdown.files.atomic import write_text

Name = Callable[[int], str]
Cell = str | int


def write_matrix(path: str | os.PathLike[str], pairs: Pairs) -> None:
    """Write counts of the classes that occur: a row a true class, a column a predicted one, `none` for NaN."""
    classes = occurring(pairs)
    columns = [*classes, NO_CLASS] if any(predicted == NO_CLASS for _, predicted in pairs) else classes
    head: list[Cell] = ["true\\predicted", *("none" if label == NO_CLASS else label for label in columns)]
    counts = dense(pairs, classes, columns)
    rows: list[list[Cell]] = [[label, *row] for label, row in zip(classes, counts, strict=True)]
    _write(path, [head, *rows])


def write_classes(path: str | os.PathLike[str], pairs: Pairs, name: Name) -> None:
    """Write a row a class that occurs; a figure that is 0/0 is left empty."""
    head: list[Cell] = ["class", "name", "samples", "predicted", "right", "recall", "precision", "f1"]
    rows: list[list[Cell]] = [
        [f.label, name(f.label), f.truths, f.predictions, f.hits, *map(_figure, (f.recall, f.precision, f.f1))]
        for f in class_figures(pairs)
    ]
    _write(path, [head, *rows])


def write_wrong(path: str | os.PathLike[str], tally: Tally, samples: LabelledSet, name: Name) -> None:
    """Write a row a sample judged wrong, with its best classes; they are empty where a score is NaN."""
    head: list[Cell] = ["sample", "class", "name", "accepted"]
    head += [f"{what}_{place}" for place in range(1, TOP + 1) for what in ("class", "name", "score")]
    _write(path, [head, *(_wrong_row(index, tally, samples, name) for index in sorted(tally.wrong))])


def _wrong_row(index: int, tally: Tally, samples: LabelledSet, name: Name) -> list[Cell]:
    label = samples.labels[index]
    accepted = " ".join(map(str, sorted(samples.accepted_of(index))))
    best = [cell for found, score in tally.wrong[index] for cell in (found, name(found), f"{score:.9g}")]
    return [samples.names[index], label, name(label), accepted, *best]


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.6f}"


def _write(path: str | os.PathLike[str], rows: Iterable[list[Cell]]) -> None:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    write_text(path, text.getvalue())
