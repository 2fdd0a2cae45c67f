"""Files that are wrong end in one line that says where and what."""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from formats.caffe.caffe_files import (
    Weights,
    blob,
    caffemodel,
    chunk,
    declared,
    imported,
    layer,
    layer_blobs,
    read,
)

from stepdown.errors import StepError
from stepdown.formats.caffe.loader import load_blobs

X = declared(x=(1, 2, 4, 4))
CONV = layer("c", "Convolution", "x", "y", "convolution_param { num_output: 3 kernel_size: 3 }")
GOOD: Weights = {"c": [np.zeros((3, 2, 3, 3)), np.zeros(3)]}


def complaint(folder: Path, text: str, weights: Weights | bytes | None = None) -> str:
    """Return the one line that an import ends in."""
    with pytest.raises(StepError) as caught:
        imported(folder, text, weights)
    assert caught.value.exit_code in (2, 3)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", "net.prototxt: describes no layers"),
        ('name: "net"\nlayer { name: "a"\n type "ReLU" }', "net.prototxt:3: not the text of a Caffe net"),
        ('layer {\n name: "a" type: "ReLU"\n', 'net.prototxt:2: not the text of a Caffe net: Expected "}"'),
        ("layer {\n pooling_param { pool: BEST } }", "net.prototxt:2: "),
        ('layer { convolution_param { num_output: "three" } }', "net.prototxt:1: "),
        ("layer { convolution_param { num_output: 99999999999999999999 } }", "net.prototxt:1: "),
        ("a {" * 5000, "nested too deeply"),
        ("\x00\x01", "net.prototxt:1: not the text"),
        (f'{X} layers {{ name: "a" type: RELU }}', "has both `layer` and `layers`"),
        ('layers { layer { name: "conv1" type: "conv" } bottom: "x" top: "y" }', "Caffe's format of 2013 (V0)"),
    ],
)
def test_text(tmp_path: Path, text: str, wanted: str) -> None:
    assert wanted in complaint(tmp_path, text)


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "net.prototxt").write_bytes(caffemodel(GOOD) + b"\xff")
    with pytest.raises(StepError, match="is not text"):
        from stepdown.formats.caffe.loader import load_net

        load_net(tmp_path / "net.prototxt")


POOL = "pooling_param {{ {} }}"


@pytest.mark.parametrize(
    ("layers", "wanted"),
    [
        (layer("a", "ReLU", "z", "y"), "layer 'a' (ReLU): reads the blob 'z' that no layer before it makes"),
        (
            layer("a", "Eltwise", "x w", "v") + layer("b", "ReLU", "v", "w"),
            "reads the blob 'w' that no layer before it makes; layer 'b' (ReLU) makes it, but not before",
        ),
        (layer("a", "ReLU", "x", "y") + layer("b", "ReLU", "x", "y"), "layer 'b' (ReLU): makes the blob 'y' a second"),
        (layer("a", "ReLU", "x", "y", "include { } exclude { }"), "both include and exclude"),
        (layer("a", "Accuracy", "x", "y"), "no layer is left"),
        (layer("a", "ReLU", "", "y"), "layer 'a' (ReLU): reads nothing: it has no bottom"),
        (layer("a", "ReLU", "x", "y z"), "nothing makes the output 'z'"),
        (layer("a", "Softmax", "x", "y", "softmax_param { axis: 4 }"), "axis 4 of a blob of shape (1, 2, 4, 4)"),
        (layer("a", "Pooling", "x", "y", POOL.format("kernel_size: 9")), "layer 'a' (Pooling): "),
        (layer("a", "Pooling", "x", "y", POOL.format("kernel_size: 2 pad: 2")), "a window must see data"),
        (layer("a", "Pooling", "x", "y", POOL.format("kernel_size: 1 stride: 3 kernel_h: 2")), "kernel_size beside"),
        (layer("a", "Pooling", "x", "y", POOL.format("kernel_size: 1 stride: 5")), "the last window lies outside"),
        (layer("a", "Pooling", "x", "y", POOL.format("pool: STOCHASTIC kernel_size: 2")), "stochastic"),
        (layer("a", "Pooling", "x", "y m", POOL.format("kernel_size: 2")), "second top"),
        (layer("a", "Pooling", "x", "y", POOL.format("kernel_size: -1")), "kernel_size is [-1]"),
        (layer("a", "Slice", "x", "a b c"), "2 elements at the points [] for 3 tops"),
        (layer("a", "Slice", "x", "a b", "slice_param { slice_point: 5 }"), "2 elements at the points [5]"),
        (layer("a", "Reshape", "x", "y", "reshape_param { shape { dim: -1 dim: 5 } }"), "does not divide"),
        (layer("a", "Reshape", "x", "y", "reshape_param { shape { dim: -1 dim: -1 } }"), "more than one size"),
        (layer("a", "Reshape", "x", "y", "reshape_param { shape { dim: -7 } }"), "the size -7"),
        (layer("a", "Eltwise", "x", "y"), "wants two or more"),
        (layer("a", "Concat", "x x", "y", "concat_param { axis: 9 }"), "axis 9"),
        (layer("a", "LRN", "x", "y", "lrn_param { local_size: 4 }"), "local_size 4 is not odd"),
        (layer("a", "Log", "x", "y", "log_param { base: 0 }"), "base 0.0"),
        (layer("a", "Permute", "x", "y", "permute_param { order: 7 }"), "order is a permutation"),
        (layer("a", "Tile", "x", "y"), "tiles is 0"),
        (layer("a", "ArgMax", "x", "y", "argmax_param { top_k: 99 }"), "top_k 99 of 32 elements"),
        (layer("a", "BatchNorm", "x", "y", "batch_norm_param { use_global_stats: false }"), "use_global_stats"),
        (layer("a", "Convolution", "x", "y", "convolution_param { num_output: 4 group: 3 }"), "in 3 groups"),
        (CONV, "layer 'c' (Convolution): has weights; give --model_data"),
        (layer("a", "Crop", "x x", "y", "crop_param { offset: 9 }"), "layer 'a' (Crop): "),
        (layer("a", "Interp", "x", "y"), "says no size"),
        (layer("a", "Upsample", "x", "y", "upsample_param { scale: 0 }"), "whole scale"),
        (layer("a", "Flatten", "x", "y", "flatten_param { axis: 2 end_axis: 1 }"), "lies behind end_axis"),
    ],
)  # fmt: skip
def test_layer(tmp_path: Path, layers: str, wanted: str) -> None:
    assert wanted in complaint(tmp_path, X + layers)


