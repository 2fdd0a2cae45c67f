"""The C++ runner gives a network the same bytes as Python does, of every picture and preprocessing."""

import io
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from checkout import REGRESSION
from native.cxx_runner import Port, Program, library
from PIL import Image

from stepdown.data.image import load_image
from stepdown.data.preprocess import Preprocess

RNG = np.random.default_rng(11)
PHOTO = RNG.integers(0, 256, (37, 53, 3), np.uint8)
IMAGENET: dict[str, Any] = {"mean": (123.675, 116.28, 103.53), "scale": (0.0171, 0.0175, 0.0174)}
TALL, WIDE = PHOTO.transpose(1, 0, 2), PHOTO


def stored(path: Path, preprocess: Preprocess) -> Path:
    """Return a library that stores a preprocessing."""
    attributes = {**preprocess.to_attributes(), "shape": list(preprocess.input_shape)}
    return library(path, Port("x", preprocess.input_shape), preprocessing=attributes)


def unchanged(path: Path, shape: tuple[int, ...]) -> Path:
    """Return a library that takes the pixels of a photo of a shape as they are."""
    return stored(path, Preprocess((1, *shape), channel_format="nhwc"))


def saved(path: Path, pixels: np.ndarray, **settings: Any) -> Path:
    Image.fromarray(pixels).save(path, **settings)
    return path


def agree(got: np.ndarray, want: np.ndarray) -> bool:
    """Tell whether two arrays have the same type, shape and bytes."""
    return (got.dtype, got.shape, got.tobytes()) == (want.dtype, want.shape, want.tobytes())


NCHW, SMALL = (1, 3, 32, 32), (1, 3, 20, 24)
CASES = {
    "shrunk": Preprocess(SMALL, **IMAGENET),
    "enlarged": Preprocess((1, 3, 90, 101), **IMAGENET),
    "cropped": Preprocess(SMALL, (29, 31), **IMAGENET),
    "bicubic": Preprocess(NCHW, (40, 40), "bicubic"),
    "Pillow's bytes": Preprocess(NCHW, (36, 36), "bilinear_u8", mean=(127.5,) * 3, scale=(1 / 127.5,) * 3),
    "Pillow's bicubic": Preprocess(NCHW, (64, 33), "bicubic_u8"),
    "letterbox": Preprocess(NCHW, keep_aspect_ratio=True, pad_value=114, **IMAGENET),
    "letterbox below": Preprocess(NCHW, (50, 40), keep_aspect_ratio=True, pad_value=0.5, pad_type="normal"),
    "short side": Preprocess(NCHW, (35, 35), keep_aspect_ratio=True, keep_ratio_mode="short_side_scale", **IMAGENET),
    "short side, Pillow": Preprocess(NCHW, (35, 35), "bicubic_u8", True, "short_side_scale"),
    "blue first": Preprocess(NCHW, mean=(1, 2, 3), scale=(0.5, 0.25, 0.1), pixel_format="bgr"),
    "channels last": Preprocess((1, 32, 30, 3), mean=(127.5,) * 3, scale=(0.0078125,) * 3, channel_format="nhwc"),
    "gray": Preprocess((1, 1, 28, 28), mean=(33.3285,), scale=(0.012728,), pixel_format="gray"),
    "gray, channels last": Preprocess((1, 28, 28, 1), pixel_format="gray", channel_format="nhwc"),
}


@pytest.mark.parametrize("pixels", [WIDE, TALL], ids=["wide", "tall"])
@pytest.mark.parametrize("name", CASES)
def test_what_the_library_stores(run_model: Program, name: str, pixels: np.ndarray, tmp_path: Path) -> None:
    network = stored(tmp_path / "net.so", CASES[name])
    photo = saved(tmp_path / "photo.png", pixels)
    assert agree(run_model.input(network, photo, folder=tmp_path), CASES[name].apply(pixels))


