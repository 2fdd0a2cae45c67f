import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from stepdown.data.resize import MAX_SIDE, METHODS, resize
from stepdown.errors import InputError

SIDES = st.integers(1, 24)


def column(*values):
    return np.array(values, np.uint8)[:, None, None]


def test_enlarging_takes_half_pixel_centres():
    assert resize(column(0, 100), (4, 1)).ravel().tolist() == [0, 25, 75, 100]


def test_shrinking_averages_what_a_pixel_covers():
    # The kernel gives 6, 6, 2 and 2, 6, 6 of 14: from the sums 6/14, 12/14 and 2/14, 8/14, in units of 2^-15.
    first = (0 * 14043 + 10 * (28087 - 14043) + 20 * (32768 - 28087)) / 32768
    second = (10 * 4681 + 20 * (18725 - 4681) + 30 * (32768 - 18725)) / 32768
    assert resize(column(0, 10, 20, 30), (2, 1)).ravel().tolist() == [first, second]


def test_bicubic_overshoot_is_limited():
    enlarged = resize(column(0, 0, 255, 255), (16, 1), "bicubic")
    assert (enlarged.min(), enlarged.max()) == (0, 255)


def test_u8_methods_round_half_up():
    assert resize(column(0, 100, 2), (6, 1), "bilinear_u8").ravel().tolist() == [0, 25, 75, 76, 27, 2]
    assert resize(column(0, 2), (4, 1), "bilinear_u8").ravel().tolist() == [0, 1, 2, 2]


@settings(max_examples=40, deadline=None)
@given(st.tuples(SIDES, SIDES), st.tuples(SIDES, SIDES), st.integers(0, 255), st.sampled_from(METHODS))
def test_a_constant_image_stays_constant(size, new_size, value, method):
    resized = resize(np.full((*size, 3), value, np.uint8), new_size, method)
    assert resized.shape == (*new_size, 3)
    assert resized.dtype == np.float32
    assert (resized == value).all()


@settings(max_examples=40, deadline=None)
@given(st.tuples(SIDES, SIDES), st.tuples(SIDES, SIDES), st.sampled_from(["bilinear", "bicubic"]), st.randoms())
def test_pillow_agrees(size, new_size, method, rng):
    pixels = np.array([[rng.randrange(256) for _ in range(size[1])] for _ in range(size[0])], np.uint8)
    filter = Image.Resampling[method.upper()]
    want = Image.fromarray(pixels.astype(np.float32)).resize(new_size[::-1], filter)
    assert np.abs(resize(pixels[..., None], new_size, method)[..., 0] - np.clip(want, 0, 255)).max() < 0.02


def lines_by_hand(lines, count, method):
    """Return step 1 to 4 of the module's docstring for each column of lines[n, width], number by number."""
    radius = 1 if method == "bilinear" else 2
    n, m = len(lines), count
    s = 2 * max(n, m)

    def kernel(p):
        if method == "bilinear":
            return max(s - p, 0)
        near, far = 3 * p**3 - 5 * p**2 * s + 2 * s**3, -(p**3) + 5 * p**2 * s - 8 * p * s**2 + 4 * s**3
        return near if p < s else far

    out = np.zeros((m, lines.shape[1]), np.float32)
    for i in range(m):
        distance = [(j, abs((2 * j + 1) * m - (2 * i + 1) * n)) for j in range(n)]
        a = [(j, kernel(p)) for j, p in distance if p < radius * s]
        total, summed, before = sum(v for _, v in a), 0, 0.0
        for j, value in a:
            summed += value
            step = np.floor(summed / total * 32768 + 0.5)
            out[i] = out[i] + np.float32((step - before) / 32768) * lines[j].astype(np.float32)
            before = step
    return out


@pytest.mark.parametrize("method", ["bilinear", "bicubic"])
@pytest.mark.parametrize(("size", "new_size"), [((13, 17), (5, 9)), ((6, 5), (16, 5)), ((40, 3), (2, 8))])
def test_the_docstring_says_what_the_code_does(size, new_size, method):
    pixels = np.random.default_rng(3).integers(0, 256, size, np.uint8)
    tall = lines_by_hand(pixels, new_size[0], method) if size[0] != new_size[0] else pixels.astype(np.float32)
    both = lines_by_hand(tall.T, new_size[1], method).T if size[1] != new_size[1] else tall
    assert resize(pixels[..., None], new_size, method)[..., 0].tobytes() == np.clip(both, 0, 255).tobytes()


GOLDEN = {
    "bilinear": "1743df0bef8f5b916e739e0ee97ccdc9608592f8f93fd55025a128f5e7328f57",
    "bicubic": "efdb22ce883416e1d4640232acc6419deb1926815219faf3e480a8971b9b3765",
}


@pytest.mark.parametrize("method", sorted(GOLDEN))
def test_the_bytes_never_change(method):
    y, x, c = np.ogrid[:41, :67, :3]
    pixels = ((y * 37 + x * 101 + c * 59 + y * x) % 256).astype(np.uint8)
    parts = [resize(pixels, size, method).tobytes() for size in ((24, 24), (90, 31), (41, 200))]
    assert hashlib.sha256(b"".join(parts)).hexdigest() == GOLDEN[method]


@pytest.mark.parametrize("size", [(0, 5), (5, MAX_SIDE + 1)])
def test_impossible_sizes_are_refused(size):
    with pytest.raises(InputError, match="cannot resize"):
        resize(np.zeros((4, 4, 3), np.uint8), size)


def test_the_largest_side_does_not_overflow():
    for method in METHODS:
        assert (resize(np.full((MAX_SIDE, 1, 1), 255, np.uint8), (1, 1), method) == 255).all()
