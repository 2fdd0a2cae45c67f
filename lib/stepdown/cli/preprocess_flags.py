"""The flags that say how a photo becomes a network's input, shared by the tools that take photos."""

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stepdown.data.preprocess import Preprocess

# The fields of `Preprocess` that have a flag of the same name.
PREPROCESS_FLAGS = (
    "resize_dims", "resize_method", "keep_aspect_ratio", "keep_ratio_mode", "pad_value", "pad_type",
    "mean", "scale", "pixel_format", "channel_format",
)  # fmt: skip
Shape = tuple[int, ...]
MAX_SIZE = (1 << 31) - 1


def add_preprocess_flags(parser: argparse.ArgumentParser) -> None:
    """Add the group of flags; those not given stay None, `keep_aspect_ratio` False."""
    group = parser.add_argument_group(
        "preprocessing", "decode, resize, crop the centre to the input's size, y = (x - mean) * scale"
    )
    group.add_argument("--resize_dims", type=_integers, metavar="H,W", help="size to resize to (default: the input's)")
    group.add_argument(
        "--resize_method",
        choices=("bilinear", "bicubic", "bilinear_u8", "bicubic_u8"),
        help="bilinear (default) or bicubic, antialiased; _u8 gives the very pixels of Pillow, in integers",
    )
    group.add_argument("--keep_aspect_ratio", action="store_true", help="do not stretch; see --keep_ratio_mode")
    group.add_argument(
        "--keep_ratio_mode",
        choices=("letterbox", "short_side_scale"),
        help="letterbox (default): fit into --resize_dims and pad; short_side_scale: cover it",
    )
    group.add_argument("--pad_value", type=float, metavar="X", help="pixel value of the padding, 0..255 (default 0)")
    group.add_argument(
        "--pad_type", choices=("normal", "center"), help="center (default): pad on both sides; normal: bottom, right"
    )
    group.add_argument("--mean", type=_numbers, metavar="X,X,X", help="one a channel (default 0); --mean=-1,0,1")
    group.add_argument("--scale", type=_numbers, metavar="X,X,X", help="one a channel (default 1)")
    group.add_argument(
        "--pixel_format", choices=("rgb", "bgr", "gray"), help="default rgb, gray where the input has one channel"
    )
    group.add_argument(
        "--channel_format", choices=("nchw", "nhwc", "none"), help="default: as the shape says; none: not an image"
    )


def has_preprocess_flags(args: argparse.Namespace) -> bool:
    """Return whether the user gave any of the flags."""
    return any(getattr(args, name) not in (None, False) for name in PREPROCESS_FLAGS)


def preprocess_from_args(args: argparse.Namespace, input_shape: Sequence[int]) -> "Preprocess":
    """Return the preprocessing that the flags say for an input of this shape.

    A shape with one or three channels in the second or last place is an image's, any other is not.

    Raises:
        InputError: the flags contradict the shape or each other.
    """
    from stepdown.data.preprocess import Preprocess

    shape = tuple(input_shape)
    given = {name: getattr(args, name) for name in PREPROCESS_FLAGS if getattr(args, name) is not None}
    given.setdefault("channel_format", _layout(shape))
    channels = shape[1 if given["channel_format"] == "nchw" else -1] if shape else 0
    given.setdefault("pixel_format", "gray" if channels == 1 else "rgb")
    return Preprocess(shape, **given)


def shapes(text: str) -> list[Shape]:
    """Parse `[[1,3,224,224],[1,10]]`, `[1,3,224,224]` or `1,3,224,224`; an argparse type."""
    inner = text.replace(" ", "")
    inner = inner[1:-1] if inner.startswith("[[") and inner.endswith("]]") else inner
    parts = inner.strip("[]").split("],[")
    try:
        found = [tuple(int(size) for size in part.split(",")) for part in parts]
    except ValueError:
        found = []
    if not found or not all(1 <= size <= MAX_SIZE for shape in found for size in shape):
        raise argparse.ArgumentTypeError(f"'{text}' is not like [[1,3,224,224]]")
    return found


def _layout(shape: Shape) -> str:
    if len(shape) == 4 and shape[1] in (1, 3):
        return "nchw"
    return "nhwc" if len(shape) == 4 and shape[3] in (1, 3) else "none"


def _integers(text: str) -> Shape:
    try:
        return tuple(int(value) for value in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is not like 256,256") from None


def _numbers(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(value) for value in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is not like 0.5,0.5,0.5") from None
