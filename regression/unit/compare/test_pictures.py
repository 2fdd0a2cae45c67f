import math

import numpy as np
import pytest
from PIL import Image

from stepdown.compare.canvas import BLUE, RED
from stepdown.compare.judge import Stored, Tolerance, judge
from stepdown.compare.pairing import Pair
from stepdown.compare.pictures import draw_difference
from stepdown.compare.tensors import TensorResult
from stepdown.files.npz import TensorInfo


def draw(path, a, b):
    a, b = np.asarray(a, np.float32), np.asarray(b, np.float32)
    verdict = judge(Stored(a, TensorInfo()), Stored(b, TensorInfo()), Tolerance())
    draw_difference(
        path, TensorResult(Pair("x", "x"), verdict, a.shape, "float32", "float32"), a, b, ("a.npz", "b.npz")
    )
    return np.asarray(Image.open(path).convert("RGB")).astype(int)


def count(picture, colour) -> int:
    return int((np.abs(picture - colour).sum(axis=2) < 30).sum())


@pytest.mark.parametrize("size", [1, 5, 50, 500, 5000])
def test_every_size_is_drawn(tmp_path, size):
    reference = np.sin(np.arange(size))
    picture = draw(tmp_path / "x.png", reference + 0.1, reference)
    assert picture.shape == (980, 1240, 3)
    assert count(picture[800:920], RED) > 3
    assert count(picture[572:742], BLUE) > 3
    assert count(picture[146:486, 716:1216], RED) > 100


def test_an_error_is_seen_where_it_is(tmp_path):
    """One wrong element in the middle of many: the error's curve has its peak there."""
    reference = np.zeros(10_001)
    target = reference.copy()
    target[5000] = 1
    strip = draw(tmp_path / "x.png", target, reference)[800:880]
    columns = np.flatnonzero((np.abs(strip - RED).sum(axis=2) < 60).any(axis=0))
    assert columns.size
    assert abs(columns.mean() - (88 + 1216) / 2) < 4


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ([], []),
        ([math.nan, 1], [1, math.inf]),
        ([0, 0], [0, 0]),
        ([1e30, -1e30], [1e-30, 0]),
        ([1e-40, 0], [0, 1e-40]),
        ([math.nan, 1, 2], [0, 1, 2]),
    ],
)
def test_degenerate_tensors_are_drawn(tmp_path, a, b):
    assert draw(tmp_path / "x.png", a, b).shape == (980, 1240, 3)


def test_the_same_picture_twice(tmp_path):
    x = np.arange(100)
    draw(tmp_path / "a.png", x, x[::-1])
    draw(tmp_path / "b.png", x, x[::-1])
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
