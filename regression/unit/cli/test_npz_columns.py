import numpy as np
import pytest

from stepdown.cli.npz_columns import aligned, count_of, element_type, integers, short_type, split_names
from stepdown.errors import InputError


def test_columns():
    assert aligned([["a", "1"], ["bcd", "22"]], right=[1]) == ["a     1", "bcd  22"]
    assert aligned([["a", ""], ["bcd", ""]]) == ["a", "bcd"]


def test_names():
    assert split_names(["a,b", "c", ",", "a"]) == ["a", "b", "c"]


@pytest.mark.parametrize("text", ["1,3,4", "[1,3,4]", "(1, 3, 4)", "1x3x4", "1 3 4"])
def test_integers(text):
    assert integers(text, "shape") == (1, 3, 4)


def test_the_shape_of_a_scalar():
    assert integers("[]", "shape") == ()


@pytest.mark.parametrize("text", ["", " ", "x", ",", "1,a", "1.5", "__import__('os')", "1" * 30])
def test_what_is_not_integers(text):
    with pytest.raises(InputError, match="not a list of integers"):
        integers(text, "shape")


def test_counts():
    assert count_of("12", "K") == 12
    with pytest.raises(InputError, match="K '0'"):
        count_of("0", "K")


def test_types():
    assert [element_type(t) for t in ("f32", "float32", "fp32", "bfloat16", "int8")] == [
        "f32",
        "f32",
        "f32",
        "bf16",
        "i8",
    ]
    assert short_type(np.dtype(">f4")) == "f32"
    assert short_type(np.dtype(np.complex64)) == "complex64"
