"""Cycles are those that the formulas of docs/design.md give, worked out by hand here."""

from dataclasses import replace

import pytest

from stepdown.chips import load_chip
from stepdown.npu.cost import cost, local_memory, span
from stepdown.npu.isa import Conv, Depthwise, Eltwise, Fill, Move, Table, Tensor, packed

LANES = replace(load_chip("bm1684x"), dma_bytes_per_cycle=64, sustained_percent=50)
SYSTOLIC = load_chip("gemmini")
BANK = 16384


def local(shape: tuple[int, ...], address: int = 0, type: str = "i8", lanes: int = 64) -> Tensor:
    return packed(type, shape, address, space="local", lanes=lanes)


def conv(lanes: int = 64) -> Conv:
    return Conv(
        input=local((1, 128, 16, 16), 0, lanes=lanes), weights=local((1, 96, 128, 9), 2 * BANK, lanes=lanes),
        output=local((1, 96, 14, 14), 5 * BANK, lanes=lanes), kernel=(3, 3), record="fixed", parameters=8 * BANK,
    )  # fmt: skip


def test_a_convolution_on_lanes() -> None:
    price = cost(conv(), LANES)
    # 96 channels are two rounds of 64 lanes; 4 positions and 64 input channels at once; 9 elements of the kernel.
    assert price.parts == {"start": 40, "matmul": 2 * (14 * 14 // 4) * 2 * 9, "stall": 1764, "bank_conflict": 0}
    assert price.macs == 96 * 14 * 14 * 128 * 9
    assert price.cycles == 40 + 1764 * 100 // LANES.sustained_percent


def test_few_channels_share_a_vector_with_elements_of_the_kernel() -> None:
    stem = Conv(
        input=local((1, 3, 18, 18)), weights=local((1, 64, 3, 49), BANK), output=local((1, 64, 12, 12), 2 * BANK),
        kernel=(7, 7), record="fixed", parameters=3 * BANK,
    )  # fmt: skip
    # 21 elements of 3 channels fill 63 of 64 places: 49 elements take three vectors.
    assert cost(stem, LANES).parts["matmul"] == 12 * 12 // 4 * 3
    assert cost(stem, replace(LANES, packs_kernel=False)).parts["matmul"] == 12 * 12 // 4 * 49


def test_halves_take_as_long_as_their_rate_says() -> None:
    wide = conv()
    halves = replace(
        wide, record="none", input=local((1, 128, 16, 16), 0, "f16"), output=local((1, 96, 14, 14), 6 * BANK, "f16"),
        weights=local((1, 96, 128, 9), 2 * BANK, "f16"),
    )  # fmt: skip
    assert cost(halves, LANES).parts["matmul"] == 2 * cost(wide, LANES).parts["matmul"]


def test_operands_in_one_bank_wait_for_each_other() -> None:
    apart = Eltwise(
        kind="add", a=local((1, 64, 8, 8)), b=local((1, 64, 8, 8), BANK), output=local((1, 64, 8, 8), 2 * BANK)
    )
    together = replace(apart, b=local((1, 64, 8, 8), 64), output=local((1, 64, 8, 8), 128))
    assert cost(apart, LANES).parts == {"start": 40, "eltwise": 1}
    assert cost(together, LANES).parts == {"start": 40, "eltwise": 3}
    assert cost(replace(together, wait=(0, 1, 0)), LANES).parts["synchronize"] == 10
    assert cost(replace(apart, shifts=(30, 30), output_shift=30), LANES).parts["eltwise"] == 4


def test_a_depthwise_convolution_fills_vectors_with_positions() -> None:
    command = Depthwise(
        input=local((1, 65, 16, 16)), weights=local((1, 65, 1, 9), BANK), output=local((1, 65, 14, 14), 2 * BANK),
        kernel=(3, 3), record="fixed", parameters=3 * BANK,
    )  # fmt: skip
    assert cost(command, LANES).parts["matmul"] == 2 * 4 * 9


def test_a_table_looks_up_sixteen_entries() -> None:
    command = Table(
        input=local((1, 64, 8, 8)), output=local((1, 64, 8, 8), BANK), table=local((1, 64, 1, 256), 2 * BANK)
    )
    assert cost(command, LANES).parts == {"start": 40, "table": 4}


def test_a_convolution_on_a_systolic_array() -> None:
    price = cost(conv(lanes=16), SYSTOLIC)
    positions, depth = 14 * 14, 128 * 9
    assert price.parts == {
        "start": 32,
        "im2col": positions * depth // 16,
        "bias": positions * 96 // 16,
        "matmul": (depth // 16) * (96 // 16) * (positions + 32),
        "requantize": positions * 96 // 16,
    }


@pytest.mark.parametrize(
    ("shape", "strides", "cycles"),
    [
        ((1, 64, 8, 8), (4096, 64, 8, 1), 64),  # one run of 4,096 bytes
        ((1, 64, 8, 8), (65536, 1024, 8, 1), 64),  # 64 runs of 64 bytes
        ((1, 64, 8, 8), (65536, 1024, 16, 1), 512),  # 512 runs of 8 bytes, a burst each
        ((1, 64, 8, 8), (4096, 1, 512, 64), 64),  # channels last: one run again
    ],
)
def test_transfers_take_whole_bursts(shape: tuple[int, ...], strides: tuple[int, ...], cycles: int) -> None:
    source = Tensor(space="global", type="i8", address=0, shape=shape, strides=strides)
    price = cost(Move(source=source, target=local(shape)), LANES)
    assert price.parts == {"start": 40, "latency": 200, "transfer": cycles}
    assert price.bytes == 4096


def test_local_memory_and_spans() -> None:
    assert (local_memory(LANES).lanes, local_memory(LANES).lane_bytes, local_memory(LANES).bank_bytes) == (
        64,
        262144,
        BANK,
    )
    assert (local_memory(SYSTOLIC).lanes, local_memory(SYSTOLIC).lane_bytes) == (16, 20480)
    assert list(local_memory(LANES).banks(BANK - 1, BANK + 1)) == [0, 1]
    assert span(local((1, 65, 2, 3), 64), 64) == (64, 64 + 12)
    backwards = Tensor(space="global", type="i16", address=100, shape=(1, 1, 1, 4), strides=(0, 0, 0, -2))
    assert span(backwards, 64) == (94, 102)
    assert cost(Fill(target=local((1, 64, 8, 8))), LANES).parts["transfer"] == 64
