"""Miniatures of the networks that people have as Caffe files: in onnxruntime, and lowered in all five modes."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from formats.caffe.caffe_files import declared, imported, layer, run, run_by_onnxruntime
from targets import lowering, targets

from stepdown.compare.metrics import similarity
from stepdown.dialects.program import Program, State, read_program
from stepdown.dialects.quant import Range
from stepdown.dialects.types import shape_of, storage_of, tensor
from stepdown.runtimes.mlir import MlirRunner
from stepdown.runtimes.runner import Tensors
from stepdown.transforms.canonicalize import Canonicalize

Blobs = dict[str, list[np.ndarray]]
Net = tuple[str, Blobs]
MODES = {"F32": 0.9999, "F16": 0.999, "BF16": 0.99, "INT8": 0.95, "INT8 asymmetric": 0.95}
"""By mode, the least cosine of an output."""


class Writer:
    """A net being written: text and weights, scaled so that activations stay in range."""

    def __init__(self, **inputs: tuple[int, ...]) -> None:
        self.text, self.blobs, self.rng = declared(**inputs), Blobs(), np.random.default_rng(1)

    def add(self, name: str, kind: str, bottoms: str, parameters: str = "", top: str = "") -> str:
        self.text += "\n" + layer(name, kind, bottoms, top or name, parameters)
        return top or name

    def conv(self, name: str, bottom: str, shape: tuple[int, int, int], extra: str = "", bias: bool = True) -> str:
        """Add a convolution of (outputs, inputs of a group, kernel)."""
        out, channels, kernel = shape
        scale = np.sqrt(2 / (channels * kernel**2))
        self.blobs[name] = [self.rng.normal(size=(out, channels, kernel, kernel)) * scale]
        self.blobs[name] += [self.rng.normal(size=out) * 0.1] if bias else []
        given = f"num_output: {out} kernel_size: {kernel} bias_term: {str(bias).lower()} {extra}"
        return self.add(name, "Convolution", bottom, f"convolution_param {{ {given} }}")

    def relu(self, blob: str) -> str:
        return self.add(f"relu_{blob}", "ReLU", blob, top=blob)

    def batch_norm(self, blob: str, channels: int) -> str:
        """Add BatchNorm and Scale, both in place."""
        self.blobs[f"bn_{blob}"] = [
            self.rng.normal(size=channels) * 0.2,
            self.rng.uniform(1, 4, channels),
            np.array([2.0]),
        ]
        self.blobs[f"scale_{blob}"] = [self.rng.uniform(0.5, 1.5, channels), self.rng.normal(size=channels) * 0.1]
        self.add(f"bn_{blob}", "BatchNorm", blob, top=blob)
        return self.add(f"scale_{blob}", "Scale", blob, "scale_param { bias_term: true }", top=blob)

    def inner_product(self, name: str, bottom: str, shape: tuple[int, int]) -> str:
        self.blobs[name] = [self.rng.normal(size=shape) * np.sqrt(2 / shape[1]), self.rng.normal(size=shape[0]) * 0.1]
        return self.add(name, "InnerProduct", bottom, f"inner_product_param {{ num_output: {shape[0]} }}")

    @property
    def net(self) -> Net:
        return self.text, self.blobs


def alexnet() -> Net:
    """Return two convolutions with LRN and overlapping pools, groups, two matrices."""
    net, lrn = Writer(data=(1, 3, 27, 27)), "lrn_param { local_size: 5 alpha: 0.0001 beta: 0.75 }"
    pool = "pooling_param { pool: MAX kernel_size: 3 stride: 2 }"
    net.relu(net.conv("conv1", "data", (8, 3, 5), "stride: 2"))
    net.add("norm1", "LRN", "conv1", lrn)
    net.add("pool1", "Pooling", "norm1", pool)
    net.relu(net.conv("conv2", "pool1", (8, 4, 3), "pad: 1 group: 2"))
    net.add("pool2", "Pooling", "conv2", pool)
    net.relu(net.inner_product("fc6", "pool2", (16, 72)))
    net.add("drop6", "Dropout", "fc6", "dropout_param { dropout_ratio: 0.5 }", top="fc6")
    net.add("prob", "Softmax", net.inner_product("fc7", "fc6", (10, 16)))
    return net.net


def googlenet() -> Net:
    """Return an inception block: four branches, joined, and the mean of every plane."""
    net = Writer(data=(1, 8, 14, 14))
    net.relu(net.conv("1x1", "data", (4, 8, 1)))
    net.relu(net.conv("3x3_reduce", "data", (4, 8, 1)))
    net.relu(net.conv("3x3", "3x3_reduce", (6, 4, 3), "pad: 1"))
    net.relu(net.conv("5x5_reduce", "data", (2, 8, 1)))
    net.relu(net.conv("5x5", "5x5_reduce", (4, 2, 5), "pad: 2"))
    net.add("pool", "Pooling", "data", "pooling_param { pool: MAX kernel_size: 3 stride: 1 pad: 1 }")
    net.relu(net.conv("pool_proj", "pool", (4, 8, 1)))
    net.add("output", "Concat", "1x1 3x3 5x5 pool_proj")
    net.add("pool5", "Pooling", "output", "pooling_param { pool: AVE kernel_size: 7 stride: 4 pad: 3 }")
    net.add("prob", "Softmax", net.inner_product("classifier", "pool5", (10, 18 * 25)))
    return net.net


def resnet() -> Net:
    """Return a residual block whose normalisations are in place."""
    net = Writer(data=(1, 4, 12, 12))
    net.batch_norm(net.conv("branch1", "data", (8, 4, 1), "stride: 2", bias=False), 8)
    net.relu(net.batch_norm(net.conv("branch2a", "data", (8, 4, 1), "stride: 2", bias=False), 8))
    net.batch_norm(net.conv("branch2b", "branch2a", (8, 8, 3), "pad: 1", bias=False), 8)
    net.relu(net.add("res", "Eltwise", "branch1 branch2b"))
    net.add("pool", "Pooling", "res", "pooling_param { pool: AVE global_pooling: true }")
    net.inner_product("fc", "pool", (10, 8))
    return net.net


def mobilenet() -> Net:
    """Return a depthwise and a pointwise convolution, normalised."""
    net = Writer(data=(1, 3, 16, 16))
    net.relu(net.batch_norm(net.conv("conv1", "data", (8, 3, 3), "pad: 1 stride: 2", bias=False), 8))
    net.relu(net.batch_norm(net.conv("dw", "conv1", (8, 1, 3), "pad: 1 group: 8", bias=False), 8))
    net.relu(net.batch_norm(net.conv("sep", "dw", (16, 8, 1), bias=False), 16))
    net.add("pool6", "Pooling", "sep", "pooling_param { pool: AVE global_pooling: true }")
    net.conv("fc7", "pool6", (10, 16, 1))
    net.add("prob", "Softmax", "fc7")
    return net.net


def ssd_head() -> Net:
    """Return one map of a detector up to its locations and confidences, and its priors."""
    net = Writer(data=(1, 3, 16, 16))
    net.relu(net.conv("conv4", "data", (8, 3, 3), "pad: 1 stride: 2"))
    net.blobs["norm"] = [net.rng.uniform(5, 10, 8)]
    net.add("norm", "Normalize", "conv4", "norm_param { across_spatial: false channel_shared: false }")
    for name, channels in (("loc", 16), ("conf", 12)):
        net.conv(name, "norm", (channels, 8, 3), "pad: 1")
        net.add(f"{name}_perm", "Permute", name, "permute_param { order: 0 order: 2 order: 3 order: 1 }")
        net.add(f"{name}_flat", "Flatten", f"{name}_perm", "flatten_param { axis: 1 }")
    net.add("conf_rows", "Reshape", "conf_flat", "reshape_param { shape { dim: 0 dim: -1 dim: 3 } }")
    net.add("conf_softmax", "Softmax", "conf_rows", "softmax_param { axis: 2 }")
    net.add("conf_all", "Flatten", "conf_softmax", "flatten_param { axis: 1 }")
    net.add(
        "priors", "PriorBox", "conv4 data", "prior_box_param { min_size: 4 max_size: 8 aspect_ratio: 2 flip: true }"
    )
    return net.net


def ssd() -> Net:
    """Return the head with its DetectionOutput."""
    text, blobs = ssd_head()
    nms = "nms_param { nms_threshold: 0.45 top_k: 100 } code_type: CENTER_SIZE keep_top_k: 20"
    given = f"detection_output_param {{ num_classes: 3 {nms} confidence_threshold: 0.5 }}"
    return text + "\n" + layer("detections", "DetectionOutput", "loc_flat conf_all priors", "detections", given), blobs


NETS: dict[str, Callable[[], Net]] = {f.__name__: f for f in (alexnet, googlenet, resnet, mobilenet, ssd_head)}


def inputs_of(program: Program) -> Tensors:
    """Return values in −1…1 for the inputs."""
    rng = np.random.default_rng(3)
    return {s.name: rng.uniform(-1, 1, s.shape).astype(np.float32) for s in MlirRunner(program).inputs()}  # type: ignore[arg-type]


@pytest.mark.parametrize("net", [*NETS.values()], ids=list(NETS))
def test_onnxruntime_gives_the_same(net: Callable[[], Net], tmp_path: Path) -> None:
    program = imported(tmp_path, *net())
    tensors = inputs_of(program)
    ours, theirs = run(program, tensors), run_by_onnxruntime(program, tensors)
    assert set(theirs) == set(program.output_names)
    for name, values in theirs.items():
        np.testing.assert_allclose(ours[name], values, rtol=1e-4, atol=1e-5)
    Canonicalize().run(program)
    for name, values in MlirRunner(program).run(tensors, "outputs").items():
        np.testing.assert_allclose(values, theirs[name], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("mode", "chip"), targets(MODES))
@pytest.mark.parametrize("net", [*NETS.values(), ssd], ids=[*NETS, "ssd"])
def test_every_mode(net: Callable[[], Net], mode: str, chip: str, tmp_path: Path) -> None:
    program = imported(tmp_path, *net())
    Canonicalize().run(program)
    tensors = inputs_of(program)
    reference = run(program, tensors)
    outputs = program.output_names
    if "INT8" in mode:
        calibrate(program, reference)
    lowering(mode, chip).run(program)
    program.write(tmp_path / "net.mlir")
    lowered = MlirRunner(read_program(tmp_path / "net.mlir")).run(tensors, "all")
    for name in outputs:
        got, wanted = lowered.get(f"{name}_f32", lowered[name]), reference[name]
        assert got.shape == wanted.shape
        if name == "detections":
            assert (got[0, 0, :, 1] >= 0).sum() > 3  # which boxes win may change where scores are rounded
        elif name != "priors_Identity":
            assert similarity(got, wanted).cosine >= MODES[mode], name


def calibrate(program: Program, tensors: Tensors) -> None:
    """Give every float tensor the range that it takes."""
    for op in program.ops:
        for value, name in zip(op.results, op.names, strict=False):
            if name in tensors and storage_of(value) == "f32":
                low, high = float(tensors[name].min()), float(tensors[name].max())
                value._type = tensor(shape_of(value), Range(min(low, 0), max(high, 0)))
    program.main.update_function_type()  # type: ignore[no-untyped-call]
    program["state"] = State.TOP_CALIBRATED
