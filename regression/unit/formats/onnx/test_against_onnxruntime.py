"""Operators with many options, on random options, against onnxruntime."""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.random import Generator
from onnx import helper, numpy_helper

from stepdown.formats.onnx.importer import import_model
from stepdown.runtimes.mlir import MlirRunner

COUNT = 60
# Operator, version, attributes, inputs (None for an absent one), names of the inputs that are constant.
Case = tuple[str, int, dict[str, Any], dict[str, np.ndarray | None], set[str]]


def model(case: Case) -> onnx.ModelProto:
    op, version, attributes, inputs, constant = case
    given = {name: array for name, array in inputs.items() if array is not None}
    operands, outputs = (
        [name if name in given else "" for name in inputs],
        ["y", "z"] if op in ("TopK", "MaxPool") else ["y"],
    )
    graph = helper.make_graph(
        [helper.make_node(op, operands, outputs, **attributes)],
        "graph",
        [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
            for name, array in given.items()
            if name not in constant
        ],
        [helper.make_value_info(name, onnx.TypeProto()) for name in outputs],
        [numpy_helper.from_array(given[name], name) for name in sorted(constant) if name in given],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", version)], ir_version=8)


def run_both(case: Case) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return what we and onnxruntime compute, output by output."""
    import onnxruntime

    onnxruntime.set_default_logger_severity(4)
    made = model(case)
    inputs = {name: array for name, array in case[3].items() if array is not None and name not in case[4]}
    session = onnxruntime.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"])
    ours = MlirRunner(import_model(made, "net")).run(inputs)
    return list(zip(ours.values(), session.run(None, inputs), strict=True))


def image(rng: Generator, low: int = 1) -> np.ndarray:
    return rng.normal(size=(1, 2, *rng.integers(low, 9, 2))).astype(np.float32)


def choose(rng: Generator, *choices: Any) -> Any:
    return choices[rng.integers(len(choices))]


def resize(rng: Generator) -> Case:
    x = image(rng, 4)
    attributes: dict[str, Any] = {"mode": choose(rng, "nearest", "nearest", "linear", "cubic")}
    attributes["coordinate_transformation_mode"] = choose(
        rng, "half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric"
    )
    if attributes["mode"] == "nearest":
        attributes["nearest_mode"] = choose(rng, "round_prefer_floor", "round_prefer_ceil", "floor", "ceil")
    if attributes["mode"] == "cubic":
        attributes |= {"cubic_coeff_a": choose(rng, -0.5, -0.75), "exclude_outside": int(rng.integers(2))}
    inputs: dict[str, np.ndarray | None] = {"x": x, "roi": None, "scales": None, "sizes": None}
    if rng.random() < 0.5:
        inputs["scales"] = np.array([1, 1, *rng.choice([0.3, 0.5, 0.6, 1, 1.5, 2, 2.7, 3], 2)], np.float32)
    else:
        inputs["sizes"] = np.array([1, 2, *rng.integers(1, 14, 2)])
    return "Resize", choose(rng, 13, 18, 19), attributes, inputs, {"scales", "sizes"}


def resize_symmetric(rng: Generator) -> Case:
    scales = np.array([1, 1, *rng.uniform(0.5, 3, 2)], np.float32)
    attributes = {"mode": "linear", "coordinate_transformation_mode": "half_pixel_symmetric"}
    return "Resize", 19, attributes, {"x": image(rng, 4), "roi": None, "scales": scales}, {"scales"}


def resize_antialias(rng: Generator) -> Case:
    attributes: dict[str, Any] = {"mode": choose(rng, "linear", "cubic"), "antialias": 1}
    if attributes["mode"] == "cubic":
        attributes["exclude_outside"] = int(rng.integers(2))
    sizes = np.array([1, 2, *rng.integers(1, 14, 2)])
    return "Resize", 18, attributes, {"x": image(rng, 4), "roi": None, "scales": None, "sizes": sizes}, {"sizes"}


def resize_keeping_aspect(rng: Generator) -> Case:
    policy = choose(rng, "not_larger", "not_smaller")
    attributes = {"mode": choose(rng, "linear", "nearest"), "keep_aspect_ratio_policy": policy, "axes": [2, 3]}
    sizes = rng.integers(1, 14, 2)
    return "Resize", 18, attributes, {"x": image(rng, 4), "roi": None, "scales": None, "sizes": sizes}, {"sizes"}


def resize_cropped(rng: Generator) -> Case:
    x = image(rng, 4)
    roi = np.array([0, 0, *rng.uniform(-0.2, 0.5, 2), 1, 1, *rng.uniform(0.5, 1.2, 2)], np.float32)
    sizes = np.array([1, 2, *(n + rng.integers(1, 5) for n in x.shape[2:])])  # onnxruntime does not crop a kept size
    attributes = {
        "mode": choose(rng, "linear", "nearest", "cubic"), "extrapolation_value": 5.0,
        "coordinate_transformation_mode": "tf_crop_and_resize",
    }  # fmt: skip
    return "Resize", 13, attributes, {"x": x, "roi": roi, "scales": None, "sizes": sizes}, {"roi", "sizes"}


def resize_old(rng: Generator) -> Case:
    op, version = choose(rng, ("Resize", 10), ("Upsample", 9))
    values = choose(rng, [1, 1.5, 2, 2.7, 3], [0.3, 0.5, 0.75, 1] if op == "Resize" else [1, 2])
    scales = np.array([1, 1, *rng.choice(values, 2)], np.float32)
    return op, version, {"mode": choose(rng, "nearest", "linear")}, {"x": image(rng, 4), "s": scales}, {"s"}


def grid_sample(rng: Generator) -> Case:
    rank = choose(rng, 2, 2, 3)
    attributes = {
        "mode": choose(rng, "linear", "nearest", "cubic" if rank == 2 else "linear"),
        "padding_mode": choose(rng, "zeros", "border", "reflection"), "align_corners": int(rng.integers(2)),
    }  # fmt: skip
    x = rng.normal(size=(2, 3, *rng.integers(1, 7, rank))).astype(np.float32)
    grid = rng.uniform(-2.5, 2.5, (2, *rng.integers(1, 6, rank), rank)).astype(np.float32)
    return "GridSample", 20, attributes, {"x": x, "grid": grid}, set()


def roi_align(rng: Generator) -> Case:
    attributes = {
        "mode": choose(rng, "avg", "max"), "sampling_ratio": int(rng.integers(0, 4)),
        "output_height": int(rng.integers(1, 5)), "output_width": int(rng.integers(1, 5)),
        "spatial_scale": choose(rng, 1.0, 0.25),
    }  # fmt: skip
    corners, sizes = rng.uniform(-3, 10, (3, 2)), rng.uniform(0.1, 12, (3, 2))
    rois = np.concatenate([corners, corners + sizes], 1).astype(np.float32)
    inputs = {"x": rng.normal(size=(2, 3, 8, 7)).astype(np.float32), "rois": rois, "batch": rng.integers(0, 2, 3)}
    return "RoiAlign", choose(rng, 10, 16), attributes, inputs, set()


def slice_(rng: Generator) -> Case:
    x = rng.integers(0, 99, (5, 4, 6))
    axes = rng.permutation(3)[: rng.integers(1, 4)] - choose(rng, 0, 3)
    count = len(axes)
    starts, ends = rng.integers(-9, 9, count), rng.integers(-9, 9, count)
    steps = rng.choice([-3, -2, -1, 1, 2, 3], count)
    inputs = {"x": x, "starts": starts, "ends": ends, "axes": axes, "steps": steps}
    return "Slice", 13, {}, inputs, {"starts", "ends", "axes", "steps"}


def pad(rng: Generator) -> Case:
    mode = choose(rng, "constant", "reflect", "edge", "wrap")
    low = -2 if mode in ("constant", "edge") else 0
    inputs = {"x": rng.normal(size=(4, 5, 6)).astype(np.float32), "pads": rng.integers(low, 3, 6)}
    if mode == "constant":
        inputs["value"] = np.float32(rng.normal())
    return "Pad", 19, {"mode": mode}, inputs, {"pads", "value"}


def top_k(rng: Generator) -> Case:
    x = rng.integers(0, 5, (3, 4, 6)).astype(np.float32)  # many elements are equal
    axis = int(rng.integers(-3, 3))
    inputs = {"x": x, "k": rng.integers(1, x.shape[axis] + 1, 1)}
    return "TopK", 11, {"axis": axis, "largest": int(rng.integers(2))}, inputs, {"k"}


def one_hot(rng: Generator) -> Case:
    inputs = {"indices": rng.integers(-6, 6, (2, 3)), "depth": np.array([4]), "values": np.float32([0.5, 2.0])}
    return "OneHot", 11, {"axis": int(rng.integers(-3, 3))}, inputs, {"depth"}


def max_pool_places(rng: Generator) -> Case:
    rank = int(rng.integers(1, 4))
    x = rng.integers(0, 4, (2, 2, *rng.integers(5, 9, rank))).astype(np.float32)  # many elements are equal
    kernel = rng.integers(1, 4, rank)
    attributes = {
        "kernel_shape": kernel.tolist(), "strides": rng.integers(1, 4, rank).tolist(),
        "pads": [*rng.integers(0, kernel), *rng.integers(0, kernel)], "ceil_mode": int(rng.integers(2)),
        "dilations": choose(rng, [1] * rank, rng.integers(1, 3, rank).tolist()), "storage_order": int(rng.integers(2)),
    }  # fmt: skip
    return "MaxPool", 12, attributes, {"x": x}, set()


KINDS: list[Callable[[Generator], Case]] = [
    resize, resize_symmetric, resize_antialias, resize_keeping_aspect, resize_cropped, resize_old,
    grid_sample, roi_align, slice_, pad, top_k, one_hot, max_pool_places,
]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS, ids=[kind.__name__.strip("_") for kind in KINDS])
def test_random_options(kind: Callable[[Generator], Case]) -> None:
    rng = np.random.default_rng(0)
    for _ in range(COUNT):
        case = kind(rng)
        for ours, theirs in run_both(case):
            assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape), case
            np.testing.assert_allclose(ours, theirs, 1e-4, 1e-4, err_msg=str(case))
