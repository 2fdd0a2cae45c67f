"""Every layer type against its definition in plain loops, and against onnxruntime after export."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from formats.caffe import caffe_reference as caffe
from formats.caffe.caffe_files import declared, imported, layer, run, run_by_onnxruntime

RNG = np.random.default_rng(0)
IMAGE = (2, 6, 7, 5)


def array(*shape: int) -> np.ndarray:
    """Return values around 0."""
    return RNG.normal(size=shape).astype(np.float32)


def positive(*shape: int) -> np.ndarray:
    """Return values from 0.5 to 2."""
    return RNG.uniform(0.5, 2, shape).astype(np.float32)


@dataclass
class Case:
    """A layer, its parameters, and what it gives: a function of its bottoms and blobs."""

    kind: str
    parameters: str
    wanted: Callable[..., Any]
    inputs: Sequence[np.ndarray] = field(default_factory=lambda: [array(*IMAGE)])
    blobs: Sequence[np.ndarray] = ()
    tops: int = 1

    def text(self) -> str:
        names = {f"x{i}": x.shape for i, x in enumerate(self.inputs)}
        tops = " ".join(f"y{i}" for i in range(self.tops))
        return "\n".join([declared(**names), layer("it", self.kind, " ".join(names), tops, self.parameters)])


def conv(stride: Sequence[int], pad: Sequence[int], dilation: Sequence[int], group: int = 1) -> Callable[..., Any]:
    """Return the convolution of (x, weights, bias)."""
    return lambda x, w, b=None: caffe.convolution(x, w, b, stride, pad, dilation, group)


def pool(method: str, kernel: Sequence[int], stride: Sequence[int], pad: Sequence[int]) -> Callable[..., Any]:
    """Return the pooling of x."""
    return lambda x: caffe.pooling(x, method, kernel, stride, pad)


def batch_norm(x: np.ndarray, mean: np.ndarray, variance: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """Return x normalised by statistics that are stored times a factor."""
    f = 0 if factor[0] == 0 else 1 / factor[0]
    mean, variance = (a.reshape(1, -1, 1, 1) * f for a in (mean, variance))
    return (x - mean) / np.sqrt(variance + 1e-3)


def mvn(axes: tuple[int, ...], eps: float, variance: bool = True) -> Callable[..., Any]:
    """Return the normalisation of x over axes."""

    def normalised(x: np.ndarray) -> np.ndarray:
        y = x - x.mean(axis=axes, keepdims=True)
        return y / (np.sqrt((y**2).mean(axis=axes, keepdims=True)) + eps) if variance else y

    return normalised


def normalize(axes: tuple[int, ...]) -> Callable[..., Any]:
    """Return the L2 normalisation of x over axes, times a scale a channel."""
    return lambda x, s: x / np.sqrt((x**2).sum(axis=axes, keepdims=True) + 1e-10) * s.reshape(1, -1, 1, 1)


def places(x: np.ndarray, top_k: int) -> np.ndarray:
    """Return the places of the largest elements along dimension 1."""
    y = np.zeros((len(x), top_k, *x.shape[2:]))
    for n, i, j in caffe.positions((len(x), *x.shape[2:])):
        y[n, :, i, j] = [place for _, place in caffe.arg_max(x[n, :, i, j], top_k)]
    return y


def best_of_samples(x: np.ndarray) -> np.ndarray:
    """Return places, then values, of the two largest elements of each sample."""
    found = [caffe.arg_max(sample.reshape(-1), 2) for sample in x]
    return np.array([[[p for _, p in f], [v for v, _ in f]] for f in found]).reshape(len(x), 2, 2, 1)


TIED = RNG.integers(0, 4, IMAGE).astype(np.float32)
CONV = "convolution_param {{ num_output: 4 {} }}"
W, B = array(4, 6, 3, 3), array(4)
CASES: dict[str, Case] = {
    "convolution": Case("Convolution", CONV.format("kernel_size: 3"), conv((1, 1), (0, 0), (1, 1)), blobs=[W, B]),
    "convolution_window": Case(
        "Convolution", CONV.format("kernel_h: 3 kernel_w: 2 pad_h: 2 pad_w: 0 stride_h: 1 stride_w: 2"),
        conv((1, 2), (2, 0), (1, 1)), blobs=[array(4, 6, 3, 2), B],
    ),
    "convolution_of_each_size": Case(
        "Convolution", CONV.format("kernel_size: 3 kernel_size: 1 pad: 1 pad: 0 stride: 2 stride: 1"),
        conv((2, 1), (1, 0), (1, 1)), blobs=[array(4, 6, 3, 1), B],
    ),
    "convolution_groups": Case(
        "Convolution", CONV.format("kernel_size: 3 group: 2 dilation: 2 pad: 2 bias_term: false"),
        conv((1, 1), (2, 2), (2, 2), 2), blobs=[array(4, 3, 3, 3)],
    ),
    "convolution_1d": Case(
        "Convolution", CONV.format("kernel_size: 3 stride: 2"), conv((2,), (0,), (1,)), [array(2, 6, 9)],
        [array(4, 6, 3), B],
    ),
    "convolution_3d": Case(
        "Convolution", CONV.format("kernel_size: 2"), conv((1, 1, 1), (0, 0, 0), (1, 1, 1)), [array(1, 2, 3, 4, 3)],
        [array(4, 2, 2, 2, 2), B],
    ),
    "depthwise": Case(
        "DepthwiseConvolution", "convolution_param { num_output: 6 kernel_size: 3 pad: 1 }",
        conv((1, 1), (1, 1), (1, 1), 6), blobs=[array(6, 1, 3, 3), array(6)],
    ),
    "deconvolution": Case(
        "Deconvolution", CONV.format("kernel_size: 4 stride: 2 pad: 1"),
        lambda x, w, b: caffe.deconvolution(x, w, b, 2, 1, 1, 1), blobs=[array(6, 4, 4, 4), B],
    ),
    "deconvolution_groups": Case(
        "Deconvolution", CONV.format("kernel_size: 3 stride: 2 group: 2 bias_term: false"),
        lambda x, w: caffe.deconvolution(x, w, None, 2, 0, 1, 2), blobs=[array(6, 2, 3, 3)],
    ),
    "inner_product": Case(
        "InnerProduct", "inner_product_param { num_output: 5 }", lambda x, w, b: x.reshape(2, -1) @ w.T + b,
        blobs=[array(5, 210), array(5)],
    ),
    "inner_product_axis": Case(
        "InnerProduct", "inner_product_param { num_output: 3 axis: -1 transpose: true bias_term: false }",
        lambda x, w: x @ w, blobs=[array(5, 3)],
    ),
    "embed": Case(
        "Embed", "embed_param { num_output: 3 input_dim: 4 }", lambda x, w, b: w[x.astype(int)] + b,
        [RNG.integers(0, 4, (2, 5)).astype(np.float32)], [array(4, 3), array(3)],
    ),
    "max_pool": Case(
        "Pooling", "pooling_param { kernel_size: 2 stride: 2 }", pool("MAX", (2, 2), (2, 2), (0, 0))
    ),
    "max_pool_clipped": Case(
        "Pooling", "pooling_param { kernel_size: 3 stride: 3 pad: 2 }", pool("MAX", (3, 3), (3, 3), (2, 2)),
        [array(1, 2, 6, 9)],
    ),
    "average_pool_over_the_edge": Case(
        "Pooling", "pooling_param { pool: AVE kernel_size: 3 stride: 2 }", pool("AVE", (3, 3), (2, 2), (0, 0)),
        [array(1, 2, 8, 6)],
    ),
    "average_pool_padded": Case(
        "Pooling", "pooling_param { pool: AVE kernel_h: 3 kernel_w: 4 stride_h: 2 stride_w: 3 pad_h: 1 pad_w: 2 }",
        pool("AVE", (3, 4), (2, 3), (1, 2)), [array(1, 2, 8, 8)],
    ),
    "average_pool_whole": Case(
        "Pooling", "pooling_param { pool: AVE global_pooling: true }", lambda x: x.mean(axis=(2, 3), keepdims=True)
    ),
    "pool_floored": Case(
        "Pooling", "pooling_param { kernel_size: 2 stride: 2 round_mode: FLOOR }",
        lambda x: caffe.pooling(x[:, :, :6, :4], "MAX", (2, 2), (2, 2), (0, 0)),
    ),
    "relu": Case("ReLU", "", lambda x: np.maximum(x, 0)),
    "relu_slope": Case("ReLU", "relu_param { negative_slope: 0.25 }", lambda x: np.where(x > 0, x, 0.25 * x)),
    "relu6": Case("ReLU6", "", lambda x: np.clip(x, 0, 6), [4 * array(2, 3)]),
    "prelu": Case("PReLU", "", lambda x, s: np.where(x > 0, x, x * s.reshape(-1, 1, 1)), blobs=[array(6)]),
    "prelu_shared": Case(
        "PReLU", "prelu_param { channel_shared: true }", lambda x, s: np.where(x > 0, x, x * s[0]), blobs=[array(1)]
    ),
    "elu": Case("ELU", "elu_param { alpha: 0.5 }", lambda x: np.where(x > 0, x, 0.5 * (np.exp(x) - 1))),
    "sigmoid": Case("Sigmoid", "", lambda x: 1 / (1 + np.exp(-x))),
    "tanh": Case("TanH", "", np.tanh),
    "absval": Case("AbsVal", "", np.abs),
    "bnll": Case("BNLL", "", lambda x: np.log(1 + np.exp(x))),
    "clip": Case("Clip", "clip_param { min: -0.5 max: 1 }", lambda x: np.clip(x, -0.5, 1)),
    "swish": Case("Swish", "swish_param { beta: 2 }", lambda x: x / (1 + np.exp(-2 * x))),
    "power": Case(
        "Power", "power_param { power: 1.5 scale: 2 shift: 0.5 }", lambda x: (0.5 + 2 * x) ** 1.5, [positive(2, 3)]
    ),
    "power_one": Case("Power", "power_param { scale: -2 }", lambda x: -2 * x),
    "power_nothing": Case("Power", "", lambda x: x),
    "exp": Case("Exp", "exp_param { base: 2 scale: 0.5 shift: 1 }", lambda x: 2 ** (1 + 0.5 * x)),
    "exp_e": Case("Exp", "", np.exp),
    "log": Case(
        "Log", "log_param { base: 10 scale: 2 shift: 1 }", lambda x: np.log10(1 + 2 * x), [positive(2, 3)]
    ),
    "threshold": Case("Threshold", "threshold_param { threshold: 0.25 }", lambda x: (x > 0.25) * 1.0),
    "lrn": Case(
        "LRN", "lrn_param { local_size: 3 alpha: 0.5 beta: 0.6 k: 2 }", lambda x: caffe.lrn_across(x, 3, 0.5, 0.6, 2)
    ),
    "lrn_within": Case(
        "LRN", "lrn_param { local_size: 3 alpha: 0.5 beta: 0.6 k: 2 norm_region: WITHIN_CHANNEL }",
        lambda x: caffe.lrn_within(x, 3, 0.5, 0.6),
    ),
    "batch_norm": Case(
        "BatchNorm", "batch_norm_param { eps: 0.001 }", batch_norm,
        blobs=[array(6), positive(6), np.array([2.5], np.float32)],
    ),
    "batch_norm_untrained": Case(
        "BatchNorm", "batch_norm_param { eps: 0.001 }", batch_norm, blobs=[array(6), positive(6), np.zeros(1)]
    ),
    "scale": Case(
        "Scale", "scale_param { bias_term: true }", lambda x, s, b: x * s.reshape(-1, 1, 1) + b.reshape(-1, 1, 1),
        blobs=[array(6), array(6)],
    ),
    "scale_axes": Case(
        "Scale", "scale_param { axis: 2 num_axes: -1 }", lambda x, s: x * s, blobs=[array(7, 5)]
    ),
    "scale_scalar": Case("Scale", "scale_param { num_axes: 0 }", lambda x, s: x * s, blobs=[array()]),
    "scale_by_bottom": Case(
        "Scale", "scale_param { axis: 0 }", lambda x, s: x * s.reshape(2, 6, 1, 1), [array(*IMAGE), array(2, 6)]
    ),
    "bias": Case("Bias", "", lambda x, b: x + b.reshape(-1, 1, 1), blobs=[array(6)]),
    "bias_by_bottom": Case(
        "Bias", "bias_param { axis: 2 }", lambda x, b: x + b.reshape(7, 1), [array(*IMAGE), array(7)]
    ),
    "eltwise_sum": Case(
        "Eltwise", "", lambda *x: x[0] + x[1] + x[2], [array(2, 3), array(2, 3), array(2, 3)]
    ),
    "eltwise_coefficients": Case(
        "Eltwise", "eltwise_param { coeff: 0.5 coeff: -2 }", lambda a, b: 0.5 * a - 2 * b, [array(2, 3), array(2, 3)]
    ),
    "eltwise_difference": Case(
        "Eltwise", "eltwise_param { coeff: 1 coeff: -1 }", lambda a, b: a - b, [array(2, 3), array(2, 3)]
    ),
    "eltwise_product": Case(
        "Eltwise", "eltwise_param { operation: PROD }", lambda *x: x[0] * x[1] * x[2], [array(2, 3) for _ in range(3)]
    ),
    "eltwise_max": Case(
        "Eltwise", "eltwise_param { operation: MAX }", np.maximum, [array(2, 3), array(2, 3)]
    ),
    "axpy": Case(
        "Axpy", "", lambda a, x, y: a.reshape(2, 6, 1, 1) * x + y, [array(2, 6, 1, 1), array(*IMAGE), array(*IMAGE)]
    ),
    "concat": Case(
        "Concat", "", lambda a, b: np.concatenate([a, b], 1), [array(2, 3, 4), array(2, 1, 4)]
    ),
    "concat_old": Case(
        "Concat", "concat_param { concat_dim: 0 }", lambda a, b: np.concatenate([a, b]), [array(2, 3), array(1, 3)]
    ),
    "slice": Case("Slice", "", lambda x: (x[:, :2], x[:, 2:4], x[:, 4:]), tops=3),
    "slice_points": Case(
        "Slice", "slice_param { axis: -2 slice_point: 1 slice_point: 5 }",
        lambda x: (x[:, :, :1], x[:, :, 1:5], x[:, :, 5:]), tops=3,
    ),
    "split": Case("Split", "", lambda x: (x, x), tops=2),
    "dropout": Case("Dropout", "", lambda x: x),
    "flatten": Case("Flatten", "", lambda x: x.reshape(2, -1)),
    "flatten_axes": Case("Flatten", "flatten_param { axis: 1 end_axis: -2 }", lambda x: x.reshape(2, 42, 5)),
    "reshape": Case("Reshape", "reshape_param { shape { dim: 0 dim: -1 dim: 5 } }", lambda x: x.reshape(2, 42, 5)),
    "reshape_axes": Case(
        "Reshape", "reshape_param { axis: 1 num_axes: 1 shape { dim: 2 dim: 3 } }", lambda x: x.reshape(2, 2, 3, 7, 5)
    ),
    "reshape_behind": Case(
        "Reshape", "reshape_param { axis: -1 shape { dim: 1 } }", lambda x: x.reshape(2, 3, 1), [array(2, 3)]
    ),
    "softmax": Case("Softmax", "", lambda x: caffe.softmax(x, 1)),
    "softmax_axis": Case("Softmax", "softmax_param { axis: -1 }", lambda x: caffe.softmax(x, -1)),
    "crop": Case(
        "Crop", "crop_param { offset: 1 offset: 2 }", lambda x, r: x[:, :, 1:5, 2:4], [array(*IMAGE), array(1, 1, 4, 2)]
    ),
    "crop_channels": Case(
        "Crop", "crop_param { axis: 1 offset: 1 }", lambda x, r: x[:, 1:4, 1:3, 1:3], [array(*IMAGE), array(2, 3, 2, 2)]
    ),
    "permute": Case("Permute", "permute_param { order: 0 order: 2 order: 3 }", lambda x: x.transpose(0, 2, 3, 1)),
    "normalize": Case("Normalize", "norm_param { across_spatial: false channel_shared: false }", normalize((1,)),
                      blobs=[array(6)]),
    "normalize_whole": Case("Normalize", "", normalize((1, 2, 3)), blobs=[array(1)]),
    "shuffle": Case(
        "ShuffleChannel", "shuffle_channel_param { group: 3 }", lambda x: caffe.shuffled(x, 3)
    ),
    "interp": Case("Interp", "interp_param { height: 13 width: 3 }", lambda x: caffe.interp(x, 13, 3)),
    "interp_zoom": Case(
        "Interp", "interp_param { zoom_factor: 2 pad_beg: -1 pad_end: -1 }",
        lambda x: caffe.interp(x[:, :, 1:-1, 1:-1], 9, 5),
    ),
    "interp_shrink": Case("Interp", "interp_param { shrink_factor: 2 }", lambda x: caffe.interp(x, 4, 3)),
    "upsample": Case("Upsample", "upsample_param { scale: 2 }", lambda x: x.repeat(2, 2).repeat(2, 3)),
    "argmax_axis": Case("ArgMax", "argmax_param { axis: 1 top_k: 2 }", lambda x: places(x, 2), [TIED]),
    "argmax_values": Case(
        "ArgMax", "argmax_param { axis: 1 out_max_val: true }", lambda x: x.max(axis=1, keepdims=True)
    ),
    "argmax_whole": Case("ArgMax", "argmax_param { out_max_val: true top_k: 2 }", best_of_samples, [TIED]),
    "reduction": Case("Reduction", "reduction_param { axis: 1 coeff: 0.5 }", lambda x: 0.5 * x.sum(axis=(1, 2, 3))),
    "reduction_absolute": Case(
        "Reduction", "reduction_param { operation: ASUM axis: -1 }", lambda x: np.abs(x).sum(-1)
    ),
    "reduction_squares": Case(
        "Reduction", "reduction_param { operation: SUMSQ axis: 2 }", lambda x: (x**2).sum((2, 3))
    ),
    "reduction_mean": Case("Reduction", "reduction_param { operation: MEAN }", lambda x: x.mean()),
    "tile": Case("Tile", "tile_param { tiles: 3 }", lambda x: np.concatenate([x, x, x], 1)),
    "mvn": Case("MVN", "", mvn((2, 3), 1e-9)),
    "mvn_across": Case("MVN", "mvn_param { across_channels: true eps: 0.1 }", mvn((1, 2, 3), 0.1)),
    "mvn_mean": Case("MVN", "mvn_param { normalize_variance: false }", mvn((2, 3), 0, variance=False)),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))
def test_layer(case: Case, tmp_path: Path) -> None:
    program = imported(tmp_path, case.text(), {"it": case.blobs} if case.blobs else None)
    tensors = {f"x{i}": x for i, x in enumerate(case.inputs)}
    wanted = case.wanted(*case.inputs, *case.blobs)
    wanted = wanted if isinstance(wanted, tuple) else (wanted,)
    ours, theirs = run(program, tensors), run_by_onnxruntime(program, tensors)
    assert len(program.output_names) == case.tops
    for name, values in zip(program.output_names, wanted, strict=True):
        assert ours[name].dtype == np.float32
        assert ours[name].shape == np.shape(values)
        np.testing.assert_allclose(ours[name], values, rtol=2e-5, atol=2e-5)
        np.testing.assert_allclose(theirs[name], ours[name], rtol=2e-5, atol=2e-5)


def test_every_supported_layer_has_a_case() -> None:
    from stepdown.formats.caffe.rules import REGISTRY, RULES

    REGISTRY.load()
    elsewhere = {"PriorBox", "DetectionOutput", "ConvolutionDepthwise"}
    assert set(RULES) - elsewhere == {case.kind for case in CASES.values()}
