"""Quantised operators against LiteRT's reference kernels, byte for byte."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
from formats.tflite import quantized_cases as cases
from formats.tflite.quantized_cases import Sheet, differing_bytes
from formats.tflite.tflite_models import model

from stepdown.errors import UnsupportedModel
from stepdown.formats.tflite.importer import import_tflite
from stepdown.formats.tflite.loader import parse_tflite
from stepdown.runtimes.mlir import MlirRunner
from stepdown.transforms.convert_quantized_to_tpu import ConvertQuantizedToTpu

Build = Callable[[Sheet], None]


def prelu(sheet: Sheet) -> None:
    slope = sheet.tensor((1, 1, 8), array=sheet.stored((1, 1, 8)))
    sheet.op("PRELU", [sheet.given((2, 3, 4, 8)), slope], [sheet.tensor((2, 3, 4, 8))])


def norm(sheet: Sheet) -> None:
    width = sheet.size(1, 40)
    sheet.op(
        "L2_NORMALIZATION", [sheet.given((3, 2, 2, width))], [sheet.tensor((3, 2, 2, width), 1 / 128, sheet.low + 128)]
    )


def from_real(sheet: Sheet) -> None:
    x, y = sheet.other((500,), "float32"), sheet.tensor((500,))
    scale = float(np.max(y.scale))  # type: ignore[arg-type]
    ties = (sheet.rng.integers(-130, 130, 500) + 0.5) * scale
    random = sheet.rng.normal(0, 100 * scale, 500)
    sheet.arrays[x.name] = np.where(sheet.rng.random(500) < 0.5, random, ties).astype(np.float32)
    sheet.op("QUANTIZE", [x], [y])


def to_real(sheet: Sheet) -> None:
    y = sheet.tensor((256,))
    sheet.op("RELU", [sheet.every_value()], [y])
    sheet.op("DEQUANTIZE", [y], [sheet.other((256,), "float32")])


def argmax(sheet: Sheet) -> None:
    x, y = sheet.given((2, 3, 9)), sheet.tensor((2, 3, 9))
    sheet.op("RELU", [x], [y])
    sheet.op("ARG_MAX", [y, sheet.plain(2)], [sheet.other((2, 3), "int32")], outputType=2)


def concat(sheet: Sheet) -> None:
    """One scale for all in int8, which the kernel asks for; uint8 brings each operand to the result's."""
    first = sheet.given((2, 30))
    like: dict[str, Any] = {"scale": first.scale, "zero_point": first.zero_point} if sheet.dtype == "int8" else {}
    second, y = sheet.given((2, 256), **like), sheet.tensor((2, 286), **like)
    sheet.op("CONCATENATION", [first, second], [y], axis=1)


def moves(sheet: Sheet) -> None:
    x = sheet.given((2, 4, 6, 8))

    def like(*shape: int) -> Any:
        return sheet.tensor(shape, x.scale, x.zero_point)

    sides = sheet.plain([[0, 0], [1, 2], [0, 3], [1, 0]])
    fill = sheet.tensor((1,), x.scale, x.zero_point, array=sheet.stored((1,)))  # type: ignore[arg-type]
    sheet.op("RESHAPE", [x, sheet.plain([8, 48])], [sheet.tensor((8, 48))])
    sheet.op("TRANSPOSE", [x, sheet.plain([3, 1, 0, 2])], [like(8, 4, 2, 6)])
    sheet.op("PAD", [x, sides], [like(2, 7, 9, 9)])
    sheet.op("PADV2", [x, sides, fill], [like(2, 7, 9, 9)])
    sheet.op("MIRROR_PAD", [x, sides], [like(2, 7, 9, 9)], mode=1)
    sheet.op("SLICE", [x, sheet.plain([0, 1, 2, 3]), sheet.plain([2, -1, 3, 4])], [like(2, 3, 3, 4)])
    sheet.op("SPLIT", [sheet.plain(3), x], [like(2, 4, 6, 4), like(2, 4, 6, 4)], numSplits=2)
    sheet.op("GATHER", [x, sheet.plain([3, 0, 1])], [like(2, 3, 6, 8)], axis=1)
    sheet.op("SPACE_TO_DEPTH", [x], [like(2, 2, 3, 32)], blockSize=2)
    sheet.op("DEPTH_TO_SPACE", [x], [like(2, 8, 12, 2)], blockSize=2)
    block, crops = sheet.plain([2, 2]), sheet.plain([[0, 2], [1, 1]])
    blocks = like(8, 3, 4, 8)
    sheet.op("SPACE_TO_BATCH_ND", [x, block, crops], [blocks])
    sheet.op("BATCH_TO_SPACE_ND", [blocks, block, crops], [like(2, 4, 6, 8)])


