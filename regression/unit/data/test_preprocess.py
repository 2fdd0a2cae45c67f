import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import stepdown.runtimes
from stepdown.data.preprocess import Preprocess, from_model
from stepdown.errors import InputError
from stepdown.files.npz import TensorInfo
from stepdown.runtimes.runner import TensorSpec

IMAGENET = {
    "resize_dims": (256, 256), "mean": (123.675, 116.28, 103.53), "scale": (0.0171, 0.0175, 0.0174),
}  # fmt: skip
PHOTO = np.random.default_rng(0).integers(0, 256, (30, 45, 3), np.uint8)


def marked(height, width):
    """Return a picture whose red is the row and whose green is the column of each pixel."""
    rows, columns = np.indices((height, width))
    return np.stack([rows, columns, np.full_like(rows, 7)], axis=-1).astype(np.uint8)


def test_an_input_of_the_photos_size_is_only_normalised():
    made = Preprocess((1, 3, 30, 45), mean=(1, 2, 3), scale=(0.5, 0.25, 2)).apply(PHOTO)
    want = (PHOTO.astype(np.float32) - np.float32([1, 2, 3])) * np.float32([0.5, 0.25, 2])
    assert made.dtype == np.float32
    assert (made[0] == want.transpose(2, 0, 1)).all()


def test_layouts_and_channel_orders_hold_the_same_numbers():
    rgb = Preprocess((1, 3, 8, 8), mean=(1, 2, 3)).apply(PHOTO)
    nhwc = Preprocess((1, 8, 8, 3), mean=(1, 2, 3), channel_format="nhwc").apply(PHOTO)
    bgr = Preprocess((1, 3, 8, 8), mean=(3, 2, 1), pixel_format="bgr").apply(PHOTO)
    assert (nhwc.transpose(0, 3, 1, 2) == rgb).all()
    assert (bgr[:, ::-1] == rgb).all()


def test_gray_input_of_gray_pixels():
    digit = PHOTO[:28, :28, 0]
    preprocess = Preprocess((1, 1, 28, 28), mean=(33.3285,), scale=(0.012728,), pixel_format="gray")
    want = (digit.astype(np.float32) - np.float32(33.3285)) * np.float32(0.012728)
    assert (preprocess.apply(digit)[0, 0] == want).all()
    assert (preprocess.apply(np.repeat(digit[..., None], 3, axis=2))[0, 0] == want).all()


def test_the_centre_is_cropped_and_half_pixels_are_rounded_to_even():
    made = Preprocess((1, 3, 4, 4), resize_dims=(7, 9)).apply(marked(7, 9))
    assert made[0, 0, :, 0].tolist() == [2, 3, 4, 5]
    assert made[0, 1, 0].tolist() == [2, 3, 4, 5]


@pytest.mark.parametrize(
    ("photo", "pad_type", "rows", "columns"),
    [
        ((5, 10), "center", slice(2, 7), slice(0, 10)),
        ((5, 10), "normal", slice(0, 5), slice(0, 10)),
        ((10, 5), "center", slice(0, 10), slice(2, 7)),
    ],
)
def test_letterbox_pads_what_is_missing(photo, pad_type, rows, columns):
    preprocess = Preprocess((1, 3, 10, 10), keep_aspect_ratio=True, pad_value=200, pad_type=pad_type)
    made = preprocess.apply(marked(*photo))[0].transpose(1, 2, 0)
    assert (made[rows, columns] == marked(*photo)).all()
    outside = np.ones((10, 10), bool)
    outside[rows, columns] = False
    assert (made[outside] == 200).all()


def test_short_side_scale_covers_and_crops():
    preprocess = Preprocess(
        (1, 3, 8, 8), resize_dims=(10, 10), keep_aspect_ratio=True, keep_ratio_mode="short_side_scale"
    )
    made = preprocess.apply(marked(10, 20))
    assert made[0, 0, :, 0].tolist() == list(range(1, 9))
    assert made[0, 1, 0].tolist() == list(range(6, 14))


@settings(max_examples=40, deadline=None)
@given(
    st.tuples(st.integers(1, 40), st.integers(1, 40)), st.sampled_from([(), (9, 12), (16, 16)]), st.booleans(),
    st.sampled_from(["letterbox", "short_side_scale"]), st.sampled_from(["bilinear", "bicubic"]),
)  # fmt: skip
def test_every_photo_gives_the_inputs_shape(photo, dims, keep, mode, method):
    preprocess = Preprocess(
        (1, 3, 8, 12), resize_dims=dims, keep_aspect_ratio=keep, keep_ratio_mode=mode, resize_method=method,
        pad_value=40, mean=(40,) * 3,
    )  # fmt: skip
    made = preprocess.apply(np.full((*photo, 3), 40, np.uint8))
    assert made.shape == (1, 3, 8, 12)
    assert (made == 0).all()


