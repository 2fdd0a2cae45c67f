"""What the elementwise, pooling and converting instructions do."""

from functools import reduce

import numpy as np

from stepdown.npu.isa import Convert, Eltwise, Pool, Rescale, Table
from stepdown.numerics.floats import ROUND
from stepdown.numerics.quantize import DTYPES, RANGES, QuantParams, dequantize, quantize
from stepdown.numerics.tflite.pool import mean_away
from stepdown.numerics.tflite.tables import quantize_away
from stepdown.numerics.windows import fold
from stepdown.sim.memory import Memory
from stepdown.sim.multiply import bounded, from_records
from stepdown.sim.scaling import scaled, stored

_FUNCTIONS = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "max": np.maximum, "min": np.minimum, "div": np.divide,
}  # fmt: skip


def eltwise(memory: Memory, command: Eltwise) -> None:
    """Execute an elementwise combination."""
    sides = memory.read(command.a), memory.read(command.b)
    if command.output.is_float:
        memory.write(command.output, _float_eltwise(command, *sides))
    elif command.kind in ("max", "min"):
        picked = [_picked_side(command, side, at) for at, side in enumerate(sides)]
        memory.write(command.output, np.clip(_FUNCTIONS[command.kind](*picked), *command.bounds()))
    else:
        memory.write(command.output, _combined(command, *sides))


