import numpy as np
import pytest
from PIL import Image

from stepdown.data.image import load_image, to_gray
from stepdown.errors import InputError

RED, GREEN = (200, 10, 20), (0, 180, 0)


def save(path, image, **options):
    image.save(path, **options)
    return path


def test_rgb_is_read_as_it_is(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    assert (load_image(save(tmp_path / "a.png", Image.fromarray(pixels))) == pixels).all()


def test_exif_orientation_is_applied(tmp_path):
    image = Image.new("RGB", (2, 1), RED)
    image.putpixel((1, 0), GREEN)
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: rotate clockwise
    loaded = load_image(save(tmp_path / "a.png", image, exif=exif))
    assert loaded.tolist() == [[list(RED)], [list(GREEN)]]


def test_a_transparent_image_lies_over_white(tmp_path):
    image = Image.new("RGBA", (3, 1), (*RED, 255))
    image.putpixel((1, 0), (*RED, 0))
    image.putpixel((2, 0), (*RED, 51))
    assert load_image(save(tmp_path / "a.png", image)).tolist() == [[list(RED), [255, 255, 255], [244, 206, 208]]]


def test_palette_transparency_lies_over_white(tmp_path):
    image = Image.new("P", (2, 1), 0)
    image.putpalette([*RED, *GREEN])
    image.putpixel((1, 0), 1)
    loaded = load_image(save(tmp_path / "a.png", image, transparency=1))
    assert loaded.tolist() == [[list(RED), [255, 255, 255]]]


@pytest.mark.parametrize(("mode", "value", "want"), [("L", 77, 77), ("1", 1, 255), ("I;16", 0x4D80, 0x4D)])
def test_gray_images_become_rgb(tmp_path, mode, value, want):
    dtype = {"L": np.uint8, "1": bool, "I;16": np.uint16}[mode]
    loaded = load_image(save(tmp_path / "a.png", Image.fromarray(np.full((2, 3), value, dtype))))
    assert (loaded == np.full((2, 3, 3), want, np.uint8)).all()


def test_luma_keeps_gray_and_weighs_colours():
    gray = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
    assert (to_gray(gray)[..., 0] == np.arange(256)).all()
    assert to_gray(np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255]]], np.uint8)).ravel().tolist() == [76, 150, 29]


def broken(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    return tmp_path / name


def test_a_truncated_photo_is_named(tmp_path):
    whole = save(tmp_path / "a.jpg", Image.effect_noise((64, 64), 50).convert("RGB")).read_bytes()
    with pytest.raises(InputError, match=r"b\.jpg: broken image"):
        load_image(broken(tmp_path, "b.jpg", whole[: len(whole) // 2]))


@pytest.mark.parametrize(("name", "content", "says"), [("a.png", b"hello", "not an image"), ("b.png", b"", "not an")])
def test_what_is_no_image_is_named(tmp_path, name, content, says):
    with pytest.raises(InputError, match=f"{name}: {says}"):
        load_image(broken(tmp_path, name, content))


def test_missing_files_and_folders_are_told(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        load_image(tmp_path / "none.jpg")
    with pytest.raises(InputError, match="is a directory"):
        load_image(tmp_path)


def test_huge_and_deep_images_are_refused(tmp_path):
    with pytest.raises(InputError, match="too large"):
        load_image(save(tmp_path / "wide.png", Image.new("1", (20000, 1))))
    with pytest.raises(InputError, match="no fixed range"):
        load_image(save(tmp_path / "deep.tiff", Image.new("F", (2, 2))))
