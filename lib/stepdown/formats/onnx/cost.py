"""Multiply-accumulates of ONNX operators, from the shapes of what they read and make."""

import math
from collections.abc import Callable, Mapping
from typing import Any

from stepdown.formats.outline import Value

Operands = tuple[Value | None, ...]
Cost = Callable[[Operands, tuple[Value, ...], Mapping[str, Any]], int | None]
UNCOUNTED = frozenset({"Einsum", "Attention", "DeformConv", "DFT", "STFT"})
"""Operators that multiply and accumulate in ways that are not counted."""


def macs(op: str, operands: Operands, results: tuple[Value, ...], attributes: Mapping[str, Any]) -> int | None:
    """Return the multiply-accumulates of one run, 0 for an operator that does none, None where a shape is open."""
    try:
        return COSTS[op](operands, results, attributes) if op in COSTS else 0
    except (IndexError, TypeError):  # an operand that is missing, a rank that is not known
        return None


def _product(*factors: int | None) -> int | None:
    return None if None in factors else math.prod(f for f in factors if f is not None)


def _tail(value: Value | None) -> int | None:
    assert value is not None
    return _product(*(value.shape or (None,))[1:])


def _conv(weight: int) -> Cost:
    """N·O·S'·C/group·K: results times what each of them sums up."""
    return lambda operands, results, attributes: _product(results[0].count, _tail(operands[weight]))


def _conv_transpose(operands: Operands, results: tuple[Value, ...], attributes: Mapping[str, Any]) -> int | None:
    """N·C·S·O/group·K."""
    return _product(operands[0].count, _tail(operands[1]))  # type: ignore[union-attr]


def _matmul(operands: Operands, results: tuple[Value, ...], attributes: Mapping[str, Any]) -> int | None:
    return _product(results[0].count, operands[0].shape[-1])  # type: ignore[union-attr,index]


def _gemm(operands: Operands, results: tuple[Value, ...], attributes: Mapping[str, Any]) -> int | None:
    inner = operands[0].shape[0 if attributes.get("transA") else 1]  # type: ignore[union-attr,index]
    return _product(results[0].count, inner)


def _recurrent(operands: Operands, results: tuple[Value, ...], attributes: Mapping[str, Any]) -> int | None:
    """S·B·(W + R): X[S, B, I] (or X[B, S, I]) meets every weight once a step."""
    x, w, r = operands[:3]
    return _product(*x.shape[:2], _sum(w.count, r.count))  # type: ignore[union-attr,index]


def _sum(a: int | None, b: int | None) -> int | None:
    return None if a is None or b is None else a + b


COSTS: dict[str, Cost] = {
    "Conv": _conv(1),
    "ConvInteger": _conv(1),
    "QLinearConv": _conv(3),
    "ConvTranspose": _conv_transpose,
    "MatMul": _matmul,
    "MatMulInteger": _matmul,
    "QLinearMatMul": _matmul,
    "Gemm": _gemm,
    "LSTM": _recurrent,
    "GRU": _recurrent,
    "RNN": _recurrent,
}
