import numpy as np
import pytest

from stepdown.compare.decode import is_exact, real_values, same_storage, storage_text
from stepdown.errors import InputError
from stepdown.files.npz import TensorInfo

I8 = np.array([[-128, 0, 127], [1, 2, 3]], np.int8)


def test_one_scale():
    real = real_values(I8, TensorInfo("i8", 0.5, 2))
    assert real.dtype == np.float32
    assert real.tolist() == [[-65, -1, 62.5], [-0.5, 0, 0.5]]


@pytest.mark.parametrize("axis", [0, -2])
def test_scales_and_zero_points_along_an_axis(axis):
    real = real_values(I8, TensorInfo("i8", [0.5, 2.0], [0, 1], axis))
    assert real.tolist() == [[-64, 0, 63.5], [0, 2, 4]]


def test_a_zero_point_cannot_wrap_around():
    assert real_values(np.array([0, 255], np.uint8), TensorInfo("u8", 1.0, 128)).tolist() == [-128, 127]
    assert real_values(np.array([-128], np.int8), TensorInfo("i8", 1.0, 127)).tolist() == [-255]


def test_bf16_bit_patterns():
    stored = np.array([0x3F80, 0xC000, 0x7FC0], np.uint16)
    real = real_values(stored, TensorInfo("bf16"))
    assert real[:2].tolist() == [1, -2]
    assert np.isnan(real[2])


def test_a_scale_on_floats_is_applied():
    assert real_values(np.array([1.5], np.float32), TensorInfo("f32", 2.0, 1)).tolist() == [1]


def test_what_has_no_scale_is_returned_as_it_is():
    for stored in (I8, np.array([1.5], np.float32), np.array(["cat"])):
        assert real_values(stored, TensorInfo()) is stored


@pytest.mark.parametrize(
    ("meaning", "words"),
    [
        (TensorInfo("i8", [1.0, 2.0], 0, 1), "2 scales"),
        (TensorInfo("i8", [1.0, 2.0], 0, None), "axis None"),
        (TensorInfo("i8", [1.0, 2.0], 0, 5), "axis 5"),
        (TensorInfo("i8", [1.0, 2.0], [0, 0, 0], 0), "2 and 3 scales"),
        (TensorInfo("i8", "much", 0), "malformed"),
    ],
)
def test_metadata_that_does_not_fit_is_named(meaning, words):
    with pytest.raises(InputError, match=words) as error:
        real_values(I8, meaning, "a.npz: tensor 'x'")
    assert str(error.value).startswith("a.npz: tensor 'x': ")


def test_what_is_exact():
    assert is_exact(I8, TensorInfo())
    assert is_exact(np.array([True]), TensorInfo())
    assert is_exact(np.array(["cat"]), TensorInfo())
    assert not is_exact(I8, TensorInfo("i8", 0.1))
    assert not is_exact(np.array([1], np.uint16), TensorInfo("bf16"))
    assert not is_exact(np.array([1.0]), TensorInfo())


def test_the_same_storage_needs_the_same_scale_and_type():
    one = TensorInfo("i8", 0.1, 3)
    assert same_storage(one, TensorInfo("i8", 0.1, 3, axis=1, layout="NCHW", fused=("a",), view_of="b"))
    for other in (TensorInfo("i8", 0.2, 3), TensorInfo("i8", 0.1, 4), TensorInfo()):
        assert not same_storage(one, other)
    assert not same_storage(TensorInfo("bf16"), TensorInfo("u16"))
    assert not same_storage(TensorInfo("i8", [1.0, 2.0], 0, 0), TensorInfo("i8", [1.0, 2.0], 0, 1))


def test_storage_in_words():
    assert storage_text(None) == storage_text(TensorInfo()) == ""
    assert storage_text(TensorInfo("u8", 0.25, 3)) == "u8 scale 0.25 zero_point 3"
    words = storage_text(TensorInfo("i8", [0.25, 0.5], [1, 0], 0, "OIHW"))
    assert words == "i8 2 scales 0.25 … 0.5 along axis 0 zero_points by channel OIHW"
    assert storage_text(TensorInfo(view_of="x")) == "f32 view of x"
