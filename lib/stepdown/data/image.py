"""Decoding photos to 8-bit RGB."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from stepdown.data.resize import MAX_SIDE
from stepdown.errors import InputError

if TYPE_CHECKING:
    from PIL.Image import Image

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")
MAX_PIXELS = 1 << 26
# Modes whose values are not 0..255: converting them would clip.
_DEEP_MODES = ("I", "F", "I;16B", "I;16L", "I;16N")


def is_image(path: str | os.PathLike[str]) -> bool:
    """Return whether the name ends as a photo's does."""
    return Path(path).suffix.lower() in IMAGE_SUFFIXES


def load_image(path: str | os.PathLike[str]) -> np.ndarray:
    """Return the pixels uint8[H, W, 3] of a photo, in RGB, as a person would see it.

    The orientation in the EXIF block is applied. A transparent image is laid over white. Gray, palette and CMYK
    images become RGB; 16-bit gray keeps its high byte. A JPEG's exact pixels are those of the decoder in Pillow.

    Raises:
        InputError: no such file, not an image, truncated, or larger than `MAX_PIXELS` or `MAX_SIDE`.
    """
    from PIL import Image, UnidentifiedImageError

    if not Path(path).is_file():
        raise InputError("is a directory" if Path(path).is_dir() else "no such file", str(path), "give an image")
    try:
        with Image.open(path) as image:
            _check_size(image.size, str(path))
            return _to_rgb(_upright(image), str(path))
    except UnidentifiedImageError as error:
        raise InputError("not an image", str(path), f"give one of {', '.join(IMAGE_SUFFIXES)}") from error
    except Image.DecompressionBombError as error:
        raise InputError("too large an image", str(path), f"at most {MAX_PIXELS} pixels") from error
    except (OSError, SyntaxError, ValueError, EOFError) as error:  # what Pillow's decoders raise on broken files
        raise InputError(f"broken image ({error})", str(path)) from error


def to_gray(rgb: np.ndarray) -> np.ndarray:
    """Return luma uint8[H, W, 1] of rgb uint8[H, W, 3]: (19595 R + 38470 G + 7471 B + 32768) >> 16.

    Source: the weights of ITU-R BT.601 in 16-bit fixed point; they sum to 65536, so a gray pixel keeps its value.
    """
    wide = rgb.astype(np.uint32)
    luma = (wide[..., 0] * 19595 + wide[..., 1] * 38470 + wide[..., 2] * 7471 + 32768) >> 16
    return luma.astype(np.uint8)[..., None]


def _check_size(size: tuple[int, int], path: str) -> None:
    width, height = size
    if width * height > MAX_PIXELS or max(size) > MAX_SIDE:
        raise InputError(
            f"an image of {width}×{height} pixels is too large", path, f"at most {MAX_PIXELS} pixels, {MAX_SIDE} a side"
        )


def _upright(image: "Image") -> "Image":
    from PIL import ImageOps

    return ImageOps.exif_transpose(image)


def _to_rgb(image: "Image", path: str) -> np.ndarray:
    if image.mode == "I;16":
        return np.repeat((np.asarray(image) >> 8).astype(np.uint8)[..., None], 3, axis=2)
    if image.mode in _DEEP_MODES:
        raise InputError(f"pixels of type {image.mode} have no fixed range", path, "convert it to 8 bits a channel")
    if image.has_transparency_data:
        return _over_white(np.asarray(image.convert("RGBA")))
    return np.asarray(image.convert("RGB"))


def _over_white(rgba: np.ndarray) -> np.ndarray:
    """Return (c·a + 255·(255 − a) + 127) / 255, rounded down, of rgba uint8[H, W, 4]."""
    wide = rgba.astype(np.uint32)
    colour, alpha = wide[..., :3], wide[..., 3:]
    return ((colour * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)
