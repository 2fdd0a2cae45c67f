"""The confusion matrix, recall and precision: against matrices worked out by hand, rows being truths."""

from collections import Counter

import numpy as np
import pytest
from PIL import Image

from stepdown.evaluation.matrix import class_figures, dense, folded, most_confused, occurring
from stepdown.evaluation.matrix_picture import MOST_CLASSES, OTHERS, write_matrix_picture
from stepdown.evaluation.ranking import NO_CLASS
from stepdown.evaluation.tables import write_classes, write_matrix

# Of 10 cats 6 are called cat, 3 dog, 1 bird; of 5 dogs 1 cat, 4 dog; of 5 birds 2 cat, 0 dog, 3 bird.
HAND = [[6, 3, 1], [1, 4, 0], [2, 0, 3]]
PAIRS = Counter({(t, p): n for t, row in enumerate(HAND) for p, n in enumerate(row) if n})


def test_recall_goes_by_row_and_precision_by_column() -> None:
    cat, dog, bird = class_figures(PAIRS)
    assert [f.truths for f in (cat, dog, bird)] == [10, 5, 5]
    assert [f.predictions for f in (cat, dog, bird)] == [9, 7, 4]
    assert [f.recall for f in (cat, dog, bird)] == pytest.approx([6 / 10, 4 / 5, 3 / 5])
    assert [f.precision for f in (cat, dog, bird)] == pytest.approx([6 / 9, 4 / 7, 3 / 4])
    assert cat.f1 == pytest.approx(2 * 0.6 * (6 / 9) / (0.6 + 6 / 9))


def test_what_is_nought_by_nought_has_no_figure() -> None:
    never_true, never_predicted, neither_right = class_figures({(5, 3): 2, (7, 5): 1})
    assert (never_true.label, never_true.recall, never_true.precision, never_true.f1) == (3, None, 0.0, 0.0)
    assert (neither_right.recall, neither_right.precision) == (0.0, None)
    assert (never_predicted.label, never_predicted.recall, never_predicted.precision) == (5, 0.0, 0.0)


def test_a_sample_without_a_class_lowers_recall_alone() -> None:
    (only,) = class_figures({(1, 1): 1, (1, NO_CLASS): 3})
    assert (only.recall, only.precision) == (0.25, 1.0)


def test_the_matrix_as_lists() -> None:
    assert dense(PAIRS, [0, 1, 2], [0, 1, 2]) == HAND
    assert dense(PAIRS, [2], [1, 0]) == [[0, 2]]
    assert occurring({(4, 2): 1, (9, NO_CLASS): 1}) == [2, 4, 9]


def test_the_most_confused_are_kept() -> None:
    # off the diagonal: class 0: 4 in its row + 3 in its column, 1: 1 + 3, 2: 2 + 1
    assert most_confused(PAIRS, 2) == [0, 1]
    assert most_confused(PAIRS, 3) == [0, 1, 2]
    assert most_confused({(8, 8): 99, (2, 3): 1, (3, 2): 1}, 2) == [2, 3]


def test_folding_keeps_every_sample() -> None:
    joined = folded({**PAIRS, (1, NO_CLASS): 2}, [0], OTHERS)
    assert joined == Counter({(0, 0): 6, (0, OTHERS): 4, (OTHERS, 0): 3, (OTHERS, OTHERS): 7, (OTHERS, NO_CLASS): 2})


def test_tables(tmp_path) -> None:
    write_matrix(tmp_path / "m.csv", PAIRS)
    assert (tmp_path / "m.csv").read_text() == "true\\predicted,0,1,2\n0,6,3,1\n1,1,4,0\n2,2,0,3\n"
    write_matrix(tmp_path / "n.csv", {(3, NO_CLASS): 2, (3, 5): 1})
    assert (tmp_path / "n.csv").read_text() == "true\\predicted,3,5,none\n3,0,1,2\n5,0,0,0\n"
    write_classes(tmp_path / "c.csv", {(0, 1): 1}, ["cat", "dog, or wolf"].__getitem__)
    assert (tmp_path / "c.csv").read_text().splitlines()[1:] == [
        "0,cat,1,0,0,0.000000,,0.000000",
        '1,"dog, or wolf",0,1,0,,0.000000,0.000000',
    ]


def colours(path) -> set[tuple[int, int, int]]:
    """Return the colours that more than 200 pixels have."""
    counted = Image.open(path).convert("RGB").getcolors(1 << 24)
    return {colour for count, colour in counted if count > 200}


def test_the_picture_shows_right_blue_and_wrong_red(tmp_path) -> None:
    write_matrix_picture(tmp_path / "right.png", {(0, 0): 3, (1, 1): 1}, str)
    write_matrix_picture(tmp_path / "wrong.png", {(0, 1): 3, (1, 0): 1}, str)
    right, wrong = colours(tmp_path / "right.png"), colours(tmp_path / "wrong.png")
    assert any(b > 150 > r for r, _, b in right)
    assert not any(r > 150 > b for r, _, b in right)
    assert any(r > 150 > b for r, _, b in wrong)


def test_a_thousand_classes_make_a_readable_picture(tmp_path) -> None:
    rng = np.random.default_rng(0)
    pairs = Counter(zip(rng.integers(0, 1000, 5000).tolist(), rng.integers(0, 1000, 5000).tolist(), strict=True))
    write_matrix_picture(tmp_path / "all.png", pairs, lambda label: f"a rather long name of class {label}")
    width, height = Image.open(tmp_path / "all.png").size
    assert (MOST_CLASSES + 1) * 30 < width < 1400
    assert (MOST_CLASSES + 1) * 30 < height < 1400
