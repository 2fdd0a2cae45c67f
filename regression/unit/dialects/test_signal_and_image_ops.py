"""Ops of signals, images and sequences: against other ways to compute the same, and what their constraints refuse."""

from typing import Any

import numpy as np
import pytest
from dialects.test_top_math import build, compute
from xdsl.utils.exceptions import VerifyException

from stepdown.dialects.op import constraints
from stepdown.dialects.top import TOP_OPS

RNG = np.random.default_rng(0)
WINDOW = {"image_shape": [4, 5], "block_shape": [2, 3], "strides": [1, 1], "dilations": [1, 1], "pads": [0, 0, 0, 0]}
GRAMS: dict[str, Any] = {
    "mode": "TF", "min_gram_length": 1, "max_gram_length": 2, "max_skip_count": 0, "ngram_counts": [0, 1],
    "ngram_indexes": [0, 1], "pool": [1, 1, 2],
}  # fmt: skip
# Op, constraint, operand shapes, attributes.
ROWS: list[tuple[str, str, list[tuple[int, ...]], dict[str, Any]]] = [
    ("Dft", "C1", [(2, 4, 3)], {"axis": 1, "length": 4}),
    ("Dft", "C1", [(4, 2)], {"axis": 1, "length": 4}),
    ("Dft", "C2", [(4, 2)], {"axis": 0, "length": 0}),
    ("Dft", "C3", [(4, 2)], {"axis": 0, "length": 4, "onesided": True}),
    ("Dft", "C3", [(4, 1)], {"axis": 0, "length": 4, "onesided": True, "inverse": True}),
    ("Det", "C1", [(2, 3)], {}),
    ("Det", "C1", [(3,)], {}),
    ("Col2Im", "C1", [(6, 6)], WINDOW),
    ("Col2Im", "C1", [(1, 6, 9)], {**WINDOW, "strides": [0, 1]}),
    ("Col2Im", "C2", [(1, 6, 8)], WINDOW),
    ("Col2Im", "C2", [(1, 7, 9)], WINDOW),
    ("DeformConv", "C1", [(1, 2, 4), (3, 2, 2), (1, 4, 3)], {}),
    ("DeformConv", "C1", [(1, 2, 4, 4), (3, 2, 2, 2), (1, 8, 3, 3)], {"strides": [0, 1]}),
    ("DeformConv", "C2", [(1, 2, 4, 4), (3, 2, 2, 2), (1, 8, 3, 3)], {"group": 2}),
    ("DeformConv", "C2", [(1, 2, 4, 4), (3, 2, 2, 2), (1, 8, 3, 3)], {"offset_group": 3}),
    ("DeformConv", "C3", [(1, 2, 4, 4), (3, 2, 2, 2), (1, 8, 2, 3)], {}),
    ("TfIdfVectorizer", "C2", [(5,)], {**GRAMS, "min_gram_length": 3}),
    ("TfIdfVectorizer", "C3", [(5,)], {**GRAMS, "pool": [1, 1]}),
    ("TfIdfVectorizer", "C3", [(5,)], {**GRAMS, "weights": [1.0]}),
    ("TfIdfVectorizer", "C1", [(5, 1, 1)], GRAMS),
]  # fmt: skip


@pytest.mark.parametrize(("name", "label", "shapes", "attributes"), ROWS)
def test_constraint(name: str, label: str, shapes: list[tuple[int, ...]], attributes: dict[str, Any]) -> None:
    dtype = np.int64 if name == "TfIdfVectorizer" else np.float32
    with pytest.raises(VerifyException) as caught:
        build(name, *(np.zeros(shape, dtype) for shape in shapes), **attributes)
    assert str(caught.value).startswith(f"{constraints(TOP_OPS[name])[label]} ({label}: ")


def test_bits_are_as_many() -> None:
    with pytest.raises(VerifyException, match="have as many bits"):
        build("BitCast", np.zeros(2, np.float32), source="f32", to="i64")


