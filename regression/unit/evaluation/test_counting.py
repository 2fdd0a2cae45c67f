"""Ranks, intervals, tallies: against figures computed by hand."""

import json
import math
from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepdown.evaluation.intervals import Z_95, wilson
from stepdown.evaluation.ranking import NO_CLASS, Ranking, rank
from stepdown.evaluation.similarity import Likeness, likeness
from stepdown.evaluation.summary import reference_lines
from stepdown.evaluation.tally import Tally


def test_the_best_come_first() -> None:
    ranking = rank(np.array([0.1, 0.9, 0.3, 0.2, -1, 0.4, 0.35], np.float32))
    assert ranking.classes == (1, 5, 6, 2, 3)
    assert ranking.predicted == 1
    assert ranking.scores[1] == pytest.approx(0.4)
    assert not (ranking.tied_first or ranking.tied_last)


def test_equal_scores_rank_by_the_lower_class() -> None:
    ranking = rank(np.array([0, 7, 7, 3, 3, 3, 3], np.int8))
    assert ranking.classes == (1, 2, 3, 4, 5)
    assert (ranking.tied_first, ranking.tied_last) == (True, True)
    assert rank(np.array([5, 4, 3, 2, 1, 1])).tied_last
    assert not rank(np.array([5, 4, 3, 2, 1, 0, 0])).tied_last


def test_fewer_than_five_classes() -> None:
    assert rank(np.array([1.0, 2.0])) == Ranking((1, 0), (2.0, 1.0))
    assert rank(np.array([1.0])).classes == (0,)


@pytest.mark.parametrize("place", [0, 3])
def test_a_nan_predicts_no_class(place: int) -> None:
    scores = np.arange(4.0)
    scores[place] = math.nan
    assert rank(scores) == Ranking()
    assert rank(scores).predicted == NO_CLASS


def test_infinities_are_scores() -> None:
    assert rank(np.array([0, math.inf, -math.inf])).classes == (1, 0, 2)


@pytest.mark.parametrize(
    ("hits", "count", "low", "high"),
    [  # with z² = 3.841459: (p + z²/2n ± z·√(p(1−p)/n + z²/4n²)) / (1 + z²/n)
        (5, 10, 0.236593, 0.763407),
        (0, 10, 0.0, 0.277533),
        (10, 10, 0.722467, 1.0),
        (0, 0, 0.0, 1.0),
    ],
)
def test_wilson_interval(hits: int, count: int, low: float, high: float) -> None:
    assert wilson(hits, count) == pytest.approx((low, high), abs=1e-6)


@given(st.integers(1, 2000), st.integers(0, 2000))
def test_a_wilson_interval_ends_where_the_share_is_just_unlikely(count: int, hits: int) -> None:
    hits = min(hits, count)
    for p in wilson(hits, count):  # (hits/n − p)² = z²·p(1 − p)/n, of which Wilson's formula is the solution
        assert (hits / count - p) ** 2 == pytest.approx(Z_95**2 * p * (1 - p) / count, rel=1e-6, abs=1e-15)


def judged(*samples: tuple[int, set[int], list[float]]) -> Tally:
    """Return the tally of samples: label, accepted labels, scores."""
    tally = Tally()
    for label, accepted, scores in samples:
        tally.judge(label, frozenset({label, *accepted}), rank(np.array(scores)))
    return tally


def test_what_is_counted() -> None:
    tally = judged(
        (0, set(), [9, 1, 2, 3, 4, 5, 6]),  # right
        (1, set(), [9, 1, 2, 3, 4, 5, 6]),  # the lowest of seven: not among five
        (2, {0}, [9, 1, 2, 3, 4, 5, 6]),  # another accepted label is first; the label itself is sixth
        (3, set(), [9, 1, 2, 3, 4, 5, 6]),  # fifth
        (0, set(), [math.nan, 1, 2, 3, 4, 5, 6]),  # no class: never class 0
    )
    assert (tally.samples, tally.top1, tally.top5, tally.accepted1, tally.accepted5) == (5, 1, 2, 2, 3)
    assert tally.nan == 1
    assert tally.confusion == Counter({(0, 0): 1, (1, 0): 1, (2, 0): 1, (3, 0): 1, (0, NO_CLASS): 1})


