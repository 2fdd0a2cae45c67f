"""What turns a photo into a network's input; stored in the IR (`top.Input`) and in every model file.

The order of work, each step in float32:

1.  Decode to 8-bit RGB (`image.load_image`); for one channel take the luma (`image.to_gray`), still in 8 bits.
2.  Resize (`resize.resize`), without rounding to integers unless the method ends in `_u8`:
    stretched to `resize_dims`; with `keep_aspect_ratio`, as `keep_ratio_mode` says,
        letterbox          the largest size of the same shape inside `resize_dims`, then padded to it with `pad_value`,
        short_side_scale   the smallest size of the same shape that covers `resize_dims`, not padded.
    The side that follows from the other is rounded down, in integers, and is at least 1.
3.  Crop the input's size from the centre; half a pixel is rounded to even, as torchvision does.
4.  Order the channels (`pixel_format`), then y = (x − mean) × scale, rounded after each of the two operations.
5.  Lay out as `channel_format` says.
"""

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np

from stepdown.data.image import load_image, to_gray
from stepdown.data.resize import METHODS, resize
from stepdown.errors import InputError
from stepdown.files.npz import closest

KEEP_RATIO_MODES = ("letterbox", "short_side_scale")
PAD_TYPES = ("normal", "center")
CHANNEL_FORMATS = ("nchw", "nhwc", "none")
# By pixel format, the channels of RGB it takes; "gray" has one of its own.
_CHANNEL_ORDER = {"rgb": slice(None), "bgr": slice(None, None, -1), "gray": slice(None)}
PIXEL_FORMATS = tuple(_CHANNEL_ORDER)
_CHOICES = {
    "resize_method": METHODS,
    "keep_ratio_mode": KEEP_RATIO_MODES,
    "pad_type": PAD_TYPES,
    "pixel_format": PIXEL_FORMATS,
    "channel_format": CHANNEL_FORMATS,
}


