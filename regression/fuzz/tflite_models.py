"""TFLite models for the fuzzer: mutated ones, and ones grown from the table of operators."""

from collections.abc import Iterator, Sequence
from functools import cache
from random import Random
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from fuzz.mutators import MAX_BYTES, floating, integer, mutate_bytes, word
from stepdown.formats.tflite.importer import refuse_unsupported
from stepdown.formats.tflite.rules import RULES

_NUMPY = {"FLOAT32": "f4", "INT8": "i1", "UINT8": "u1", "INT32": "i4", "INT64": "i8", "BOOL": "?", "INT16": "i2"}
_SIZES = (1, 1, 2, 3, 4, 4, 8)


def mutate_tflite(rng: Random, data: bytes, others: Sequence[bytes] = ()) -> bytes:
    """Change bytes or fields of a model, or make another one from the table of operators."""
    kind = rng.random()
    if kind < 0.4:
        return mutate_bytes(rng, data, others)
    try:
        model = grown(rng) if kind > 0.7 else schema.ModelT.InitFromPackedBuf(data)
        for _ in range(rng.choice((1, 1, 2, 4)) if kind < 0.85 else 0):
            _mutate(rng, rng.choice(list(_walk(model))))
        return packed(model)[:MAX_BYTES]
    except Exception:  # what the packer cannot write, or the unpacker not read
        return mutate_bytes(rng, data, others)


def packed(model: Any) -> bytes:
    """Return the bytes of a model."""
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _walk(part: Any) -> Iterator[Any]:
    """Yield a table of the file and all tables inside it."""
    yield part
    for value in vars(part).values():
        for inner in value if isinstance(value, list) else (value,):
            if hasattr(inner, "__dict__"):
                yield from _walk(inner)


def _mutate(rng: Random, table: Any) -> None:
    """Change one field of a table."""
    fields = vars(table)
    given = [name for name, value in fields.items() if value is not None]
    if not fields:
        return
    name = rng.choice(given if given and rng.random() < 0.9 else list(fields))
    fields[name] = _changed(rng, fields[name])


def _changed(rng: Random, value: Any) -> Any:
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, list):
        return _changed_list(rng, value)
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return rng.choice((value + rng.choice((-1, 1, 7)), integer(rng) % (1 << 31), rng.randrange(-2, 32)))
    if isinstance(value, float):
        return floating(rng)
    return word(rng).encode("utf-8", "replace") if isinstance(value, bytes | str) else None


def _changed_list(rng: Random, values: list[Any]) -> list[Any]:
    values, at = list(values), rng.randrange(len(values)) if values else 0
    kind = rng.randrange(4)
    if not values:
        return [rng.randrange(8)]
    if kind == 0:
        del values[at]
    elif kind == 1:
        values.insert(rng.randrange(len(values) + 1), values[at])
    elif kind == 2 or hasattr(values[at], "__dict__"):
        other = rng.randrange(len(values))
        values[at], values[other] = values[other], values[at]
    else:
        values[at] = _changed(rng, values[at])
    return values


@cache
def _operators() -> tuple[str, ...]:
    """Return the operators that we import, by their names in the schema."""
    refuse_unsupported(())
    return tuple(sorted(name for name in vars(schema.BuiltinOperator) if name in RULES))


@cache
def _options(code: str) -> str:
    """Return the options of an operator; those of the pools and reductions are shared."""
    shared = {"AVERAGE_POOL_2D": "POOL2D", "MAX_POOL_2D": "POOL2D", "L2_POOL_2D": "POOL2D", "SUM": "REDUCER"}
    shared |= dict.fromkeys(("MEAN", "REDUCE_MAX", "REDUCE_MIN", "REDUCE_PROD", "REDUCE_ANY", "REDUCE_ALL"), "REDUCER")
    wanted = shared.get(code, code).replace("_", "").lower() + "options"
    return next((name for name in vars(schema.BuiltinOptions) if name.lower() == wanted), "")


