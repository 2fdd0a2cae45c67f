"""A picture of how a tensor differs from its reference: cloud, histogram of the error, curves of values and error."""

import math
import os

import numpy as np

from stepdown.compare.canvas import BLUE, INK, ORANGE, RED, SOFT, Axes, Canvas, padded
from stepdown.compare.tensors import TensorResult
from stepdown.files.atomic import atomic_path

_WIDTH, _HEIGHT = 1240, 980
_CLOUD_BOX = (88, 146, 588, 486)
_HISTOGRAM_BOX = (716, 146, 1216, 486)
_VALUES_BOX = (88, 572, 1216, 742)
_ERROR_BOX = (88, 800, 1216, 920)
_BINS = 100
_MAX_NAME = 100


def draw_difference(
    path: str | os.PathLike[str], result: TensorResult, a: np.ndarray, b: np.ndarray, files: tuple[str, str]
) -> None:
    """Write a PNG that shows target `a` against reference `b`, real tensors of one shape, from those two files."""
    canvas = Canvas(_WIDTH, _HEIGHT)
    a, b = a.ravel().astype(np.float64), b.ravel().astype(np.float64)
    finite = np.isfinite(a) & np.isfinite(b)
    a, b = a[finite], b[finite]
    _head(canvas, result, files, finite.size - a.size)
    if a.size:
        _cloud(canvas, a, b)
        _histogram(canvas, a - b)
        _curves(canvas, a, b)
    else:
        canvas.text(_WIDTH / 2, _HEIGHT / 2, "no finite element on both sides", SOFT, 18, "mm")
    with atomic_path(path) as temporary:
        canvas.finished().save(temporary, "PNG")


def _head(canvas: Canvas, result: TensorResult, files: tuple[str, str], left_out: int) -> None:
    canvas.text(24, 40, _shortened(result.name, _MAX_NAME), INK, 22)
    shape = "x".join(map(str, result.shape)) or "scalar"
    types = (
        result.dtype if result.dtype == result.reference_dtype else f"{result.dtype} against {result.reference_dtype}"
    )
    canvas.text(
        24, 66, f"{result.level}  {_numbers(result)}  shape {shape}  {types}", INK if result.passed else RED, 15
    )
    note = f"; {left_out} elements that are not finite are left out" if left_out else ""
    canvas.text(24, 88, _shortened(f"TARGET {files[0]}   REFERENCE {files[1]}{note}", 2 * _MAX_NAME), SOFT)


def _numbers(result: TensorResult) -> str:
    s = result.similarity
    if s is None:
        return ""
    similarities = f"cosine {s.cosine:.6f}  euclid {s.euclid:.6f}  SQNR {s.sqnr_db:.2f} dB"
    return f"{similarities}  max |difference| {s.max_difference:.6g}"


def _shortened(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length // 2]}…{text[-length // 2 :]}"


def _cloud(canvas: Canvas, a: np.ndarray, b: np.ndarray) -> None:
    span = padded(min(a.min(), b.min()), max(a.max(), b.max()))
    axes = Axes(canvas, _CLOUD_BOX, span, span)
    axes.frame("target over reference", "reference", "target")
    canvas.line([axes.at(span[0], span[0]), axes.at(span[1], span[1])], SOFT)
    axes.cloud(b, a, BLUE)


def _histogram(canvas: Canvas, error: np.ndarray) -> None:
    span = padded(float(error.min()), float(error.max()))
    counts, _ = np.histogram(error, _BINS, span)
    axes = Axes(canvas, _HISTOGRAM_BOX, span, (-0.3, max(1.0, math.log10(counts.max()) * 1.05)))
    axes.frame("error: target - reference", "error", "elements, logarithmic", powers=True)
    axes.bars(counts, RED)
    mean = float(error.mean())
    canvas.line([axes.at(mean, axes.y[0]), axes.at(mean, axes.y[1])], INK)
    canvas.text(_HISTOGRAM_BOX[2], _HISTOGRAM_BOX[1] + 14, f"mean {mean:.4g}, std {error.std():.4g}", INK, anchor="rs")


def _curves(canvas: Canvas, a: np.ndarray, b: np.ndarray) -> None:
    """Draw values and error by element; where there are many, the values in the order of the reference's."""
    along = (-0.5, max(a.size, 6) - 0.5)
    values = Axes(canvas, _VALUES_BOX, along, padded(min(a.min(), b.min()), max(a.max(), b.max())))
    difference = a - b
    many = not values.fits(a.size)
    if many:
        order = np.argsort(b, kind="stable")
        a, b = a[order], b[order]
    values.frame("values, sorted by the reference" if many else "values by element", "", "")
    _, top, right, _ = _VALUES_BOX
    canvas.text(right - 58, top - 12, "reference", BLUE, anchor="rs")
    canvas.text(right, top - 12, "target", ORANGE, anchor="rs")
    values.curve(a, ORANGE)
    values.curve(b, BLUE)
    error = Axes(canvas, _ERROR_BOX, along, padded(float(difference.min()), float(difference.max())))
    error.frame("error by element", "element (row-major index)", "")
    error.curve(difference, RED)