def _float_eltwise(command: Eltwise, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    wide = np.float32 if command.output.type == "f32" else np.float64
    y = _FUNCTIONS[command.kind](a.astype(wide), b.astype(wide))
    return ROUND[command.output.type](bounded(y, command.low, command.high))


def _picked_side(command: Eltwise, side: np.ndarray, at: int) -> np.ndarray:
    if not command.shifts[at]:
        return side
    x, dtype = side.astype(np.int64) - command.zeros[at], DTYPES[command.output.type]
    factors = command.multipliers[at], command.shifts[at]
    return stored(x, *factors, command.output_zero, command.bounds(), dtype, command.rounding)


def _combined(command: Eltwise, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    wide = [side.astype(np.int64) - zero for side, zero in zip((a, b), command.zeros, strict=True)]
    if command.kind != "mul":
        wide = [_lifted(command, side, at) for at, side in enumerate(wide)]
    total = _FUNCTIONS[command.kind](*wide)
    zero, bounds, dtype = command.output_zero, command.bounds(), DTYPES[command.output.type]
    if not command.output_shift:
        return np.clip(total + zero, *bounds).astype(dtype)
    return stored(total, command.output_multiplier, command.output_shift, zero, bounds, dtype, command.rounding)


def _lifted(command: Eltwise, side: np.ndarray, at: int) -> np.ndarray:
    side = side << command.left_shift
    if not command.shifts[at]:
        return side
    return scaled(side, command.multipliers[at], command.shifts[at], command.rounding)


def rescale(memory: Memory, command: Rescale) -> None:
    """Execute a change of scale."""
    x = (memory.read(command.input).astype(np.int64) - command.zero) << command.left_shift
    zero, bounds, dtype = command.output_zero, command.bounds(), DTYPES[command.output.type]
    if command.record != "none":
        words = memory.read(command.records())
        total = (x + words[..., :1].transpose(0, 1, 3, 2)).astype(np.int32)
        y = from_records(memory, command, total, words, bounds)
    elif command.shift:
        y = stored(x, command.multiplier, command.shift, zero, bounds, dtype, command.rounding)
    else:
        y = np.clip(x + zero, *bounds).astype(dtype)
    memory.write(command.output, y)


def convert(memory: Memory, command: Convert) -> None:
    """Execute a change of type."""
    values = memory.read(command.input)
    if not command.input.is_float:
        values = dequantize(values, QuantParams(command.input_scale, command.input_zero, command.input.type))
    kind = command.output.type
    if command.output.is_float:
        y = values if np.isinf(command.low) and np.isinf(command.high) else np.clip(values, command.low, command.high)
        memory.write(command.output, ROUND[kind](y))
        return
    params = QuantParams(command.output_scale, command.output_zero, kind)
    y = quantize(values, params) if command.ties == "even" else quantize_away(values, params)
    memory.write(command.output, np.clip(y, *command.bounds()).astype(DTYPES[kind]))


def table(memory: Memory, command: Table) -> None:
    """Execute a look-up."""
    entries = memory.read_bits(command.table)
    if command.input.element_bytes == 2:
        index = memory.read_bits(command.input)
        signed = np.uint16(0x8000 if command.input.type == "i16" else 0)
        memory.write_bits(command.output, entries.reshape(-1)[index ^ signed])
        return
    index = memory.read(command.input).astype(np.int16) - RANGES[command.input.type][0]
    rows = entries[0, :, 0]
    if (rows == rows[0]).all():
        memory.write_bits(command.output, rows[0][index])
    else:
        memory.write_bits(command.output, rows[np.arange(len(rows))[None, :, None, None], index])


def pool(memory: Memory, command: Pool) -> None:
    """Execute a fold over windows."""
    x = memory.read(command.input)
    if command.kind in ("max", "min"):
        combine = _FUNCTIONS[command.kind]
        memory.write(command.output, _bounded_as(command, _folded(command, x, combine, _empty(command.kind, x.dtype))))
    elif command.output.is_float:
        memory.write(command.output, _float_sums(command, x))
    else:
        memory.write(command.output, _integer_sums(memory, command, x))


def _empty(kind: str, dtype: np.dtype) -> float:
    """Return what every value replaces: the least or the greatest of a type."""
    if dtype.kind == "f":
        return -np.inf if kind == "max" else np.inf
    limits = np.iinfo(dtype)
    return limits.min if kind == "max" else limits.max


def _bounded_as(command: Pool, y: np.ndarray) -> np.ndarray:
    if command.output.is_float:
        return bounded(y, command.low, command.high)
    return np.clip(y, *command.bounds())


def _folded(command: Pool, x: np.ndarray, combine: np.ufunc, empty: float) -> np.ndarray:
    windows = command.windows()
    if all(window.whole for window in windows):
        return np.asarray(combine.reduce(x, axis=(2, 3), keepdims=True, dtype=x.dtype))
    for axis, window in enumerate(windows, 2):
        x = fold(x, axis, window, combine, empty)
    return x


def _counts(command: Pool) -> np.ndarray:
    """Return how many elements each position covers, at least 1, int64[h, w]."""
    counts = [window.counts(command.include_pads) for window in command.windows()]
    return np.maximum(reduce(np.multiply.outer, counts), 1)


def _float_sums(command: Pool, x: np.ndarray) -> np.ndarray:
    wide = np.float32 if command.output.type == "f32" else np.float64
    y = _folded(command, x.astype(wide), np.add, 0)
    if command.kind == "mean":
        y /= _counts(command).astype(wide)
    return ROUND[command.output.type](bounded(y, command.low, command.high))


def _integer_sums(memory: Memory, command: Pool, x: np.ndarray) -> np.ndarray:
    zero, bounds, dtype = command.output_zero, command.bounds(), DTYPES[command.output.type]
    counts = _counts(command)
    if not command.counts:
        sums = _folded(command, x.astype(np.float64), np.add, 0)
        means = mean_away(sums, counts) if command.kind == "mean" else sums.astype(np.int64)
        return np.clip(means, *bounds).astype(dtype)
    sums = _folded(command, x.astype(np.float64) - command.input_zero, np.add, 0)
    entries = memory.read(command.entries())[0, 0, 0].reshape(-1, 2)
    chosen = entries[np.clip(counts - command.first_count, 0, command.counts - 1)]
    multiplier, shift = chosen[..., 0], chosen[..., 1]
    if command.rounding != "float":
        total = scaled(sums, multiplier, shift, command.rounding) + zero
        return np.clip(total, *bounds).astype(dtype)
    return stored(sums, multiplier, shift, zero, bounds, dtype, command.rounding)