def grown(rng: Random) -> Any:
    """Return a model of one to three operators with operands of the right sort, some of them."""
    graph, whole = schema.SubGraphT(), schema.ModelT()
    whole.version, whole.subgraphs, whole.operatorCodes, whole.buffers = 3, [graph], [], [schema.BufferT()]
    graph.tensors, graph.operators, graph.name = [], [], "main"
    kind = rng.choice(("FLOAT32", "FLOAT32", "INT8", "INT8", "INT32", "UINT8", "INT16"))
    graph.inputs = [_tensor(rng, whole, kind, [rng.choice(_SIZES) for _ in range(rng.choice((4, 4, 4, 3, 2, 1, 0)))])]
    last = graph.inputs
    for _ in range(rng.choice((1, 1, 2, 3))):
        last = _add(rng, whole, kind, last)
    graph.outputs = last
    return whole


def _add(rng: Random, whole: Any, kind: str, reads: list[int]) -> list[int]:
    """Add an operator; return the tensors it makes."""
    graph, code, made = whole.subgraphs[0], schema.OperatorCodeT(), schema.OperatorT()
    name = rng.choice(_operators())
    code.builtinCode, code.version = getattr(schema.BuiltinOperator, name), rng.choice((1, 1, 1, 2, 3))
    code.deprecatedBuiltinCode = min(code.builtinCode, 127)
    made.opcodeIndex = len(whole.operatorCodes)
    whole.operatorCodes.append(code)
    made.inputs = [reads[0], *(_operand(rng, whole, kind) for _ in range(rng.choice((0, 1, 1, 2, 2, 3))))]
    shape = list(graph.tensors[reads[0]].shape) if rng.random() < 0.7 else [1, 2, 2, 4]
    made.outputs = [_tensor(rng, whole, kind, shape) for _ in range(rng.choice((1, 1, 1, 2)))]
    if options := _options(name):
        made.builtinOptionsType = getattr(schema.BuiltinOptions, options)
        made.builtinOptions = getattr(schema, f"{options}T")()
        for _ in range(rng.choice((0, 1, 2, 4))):
            _mutate(rng, made.builtinOptions)
        for field in ("strideW", "strideH", "dilationWFactor", "dilationHFactor", "filterWidth", "filterHeight"):
            if rng.random() < 0.8 and hasattr(made.builtinOptions, field):
                setattr(made.builtinOptions, field, rng.choice((1, 1, 2, 3)))
    graph.operators.append(made)
    return list(made.outputs)


def _operand(rng: Random, whole: Any, kind: str) -> int:
    """Return an earlier tensor, nothing, or a new constant: a filter, or axes and sizes."""
    if rng.random() < 0.2:
        return rng.randrange(-1, len(whole.subgraphs[0].tensors))
    if rng.random() < 0.5:
        return _tensor(
            rng, whole, rng.choice(("INT32", "INT32", "INT64", "BOOL")), [rng.randrange(1, 5)], constant=True
        )
    shape = [rng.choice(_SIZES) for _ in range(rng.choice((4, 4, 3, 2, 1)))]
    return _tensor(rng, whole, kind, shape, constant=True)


def _tensor(rng: Random, whole: Any, kind: str, shape: list[int], constant: bool = False) -> int:
    tensor, buffer, graph = schema.TensorT(), schema.BufferT(), whole.subgraphs[0]
    tensor.name, tensor.shape, tensor.buffer = f"t{len(graph.tensors)}", shape, len(whole.buffers)
    tensor.type, tensor.hasRank = getattr(schema.TensorType, kind), True
    if kind in ("INT8", "UINT8", "INT16"):
        tensor.quantization = schema.QuantizationParametersT()
        tensor.quantization.scale = [rng.choice((0.1, 0.5, abs(floating(rng))))]
        tensor.quantization.zeroPoint = [rng.choice((0, 0, 3, -128, 1000))]
    if constant:
        values = [rng.choice((integer(rng), rng.randrange(-2, 5), rng.randrange(-2, 5))) for _ in range(8)]
        wrapped = np.array([v % (1 << 31) if abs(v) > 8 else v for v in values]).astype(_NUMPY[kind])
        buffer.data = list(np.resize(wrapped, shape).tobytes())
    whole.buffers.append(buffer)
    graph.tensors.append(tensor)
    return len(graph.tensors) - 1