def drawn(random: Random) -> Preprocess:
    """Return some geometry of an input of 3×17×19."""
    size = (random.randint(17, 70), random.randint(19, 70))
    method = random.choice(("bilinear", "bicubic", "bilinear_u8", "bicubic_u8"))
    keeps, mode = random.random() < 0.6, random.choice(("letterbox", "short_side_scale"))
    return Preprocess(
        (1, 3, 17, 19), size, method, keeps, mode, random.choice((0, 114, 127.5)), random.choice(("normal", "center"))
    )


def flags(preprocess: Preprocess) -> list[str]:
    """Return the flags that ask for a geometry."""
    height, width = preprocess.resize_dims
    return [
        f"--resize_dims={height},{width}", f"--resize_method={preprocess.resize_method}",
        "--keep_aspect_ratio" if preprocess.keep_aspect_ratio else "--stretch",
        f"--keep_ratio_mode={preprocess.keep_ratio_mode}", f"--pad_value={preprocess.pad_value}",
        f"--pad_type={preprocess.pad_type}",
    ]  # fmt: skip


def test_flags_override_it(run_model: Program, tmp_path: Path) -> None:
    network, random = stored(tmp_path / "net.so", Preprocess((1, 3, 17, 19))), Random(7)
    for turn in range(40):
        pixels = RNG.integers(0, 256, (random.randint(1, 90), random.randint(1, 90), 3), np.uint8)
        wanted, photo = drawn(random), saved(tmp_path / "photo.bmp", pixels)
        got = run_model.input(network, photo, *flags(wanted), folder=tmp_path)
        assert agree(got, wanted.apply(pixels)), (turn, pixels.shape, wanted)


IMAGENET_PIXELS = {
    "mean": (0.485 * 255, 0.456 * 255, 0.406 * 255),
    "scale": tuple(1 / (s * 255) for s in (0.229, 0.224, 0.225)),
}
VALUES: dict[str, dict[str, Any]] = {
    "--normalize": IMAGENET_PIXELS,
    "--normalize --bgr": {n: v[::-1] for n, v in IMAGENET_PIXELS.items()} | {"pixel_format": "bgr"},
    "--mean 0 --std 1": {"mean": (0,) * 3, "scale": (1 / 255,) * 3},
    "--mean 0.5,0.25,0.125": {"mean": (127.5, 63.75, 31.875)},
    "--std 0.5 --range 255": {"scale": (2,) * 3},
    "--mean=104,117,123 --range=255 --std=1 --bgr": {"mean": (104, 117, 123), "scale": (1,) * 3, "pixel_format": "bgr"},
}  # fmt: skip


@pytest.mark.parametrize("given", VALUES)
def test_mean_and_deviation(run_model: Program, given: str, tmp_path: Path) -> None:
    plain = Preprocess(NCHW, **IMAGENET)
    network, photo = stored(tmp_path / "net.so", plain), saved(tmp_path / "photo.png", PHOTO)
    got = run_model.input(network, photo, *given.split(), folder=tmp_path)
    assert agree(got, replace(plain, **VALUES[given]).apply(PHOTO))


def test_a_library_that_does_not_say_takes_what_the_flags_say(run_model: Program, tmp_path: Path) -> None:
    network, photo = library(tmp_path / "net.so", Port("x", (1, 16, 18, 3))), saved(tmp_path / "photo.png", PHOTO)
    wanted = Preprocess((1, 16, 18, 3), (20, 20), channel_format="nhwc", **IMAGENET_PIXELS)
    got = run_model.input(network, photo, "--normalize", "--resize_dims=20", folder=tmp_path)
    assert agree(got, wanted.apply(PHOTO))


# --- pictures


