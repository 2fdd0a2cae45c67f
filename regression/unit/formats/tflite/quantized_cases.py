"""Random quantised operators, many in one model: shapes, scales, zero points and options drawn by a seed."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from formats.tflite.tflite_models import Op, Reference, Tensor, constant, model

from stepdown.formats.tflite.importer import import_tflite
from stepdown.formats.tflite.loader import parse_tflite
from stepdown.runtimes.mlir import MlirRunner
from stepdown.transforms.convert_quantized_to_tpu import ConvertQuantizedToTpu

RANGES = {"int8": (-128, 127), "uint8": (0, 255)}
NONE, RELU, RELU_N1_TO_1, RELU6 = range(4)
ACTIVATIONS = (NONE, RELU, RELU_N1_TO_1, RELU6)


class Sheet:
    """A model in the making: operators of one type side by side, every one with its own parameters."""

    def __init__(self, dtype: str = "int8", seed: int = 0) -> None:
        self.dtype, self.rng = dtype, np.random.default_rng(seed)
        self.low, self.high = RANGES[dtype]
        self.tensors: dict[str, Tensor] = {}
        self.ops: list[Op] = []
        self.arrays: dict[str, np.ndarray] = {}

    def size(self, low: int, high: int) -> int:
        """Return a random size in [low, high]."""
        return int(self.rng.integers(low, high + 1))

    def scale(self, low: float = -6, high: float = 1) -> float:
        """Return a float32 scale between two powers of two."""
        return float(np.float32(2.0 ** self.rng.uniform(low, high)))

    def activation(self) -> int:
        """Return a fused activation."""
        return int(self.rng.choice(ACTIVATIONS))

    def stored(self, shape: Sequence[int]) -> np.ndarray:
        """Return random stored integers."""
        return self.rng.integers(self.low, self.high + 1, shape).astype(self.dtype)

    def tensor(self, shape: Sequence[int], scale: Any = None, zero_point: int | None = None, **more: Any) -> Tensor:
        """Return a new quantised tensor; scale and zero point are drawn unless given."""
        scale = self.scale() if scale is None else scale
        zero_point = self.size(self.low, self.high) if zero_point is None else zero_point
        return self._add(Tensor(f"t{len(self.tensors)}", tuple(map(int, shape)), self.dtype, scale, zero_point, **more))

    def given(self, shape: Sequence[int], array: np.ndarray | None = None, **more: Any) -> Tensor:
        """Return a new network input."""
        made = self.tensor(shape, **more)
        self.arrays[made.name] = self.stored(shape) if array is None else array
        return made

    def every_value(self, **more: Any) -> Tensor:
        """Return a new network input that holds each value once."""
        return self.given((256,), np.arange(self.low, self.high + 1).astype(self.dtype), **more)

    def weight(self, shape: Sequence[int], axis: int | None = None) -> Tensor:
        """Return new weights: symmetric int8, by channel along `axis`, or uint8 with a zero point."""
        scale = self.scale(-10, -4) if axis is None else [self.scale(-10, -4) for _ in range(shape[axis])]
        zero_point = 0 if self.dtype == "int8" else None
        return self.tensor(shape, scale, zero_point, axis=axis or 0, array=self.stored(shape))

    def bias(self, scales: np.ndarray, target: Tensor) -> Tensor:
        """Return biases that put sums near where results round up, at `scales` = s_in · s_w."""
        near = (self.rng.integers(-140, 141, scales.shape) + 0.5) * float(np.max(target.scale)) / scales  # type: ignore[arg-type]
        values = np.clip(np.round(near) + self.rng.integers(-4, 5, scales.shape), -(2**30), 2**30).astype(np.int32)
        stated = [float(np.float32(s)) for s in (scales[:1] if np.ptp(scales) == 0 else scales)]
        return self._add(Tensor(f"t{len(self.tensors)}", scales.shape, "int32", stated, array=values))

    def plain(self, array: Any, dtype: str = "int32") -> Tensor:
        """Return a new constant without scale."""
        return self._add(constant(f"t{len(self.tensors)}", array, dtype))

    def other(self, shape: Sequence[int], dtype: str) -> Tensor:
        """Return a new tensor of another type."""
        return self._add(Tensor(f"t{len(self.tensors)}", tuple(shape), dtype))

    def op(self, code: str, inputs: Sequence[Tensor], outputs: Sequence[Tensor], version: int = 1, **opts: Any) -> None:
        """Add an operator."""
        self.ops.append(Op(code, [t.name for t in inputs], [t.name for t in outputs], opts, version))

    def _add(self, made: Tensor) -> Tensor:
        self.tensors[made.name] = made
        return made


def both(sheet: Sheet) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return our result and the reference kernels' of every operator."""
    content = model(sheet.ops, list(sheet.tensors.values()))
    program = import_tflite(parse_tflite(content, "sheet.tflite"), "sheet")
    ConvertQuantizedToTpu(profile="tflite").run(program)
    ours, theirs = MlirRunner(program).run(sheet.arrays, "all"), Reference(content).run(sheet.arrays)
    made = [name for op in sheet.ops for name in op.outputs]
    return [(ours[name], theirs[name]) for name in made]


