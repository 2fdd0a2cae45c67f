"""Fourier transforms, and the windows and filters that go with them, which are constants."""

import numpy as np
from xdsl.ir import SSAValue

from stepdown.dialects.top.arithmetic import Mul
from stepdown.dialects.top.index import Gather
from stepdown.dialects.top.move import Reshape
from stepdown.dialects.top.signal import Dft
from stepdown.formats.onnx.cast_rules import dtype_named
from stepdown.formats.onnx.constant_rules import checked_sizes
from stepdown.formats.onnx.move_rules import from_front
from stepdown.formats.onnx.node import Node
from stepdown.formats.onnx.rules import rule

# Window → a₀, a₁, a₂ of a₀ − a₁·cos(2πi / N) + a₂·cos(4πi / N). Source: ONNX HannWindow, … -17.
WINDOWS = {
    "HannWindow": (0.5, 0.5, 0.0),
    "HammingWindow": (25 / 46, 21 / 46, 0.0),
    "BlackmanWindow": (0.42, 0.5, 0.08),
}
_FLOAT = 1


@rule("DFT")
def dft(node: Node) -> SSAValue:
    """DFT; the axis is an attribute before opset 20, then a constant operand. Source: ONNX DFT-20, DFT-17."""
    shape, given = node.shape(0), node.ints(2)
    axis = from_front(node, given if given else [node.attribute("axis", 1 if node.opset < 20 else -2)], len(shape))[0]
    inverse, onesided = bool(node.attribute("inverse", 0)), bool(node.attribute("onesided", 0))
    points = 2 * (shape[axis] - 1) if inverse and onesided else shape[axis]
    length = (node.ints(1) or [points])[0]
    return node.emit(Dft, node.value(0), axis=axis, length=length, inverse=inverse, onesided=onesided)


@rule("STFT")
def stft(node: Node) -> SSAValue:
    """Frames of a signal times a window, each transformed. Source: ONNX STFT-17."""
    signal, (batch, points) = node.value(0), node.shape(0)[:2]
    step = (node.ints(1) or [0])[0]
    length = (node.ints(3) or [node.shape(2)[0] if node.has(2) else 0])[0]
    if step < 1 or not 1 <= length <= points or (node.has(2) and node.shape(2) != (length,)):
        raise node.refuse(f"frames of {length} every {step} of {points} points")
    if len(node.shape(0)) == 2:
        signal = node.part("signal", Reshape, signal, shape=(batch, points, 1))
    starts = np.arange(0, points - length + 1, step, dtype=np.int64)
    frames = node.part("frames", Gather, signal, node.weight(starts[:, None] + np.arange(length), "places"), axis=1)
    if node.has(2):
        window = node.part("window", Reshape, node.value(2), shape=(length, 1))
        frames = node.part("windowed", Mul, frames, window)
    return node.emit(Dft, frames, axis=2, length=length, onesided=bool(node.attribute("onesided", 1)))


@rule(*WINDOWS)
def window(node: Node) -> SSAValue:
    """A window of constant size, with `periodic` one element less than its period."""
    (size,) = checked_sizes(node, [int(node.constant(0).item())], 8)
    period = size if node.attribute("periodic", 1) else size - 1
    phase = 2 * np.pi * np.arange(size) / max(period, 1)
    constant, first, second = WINDOWS[node.op_type]
    values = constant - first * np.cos(phase) + second * np.cos(2 * phase)
    return node.graph.weight(values.astype(dtype_named(node, node.attribute("output_datatype", _FLOAT))), node.name)


@rule("MelWeightMatrix")
def mel_weight_matrix(node: Node) -> SSAValue:
    """Triangles, evenly spaced on the mel scale, over the bins of a spectrum. Source: ONNX MelWeightMatrix-17."""
    bins, length, rate = (int(node.constant(i).item()) for i in range(3))
    low, high = (2595 * np.log10(1 + float(node.constant(i).item()) / 700) for i in (3, 4))
    checked_sizes(node, [length // 2 + 1, bins], 8)
    mels = low + np.arange(bins + 2) * (high - low) / (bins + 2)
    edges = ((length + 1) * (700 * (10 ** (mels / 2595) - 1)) // rate).astype(np.int64)
    if bins < 1 or edges[0] < 0 or edges[-1] > length // 2 + 1 or np.any(np.diff(edges) < 0):
        raise node.refuse(f"{bins} bands over {length} points at {rate} Hz do not fit the spectrum")
    left, centre, right = (edges[i : i + bins] for i in range(3))
    at = np.arange(length // 2 + 1)[:, None]
    rising = (at - left) / np.maximum(centre - left, 1)
    falling = (right - at) / np.maximum(right - centre, 1)
    matrix = np.where((at >= left) & (at <= centre), np.where(centre > left, rising, at == centre), 0)
    matrix = np.where((at >= centre) & (at < right), falling, matrix)
    return node.graph.weight(matrix.astype(dtype_named(node, node.attribute("output_datatype", _FLOAT))), node.name)
