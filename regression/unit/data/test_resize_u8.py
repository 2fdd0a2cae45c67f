"""8-bit resizing against Pillow: golden bytes that Pillow 13.0.0 gave, and the installed one on random pictures."""

import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from real_data import DATA, needed

from stepdown.data.resize import resize

KERNELS = ("bilinear", "bicubic")
SIDES = st.integers(1, 60)
PICTURE = np.array(
    [[0, 255, 3, 250], [17, 90, 255, 0], [255, 1, 128, 64], [5, 200, 40, 99], [0, 0, 255, 255], [33, 66, 132, 201],
     [254, 253, 7, 8], [90, 80, 70, 60], [1, 2, 4, 8]], np.uint8,
)  # fmt: skip


def ours(pixels: np.ndarray, size: tuple[int, int], kernel: str) -> np.ndarray:
    """Return pixels[H, W] or [H, W, 3] resized by us; what comes back is checked to be 8-bit integers in float32."""
    resized = resize(pixels if pixels.ndim == 3 else pixels[..., None], size, f"{kernel}_u8")
    assert resized.dtype == np.float32
    whole = resized.astype(np.uint8)
    assert (whole == resized).all()
    return whole.reshape(*size, *pixels.shape[2:])


def pillows(pixels: np.ndarray, size: tuple[int, int], kernel: str) -> np.ndarray:
    """Return the same by Pillow."""
    return np.asarray(Image.fromarray(pixels).resize(size[::-1], Image.Resampling[kernel.upper()]))


@pytest.mark.parametrize(
    ("size", "kernel", "rows"),
    [  # 9×4 to 4×3 shrinks the height much more than the width: the rows go first
        ((4, 3), "bilinear", [[80, 135, 115], [78, 110, 122], [94, 113, 139], [89, 60, 31]]),
        ((4, 3), "bicubic", [[78, 140, 110], [72, 108, 128], [97, 118, 148], [92, 55, 19]]),
        ((2, 6), "bilinear", [[71, 88, 109, 129, 127, 119], [90, 97, 100, 82, 86, 93]]),
        ((2, 6), "bicubic", [[65, 85, 114, 135, 131, 122], [88, 94, 96, 80, 85, 94]]),
    ],
)
def test_pixels_that_pillow_gave(size: tuple[int, int], kernel: str, rows: list[list[int]]) -> None:
    assert ours(PICTURE, size, kernel).tolist() == rows


@pytest.mark.parametrize(
    ("kernel", "digest"),
    [
        ("bilinear", "0188762c412392e707830c0a3c06c19fa58f65c4c127efb947a2c2e62a7501f1"),
        ("bicubic", "0c14215ba281f6968223517e5b6f820b22cdcaddf251e08693cb3b391b61bc08"),
    ],
)
def test_bytes_that_pillow_gave(kernel: str, digest: str) -> None:
    y, x, c = np.ogrid[:41, :67, :3]
    pixels = ((y * 37 + x * 101 + c * 59 + y * x) % 256).astype(np.uint8)
    sizes = ((24, 24), (90, 31), (41, 200), (24, 90), (7, 67))
    assert hashlib.sha256(b"".join(ours(pixels, size, kernel).tobytes() for size in sizes)).hexdigest() == digest


@settings(max_examples=150, deadline=None)
@given(
    st.tuples(SIDES, SIDES), st.tuples(SIDES, SIDES), st.sampled_from(KERNELS), st.booleans(), st.booleans(),
    st.integers(0, 2**32 - 1),
)  # fmt: skip
def test_pillow_gives_the_same_pixels(
    size: tuple[int, int], new_size: tuple[int, int], kernel: str, colour: bool, harsh: bool, seed: int
) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3) if colour else size, np.uint8)
    if harsh:
        pixels = np.where(pixels < 128, np.uint8(0), np.uint8(255))
    assert (ours(pixels, new_size, kernel) == pillows(pixels, new_size, kernel)).all()


@pytest.mark.parametrize("kernel", KERNELS)
def test_pillow_gives_the_same_photos(kernel: str) -> None:
    needed("images/calib100")
    for path in sorted((DATA / "images" / "calib100").iterdir())[::10]:
        pixels = np.asarray(Image.open(path).convert("RGB"))
        for size in ((256, 256), (256 * pixels.shape[0] // pixels.shape[1] + 1, 256), (31, 700)):
            assert (ours(pixels, size, kernel) == pillows(pixels, size, kernel)).all(), (path.name, size)