def test_bits_of_half_floats() -> None:
    x = np.array([1.0, -2.0], np.float32)  # as 16-bit floats are held
    assert compute("BitCast", x, source="f16", to="u16").tolist() == [0x3C00, 0xC000]
    assert compute("BitCast", np.array([0x3C00, 0xC000], np.uint16), source="u16", to="f16").tolist() == [1, -2]


@pytest.mark.parametrize("length", [1, 5, 8, 11])
def test_transform_is_its_definition(length: int) -> None:
    x = RNG.normal(size=(8, 2))
    signal = np.zeros(length, complex)
    signal[: min(8, length)] = (x[:, 0] + 1j * x[:, 1])[:length]
    turns = np.outer(np.arange(length), np.arange(length)) / length
    expected = np.exp(-2j * np.pi * turns) @ signal
    y = compute("Dft", x, axis=0, length=length)
    np.testing.assert_allclose(y[:, 0] + 1j * y[:, 1], expected, atol=1e-12)
    np.testing.assert_allclose(
        compute("Dft", y, axis=0, length=length, inverse=True)[: min(8, length)], x[:length], atol=1e-12
    )


def test_one_sided_transform_is_undone() -> None:
    x = RNG.normal(size=(2, 9, 1))
    spectrum = compute("Dft", x, axis=1, length=9, onesided=True)
    assert spectrum.shape == (2, 5, 2)
    back = compute("Dft", spectrum, axis=1, length=9, onesided=True, inverse=True)
    np.testing.assert_allclose(back, x, atol=1e-12)


def test_columns_are_added_where_windows_lie() -> None:
    image = RNG.normal(size=(1, 1, 4, 5))
    places = [(r, c) for r in range(3) for c in range(3)]
    columns = np.stack([image[0, 0, r : r + 2, c : c + 3].reshape(-1) for r, c in places], 1)[None]
    count = np.zeros((4, 5))
    for r, c in places:
        count[r : r + 2, c : c + 3] += 1
    np.testing.assert_allclose(compute("Col2Im", columns, **WINDOW)[0, 0], image[0, 0] * count)


@pytest.mark.parametrize("group", [1, 2])
def test_deformed_by_nothing_is_a_convolution(group: int) -> None:
    x, weights, bias = (RNG.normal(size=s) for s in ((2, 4, 6, 7), (6, 4 // group, 3, 2), (6,)))
    given = {"strides": [2, 1], "pads": [1, 0, 2, 1], "dilations": [1, 2], "group": group}
    expected = compute("Conv", x, weights, bias, **given)
    offset = np.zeros((2, 2 * 12, *expected.shape[2:]))
    mask = np.full((2, 12, *expected.shape[2:]), 0.5)
    np.testing.assert_allclose(
        compute("DeformConv", x, weights, offset, bias * 0.5, mask, **given, offset_group=2), expected * 0.5
    )


def test_deformed_by_whole_steps_moves_the_samples() -> None:
    x, weights = RNG.normal(size=(1, 1, 5, 5)), np.ones((1, 1, 1, 1))
    offset = np.stack([np.full((5, 5), 1.0), np.full((5, 5), -2.0)])[None]
    moved = np.zeros((5, 5))
    moved[:4, 2:] = x[0, 0, 1:, :3]
    np.testing.assert_allclose(compute("DeformConv", x, weights, offset)[0, 0], moved)


def test_sequences_with_skips_are_counted() -> None:
    rows = np.array([[1, 2, 1, 2, 1, 2]])
    assert compute("TfIdfVectorizer", rows, **GRAMS).tolist() == [[3, 3]]
    assert compute("TfIdfVectorizer", rows, **{**GRAMS, "max_skip_count": 2}).tolist() == [[3, 5]]
    weighed = {**GRAMS, "mode": "IDF", "weights": [0.5, 2.0]}
    assert compute("TfIdfVectorizer", np.array([1, 1]), **weighed).tolist() == [0.5, 0]