@dataclass(frozen=True)
class Preprocess:
    """How a photo becomes one input of a network.

    `input_shape` is the input's shape, batch included. `resize_dims` is (h, w), the input's own size where it is
    empty; `mean` and `scale` have one value a channel, in the order of `pixel_format`, 0 and 1 where empty;
    `pad_value` is a pixel's value, 0..255. `channel_format` "none" means: not an image, given as a tensor.

    Raises:
        InputError: a field that cannot be, named.
    """

    input_shape: tuple[int, ...]
    resize_dims: tuple[int, ...] = ()
    resize_method: str = "bilinear"
    keep_aspect_ratio: bool = False
    keep_ratio_mode: str = "letterbox"
    pad_value: float = 0.0
    pad_type: str = "center"
    mean: tuple[float, ...] = ()
    scale: tuple[float, ...] = ()
    pixel_format: str = "rgb"
    channel_format: str = "nchw"

    def __post_init__(self) -> None:
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise InputError(f"'{getattr(self, name)}' is none of {', '.join(choices)}", name)
        if self.is_image:
            self._check_layout()
            self._fill(resize_dims=self.input_size, mean=(0.0,) * self.channels, scale=(1.0,) * self.channels)
            self._check_sizes()
            self._check_values()

    @property
    def is_image(self) -> bool:
        """Whether the input is made from a photo."""
        return self.channel_format != "none"

    @property
    def channels(self) -> int:
        """The number of channels of the input."""
        return self.input_shape[1 if self.channel_format == "nchw" else 3]

    @property
    def input_size(self) -> tuple[int, int]:
        """The size (h, w) that the network sees."""
        height, width = self.input_shape[2:] if self.channel_format == "nchw" else self.input_shape[1:3]
        return height, width

    def to_attributes(self) -> dict[str, Any]:
        """Return the attributes of the IR's input op: plain Python values, without the shape, which the op has."""
        if not self.is_image:
            return {"preprocess": False, "channel_format": "none"}
        attributes = {name: value for name, value in vars(self).items() if name != "input_shape"}
        return {"preprocess": True} | {k: list(v) if isinstance(v, tuple) else v for k, v in attributes.items()}

    @classmethod
    def from_attributes(cls, attributes: Mapping[str, Any], input_shape: Sequence[int] | None = None) -> Self:
        """Return what `to_attributes` gave; the shape comes from `input_shape`, else from the attribute `shape`.

        Raises:
            InputError: an attribute is unknown, of another type, or cannot be; or the shape is missing.
        """
        known = {field.name for field in fields(cls)} - {"input_shape"}
        for name in attributes:
            if name not in known | {"preprocess", "shape"}:
                raise InputError(f"unknown preprocessing attribute '{name}'", fix=closest(name, sorted(known)))
        shape = attributes.get("shape") if input_shape is None else input_shape
        if shape is None:
            raise InputError("the preprocessing has no attribute 'shape'")
        values: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in attributes.items() if k in known
        }
        try:
            return cls(tuple(shape), **values)
        except TypeError as error:
            raise InputError(f"malformed preprocessing attributes ({error})") from error

    def preprocess_file(self, path: str | os.PathLike[str]) -> np.ndarray:
        """Return `apply` of the photo in a file."""
        return self.apply(load_image(path))

    def apply(self, image: np.ndarray) -> np.ndarray:
        """Return the input float32[1, C, H, W], or [1, H, W, C], made of the pixels uint8[h, w, 3] or uint8[h, w].

        Raises:
            InputError: the input takes no image, or the photo is too elongated to be resized.
        """
        if not self.is_image:
            raise InputError(
                f"an input of shape {list(self.input_shape)} is not an image", fix="give its tensor in an .npz file"
            )
        pixels = self._crop(self._pad(self._resize(self._pick_channels(image))))
        normal = (pixels - np.array(self.mean, np.float32)) * np.array(self.scale, np.float32)
        if self.channel_format == "nchw":
            normal = normal.transpose(2, 0, 1)
        return np.ascontiguousarray(normal[None])

    def to_pixels(self, tensor: np.ndarray) -> np.ndarray:
        """Return the picture uint8[H, W, 3] (RGB) that an input float32[1, …] shows: x / scale + mean, rounded."""
        planes = tensor[0].transpose(1, 2, 0) if self.channel_format == "nchw" else tensor[0]
        pixels = np.rint(planes / np.array(self.scale, np.float32) + np.array(self.mean, np.float32))
        rgb = np.clip(pixels, 0, 255).astype(np.uint8)[..., _CHANNEL_ORDER[self.pixel_format]]
        return np.repeat(rgb, 3, axis=2) if self.pixel_format == "gray" else rgb

    # --- the steps

    def _pick_channels(self, image: np.ndarray) -> np.ndarray:
        """Return uint8[h, w, C] in the order of `pixel_format`: reordering before or after the resize is the same."""
        if image.ndim == 2:
            return np.repeat(image[..., None], self.channels, axis=2)
        return to_gray(image) if self.pixel_format == "gray" else image[..., _CHANNEL_ORDER[self.pixel_format]]

    def _resize(self, pixels: np.ndarray) -> np.ndarray:
        size = (self.resize_dims[0], self.resize_dims[1])
        if self.keep_aspect_ratio:
            size = _fit(pixels.shape[:2], size, cover=self.keep_ratio_mode == "short_side_scale")
        return resize(pixels, size, self.resize_method)

    def _pad(self, pixels: np.ndarray) -> np.ndarray:
        """Return pixels[h, w, C] padded to `resize_dims`; a larger image stays as it is."""
        missing = [max(0, want - have) for want, have in zip(self.resize_dims, pixels.shape[:2], strict=True)]
        if missing == [0, 0]:
            return pixels
        before = [m // 2 if self.pad_type == "center" else 0 for m in missing]
        widths = [(b, m - b) for b, m in zip(before, missing, strict=True)]
        return np.pad(pixels, [*widths, (0, 0)], constant_values=np.float32(self.pad_value))

    def _crop(self, pixels: np.ndarray) -> np.ndarray:
        height, width = self.input_size
        top, left = round((pixels.shape[0] - height) / 2), round((pixels.shape[1] - width) / 2)
        return pixels[top : top + height, left : left + width]

    # --- checks

    def _fill(self, **defaults: tuple[Any, ...]) -> None:
        for name, value in defaults.items():
            object.__setattr__(self, name, tuple(getattr(self, name)) or value)

    def _check_layout(self) -> None:
        shape, wanted = list(self.input_shape), 1 if self.pixel_format == "gray" else 3
        if len(shape) != 4 or min(shape) < 1:
            raise InputError(f"an image needs a shape of four sizes, not {shape}", "channel_format", "or say 'none'")
        if self.channels != wanted:
            raise InputError(
                f"{self.pixel_format} has {wanted} channel{'s' * (wanted > 1)}, the input {shape} has {self.channels}",
                "pixel_format",
                f"the layout is {self.channel_format}",
            )

    def _check_sizes(self) -> None:
        if len(self.resize_dims) != 2:
            raise InputError(f"{len(self.resize_dims)} given, want h,w", "resize_dims")
        if any(r < i for r, i in zip(self.resize_dims, self.input_size, strict=True)):
            raise InputError(
                f"{_listed(self.resize_dims)} is smaller than the input, {_listed(self.input_size)}",
                "resize_dims",
                "the input is cropped from the resized image, so give at least its size",
            )

    def _check_values(self) -> None:
        for name in ("mean", "scale"):
            values = getattr(self, name)
            if len(values) != self.channels:
                raise InputError(f"{len(values)} given for {self.channels} channels", name, "give one each")
            if not all(math.isfinite(v) for v in values):
                raise InputError(f"{_listed(values)} are not all finite", name)
        if 0 in self.scale:
            raise InputError(f"{_listed(self.scale)} would erase a channel", "scale", "give values other than 0")
        if not 0 <= self.pad_value <= 255:
            raise InputError(f"{self.pad_value:g} is not a pixel's value", "pad_value", "give 0..255")


def from_model(path: str | os.PathLike[str]) -> dict[str, Preprocess]:
    """Return the preprocessing of each input of a model file, by name, in the order of the inputs.

    An input of which the model says nothing has `channel_format` "none"; its sizes that are not fixed are 0.
    """
    from stepdown.runtimes import open_runner

    runner = open_runner(path)
    try:
        stored = runner.preprocessing
        shapes = {spec.name: tuple(size or 0 for size in spec.shape) for spec in runner.inputs()}
        return {
            name: Preprocess.from_attributes(stored.get(name, {"channel_format": "none"}), shape)
            for name, shape in shapes.items()
        }
    finally:
        runner.close()


def _fit(have: tuple[int, ...], box: tuple[int, int], cover: bool) -> tuple[int, int]:
    """Return the size (h, w) with the shape of `have` that fits into `box`, or covers it."""
    height, width = have
    wider = width * box[0] >= height * box[1]
    if wider == cover:
        return box[0], max(1, width * box[0] // height)
    return max(1, height * box[1] // width), box[1]


def _listed(values: Sequence[float]) -> str:
    return ",".join(f"{v:g}" for v in values)
