"""Commands do to the bit what the reference interpreter's ops do, tiled or not, in whatever order the waits allow."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from sim.programs import Assembler, chip, float_convolution, integer_convolution, reference, same, tiled
from xdsl.ir import Block

from stepdown.dialects.op import location
from stepdown.dialects.tpu import Lut
from stepdown.dialects.types import tensor
from stepdown.npu.isa import Conv, Depthwise, Eltwise, Move, Table
from stepdown.numerics.floats import from_bf16_bits, round_bf16, round_f16
from stepdown.numerics.quantize import QuantParams
from stepdown.numerics.rescale import multipliers_shifts

WINDOW = {"strides": [2, 1], "pads": [1, 2, 2, 1], "dilations": [1, 2], "group": 1}


@pytest.mark.parametrize("tiles", [1, 2, 5])
@pytest.mark.parametrize("group", [1, 3])
def test_integer_convolution_in_tiles(tiles: int, group: int) -> None:
    given = integer_convolution(
        np.random.default_rng(5), (1, 12, 17, 9), (21, 12 // group, 3, 3), **{**WINDOW, "group": group}
    )
    asm = Assembler(chip())
    target = tiled(asm, given, tiles)
    assert len(np.unique(given.wanted)) > 20
    same(asm.run(target), given.wanted)
    for seed in range(3):
        same(asm.run(target, poison=seed, shuffle=seed), given.wanted)


@pytest.mark.parametrize("type", ["f16", "bf16"])
@pytest.mark.parametrize("tiles", [1, 3])
def test_half_convolution_in_tiles(type: str, tiles: int) -> None:
    given = float_convolution(np.random.default_rng(6), type, (1, 10, 14, 9), (18, 5, 3, 2), **{**WINDOW, "group": 2})
    asm = Assembler(chip())
    same(asm.run(tiled(asm, given, tiles), poison=1, shuffle=2), given.wanted)


def test_float_convolution_is_near() -> None:
    given = float_convolution(np.random.default_rng(6), "f32", (1, 10, 14, 9), (19, 10, 3, 2), **WINDOW)
    asm = Assembler(chip())
    np.testing.assert_allclose(asm.run(tiled(asm, given, 3)), given.wanted, rtol=1e-5, atol=1e-3)


SIDES = [QuantParams(0.031, 5), QuantParams(0.017, -9)]


@pytest.mark.parametrize("kind", ["Add", "Sub", "Mul", "Max"])
def test_integer_eltwise_rescales_both_sides(kind: str) -> None:
    rng = np.random.default_rng(7)
    a, b = rng.integers(-128, 128, (2, 1, 19, 5, 6), np.int8)
    target, scales = (
        QuantParams(0.04, 3),
        {"Add": [0.5, 0.3, 1e-6], "Sub": [0.5, 0.3, 1e-6], "Mul": [0.013], "Max": [0.7, 0.4]},
    )
    multipliers, shifts = multipliers_shifts(scales[kind])
    wanted = reference(kind, SIDES, target, [a, b], multipliers=multipliers.tolist(), shifts=shifts.tolist())
    factors = list(zip(multipliers.tolist(), shifts.tolist(), strict=True))
    two, last = (factors[:2], factors[-1]) if kind != "Mul" else ([(0, 0)] * 2, factors[0])
    asm = Assembler(chip())
    command = Eltwise(
        kind=kind.lower(), a=asm.loaded("i8", a, a.shape), b=asm.loaded("i8", b, b.shape),
        output=asm.local("i8", a.shape), left_shift=20 if kind in ("Add", "Sub") else 0, zeros=(5, -9), output_zero=3,
        multipliers=(two[0][0], two[1][0]), shifts=(two[0][1], two[1][1]),
        output_multiplier=0 if kind == "Max" else last[0], output_shift=0 if kind == "Max" else last[1],
    )  # fmt: skip
    same(asm.run(asm.single(command, a.shape)), wanted)


@pytest.mark.parametrize(("type", "round_to"), [("f16", round_f16), ("bf16", round_bf16)])
@pytest.mark.parametrize("kind", ["Add", "Mul", "Div"])
def test_half_eltwise_repeats_a_side(type: str, round_to: Callable[[np.ndarray], np.ndarray], kind: str) -> None:
    rng = np.random.default_rng(8)
    a, b = (round_to(rng.normal(size=shape)) for shape in ((1, 19, 5, 6), (1, 19, 1, 1)))
    wanted = reference(kind, [type] * 2, type, [a, b])
    asm = Assembler(chip())
    sides = {"a": asm.loaded(type, a, a.shape, 3), "b": asm.loaded(type, b, b.shape, 3)}
    command = Eltwise(kind=kind.lower(), output=asm.local(type, a.shape, 3), **sides)
    same(asm.run(asm.single(command, a.shape)), wanted)


def test_table_of_bytes() -> None:
    rng = np.random.default_rng(9)
    x, entries = rng.integers(-128, 128, (1, 19, 5, 6), np.int8), rng.integers(0, 256, 256, np.uint8)
    wanted = reference_table(x, entries)
    asm = Assembler(chip())
    shared = asm.local("u8", (1, 8, 1, 256))
    source = replace(asm.place("u8", (1, 1, 1, 256), entries), shape=(1, 8, 1, 256), strides=(0, 0, 0, 1))
    asm.dma(Move(source=source, target=shared))
    table = replace(shared, shape=(1, 19, 1, 256), strides=(0, 0, 0, 1))
    command = Table(input=asm.loaded("i8", x, x.shape), table=table, output=asm.local("u8", x.shape))
    same(asm.run(asm.single(command, x.shape)), wanted)


def reference_table(x: np.ndarray, entries: np.ndarray) -> np.ndarray:
    block = Block(arg_types=[tensor(x.shape, QuantParams(0.1, 4)), tensor((256,), QuantParams(0.1, 0, "u8"))])
    result = tensor(x.shape, QuantParams(0.1, 0, "u8"))
    return Lut.create(operands=list(block.args), result_types=[result], location=location(["y"])).run(x, entries)[0]


@pytest.mark.parametrize("type", ["f16", "bf16"])
def test_table_of_all_half_floats(type: str) -> None:
    x = {"f16": round_f16, "bf16": round_bf16}[type](np.random.default_rng(3).normal(size=(1, 19, 5, 6)))
    wanted = reference("Sigmoid", [type], type, [x])
    every = np.arange(65536, dtype=np.uint16)
    values = every.view(np.float16).astype(np.float32) if type == "f16" else from_bf16_bits(every)
    made = reference("Sigmoid", [type], type, [values])
    asm = Assembler(chip(local_bytes=1 << 16))
    table = asm.loaded(type, made, (1, 8, 1, 8192))
    command = Table(input=asm.loaded(type, x, x.shape), table=table, output=asm.local(type, x.shape))
    same(asm.run(asm.single(command, x.shape)), wanted)


def test_depthwise() -> None:
    given = integer_convolution(np.random.default_rng(4), (1, 19, 9, 7), (19, 1, 3, 3), **{**WINDOW, "group": 19})
    asm = Assembler(chip())
    records = asm.loaded("i32", given.records, (1, 19, 1, 3), 2)
    command = Depthwise(
        input=asm.loaded("i8", given.x, given.x.shape, 2), weights=asm.loaded("i8", given.weights, (1, 19, 1, 9), 2),
        output=asm.local("i8", given.wanted.shape, 2), kernel=(3, 3), window_strides=(2, 1), pads=(1, 2, 2, 1),
        dilations=(1, 2), parameters=records.address, **given.extra,
    )  # fmt: skip
    same(asm.run(asm.single(command, given.wanted.shape)), given.wanted)


@pytest.mark.parametrize("type", ["i8", "f16"])
def test_transposed_convolution_is_one_with_inserts(type: str) -> None:
    rng = np.random.default_rng(2)
    if type == "i8":
        x, w = rng.integers(-128, 128, (1, 5, 6, 4), np.int8), rng.integers(-127, 128, (5, 7, 3, 4), np.int8)
    else:
        x, w = round_f16(rng.normal(size=(1, 5, 6, 4))), round_f16(rng.normal(size=(5, 7, 3, 4)))
    bias = rng.integers(-500, 500, 7).astype(np.int32 if type == "i8" else np.float32)
    window = {"strides": [2, 3], "pads": [1, 0, 0, 1], "dilations": [1, 1], "group": 1, "output_padding": [0, 0]}
    records, extra, types, given = bias[:, None], {"record": "bias"}, ["f16", "f16", "f32"], [x, w, bias]
    if type == "i8":
        multiplier, shift = np.full(7, 1 << 30, np.int32), np.full(7, 38, np.int8)
        types, given = [SIDES[0], QuantParams(0.01), "i32", "i32", "i8"], [x, w, bias, multiplier, shift]
        records = np.stack([bias, multiplier, shift.astype(np.int32)], axis=1)
        extra = {"record": "fixed", "input_zero": 5, "output_zero": 3}
    wanted = reference("ConvTranspose", types, QuantParams(0.1, 3) if type == "i8" else "f16", given, **window)
    flipped = np.ascontiguousarray(w[:, :, ::-1, ::-1].swapaxes(0, 1))
    asm = Assembler(chip())
    word = "i32" if type == "i8" else "f32"
    command = Conv(
        input=asm.loaded(type, x, x.shape), weights=asm.loaded(type, flipped, (1, 7, 5, 12)), inserts=(1, 2),
        output=asm.local(type, wanted.shape), kernel=(3, 4), pads=(1, 3, 2, 2),
        parameters=asm.loaded(word, records, (1, 7, 1, records.shape[1])).address, **extra,
    )  # fmt: skip
    same(asm.run(asm.single(command, wanted.shape)), wanted)