def differing_bytes(sheet: Sheet) -> tuple[int, int]:
    """Return how many bytes of results differ from the reference kernels, and how many there are."""
    pairs = both(sheet)
    assert all(a.shape == b.shape and a.dtype == b.dtype for a, b in pairs)
    return sum(int((a != b).sum()) for a, b in pairs), sum(b.nbytes for _, b in pairs)


def _scales(*tensors: Tensor) -> np.ndarray:
    product = np.ones(1)
    for tensor in tensors:
        product = product * np.atleast_1d(np.asarray(tensor.scale))
    return product


def convolution(sheet: Sheet, depthwise: bool = False, by_channel: bool = False) -> None:
    """A convolution with random window, padding, dilation and activation."""
    (ci, co), kernel = (sheet.size(1, 4), sheet.size(1, 8)), (sheet.size(1, 3), sheet.size(1, 3))
    multiplier, size = sheet.size(1, 3), (sheet.size(5, 8), sheet.size(5, 8))
    strides = [sheet.size(1, 2), sheet.size(1, 2)]
    dilations = [sheet.size(1, 2), sheet.size(1, 2)] if max(strides) == 1 else [1, 1]
    co = ci * multiplier if depthwise else co
    shape, axis = ((1, *kernel, co), 3) if depthwise else ((co, *kernel, ci), 0)
    x, w = sheet.given((2, *size, ci)), sheet.weight(shape, axis if by_channel else None)
    padding = sheet.size(0, 1)
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    made = [-(-n // s) if padding == 0 else (n - r) // s + 1 for n, s, r in zip(size, strides, reach, strict=True)]
    products = _scales(x, w) * np.ones(co)
    y = sheet.tensor((2, *made, co), float(np.float32(products.max() * 2.0 ** sheet.rng.uniform(-2, 20))))
    window: dict[str, Any] = {"strideH": strides[0], "strideW": strides[1], "padding": padding}
    window |= {"dilationHFactor": dilations[0], "dilationWFactor": dilations[1]}
    window |= {"fusedActivationFunction": sheet.activation(), **({"depthMultiplier": multiplier} if depthwise else {})}
    sheet.op("DEPTHWISE_CONV_2D" if depthwise else "CONV_2D", [x, w, sheet.bias(products, y)], [y], **window)


def transposed_convolution(sheet: Sheet, by_channel: bool = False) -> None:
    """A transposed convolution."""
    ci, co, kernel = sheet.size(1, 4), sheet.size(1, 5), (sheet.size(1, 3), sheet.size(1, 3))
    size, strides, padding = (
        (sheet.size(2, 4), sheet.size(2, 4)),
        (sheet.size(1, 2), sheet.size(1, 2)),
        sheet.size(0, 1),
    )
    x, w = sheet.given((1, *size, ci)), sheet.weight((co, *kernel, ci), 0 if by_channel else None)
    made = [n * s if padding == 0 else (n - 1) * s + k for n, s, k in zip(size, strides, kernel, strict=True)]
    products = _scales(x, w) * np.ones(co)
    y = sheet.tensor((1, *made, co), float(np.float32(products.max() * 2.0 ** sheet.rng.uniform(2, 14))))
    operands = [sheet.plain([1, *made, co]), w, x, sheet.bias(products, y)]
    sheet.op("TRANSPOSE_CONV", operands, [y], strideH=strides[0], strideW=strides[1], padding=padding)


def fully_connected(sheet: Sheet, by_channel: bool = False, biased: bool = True) -> None:
    """A matrix product; half of them with results that the bias alone decides."""
    k, n, keep = sheet.size(1, 40), sheet.size(1, 200), bool(sheet.size(0, 1))
    rows = (2, 3) if keep else (3,)
    x, w = sheet.given((*rows, k)), sheet.weight((n, k), 0 if by_channel else None)
    products = _scales(x, w) * np.ones(n)
    y = sheet.tensor((*rows, n), float(np.float32(products.max() * 2.0 ** sheet.rng.uniform(-2, 20))))
    operands = [x, w, sheet.bias(products, y)] if biased else [x, w]
    sheet.op("FULLY_CONNECTED", operands, [y], keepNumDims=keep, fusedActivationFunction=sheet.activation())


def batch_matmul(sheet: Sheet) -> None:
    """A product of two activations."""
    m, k, n, left, right = *(sheet.size(1, 8) for _ in range(3)), sheet.size(0, 1), sheet.size(0, 1)
    a, b = sheet.given((2, k, m) if left else (2, m, k)), sheet.given((2, n, k) if right else (2, k, n))
    y = sheet.tensor((2, m, n), float(np.float32(_scales(a, b)[0] * 2.0 ** sheet.rng.uniform(3, 9))))
    sheet.op("BATCH_MATMUL", [a, b], [y], adjX=bool(left), adjY=bool(right))


def binary(code: str, fuses: bool = True, scaled: bool = False, same: bool = False) -> Callable[[Sheet], None]:
    """An elementwise operator of two tensors, one of them broadcast, or constant."""

    def build(sheet: Sheet) -> None:
        shape = ((2, 4, 32), (32,), (4, 1), (1, 1, 1))[sheet.size(0, 3)]
        a = sheet.given((2, 4, 32))
        like: dict[str, Any] = {"scale": a.scale, "zero_point": a.zero_point} if same else {}
        b = sheet.given(shape, **like) if sheet.size(0, 1) else sheet.tensor(shape, array=sheet.stored(shape), **like)
        product = {"scale": float(np.float32(_scales(a, b)[0] * 2.0 ** sheet.rng.uniform(2, 8)))} if scaled else {}
        options = {"fusedActivationFunction": sheet.activation()} if fuses else {}
        sheet.op(code, [a, b], [sheet.tensor((2, 4, 32), **like, **product)], **options)

    return build


def comparison(code: str) -> Callable[[Sheet], None]:
    """A comparison of two tensors, with scales below 1."""

    def build(sheet: Sheet) -> None:
        x = sheet.given((4, 64), scale=sheet.scale(-6, 0))
        a = sheet.tensor((4, 64), x.scale, x.zero_point)  # type: ignore[arg-type]
        sheet.op("RELU", [x], [a])
        sheet.op(code, [a, sheet.given((64,), scale=sheet.scale(-6, 0))], [sheet.other((4, 64), "bool")])

    return build


def pool(code: str) -> Callable[[Sheet], None]:
    """A pooling with random window and padding."""

    def build(sheet: Sheet) -> None:
        size, kernel = (sheet.size(3, 8), sheet.size(3, 8)), (sheet.size(1, 3), sheet.size(1, 3))
        strides, padding = (sheet.size(1, 2), sheet.size(1, 2)), sheet.size(0, 1)
        x = sheet.given((2, *size, 3))
        made = [-(-n // s) if padding == 0 else (n - k) // s + 1 for n, s, k in zip(size, strides, kernel, strict=True)]
        y = sheet.tensor((2, *made, 3), x.scale, x.zero_point)  # type: ignore[arg-type]
        window = {"filterHeight": kernel[0], "filterWidth": kernel[1], "strideH": strides[0], "strideW": strides[1]}
        sheet.op(code, [x], [y], padding=padding, fusedActivationFunction=sheet.activation(), **window)

    return build


def reduction(code: str, same: bool = False) -> Callable[[Sheet], None]:
    """A reduction over random axes."""

    def build(sheet: Sheet) -> None:
        shape = [sheet.size(1, 6) for _ in range(4)]
        axes = ([1, 2], [0], [3], [1, 2, 3], [0, 1, 2, 3], [2], [1, 3])[sheet.size(0, 6)]
        keep, x = bool(sheet.size(0, 1)), sheet.given(shape)
        like: dict[str, Any] = {"scale": x.scale, "zero_point": x.zero_point} if same else {}
        y = sheet.tensor([1 if i in axes else n for i, n in enumerate(shape) if keep or i not in axes], **like)
        sheet.op(code, [x, sheet.plain(axes)], [y], keepDims=keep)

    return build


def unary(
    code: str, scale: float | None = None, zero: int = 0, positive: bool = False, **opts: Any
) -> Callable[[Sheet], None]:
    """A function of every stored value; `zero` is the result's zero point counted from the least value."""

    def build(sheet: Sheet) -> None:
        x = sheet.every_value(zero_point=sheet.low if positive else None)
        chosen = scale
        if code == "HARD_SWISH":  # whose kernel asks for a result not much finer than the input
            chosen = float(np.float32(_scales(x)[0] * 2.0 ** sheet.rng.uniform(-5, 3)))
        y = sheet.tensor((256,), chosen, sheet.low + zero if scale else None)
        sheet.op(code, [x], [y], **opts)

    return build


def distribution(code: str, scale: float, zero: int) -> Callable[[Sheet], None]:
    """Softmax or its logarithm over rows of random length."""

    def build(sheet: Sheet) -> None:
        width = (2, 3, 10, 64, 300)[sheet.size(0, 4)]
        x = sheet.given((5, width), scale=sheet.scale(-9, 3))
        options = {"beta": 1.0} if code == "SOFTMAX" else {}
        sheet.op(code, [x], [sheet.tensor((5, width), scale, sheet.low + zero)], **options)

    return build


def resize(code: str) -> Callable[[Sheet], None]:
    """A resize between random sizes, in each way to place coordinates."""

    def build(sheet: Sheet) -> None:
        h, w, high, wide = (sheet.size(1, 11) for _ in range(4))
        align, half = ((False, False), (True, False), (False, True))[sheet.size(0, 2)]
        x = sheet.given((1, h, w, 3))
        y = sheet.tensor((1, high, wide, 3), x.scale, x.zero_point)  # type: ignore[arg-type]
        sheet.op(code, [x, sheet.plain([high, wide])], [y], version=3, alignCorners=align, halfPixelCenters=half)

    return build
