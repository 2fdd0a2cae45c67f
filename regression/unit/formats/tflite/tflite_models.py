"""Small `.tflite` models, written tensor by tensor, and what LiteRT's reference kernels make of them.

A convolution is `model([Op("CONV_2D", ["x", "w", "b"], ["y"], {"strideH": 1, "strideW": 1})], [x, w, b, y])` with
`x = Tensor("x", (1, 4, 4, 3), scale=0.1, zero_point=3)`, `w = Tensor("w", …, scale=[0.01] * 8, array=weights)`, ….
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

_OPTIONS = {
    "AVERAGE_POOL_2D": "Pool2D",
    "MAX_POOL_2D": "Pool2D",
    "L2_POOL_2D": "Pool2D",
    "L2_NORMALIZATION": "L2Norm",
    "MAXIMUM": "MaximumMinimum",
    "MINIMUM": "MaximumMinimum",
    **dict.fromkeys(["MEAN", "SUM", "REDUCE_MAX", "REDUCE_MIN", "REDUCE_PROD", "REDUCE_ANY", "REDUCE_ALL"], "Reducer"),
}
"""Operators whose options are not called as they are."""


@dataclass(frozen=True)
class Tensor:
    """A tensor: constant where it has an array, quantised where it has a scale (one, or one a channel along `axis`)."""

    name: str
    shape: tuple[int, ...]
    dtype: str = "int8"
    """float32, int8, uint8, int16, int32, int64, bool, float16 or int4 (its array holds one value an element)."""
    scale: float | Sequence[float] | None = None
    zero_point: int | Sequence[int] = 0
    axis: int = 0
    array: np.ndarray | None = None


@dataclass(frozen=True)
class Op:
    """An operator: its code as the schema spells it, tensor names ("" for an absent one), and its options' fields."""

    code: str
    inputs: Sequence[str]
    outputs: Sequence[str]
    options: Mapping[str, Any] = field(default_factory=dict)
    version: int = 1


def constant(name: str, array: Any, dtype: str = "int32") -> Tensor:
    """Return a constant without quantisation (axes, shapes, paddings, …)."""
    values = np.asarray(array, dtype)
    return Tensor(name, values.shape, dtype, array=values)


def model(
    ops: Sequence[Op],
    tensors: Sequence[Tensor],
    inputs: Sequence[str] | None = None,
    outputs: Sequence[str] | None = None,
) -> bytes:
    """Return a model file; its inputs are the tensors nothing makes, its outputs those nothing reads, unless given."""
    made, read = {n for op in ops for n in op.outputs}, {n for op in ops for n in op.inputs}
    if inputs is None:
        inputs = [t.name for t in tensors if t.array is None and t.name not in made]
    if outputs is None:
        outputs = [t.name for t in tensors if t.name in made - read]
    place = {t.name: i for i, t in enumerate(tensors)} | {"": -1}
    graph, whole = schema.SubGraphT(), schema.ModelT()
    graph.tensors, graph.operators = [_tensor(t, i) for i, t in enumerate(tensors)], []
    graph.inputs, graph.outputs = [place[n] for n in inputs], [place[n] for n in outputs]
    whole.version, whole.subgraphs, whole.operatorCodes = 3, [graph], []
    whole.buffers = [schema.BufferT(), *(_buffer(t) for t in tensors)]
    for index, op in enumerate(ops):
        whole.operatorCodes.append(_operator_code(op))
        graph.operators.append(_operator(op, index, place))
    builder = flatbuffers.Builder(1024)
    builder.Finish(whole.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def reference(content: bytes, arrays: Mapping[str, np.ndarray], kernels: str = "BUILTIN_REF") -> dict[str, np.ndarray]:
    """Return every tensor of one run on LiteRT's reference kernels, or on others."""
    return Reference(content, kernels).run(arrays)


class Reference:
    """LiteRT's reference kernels, every tensor kept."""

    def __init__(self, content: bytes, kernels: str = "BUILTIN_REF") -> None:
        try:
            self._interpreter = _interpreter(content, kernels)
        except ValueError:  # a few operators have no kernel among the reference ones
            self._interpreter = _interpreter(content, "BUILTIN_WITHOUT_DEFAULT_DELEGATES")
        self._interpreter.allocate_tensors()

    def run(self, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run once; return every tensor by name."""
        for spec in self._interpreter.get_input_details():
            self._interpreter.set_tensor(spec["index"], arrays[spec["name"]])
        self._interpreter.invoke()
        found = {}
        for spec in self._interpreter.get_tensor_details():
            try:
                found[spec["name"]] = self._interpreter.get_tensor(spec["index"])
            except ValueError:  # a temporary tensor of a kernel, or one without values
                continue
        return found


def _interpreter(content: bytes, kernels: str) -> Any:
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    return Interpreter(
        model_content=content,
        experimental_op_resolver_type=OpResolverType[kernels],
        experimental_preserve_all_tensors=True,
    )


def _tensor(tensor: Tensor, index: int) -> Any:
    made = schema.TensorT()
    made.name, made.shape, made.buffer = tensor.name, list(tensor.shape), index + 1
    made.type, made.hasRank = getattr(schema.TensorType, tensor.dtype.upper()), True
    if tensor.scale is not None:
        scales = np.atleast_1d(np.asarray(tensor.scale, np.float32))
        made.quantization = schema.QuantizationParametersT()
        made.quantization.scale = [float(s) for s in scales]
        made.quantization.zeroPoint = [int(z) for z in np.broadcast_to(tensor.zero_point, scales.shape)]
        made.quantization.quantizedDimension = tensor.axis
    return made


def _buffer(tensor: Tensor) -> Any:
    made = schema.BufferT()
    if tensor.array is not None:
        made.data = list(_bytes(tensor))
    return made


def _bytes(tensor: Tensor) -> bytes:
    if tensor.dtype != "int4":
        return np.ascontiguousarray(tensor.array, tensor.dtype).tobytes()
    nibbles = np.asarray(tensor.array, np.int8).reshape(-1).view(np.uint8) & 15
    nibbles = np.append(nibbles, np.zeros(nibbles.size % 2, np.uint8))
    return bytes(nibbles[::2] | nibbles[1::2] << 4)


def _operator_code(op: Op) -> Any:
    made = schema.OperatorCodeT()
    made.builtinCode = getattr(schema.BuiltinOperator, op.code)
    made.deprecatedBuiltinCode = min(made.builtinCode, 127)
    made.version = op.version
    return made


def _operator(op: Op, index: int, place: Mapping[str, int]) -> Any:
    made = schema.OperatorT()
    made.opcodeIndex = index
    made.inputs, made.outputs = [place[n] for n in op.inputs], [place[n] for n in op.outputs]
    name = _options_name(op.code)
    if name:
        made.builtinOptionsType = getattr(schema.BuiltinOptions, name)
        made.builtinOptions = getattr(schema, f"{name}T")()
        for key, value in op.options.items():
            if not hasattr(made.builtinOptions, key):
                raise AttributeError(f"{name} has no field {key}, it has {', '.join(vars(made.builtinOptions))}")
            setattr(made.builtinOptions, key, value)
    return made


def _options_name(code: str) -> str:
    wanted = _OPTIONS.get(code, code.replace("_", "")).lower() + "options"
    return next((name for name in vars(schema.BuiltinOptions) if name.lower() == wanted), "")
