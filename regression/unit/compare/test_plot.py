import math
import re

import pytest

from stepdown.compare.plot import Plot, svg


def plot(values, **settings):
    return svg(Plot("Plot", [f"t{i}" for i in range(len(values))], {"y": values}, **settings))


def heights(text: str) -> list[float]:
    return [float(y) for y in re.findall(r'cy="([^"]+)"', text)]


def test_larger_values_are_higher():
    low, middle, high = heights(plot([0.0, 0.5, 1.0]))
    assert low - middle == pytest.approx(middle - high, abs=0.2)
    assert high < middle


def test_a_gap_has_no_point_and_breaks_the_line():
    text = plot([1.0, 2.0, None, 3.0, math.nan])
    assert len(heights(text)) == 3
    assert re.search(r'class="curve c0" d="M[^ML]*L[^ML]*M[^ML]*"', text)


def test_values_off_the_axis_are_triangles_at_its_edge():
    text = plot([0.5, 1.0, -7.0, -math.inf, math.inf], floor=0.0, ceiling=1.0)
    assert len(heights(text)) == 2
    assert text.count("<title>") == 5
    assert text.count("Z") == 3


def test_failures_are_marked_even_without_a_value():
    text = plot([0.5, None, 0.7], marked=[1, 2])
    assert text.count('class="point c0 failed"') == 1
    assert text.count('class="cross"') == 1
    assert "not comparable" in text


@pytest.mark.parametrize(
    "values", [[], [None], [3.0], [3.0, 3.0], [0.0], [math.inf], [1e300, -1e300], [1e-300, 2e-300]]
)
def test_degenerate_values_give_finite_places(values):
    assert not re.search(r"nan|inf[\" ]", plot(values))


def test_ticks_are_round():
    labels = re.findall(r'text-anchor="end">([^<]+)<', plot([0.96, 1.0]))
    assert labels == ["0.96", "0.97", "0.98", "0.99", "1.00"]


def test_names_are_escaped():
    assert "<b>" not in svg(Plot("<b>", ["<b>"], {"<b>": [1.0]}, "<b>", {"<b>": 1.0}))