BOTH: dict[str, Build] = {
    "CONV_2D": cases.convolution,
    "DEPTHWISE_CONV_2D": partial(cases.convolution, depthwise=True),
    "TRANSPOSE_CONV": cases.transposed_convolution,
    "FULLY_CONNECTED": cases.fully_connected,
    "FULLY_CONNECTED without bias": partial(cases.fully_connected, biased=False),
    **{code: cases.binary(code) for code in ("ADD", "SUB")},
    "MUL": cases.binary("MUL", scaled=True),
    **{code: cases.binary(code, fuses=False, same=True) for code in ("MAXIMUM", "MINIMUM")},
    **{code: cases.comparison(code) for code in ("EQUAL", "NOT_EQUAL", "LESS", "GREATER_EQUAL")},
    **{code: cases.pool(code) for code in ("AVERAGE_POOL_2D", "MAX_POOL_2D")},
    "MEAN": cases.reduction("MEAN"),
    "MEAN of one scale": cases.reduction("MEAN", same=True),
    **{code: cases.reduction(code, same=True) for code in ("REDUCE_MAX", "REDUCE_MIN")},
    **{code: cases.unary(code) for code in ("RELU", "RELU6", "RELU_N1_TO_1", "HARD_SWISH", "GELU", "QUANTIZE")},
    "GELU by tanh": cases.unary("GELU", approximate=True),
    "LEAKY_RELU": cases.unary("LEAKY_RELU", alpha=0.1),
    "LOGISTIC": cases.unary("LOGISTIC", 1 / 256),
    "TANH": cases.unary("TANH", 1 / 128, 128),
    "SOFTMAX": cases.distribution("SOFTMAX", 1 / 256, 0),
    "LOG_SOFTMAX": cases.distribution("LOG_SOFTMAX", 1 / 16, 255),
    "PRELU": prelu,
    "L2_NORMALIZATION": norm,
    "RESIZE_BILINEAR": cases.resize("RESIZE_BILINEAR"),
    "RESIZE_NEAREST_NEIGHBOR": cases.resize("RESIZE_NEAREST_NEIGHBOR"),
    "CONCATENATION": concat,
    "QUANTIZE of reals": from_real,
    "DEQUANTIZE": to_real,
    "ARG_MAX": argmax,
    "moves": moves,
}
INT8: dict[str, Build] = {
    "CONV_2D by channel": partial(cases.convolution, by_channel=True),
    "DEPTHWISE_CONV_2D by channel": partial(cases.convolution, depthwise=True, by_channel=True),
    "TRANSPOSE_CONV by channel": partial(cases.transposed_convolution, by_channel=True),
    "FULLY_CONNECTED by channel": partial(cases.fully_connected, by_channel=True),
    "BATCH_MATMUL": cases.batch_matmul,
    "SQUARED_DIFFERENCE": cases.binary("SQUARED_DIFFERENCE", fuses=False),
    "ABS": cases.unary("ABS"),
    "EXP": cases.unary("EXP"),
    "ELU": cases.unary("ELU"),
    **{code: cases.unary(code, positive=True) for code in ("SQRT", "RSQRT", "LOG")},
}
COUNT = 15
ROWS = [*((name, build, "int8") for name, build in (BOTH | INT8).items()), *((n, b, "uint8") for n, b in BOTH.items())]
ROWS.append(("SUM", cases.reduction("SUM"), "uint8"))


