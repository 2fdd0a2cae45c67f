"""What conv and depthwise do: exact integer sums and a rescale, or the correctly rounded exact sum."""

import math

import numpy as np

from stepdown.npu.isa import Depthwise, Multiply, Rescale
from stepdown.numerics.accumulate import correctly_rounded, exact_dtype, sum_bound
from stepdown.numerics.convolve import convolve, pad_spatial, windows
from stepdown.numerics.floats import ROUND
from stepdown.numerics.quantize import DTYPES, RANGES
from stepdown.numerics.tflite.fixed import round_away
from stepdown.sim.memory import Memory
from stepdown.sim.scaling import stored


def multiply(memory: Memory, command: Multiply) -> None:
    """Execute a convolution."""
    o, c = command.weights.shape[1:3]
    weights = memory.read(command.weights).reshape(o, c, *command.kernel)
    x = memory.read(command.input)
    if not command.output.is_float:
        _integer(memory, command, x, weights)
    elif command.output.type == "f32":
        memory.write(command.output, _single(memory, command, x, weights))
    else:
        memory.write(command.output, _exact(memory, command, x, weights))


def from_records(
    memory: Memory, command: Multiply | Rescale, total: np.ndarray, words: np.ndarray, bounds: tuple[int, int]
) -> np.ndarray:
    """Return sums[n, c, h, w] rescaled by the records words[1, C, 1, 3] of their channels."""
    dtype, along = DTYPES[command.output.type], (1, -1, 1, 1)
    if command.record == "real":
        scale = np.ascontiguousarray(words[0, :, 0, 1:]).view(np.float64).reshape(along)
        scaled = np.clip(round_away(total * scale) + command.output_zero, *bounds)
        return scaled.astype(dtype)
    multiplier, shift = words[..., 1].reshape(along), words[..., 2].reshape(along)
    return stored(total, multiplier, shift, command.output_zero, bounds, dtype, command.rounding)


def _groups(command: Multiply) -> int:
    return command.input.shape[1] if isinstance(command, Depthwise) else command.group  # type: ignore[attr-defined]


def _spread(x: np.ndarray, inserts: tuple[int, int]) -> np.ndarray:
    """Return x[n, c, h, w] with zeros inserted between its rows and columns."""
    if not any(inserts):
        return x
    steps = [i + 1 for i in inserts]
    sizes = [(n - 1) * step + 1 for n, step in zip(x.shape[2:], steps, strict=True)]
    out = np.zeros((*x.shape[:2], *sizes), x.dtype)
    out[:, :, :: steps[0], :: steps[1]] = x
    return out


def _convolved(command: Multiply, x: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the sums of products, cut to the output."""
    x = _spread(x, command.inserts)
    sums = convolve(x, weights, command.window_strides, command.pads, command.dilations, _groups(command))
    return sums[:, :, : command.output.shape[2], : command.output.shape[3]]


def _integer(memory: Memory, command: Multiply, x: np.ndarray, weights: np.ndarray) -> None:
    low, high = RANGES[command.input.type]
    centred = weights.astype(np.int16) - np.int16(command.weight_zero)
    dtype = exact_dtype(centred, max(high - command.input_zero, command.input_zero - low))
    given: np.ndarray = x.astype(dtype)
    if command.input_zero:
        given -= dtype(command.input_zero)
    sums = _convolved(command, given, centred.astype(dtype))
    total = sums.astype(np.int32) if dtype is np.float32 else sums.astype(np.int64).astype(np.int32)
    words = memory.read(command.records()) if command.record != "none" else None
    if words is not None:
        total += words[..., :1].transpose(0, 1, 3, 2)
    if command.accumulate:
        total += memory.read(command.output)
    if words is not None and command.record != "bias":
        memory.write(command.output, from_records(memory, command, total, words, command.bounds()))
    else:
        memory.write(command.output, np.clip(total, *command.bounds()))


def _bias(memory: Memory, command: Multiply) -> np.ndarray | None:
    return None if command.record == "none" else memory.read(command.records()).reshape(-1)


def _single(memory: Memory, command: Multiply, x: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the sums in float32."""
    total = np.array(_convolved(command, x, weights))
    bias = _bias(memory, command)
    if bias is not None:
        total += bias.reshape(1, -1, 1, 1)
    return bounded(total, command.low, command.high)


def _exact(memory: Memory, command: Multiply, x: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the exact sums, rounded once to f16 or bf16, then bounded."""
    x, weights = _spread(x.astype(np.float64), command.inserts), weights.astype(np.float64)
    bias = _bias(memory, command)
    sums = convolve(x, weights, command.window_strides, command.pads, command.dilations, _groups(command))
    total = np.array(sums[:, :, : command.output.shape[2], : command.output.shape[3]])
    largest = float(np.abs(x).max(initial=0.0))
    bound = sum_bound(math.prod(weights.shape[1:]) + 1, np.abs(weights).sum(axis=(1, 2, 3)), largest)
    if bias is not None:
        bias = bias.astype(np.float64)
        total += bias.reshape(1, -1, 1, 1)
        bound = bound + 2.0**-52 * np.abs(bias)
    bound = bound.reshape(1, -1, 1, 1) + 2.0**-52 * np.abs(total)
    terms = _Terms(command, x, weights, bias, total.shape)
    return bounded(correctly_rounded(total, bound, ROUND[command.output.type], terms), command.low, command.high)


class _Terms:
    """The addends of sums, for those few that must be made anew."""

    def __init__(
        self, command: Multiply, x: np.ndarray, weights: np.ndarray, bias: np.ndarray | None, shape: tuple[int, ...]
    ) -> None:
        self._windows = windows(pad_spatial(x, command.pads), command.kernel, command.window_strides, command.dilations)
        self._weights, self._bias, self._shape, self._groups = weights, bias, shape, _groups(command)

    def __call__(self, index: np.ndarray) -> np.ndarray:
        """Return the addends [N, K] of the sums at flat positions."""
        n, o, y, x = np.unravel_index(index, self._shape)
        channels = self._weights.shape[1]
        first = o // (len(self._weights) // self._groups) * channels
        picked = self._windows[n[:, None], first[:, None] + np.arange(channels), y[:, None], x[:, None]]
        terms = (picked * self._weights[o]).reshape(len(index), -1)
        return terms if self._bias is None else np.column_stack([terms, self._bias[o]])


def bounded(y: np.ndarray, low: float, high: float) -> np.ndarray:
    """Return y clipped to bounds, with those that are infinite left out."""
    if math.isinf(low) and math.isinf(high):
        return y
    return np.clip(y, None if math.isinf(low) else low, None if math.isinf(high) else high)