def pictures() -> dict[str, tuple[Image.Image, str, dict[str, Any]]]:
    """Return by name a picture, and as what to save it."""
    rgb = Image.fromarray(PHOTO)
    alpha = Image.fromarray(RNG.integers(0, 256, (37, 53, 4), np.uint8), "RGBA")
    gray = Image.fromarray(PHOTO[..., 0])
    deep = Image.fromarray(RNG.integers(0, 65536, (37, 53), np.uint16))
    palette = rgb.quantize(17)
    kinds = {
        "RGB": rgb, "with alpha": alpha, "gray": gray, "gray with alpha": alpha.convert("LA"),
        "of 1 bit": gray.convert("1"), "of 16 bits": deep, "with a palette": palette,
        "with 16 colours": rgb.quantize(16),
    }  # fmt: skip
    found: dict[str, tuple[Image.Image, str, dict[str, Any]]] = {f"PNG {n}": (i, "png", {}) for n, i in kinds.items()}
    found["PNG, one colour transparent"] = (palette, "png", {"transparency": 3})
    found["PNG, interlaced colour key"] = (rgb, "png", {"transparency": tuple(PHOTO[3, 4].tolist())})
    found |= {f"BMP {n}": (kinds[n], "bmp", {}) for n in ("RGB", "with alpha", "gray", "of 1 bit", "with a palette")}
    found |= {f"TGA {n}": (kinds[n], "tga", {}) for n in ("RGB", "with alpha", "gray")}
    found |= {
        "TGA, packed": (rgb, "tga", {"compression": "tga_rle"}),
        "GIF": (palette, "gif", {}),
        "GIF, transparent": (palette, "gif", {"transparency": 2}),
        "PPM": (rgb, "ppm", {}),
        "PGM": (gray, "pgm", {}),
        "JPEG": (rgb, "jpg", {"quality": 90, "subsampling": 0}),
        "JPEG 4:2:2": (rgb, "jpg", {"quality": 60, "subsampling": 1}),
        "JPEG 4:2:0": (rgb, "jpg", {"quality": 95, "subsampling": 2}),
        "JPEG, progressive": (rgb, "jpg", {"quality": 80, "progressive": True}),
        "JPEG, narrow": (rgb.crop((0, 0, 3, 20)), "jpg", {"quality": 80}),
        "JPEG, restarts": (rgb, "jpg", {"quality": 30, "restart_marker_rows": 1}),
        "JPEG, gray": (gray, "jpg", {}),
    }
    return found


@pytest.mark.parametrize("name", pictures())
def test_pictures(run_model: Program, name: str, tmp_path: Path) -> None:
    image, suffix, settings = pictures()[name]
    path = tmp_path / f"photo.{suffix}"
    image.save(path, **settings)
    pixels = load_image(path)
    network = unchanged(tmp_path / "net.so", pixels.shape)
    assert agree(run_model.input(network, path, folder=tmp_path), pixels.astype(np.float32)[None])


@pytest.mark.parametrize("name", sorted(path.name for path in (REGRESSION / "image").glob("*.jpg")))
def test_photos(run_model: Program, name: str, tmp_path: Path) -> None:
    path = REGRESSION / "image" / name
    wanted = Preprocess((1, 3, 224, 224), (256, 256), **IMAGENET)
    got = run_model.input(stored(tmp_path / "net.so", wanted), path, folder=tmp_path)
    assert agree(got, wanted.preprocess_file(path))


