"""Bytes by which networks that TensorFlow Lite quantised differ from LiteRT's reference kernels, tensor by tensor.

    python regression/bench/tflite_exact.py MODEL.tflite … [--count 100] [--layout] [--images regression/image]

Inputs are the photos, turned and shifted so that none comes twice, where an input is an image of three channels, and
random numbers elsewhere. Every tensor that both sides name is compared. Ends with 1 where a byte differs.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from stepdown.dialects.program import Program
from stepdown.formats.tflite.importer import import_tflite
from stepdown.formats.tflite.loader import load_tflite
from stepdown.runtimes.mlir import MlirRunner
from stepdown.runtimes.runner import TensorSpec
from stepdown.runtimes.tflite import TfliteRunner
from stepdown.transforms.convert_quantized_to_tpu import ConvertQuantizedToTpu
from stepdown.transforms.layout import Layout

REGRESSION = Path(__file__).resolve().parents[1]


def main() -> int:
    """Compare the models of the command line."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("models", nargs="+", help=".tflite files with stored integers")
    options.add_argument("--count", type=int, default=100, help="inputs a model (default 100)")
    options.add_argument("--images", type=Path, default=REGRESSION / "image", help="a folder of photos")
    options.add_argument("--layout", action="store_true", help="first remove transposes, as --layout does")
    given = options.parse_args()
    print(f"{'model':40} {'inputs':>6} {'tensors':>7} {'bytes':>11} {'differing':>9} {'ms':>6}")
    return int(sum(compare(Path(path), given) for path in given.models) > 0)


def compare(path: Path, given: argparse.Namespace) -> int:
    """Print one line about a model; returns the number of bytes that differ."""
    theirs, ours = TfliteRunner(path), MlirRunner(lowered(path, given.layout))
    names: set[str] = set()
    total = differing = 0
    times = []
    for arrays in samples(theirs.inputs(), given):
        start = time.perf_counter()
        left = ours.run(arrays, "all")
        times.append(time.perf_counter() - start)
        right = theirs.run(arrays, "all")
        shared = left.keys() & right.keys()
        names |= shared
        total += sum(right[name].nbytes for name in shared)
        differing += sum(bytes_apart(left[name], right[name]) for name in shared)
    theirs.close()
    print(
        f"{path.name:40} {given.count:6} {len(names):7} {total:11} {differing:9} {1e3 * statistics.median(times):6.0f}",
        flush=True,
    )
    return differing


def lowered(path: Path, layout: bool) -> Program:
    """Return the TPU program of a model."""
    program = import_tflite(load_tflite(path), path.stem)
    if layout:
        Layout().run(program)
    ConvertQuantizedToTpu(profile="tflite").run(program)
    return program


def bytes_apart(a: np.ndarray, b: np.ndarray) -> int:
    """Return how many bytes of two arrays differ; all, where shape or type does."""
    if a.shape != b.shape or a.dtype != b.dtype:
        return max(a.nbytes, b.nbytes)
    left, right = (np.ascontiguousarray(x).reshape(-1).view(np.uint8) for x in (a, b))
    return int((left != right).sum())


def samples(specs: list[TensorSpec], given: argparse.Namespace) -> Iterator[dict[str, np.ndarray]]:
    """Yield the inputs of each run."""
    rng = np.random.default_rng(0)
    photos = sorted(given.images.glob("*.jpg"))
    for index in range(given.count):
        yield {spec.name: _sample(spec, index, photos, rng) for spec in specs}


def _sample(spec: TensorSpec, index: int, photos: list[Path], rng: np.random.Generator) -> np.ndarray:
    shape = tuple(n or 1 for n in spec.shape)
    if len(shape) == 4 and shape[3] == 3 and photos:
        pixels = _photo(photos, index, (shape[2], shape[1]))
    else:
        pixels = rng.integers(0, 256, shape, np.uint8)
    if spec.info.type == "i8":
        return (pixels.astype(np.int16) - 128).astype(np.int8).reshape(shape)
    if spec.info.type == "u8":
        return pixels.reshape(shape)
    scale = 255 if index % 2 else 1  # networks differ in what they take: whole range, or shares of it
    return (pixels.astype(np.float32) / scale).reshape(shape)


def _photo(photos: list[Path], index: int, size: tuple[int, int]) -> np.ndarray:
    image = Image.open(photos[index % len(photos)]).convert("RGB").rotate(7 * (index // len(photos)))
    return np.roll(np.asarray(image.resize(size)), index // len(photos), axis=0)


if __name__ == "__main__":
    sys.exit(main())