@pytest.mark.parametrize(("build", "dtype"), [row[1:] for row in ROWS], ids=[f"{n} {t}" for n, _, t in ROWS])
def test_same_bytes_as_litert(build: Build, dtype: str) -> None:
    sheet = Sheet(dtype)
    for _ in range(1 if build is moves else COUNT):
        build(sheet)
    differing, total = differing_bytes(sheet)
    assert differing == 0, f"{differing} of {total} bytes"


def test_sums_wrap_as_the_kernel_does() -> None:
    sheet = Sheet()
    x = sheet.given((1, 3, 3, 4), np.full((1, 3, 3, 4), 127, np.int8), scale=1.0, zero_point=-128)
    w = sheet.tensor((2, 1, 1, 4), [1.0, 1.0], 0, array=np.full((2, 1, 1, 4), 127, np.int8))
    y = sheet.tensor((1, 3, 3, 2), 2.0**24, 0)
    bias = sheet.plain(np.array([2**31 - 100, -(2**31)], np.int32))
    sheet.op("CONV_2D", [x, w, bias], [y], strideH=1, strideW=1, padding=1)
    assert differing_bytes(sheet)[0] == 0


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_quotients_that_the_kernel_defines(dtype: str) -> None:
    """Near 0 the kernel shifts by more bits than an integer has."""
    sheet = Sheet(dtype)
    for _ in range(COUNT):
        a = sheet.given((8, 255))
        zero = sheet.size(sheet.low + 1, sheet.high - 1)
        divisors = np.array([v for v in range(sheet.low, sheet.high + 1) if v != zero], dtype)
        b = sheet.tensor((255,), zero_point=zero, array=divisors)
        ratio = float(np.max(a.scale)) / float(np.max(b.scale))  # type: ignore[arg-type]
        y = sheet.tensor((8, 255), float(np.float32(ratio * 2.0 ** sheet.rng.uniform(-6, 0))))
        sheet.op("DIV", [a, b], [y])
    results = [np.int16(sheet.tensors[op.outputs[0]].zero_point) for op in sheet.ops]
    for (ours, theirs), zero_point in zip(cases.both(sheet), results, strict=True):
        defined = np.abs(ours - zero_point) >= 2
        assert defined.any()
        assert (ours == theirs)[defined].all()


def lowered(sheet: Sheet) -> MlirRunner:
    content = model(sheet.ops, list(sheet.tensors.values()))
    program = import_tflite(parse_tflite(content, "sheet.tflite"), "sheet")
    ConvertQuantizedToTpu(profile="tflite").run(program)
    return MlirRunner(program)


def test_all_that_has_no_integer_code_is_named() -> None:
    sheet = Sheet()
    x = sheet.every_value(scale=1.5)
    sheet.op("NEG", [x], [sheet.tensor((256,))])
    y = sheet.tensor((256,))
    sheet.op("RELU", [x], [y])
    for _ in range(2):
        sheet.op("LESS", [x, y], [sheet.other((256,), "bool")])
    with pytest.raises(UnsupportedModel, match=r"no integer code for Compare of scales.* ×2, Neg .* ×1.*--requantize"):
        lowered(sheet)


def test_a_quantised_input_takes_integers_and_real_numbers() -> None:
    sheet = Sheet()
    x, y = sheet.tensor((4,), 0.5, 3), sheet.tensor((4,), 0.5, 3)
    sheet.op("RELU", [x], [y])
    runner = lowered(sheet)
    stored = runner.run({x.name: np.array([1, 3, 5, 127], np.int8)}, "all")
    real = runner.run({x.name: np.array([-1, 0, 1, 1000], np.float32)}, "all")
    assert stored[y.name].tolist() == real[y.name].tolist() == [3, 3, 5, 127]
    assert real[f"{y.name}_f32"].tolist() == [0, 0, 1, 62]