@pytest.mark.parametrize(
    ("inputs", "wanted"),
    [
        ('input: "x" input_dim: 1 input_dim: 2', "has 1 `input` and 2 `input_dim`"),
        ('input: "x" input_shape { dim: 1 } input_shape { dim: 2 }', "has 1 `input` and 2 `input_shape`"),
        ('input: "x" input_shape { dim: 0 }', "input 'x' has no fixed shape; give --input_shapes"),
        ('input: "x" input: "x" input_shape { dim: 1 } input_shape { dim: 1 }', "makes the blob 'x' a second time"),
        ('input: "x" input_shape { dim: 4611686018427387904 }', "input 'x': has the sizes"),
        ('layer { name: "d" type: "Data" top: "x" }', "input 'x' has no fixed shape"),
    ],
)
def test_input(tmp_path: Path, inputs: str, wanted: str) -> None:
    assert wanted in complaint(tmp_path, inputs + "\n" + layer("a", "ReLU", "x", "y"))


@pytest.mark.parametrize(
    ("weights", "wanted"),
    [
        (b"", "not a caffemodel"),
        (b"\xff" * 40, "not a caffemodel, or truncated"),
        (caffemodel(GOOD)[:-5], "not a caffemodel, or truncated"),
        (caffemodel({"other": GOOD["c"]}), "layer 'c' (Convolution): has no weights in the caffemodel"),
        (caffemodel({"c": GOOD["c"][:1]}), "has 1 blobs in the caffemodel, wants 2"),
        (caffemodel({"c": [np.zeros((3, 2, 5, 3)), np.zeros(3)]}), "has the shape 3x2x5x3, the layer wants 3x2x3x3"),
        (caffemodel({"c": [np.zeros((3, 2, 3, 3)), np.zeros((3, 1))]}), "blob 1: has the shape 3x1, the layer wants 3"),
        (caffemodel(GOOD) + caffemodel(GOOD), "has the weights of two layers 'c'"),
        (layer_blobs("c", [blob(np.zeros(4), stated=(3, 2, 3, 3)), blob(np.zeros(3))]), "holds 4 values"),
        (layer_blobs("c", [chunk(7, b""), chunk(7, b"")]), "the layer wants 3x2x3x3"),
    ],
)
def test_weights(tmp_path: Path, weights: bytes, wanted: str) -> None:
    assert wanted in complaint(tmp_path, X + CONV, weights)


def test_sizes_beyond_all_reason_ask_for_no_memory(tmp_path: Path) -> None:
    huge = 1 << 30
    conv = f"convolution_param {{ num_output: {huge} kernel_size: 3 pad: 1 }}"
    nets = {
        X + layer("c", "Convolution", "x", "y", conv): caffemodel(GOOD),
        X + layer("p", "PriorBox", "x x", "y", "prior_box_param { min_size: 1 }")
        + declared(z=(1, 1, huge, huge)) + layer("q", "PriorBox", "z z", "w", "prior_box_param { min_size: 1 }"): None,
        X + CONV: layer_blobs("c", [blob(np.zeros(4), stated=(huge, huge, 3, 3)), blob(np.zeros(3))]),
    }  # fmt: skip
    for text, weights in nets.items():
        tracemalloc.start()
        complaint(tmp_path, text, weights)
        assert tracemalloc.get_traced_memory()[1] < 32 << 20
        tracemalloc.stop()


def test_missing_files(tmp_path: Path) -> None:
    with pytest.raises(StepError, match="no such file"):
        load_blobs(tmp_path / "none.caffemodel")
    with pytest.raises(StepError, match="is a directory"):
        load_blobs(tmp_path)


def test_every_cut_of_a_caffemodel_is_told(tmp_path: Path) -> None:
    raw = caffemodel(GOOD)
    for length in range(0, len(raw), 7):
        complaint(tmp_path, X + CONV, raw[:length])
    assert read(tmp_path, X + CONV).layers