@pytest.mark.parametrize("suffix", ["png", "jpg"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_photos_are_turned_as_exif_says(run_model: Program, orientation: int, suffix: str, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(tmp_path / f"photo.{suffix}", PHOTO, exif=exif)
    pixels = load_image(path)
    assert pixels.shape[:2] == (PHOTO.shape[:2] if orientation < 5 else PHOTO.shape[1::-1])
    network = unchanged(tmp_path / "net.so", pixels.shape)
    assert agree(run_model.input(network, path, folder=tmp_path), pixels.astype(np.float32)[None])


def psd() -> bytes:
    """Return PHOTO as a Photoshop document, not packed."""
    height, width = PHOTO.shape[:2]
    head = b"8BPS\0\1" + bytes(6) + b"\0\3" + height.to_bytes(4, "big") + width.to_bytes(4, "big") + b"\0\x08\0\3"
    return head + bytes(12) + b"\0\0" + PHOTO.transpose(2, 0, 1).tobytes()


def pic() -> bytes:
    """Return PHOTO as a Softimage picture, not packed."""
    height, width = PHOTO.shape[:2]
    head = b"\x53\x80\xf6\x34" + bytes(84) + b"PICT" + width.to_bytes(2, "big") + height.to_bytes(2, "big") + bytes(8)
    return head + b"\0\x08\0\xe0" + PHOTO.tobytes()


@pytest.mark.parametrize("content", [psd, pic])
def test_pictures_that_only_stb_reads(run_model: Program, content: Any, tmp_path: Path) -> None:
    path = tmp_path / "photo"
    path.write_bytes(content())
    network = unchanged(tmp_path / "net.so", PHOTO.shape)
    assert agree(run_model.input(network, path, folder=tmp_path), PHOTO.astype(np.float32)[None])


def test_hdr_becomes_8_bits(run_model: Program, tmp_path: Path) -> None:
    """0.5, 1 and 0 of Radiance's format: stb raises them to 1 / 2.2."""
    path = tmp_path / "photo.hdr"
    path.write_bytes(b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 1 +X 2\n" + bytes([128, 128, 128, 128, 128, 0, 0, 129]))
    got = run_model.input(unchanged(tmp_path / "net.so", (1, 2, 3)), path, folder=tmp_path)
    assert got.reshape(2, 3).tolist() == [[186] * 3, [255, 0, 0]]


# --- npz


def test_pixels_in_npz(run_model: Program, tmp_path: Path) -> None:
    wanted = CASES["cropped"]
    network = stored(tmp_path / "net.so", wanted)
    for number, pixels in enumerate((PHOTO, np.asfortranarray(PHOTO), PHOTO[..., 1])):
        np.savez_compressed(tmp_path / f"{number}.npz", pixels=pixels)
        np.save(tmp_path / f"{number}.npy", pixels)
        for suffix in ("npz", "npy"):
            got = run_model.input(network, tmp_path / f"{number}.{suffix}", folder=tmp_path)
            assert agree(got, wanted.apply(pixels)), (number, suffix)


@pytest.mark.parametrize("write", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("kind", ["<f4", ">f4", "<f8", "<f2", "<i2", "|i1"])
def test_tensors_in_npz(run_model: Program, kind: str, write: Any, tmp_path: Path) -> None:
    tensor = RNG.integers(-100, 100, (1, 3, 4, 5)).astype(kind)
    network = library(tmp_path / "net.so", Port("x", tensor.shape))
    write(tmp_path / "in.npz", other=np.array(["text"]), image=np.asfortranarray(tensor))
    ended = run_model(network, tmp_path / "in.npz", "--output", tmp_path / "out.npz")
    assert ended.returncode == 0, ended.stderr
    with np.load(tmp_path / "out.npz") as out:
        assert agree(out["made"], tensor.astype(np.float32))


# --- damage


def damaged(data: bytes, random: Random) -> bytes:
    """Return a file cut off, or with some bytes changed."""
    if random.random() < 0.3:
        return data[: random.randrange(len(data))]
    changed = bytearray(data)
    for _ in range(random.randint(1, 6)):
        changed[random.randrange(min(len(data), random.choice((64, 10**6))))] = random.randrange(256)
    return bytes(changed)


@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "tga", "gif", "npz", "psd", "pic"])
def test_damaged_files_end_in_one_line(run_model: Program, suffix: str, tmp_path: Path) -> None:
    file, random, refused = io.BytesIO(), Random(3), 0
    if suffix == "npz":
        np.savez_compressed(file, pixels=PHOTO)
    elif suffix in ("psd", "pic"):
        file.write({"psd": psd, "pic": pic}[suffix]())
    else:
        Image.fromarray(PHOTO).save(file, "JPEG" if suffix == "jpg" else suffix)
    network = stored(tmp_path / "net.so", CASES["shrunk"])
    for turn in range(40):
        path = tmp_path / f"photo.{suffix}"
        path.write_bytes(damaged(file.getvalue(), random))
        ended = run_model(network, path)
        assert ended.returncode in (0, 2), (turn, ended.returncode, ended.stderr)
        assert ended.returncode == 0 or ended.stderr.count("\n") == 1, ended.stderr
        refused += ended.returncode == 2
    assert refused