def test_likeness_by_hand() -> None:
    # b − mean = (−1, 1): signal 2; a − b = (0.1, 0): noise 0.01; 10·log10(200)
    found = likeness(np.array([1.1, 3.0]), np.array([1.0, 3.0]))
    assert found is not None
    assert (found.signal, found.noise) == pytest.approx((2.0, 0.01))
    assert found.decibels == pytest.approx(23.0103, abs=1e-4)
    assert found.cosine == pytest.approx(10.1 / math.sqrt(10.21 * 10), abs=1e-12)


def test_probabilities_are_not_compared_with_logits_in_silence() -> None:
    logits, probabilities = np.array([-1.0, 2.0, 0.5]), np.array([0.04, 0.79, 0.17])
    pairs = ((logits, logits), (probabilities, logits), (logits, probabilities), (probabilities, probabilities))
    found = [likeness(a, b) for a, b in pairs]
    assert [f.mixed for f in found if f] == [False, True, True, False]
    tally = Tally()
    tally.compare(True, found[1])
    assert "of 1 samples one side's scores lie in 0..1" in reference_lines(tally, "m")[-1]


def test_likeness_without_a_number() -> None:
    assert likeness(np.array([1.0, math.nan]), np.zeros(2)) is None
    assert likeness(np.zeros(2), np.array([1.0, math.inf])) is None
    same = likeness(np.array([1.0, 2.0]), np.array([1.0, 2.0]))
    assert same is not None
    assert (same.decibels, same.noise) == (None, 0)
    constant = likeness(np.array([1.0, 2.0]), np.array([1.0, 1.0]))
    assert constant is not None
    assert (constant.decibels, constant.noise, constant.signal) == (None, 1.0, 0.0)


def test_comparisons_are_counted() -> None:
    tally = Tally()
    tally.compare(True, Likeness(1.0, None, 2.0, 0.0))
    tally.compare(True, Likeness(0.5, 10.0, 2.0, 0.2))
    tally.compare(False, Likeness(0.0, None, 0.0, 1.0))
    tally.compare(False, None)
    assert (tally.compared, tally.agreed, tally.finite, tally.identical, tally.measured) == (4, 2, 3, 1, 1)
    assert (tally.cosine, tally.decibels) == (Fraction(3, 2), Fraction(10))


scores = st.lists(
    st.one_of(st.floats(-2, 2, width=32), st.sampled_from([0.0, 1.0, math.inf, -math.inf, math.nan])),
    min_size=7,
    max_size=7,
)
sample = st.tuples(st.integers(0, 6), st.sets(st.integers(0, 6), max_size=2), scores, scores)


def tally_of(samples: list[tuple[int, set[int], list[float], list[float]]], first: int) -> Tally:
    """Return the tally of samples numbered from `first`."""
    tally = Tally()
    for index, (label, accepted, own, other) in enumerate(samples, first):
        ranking = rank(np.array(own))
        if not tally.judge(label, frozenset({label, *accepted}), ranking):
            tally.wrong[index] = tuple(zip(ranking.classes, ranking.scores, strict=True))
        tally.compare(ranking.predicted == label, likeness(np.array(own), np.array(other)))
    return tally


@given(st.lists(sample, max_size=12), st.integers(0, 12), st.integers(0, 12))
def test_any_split_gives_the_same_tally(samples: list, one: int, two: int) -> None:
    one, two = sorted((min(one, len(samples)), min(two, len(samples))))
    whole = tally_of(samples, 0)
    a, b, c = tally_of(samples[:one], 0), tally_of(samples[one:two], one), tally_of(samples[two:], two)
    assert (a + b) + c == a + (b + c) == c + (a + b) == whole + Tally() == whole
    assert (c + b + a).to_plain() == whole.to_plain()


def test_sums_leave_their_parts_alone() -> None:
    a, b = judged((0, set(), [1, 0])), judged((1, set(), [1, 0]))
    assert (a + b).samples == 2
    assert (a.samples, b.samples, a.confusion) == (1, 1, Counter({(0, 0): 1}))


@given(st.lists(sample, max_size=6))
def test_a_tally_survives_json(samples: list) -> None:
    tally = tally_of(samples, 3)
    tally.skipped[1] = "a.jpg: not an image"
    assert Tally.from_plain(json.loads(json.dumps(tally.to_plain(), allow_nan=False))) == tally
