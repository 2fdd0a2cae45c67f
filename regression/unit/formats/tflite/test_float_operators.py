"""Every TFLite operator we import, in floats, against LiteRT's reference kernels."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from formats.tflite.tflite_models import Op, Tensor, constant, model, reference

from stepdown.formats.tflite.importer import import_tflite
from stepdown.formats.tflite.loader import parse_tflite
from stepdown.runtimes.mlir import MlirRunner


@dataclass(frozen=True)
class Case:
    """An operator with its operands: a shape is a float input, an array a constant, `None` an absent operand."""

    code: str
    operands: tuple[Any, ...]
    shape: tuple[int, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    dtype: str = "float32"
    outputs: int = 1
    positive: bool = False
    version: int = 1
    kernels: str = "BUILTIN_REF"

    def __str__(self) -> str:
        return f"{self.code} {dict(self.options)} {self.operands if len(str(self.operands)) < 60 else ''}"


SAME, VALID = 0, 1
RELU, RELU_N1_TO_1, RELU6, TANH = 1, 2, 3, 4
rng = np.random.default_rng(5)


def weights(*shape: int) -> np.ndarray:
    return rng.standard_normal(shape).astype(np.float32)


def ints(*values: Any) -> np.ndarray:
    return np.array(values, np.int32)


def conv(**changes: Any) -> dict[str, Any]:
    return {"strideH": 1, "strideW": 1, "dilationHFactor": 1, "dilationWFactor": 1, "padding": SAME, **changes}


def pool(h: int, w: int, **changes: Any) -> dict[str, Any]:
    return {"filterHeight": h, "filterWidth": w, "strideH": 1, "strideW": 1, "padding": SAME, **changes}


IMAGE = (2, 7, 6, 4)
CASES = [
    Case("CONV_2D", (IMAGE, weights(5, 3, 3, 4), weights(5)), (2, 7, 6, 5), conv()),
    Case("CONV_2D", (IMAGE, weights(5, 2, 3, 4), weights(5)), (2, 4, 3, 5), conv(strideH=2, strideW=2)),
    Case("CONV_2D", (IMAGE, weights(5, 3, 2, 4), weights(5)), (2, 3, 3, 5), conv(strideH=2, strideW=2, padding=VALID)),
    Case("CONV_2D", (IMAGE, weights(5, 3, 3, 4), weights(5)), (2, 7, 6, 5), conv(dilationHFactor=2, dilationWFactor=3)),
    Case("CONV_2D", (IMAGE, weights(6, 3, 3, 2), weights(6)), (2, 7, 6, 6), conv(fusedActivationFunction=RELU)),
    Case("CONV_2D", (IMAGE, weights(5, 3, 3, 4), weights(5)), (2, 7, 6, 5), conv(fusedActivationFunction=RELU6)),
    Case("CONV_2D", (IMAGE, weights(5, 3, 3, 4), weights(5)), (2, 7, 6, 5), conv(fusedActivationFunction=RELU_N1_TO_1)),
    Case(
        "DEPTHWISE_CONV_2D", (IMAGE, weights(1, 3, 3, 8), weights(8)), (2, 4, 3, 8),
        {**conv(strideH=2, strideW=2), "depthMultiplier": 2},
    ),
    Case(
        "DEPTHWISE_CONV_2D", (IMAGE, weights(1, 3, 3, 4), weights(4)), (2, 7, 6, 4),
        {**conv(dilationHFactor=2, dilationWFactor=2), "depthMultiplier": 1},
    ),
    Case(
        "TRANSPOSE_CONV", (ints(2, 14, 12, 5), weights(5, 3, 3, 4), IMAGE), (2, 14, 12, 5),
        {"strideH": 2, "strideW": 2, "padding": SAME},
    ),
    Case(
        "TRANSPOSE_CONV", (ints(2, 15, 13, 5), weights(5, 3, 3, 4), IMAGE, weights(5)), (2, 15, 13, 5),
        {"strideH": 2, "strideW": 2, "padding": VALID},
    ),
    Case("FULLY_CONNECTED", ((3, 8), weights(5, 8), weights(5)), (3, 5), {"fusedActivationFunction": RELU}),
    Case("FULLY_CONNECTED", ((2, 3, 8), weights(5, 8), None), (6, 5)),
    Case("FULLY_CONNECTED", ((2, 3, 8), weights(5, 8), weights(5)), (2, 3, 5), {"keepNumDims": True}),
    Case("BATCH_MATMUL", ((2, 3, 4), (2, 4, 5)), (2, 3, 5)),
    Case("BATCH_MATMUL", ((2, 4, 3), (2, 5, 4)), (2, 3, 5), {"adjX": True, "adjY": True}),
    Case("AVERAGE_POOL_2D", (IMAGE,), (2, 7, 6, 4), pool(3, 3)),
    Case("AVERAGE_POOL_2D", (IMAGE,), (2, 3, 3, 4), pool(3, 2, strideH=2, strideW=2, padding=VALID)),
    Case("MAX_POOL_2D", (IMAGE,), (2, 4, 3, 4), pool(3, 3, strideH=2, strideW=2, fusedActivationFunction=RELU6)),
    Case("L2_POOL_2D", (IMAGE,), (2, 5, 4, 4), pool(3, 3, padding=VALID)),
    *(Case(code, ((2, 5),), (2, 5)) for code in (
        "ABS", "CEIL", "COS", "ELU", "EXP", "FLOOR", "HARD_SWISH", "LOGISTIC", "NEG", "RELU", "RELU6", "RELU_N1_TO_1",
        "RELU_0_TO_1", "ROUND", "SIGN", "SIN", "TANH", "LOG_SOFTMAX", "SQUARE", "L2_NORMALIZATION",
        "ZEROS_LIKE",
    )),
    *(Case(code, ((2, 5),), (2, 5), positive=True) for code in ("LOG", "RSQRT", "SQRT")),
    Case("SOFTMAX", ((2, 3, 5),), (2, 3, 5), {"beta": 1.0}),
    Case("SOFTMAX", ((2, 3, 5),), (2, 3, 5), {"beta": 0.5}),
    Case("LEAKY_RELU", ((2, 5),), (2, 5), {"alpha": 0.2}),
    Case("PRELU", (IMAGE, weights(1, 1, 4)), IMAGE),
    Case("GELU", ((2, 5),), (2, 5), {"approximate": True}),
    Case("GELU", ((2, 5),), (2, 5), {"approximate": False}),
    Case(
        "LOCAL_RESPONSE_NORMALIZATION", (IMAGE,), IMAGE, {"radius": 1, "bias": 1.5, "alpha": 0.3, "beta": 0.6},
        kernels="BUILTIN_WITHOUT_DEFAULT_DELEGATES",  # the reference kernel leaves out the last channel of each window
    ),
    *(Case(code, ((2, 3, 5), (3, 5)), (2, 3, 5)) for code in (
        "ADD", "SUB", "MUL", "MAXIMUM", "MINIMUM", "SQUARED_DIFFERENCE",
    )),
    Case("ADD", (IMAGE, weights(4)), IMAGE, {"fusedActivationFunction": RELU}),
    Case("SUB", (IMAGE, IMAGE), IMAGE, {"fusedActivationFunction": RELU_N1_TO_1}),
    Case("ADD_N", ((2, 3), (2, 3), (2, 3)), (2, 3)),
    *(Case(code, ((2, 5), (2, 5)), (2, 5), positive=True) for code in ("DIV", "POW", "FLOOR_DIV", "FLOOR_MOD")),
    *(Case(code, ((2, 5), (2, 5)), (2, 5), dtype="bool") for code in (
        "EQUAL", "NOT_EQUAL", "GREATER", "GREATER_EQUAL", "LESS", "LESS_EQUAL",
    )),
    Case("SELECT_V2", (np.array([[True], [False]]), (2, 5), (2, 5)), (2, 5)),
    Case("SELECT", (np.array([True, False]), (2, 5), (2, 5)), (2, 5)),
    Case("RESHAPE", ((2, 3, 4), ints(4, -1)), (4, 6)),
    Case("SQUEEZE", ((1, 3, 1, 4),), (3, 1, 4), {"squeezeDims": [0]}),
    Case("EXPAND_DIMS", ((3, 4), ints(-1)), (3, 4, 1)),
    Case("TRANSPOSE", ((2, 3, 4), ints(2, 0, 1)), (4, 2, 3)),
    Case("CONCATENATION", ((2, 3), (2, 4)), (2, 7), {"axis": -1}),
    Case("PACK", ((2, 3), (2, 3)), (2, 2, 3), {"axis": 1, "valuesCount": 2}),
    Case("UNPACK", ((2, 3),), (2,), {"axis": 1, "num": 3}, outputs=3),
    Case("SPLIT", (ints(1)[0], (2, 6)), (2, 3), {"numSplits": 2}, outputs=2),
    Case("SLICE", ((4, 6), ints(1, 2), ints(2, -1)), (2, 4)),
    Case("PAD", ((2, 3), ints([1, 0], [2, 1])), (3, 6)),
    Case("PADV2", ((2, 3), ints([1, 0], [2, 1]), np.float32(1.5)), (3, 6)),
    Case("MIRROR_PAD", ((3, 4), ints([1, 2], [0, 3])), (6, 7), {"mode": 0}),
    Case("MIRROR_PAD", ((3, 4), ints([1, 2], [0, 3])), (6, 7), {"mode": 1}),
    Case("TILE", ((2, 3), ints(2, 1)), (4, 3)),
    Case("BROADCAST_TO", ((2, 1), ints(3, 2, 4)), (3, 2, 4), version=2),
    Case("SPACE_TO_DEPTH", ((1, 4, 6, 3),), (1, 2, 3, 12), {"blockSize": 2}),
    Case("DEPTH_TO_SPACE", ((1, 2, 3, 12),), (1, 4, 6, 3), {"blockSize": 2}),
    Case("REVERSE_V2", ((2, 3, 4), ints(1)), (2, 3, 4)),
    Case("SPACE_TO_BATCH_ND", ((1, 4, 5, 2), ints(2, 3), ints([0, 0], [1, 0])), (6, 2, 2, 2)),
    Case("BATCH_TO_SPACE_ND", ((6, 2, 2, 2), ints(2, 3), ints([0, 0], [1, 0])), (1, 4, 5, 2)),
    Case("STRIDED_SLICE", ((4, 6, 3), ints(0, 5, 1), ints(3, 0, 2), ints(2, -2, 1)), (2, 3, 1)),
    Case(
        "STRIDED_SLICE", ((4, 6, 3), ints(1, 0, 0), ints(2, 3, 0), ints(1, 1, 1)), (3, 3),
        {"shrinkAxisMask": 1, "beginMask": 2, "endMask": 4},
    ),
    Case(
        "STRIDED_SLICE", ((4, 6, 3), ints(0, 0, -1), ints(0, 0, 0), ints(1, 1, 1)), (1, 4, 6),
        {"newAxisMask": 1, "ellipsisMask": 2, "shrinkAxisMask": 4},
    ),
    *(Case(code, ((2, 3, 4), ints(-1, 0)), (3,)) for code in (
        "MEAN", "SUM", "REDUCE_MAX", "REDUCE_MIN", "REDUCE_PROD",
    )),
    Case("MEAN", (IMAGE, ints(1, 2)), (2, 1, 1, 4), {"keepDims": True}),
    Case("ARG_MAX", ((2, 5), ints(1)[0]), (2,), {"outputType": 4}, dtype="int64"),
    Case("ARG_MIN", ((2, 5), ints(0)[0]), (5,), {"outputType": 2}, dtype="int32"),
    Case("CUMSUM", ((2, 5), ints(1)[0]), (2, 5), {"exclusive": True, "reverse": True}),
    *(
        Case(code, (IMAGE, ints(5, 13)), (2, 5, 13, 4), {"alignCorners": a, "halfPixelCenters": h})
        for code in ("RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR")
        for a, h in ((False, False), (True, False), (False, True))
    ),
    Case("GATHER", ((3, 4), ints(2, 0)), (3, 2), {"axis": 1}),
    Case("GATHER", ((2, 4, 3), ints([2, 0, 1], [3, 3, 0])), (2, 3, 3), {"axis": 1, "batchDims": 1}),
    Case("GATHER_ND", ((3, 4), ints([2, 0], [1, 3])), (2,)),
    Case("EMBEDDING_LOOKUP", (ints(2, 0, 1), weights(4, 3)), (3, 3)),
    Case("SCATTER_ND", (ints([2], [0]), (2, 3), ints(4, 3)), (4, 3)),
    Case("ONE_HOT", (ints(2, 0, 5), ints(4)[0], np.float32(2), np.float32(-1)), (3, 4), {"axis": -1}),
    Case("DYNAMIC_UPDATE_SLICE", ((4, 5), (2, 2), ints(1, 4)), (4, 5)),
    Case("FILL", (ints(2, 3), np.float32(1.5)), (2, 3)),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=str)
def test_operator(case: Case) -> None:
    content, given = written(case)
    wanted = reference(content, given, case.kernels)
    program = import_tflite(parse_tflite(content, "case"), "case")
    found = MlirRunner(program).run(given, "all")
    for index in range(case.outputs):
        name = f"y{index}"
        assert found[name].shape == wanted[name].shape
        np.testing.assert_allclose(found[name], wanted[name], rtol=2e-5, atol=2e-6)


def written(case: Case) -> tuple[bytes, dict[str, np.ndarray]]:
    """Return a model of one operator between two sums, so that every result is a tensor of its own, and its input."""
    random = np.random.default_rng(3)
    tensors, names, given = [], [], {}
    for index, operand in enumerate(case.operands):
        name = f"x{index}" if operand is not None else ""
        names.append(name)
        if isinstance(operand, tuple):
            tensors.append(Tensor(name, operand, "float32"))
            values = random.standard_normal(operand).astype(np.float32) * 2
            given[name] = np.abs(values) + 0.5 if case.positive else values
        elif operand is not None:
            tensors.append(constant(name, operand, np.asarray(operand).dtype.name))
    if not given:
        tensors.append(Tensor("unused", (1,), "float32"))
        given["unused"] = np.zeros(1, np.float32)
    outputs = [f"y{i}" for i in range(case.outputs)]
    tensors += [Tensor(name, case.shape, case.dtype) for name in outputs]
    content = model([Op(case.code, names, outputs, case.options, case.version)], tensors, list(given), outputs)
    return content, given
