"""Pooling, changes of scale and type, moves: to the bit what the reference interpreter's ops do."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from sim.programs import Assembler, chip, reference, same

from stepdown.dialects.tpu import Convert as TpuConvert
from stepdown.dialects.tpu import Rescale as TpuRescale
from stepdown.npu.isa import Conv, Convert, Gather, Move, Pool, Rescale, Tensor
from stepdown.numerics.floats import ROUND
from stepdown.numerics.quantize import QuantParams
from stepdown.numerics.rescale import multipliers_shifts

SOURCE, TARGET = QuantParams(0.05, 7), QuantParams(0.06, -4)
MAC_TYPES = [SOURCE, QuantParams(0.01), "i32", "i32", "i8"]
POOL = {"kernel_shape": [3, 2], "strides": [2, 2], "pads": [1, 1, 0, 0], "dilations": [1, 1], "ceil_mode": True}


def window(attributes: dict[str, Any]) -> dict[str, Any]:
    named = {"kernel": "kernel_shape", "window_strides": "strides", "pads": "pads", "dilations": "dilations"}
    return {mine: tuple(attributes[theirs]) for mine, theirs in named.items()} | {"ceil_mode": attributes["ceil_mode"]}


def parameters(rng: np.random.Generator, channels: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return biases, multipliers and shifts."""
    bias, multiplier = rng.integers(-999, 999, channels, np.int32), rng.integers(1 << 30, 1 << 31, channels)
    return bias, multiplier.astype(np.int32), np.full(channels, 41, np.int8)


def run(asm: Assembler, command: Any, shape: tuple[int, ...]) -> np.ndarray:
    return asm.run(asm.single(command, shape), poison=1)


@pytest.mark.parametrize("type", ["i8", "f16", "bf16"])
@pytest.mark.parametrize("kind", ["max", "mean"])
@pytest.mark.parametrize("ceil_mode", [True, False])
def test_pool(type: str, kind: str, ceil_mode: bool) -> None:
    rng = np.random.default_rng(1)
    shape, attributes = (2, 19, 9, 8), {**POOL, "ceil_mode": ceil_mode}
    x = rng.integers(-128, 128, shape, np.int8) if type == "i8" else ROUND[type](rng.normal(size=shape))
    asm = Assembler(chip())
    own, extra = dict(attributes), {}
    if (type, kind) == ("i8", "mean"):
        entries, own["multipliers"], own["shifts"] = by_count()
        extra = {"table": shared(asm, entries).address, "first_count": 1, "counts": 6}
        extra |= {"input_zero": 7, "output_zero": -4}
    types = (SOURCE, TARGET if extra else SOURCE) if type == "i8" else (type, type)
    wanted = reference("MaxPool" if kind == "max" else "AveragePool", types[:1], types[1], [x], **own)
    sides = {"input": asm.loaded(type, x, shape), "output": asm.local(type, wanted.shape)}
    same(run(asm, Pool(kind=kind, **sides, **window(attributes), **extra), wanted.shape), wanted)


def by_count() -> tuple[np.ndarray, list[int], list[int]]:
    """Return the table for 1 to 6 elements, and the factors of the counts that the windows above have."""
    multipliers, shifts = multipliers_shifts([0.05 / (count * 0.06) for count in range(1, 7)])
    factors = [(int(multipliers[count - 1]), int(shifts[count - 1])) for count in (2, 3, 4, 6)]
    return np.stack([multipliers, shifts.astype(np.int32)], 1), *map(list, zip(*factors, strict=True))


def shared(asm: Assembler, entries: np.ndarray) -> Tensor:
    """Return a local tensor that every lane has the same words of."""
    width = entries.size
    target = asm.local("i32", (1, asm.lanes, 1, width))
    source = asm.place("i32", (1, 1, 1, width), entries)
    asm.dma(Move(source=replace(source, shape=target.shape, strides=(0, 0, 0, 4)), target=target))
    return target


def test_reduction_over_rows_and_columns_is_a_pool() -> None:
    x = np.random.default_rng(1).integers(-128, 128, (2, 19, 8, 7), np.int8)
    multipliers, shifts = multipliers_shifts([0.05 / (56 * 0.06)])
    factors = {"multipliers": multipliers.tolist(), "shifts": shifts.tolist()}
    wanted = reference("ReduceMean", [SOURCE], TARGET, [x], axes=[2, 3], **factors)
    asm = Assembler(chip())
    table = shared(asm, np.stack([multipliers, shifts.astype(np.int32)], 1))
    command = Pool(
        kind="mean", input=asm.loaded("i8", x, x.shape), output=asm.local("i8", wanted.shape), kernel=(8, 7),
        table=table.address, first_count=56, counts=1, input_zero=7, output_zero=-4,
    )  # fmt: skip
    same(run(asm, command, wanted.shape), wanted)


def test_rescale() -> None:
    x = np.random.default_rng(2).integers(-128, 128, (1, 19, 4, 5), np.int8)
    wanted = reference(TpuRescale, [SOURCE], TARGET, [x], multiplier=1789569707, shift=31)
    asm = Assembler(chip())
    command = Rescale(
        input=asm.loaded("i8", x, x.shape), output=asm.local("i8", x.shape), zero=7, output_zero=-4,
        multiplier=1789569707, shift=31,
    )  # fmt: skip
    same(run(asm, command, x.shape), wanted)