@pytest.mark.parametrize("pixel_format", ["rgb", "bgr"])
def test_to_pixels_shows_what_the_network_sees(pixel_format):
    preprocess = Preprocess((1, 3, 30, 45), (), pixel_format=pixel_format, mean=(1, 2, 3), scale=(0.1, 0.2, 0.3))
    assert (preprocess.to_pixels(preprocess.apply(PHOTO)) == PHOTO).all()


def test_to_pixels_of_gray_is_gray():
    preprocess = Preprocess((1, 1, 30, 45), pixel_format="gray", scale=(-0.5,))
    pixels = preprocess.to_pixels(preprocess.apply(PHOTO[..., 0]))
    assert (pixels == PHOTO[..., :1]).all()


def test_attributes_round_trip():
    preprocess = Preprocess((1, 3, 224, 224), keep_aspect_ratio=True, pad_value=114, **IMAGENET)
    attributes = preprocess.to_attributes()
    assert attributes == {
        "preprocess": True, "resize_dims": [256, 256], "resize_method": "bilinear", "keep_aspect_ratio": True,
        "keep_ratio_mode": "letterbox", "pad_value": 114, "pad_type": "center", "mean": [123.675, 116.28, 103.53],
        "scale": [0.0171, 0.0175, 0.0174], "pixel_format": "rgb", "channel_format": "nchw",
    }  # fmt: skip
    assert Preprocess.from_attributes(attributes, (1, 3, 224, 224)) == preprocess
    assert Preprocess.from_attributes({**attributes, "shape": [1, 3, 224, 224]}) == preprocess


def test_attributes_are_those_of_the_irs_input_op():
    from stepdown.dialects.top.source import Input

    assert set(Preprocess((1, 3, 8, 8)).to_attributes()) == set(Input.fields)


def test_an_input_that_is_no_image():
    preprocess = Preprocess((1, 128), channel_format="none")
    assert preprocess.to_attributes() == {"preprocess": False, "channel_format": "none"}
    with pytest.raises(InputError, match=r"shape \[1, 128\] is not an image"):
        preprocess.apply(PHOTO)


@pytest.mark.parametrize(
    ("attributes", "says"),
    [
        ({"shape": [1, 3, 8, 8], "pad_valeu": 1}, "'pad_valeu'; did you mean 'pad_value'"),
        ({"mean": [1, 2, 3]}, "no attribute 'shape'"),
        ({"shape": [1, 3, 8, 8], "mean": ["a", "b", "c"]}, "malformed"),
        ({"shape": 7}, "malformed"),
    ],
)
def test_malformed_attributes_are_named(attributes, says):
    with pytest.raises(InputError, match=says):
        Preprocess.from_attributes(attributes)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"resize_dims": (200, 256)}, "resize_dims: 200,256 is smaller than the input, 224,224"),
        ({"resize_dims": (256,)}, "resize_dims: 1 given, want h,w"),
        ({"mean": (1, 2)}, "mean: 2 given for 3 channels"),
        ({"mean": (1, 2, float("nan"))}, "mean: .* not all finite"),
        ({"scale": (1, 0, 1)}, "scale: 1,0,1 would erase a channel"),
        ({"pad_value": 256}, "pad_value: 256 is not a pixel's value"),
        ({"pixel_format": "gray"}, "pixel_format: gray has 1 channel, the input"),
        ({"pixel_format": "yuv"}, "pixel_format: 'yuv' is none of rgb, bgr, gray"),
        ({"resize_method": "nearest"}, "resize_method: 'nearest' is none of"),
        ({"channel_format": "nhwc"}, "has 224; the layout is nhwc"),
        ({"input_shape": (3, 224, 224)}, "four sizes"),
        ({"input_shape": (0, 3, 224, 224)}, "four sizes"),
    ],
)
def test_impossible_fields_are_named(fields, says):
    with pytest.raises(InputError, match=says):
        Preprocess(**{"input_shape": (1, 3, 224, 224), **fields})


def test_a_very_elongated_photo_is_refused():
    preprocess = Preprocess((1, 3, 256, 256), keep_aspect_ratio=True, keep_ratio_mode="short_side_scale")
    with pytest.raises(InputError, match="cannot resize"):
        preprocess.apply(np.zeros((2, 200, 3), np.uint8))


class FakeRunner:
    def __init__(self):
        self.preprocessing = {"photo": Preprocess((1, 3, 224, 224), **IMAGENET).to_attributes()}
        self.closed = False

    def inputs(self):
        return [TensorSpec("photo", (1, 3, 224, 224), TensorInfo()), TensorSpec("ids", (None, 9), TensorInfo("i32"))]

    def close(self):
        self.closed = True


def test_a_models_preprocessing_by_input(monkeypatch):
    runner = FakeRunner()
    monkeypatch.setattr(stepdown.runtimes, "open_runner", lambda path: runner)
    inputs = from_model("any.mlir")
    assert inputs["photo"] == Preprocess((1, 3, 224, 224), **IMAGENET)
    assert (inputs["ids"].is_image, inputs["ids"].input_shape) == (False, (0, 9))
    assert runner.closed