@pytest.mark.parametrize("ties", ["even", "away"])
@pytest.mark.parametrize("type", ["f32", "f16", "bf16"])
def test_convert_there_and_back(type: str, ties: str) -> None:
    x = ROUND[type](
        (np.random.default_rng(2).integers(-300, 300, (1, 19, 4, 5)) * 0.5 * SOURCE.scale).astype(np.float32)
    )
    stored = reference(TpuConvert, [type], SOURCE, [x], ties=ties)
    asm = Assembler(chip())
    middle = asm.local("i8", x.shape)
    scaled = {"output_scale": float(np.float32(0.05)), "output_zero": 7, "ties": ties}
    same(run(asm, Convert(input=asm.loaded(type, x, x.shape), output=middle, **scaled), x.shape), stored)
    back = Convert(input=middle, output=asm.local(type, x.shape), input_scale=scaled["output_scale"], input_zero=7)
    same(run(asm, back, x.shape), reference(TpuConvert, [SOURCE], type, [stored]))


def test_a_matrix_product_is_a_convolution_of_one_element() -> None:
    rng = np.random.default_rng(3)
    x, w = rng.integers(-128, 128, (5, 37), np.int8), rng.integers(-127, 128, (37, 21), np.int8)
    bias, multiplier, shift = parameters(rng, 21)
    wanted = reference("MatMul", MAC_TYPES, TARGET, [x, w, bias, multiplier, shift])
    asm = Assembler(chip())
    columns = asm.local("i8", (1, 37, 1, 5))
    asm.dma(Move(source=asm.place("i8", (1, 1, 5, 37), x), target=columns, order="nwhc"))
    weights = asm.local("i8", (1, 21, 37, 1))
    asm.dma(Move(source=asm.place("i8", (1, 1, 37, 21), w), target=weights, order="nwhc"))
    records = asm.loaded("i32", np.stack([bias, multiplier, shift.astype(np.int32)], 1), (1, 21, 1, 3))
    output = asm.local("i8", (1, 21, 1, 5))
    asm.compute(
        Conv(
            wait=asm.after("dma"), input=columns, weights=weights, output=output, kernel=(1, 1), input_zero=7,
            output_zero=-4, record="fixed", parameters=records.address,
        )
    )  # fmt: skip
    target = asm.place("i8", (1, 1, 5, 21))
    asm.dma(Move(wait=asm.after("compute"), source=output, target=target, order="nwhc"))
    same(asm.run(target)[0, 0], wanted)


def test_sums_over_groups_of_input_channels_accumulate() -> None:
    rng = np.random.default_rng(3)
    x, w = rng.integers(-128, 128, (1, 20, 6, 6), np.int8), rng.integers(-127, 128, (9, 20, 3, 3), np.int8)
    bias, multiplier, shift = parameters(rng, 9)
    window = {"strides": [1, 1], "pads": [0, 0, 0, 0], "dilations": [1, 1], "group": 1}
    wanted = reference("Conv", MAC_TYPES, TARGET, [x, w, bias, multiplier, shift], **window)
    asm = Assembler(chip())
    sums = asm.local("i32", wanted.shape)
    records = asm.loaded("i32", np.stack([bias, multiplier, shift.astype(np.int32)], 1), (1, 9, 1, 3))
    for at in (0, 10):
        part, weights = x[:, at : at + 10], w[:, at : at + 10]
        loaded = asm.loaded("i8", part, part.shape), asm.loaded("i8", weights, (1, 9, 10, 9))
        asm.compute(
            Conv(
                wait=asm.after("dma"), input=loaded[0], weights=loaded[1], output=sums, kernel=(3, 3), input_zero=7,
                accumulate=at > 0,
            )
        )  # fmt: skip
    command = Rescale(
        input=sums, output=asm.local("i8", wanted.shape), record="fixed", parameters=records.address, output_zero=-4
    )
    same(run(asm, command, wanted.shape), wanted)


def test_moves_transpose_reshape_slice_and_repeat() -> None:
    x = np.random.default_rng(4).integers(-128, 128, (2, 19, 4, 5), np.int8)
    asm = Assembler(chip())
    local = asm.loaded("i8", x, x.shape, 3)
    target = asm.place("i8", (1, 1, 2, 380))
    asm.dma(Move(source=local, target=target, order="nhwc"))
    same(asm.run(target).reshape(2, 4, 5, 19), x.transpose(0, 2, 3, 1))
    flat, back = asm.local("i8", (2, 380, 1, 1), 2), asm.place("i8", (2, 380, 1, 1))
    asm.dma(Move(source=local, target=flat))
    asm.dma(Move(source=flat, target=back))
    same(asm.run(back).reshape(x.shape), x)
    thin = replace(local, shape=(2, 19, 2, 5), strides=(*local.strides[:2], 2 * local.strides[2], 1))
    twice, wide = asm.local("i8", (2, 19, 2, 10)), asm.place("i8", (2, 19, 2, 10))
    for at in range(2):
        asm.dma(
            Move(
                source=thin,
                target=replace(twice, address=twice.address + at, shape=thin.shape, strides=(*twice.strides[:3], 2)),
            )
        )
    asm.dma(Move(source=twice, target=wide))
    same(asm.run(wide), x[:, :, ::2].repeat(2, axis=3))


def test_gather_picks_rows() -> None:
    x = np.random.default_rng(4).normal(size=(1, 3, 7, 5)).astype(np.float32)
    rows = np.array([6, 0, 0, 3], np.int32)
    wanted = reference("Gather", ["f32", "i32"], "f32", [x, rows], axis=2)
    asm = Assembler(chip())
    target = asm.place("f32", wanted.shape)
    asm.dma(Gather(source=asm.loaded("f32", x, x.shape), index=asm.place("i32", (1, 1, 4, 1), rows), target=target))
    same(asm.run(target), wanted)
