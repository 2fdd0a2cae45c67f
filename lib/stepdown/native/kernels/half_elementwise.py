"""Elementwise ops of f16 and bf16: of several operands wide, of one by a table of all values.

In float32 a fold of two has the bits of the exact one, rounded once: its 24 bits are as many as twice those of f16 and
two more (Figueroa, "When is double rounding innocuous?", SIGNUM Newsletter 30, 1995). What f32 cannot hold, products
and quotients of bf16 below 2⁻¹²⁶, may differ in the last place.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from stepdown.dialects.op import Kind
from stepdown.dialects.top import TOP_OPS
from stepdown.dialects.types import storage_of
from stepdown.native.halves import HALVES, half_of, stored
from stepdown.native.kernels.base import Buffers, kernel
from stepdown.native.kernels.conv import activated
from stepdown.native.kernels.elementwise import Elementwise
from stepdown.native.tir import Expr, cast, const, largest, select, smallest
from stepdown.numerics.floats import from_bf16_bits

_FOLDS: dict[str, Callable[[Any, Any, Any], Expr]] = {
    "Add": lambda a, b, zero: a + b,
    "Sub": lambda a, b, zero: a - b,
    "Mul": lambda a, b, zero: a * b,
    "Div": lambda a, b, zero: a / b,
    "Max": lambda a, b, zero: largest(a, b),
    "Min": lambda a, b, zero: smallest(a, b),
    "PRelu": lambda a, b, zero: select(a < zero, a * b, a),
}
"""By op, what the operands are folded by, given 0 in their type."""


@kernel(*_FOLDS)
class HalfElementwise(Elementwise):
    """A fold of operands that broadcast, rounded once."""

    def check(self) -> None:
        """Refuse other types."""
        self._kind = storage_of(self.op.results[0])
        if self._kind not in HALVES or any(self._source(i) is None for i, _ in enumerate(self.sides)):
            raise self.is_not_of("f16 or bf16")
        self._half = half_of(self._kind, self.machine)
        self._fold = _FOLDS[type(self.op).__name__]

    def _source(self, index: int) -> str | None:
        """Return how an operand is stored; None where it has no code."""
        if self.weights[index] is not None:
            return "constant"
        kind = storage_of(self.op.operands[index])
        return kind if kind in (*HALVES, "f32") else None

    def constants(self) -> dict[str, np.ndarray]:
        """Return the constant sides in float32, which holds both formats."""
        return {name: array.astype(np.float32) for name, array in super().constants().items()}

    def element(self, values: Sequence[Expr], constants: Buffers) -> Expr:
        """Return the fold after the fused ReLU, rounded."""
        sides = [self._wide(value, i) for i, value in enumerate(values)]
        total = sides[0]
        for side in sides[1:]:
            total = self._fold(total, side, const(0.0, self._half.wide))
        return self._half.closed(activated(self.op, total, self._half.wide))

    def _wide(self, value: Expr, index: int) -> Expr:
        kind = self._source(index)
        return self._half.opened(value) if kind in HALVES else cast(self._half.wide, value)


@kernel(*(name for name, op in TOP_OPS.items() if op.kind is Kind.LUT))
class HalfTable(Elementwise):
    """A function of one tensor: the table of its 65,536 values is made by the op itself."""

    def check(self) -> None:
        """Refuse other types, and functions that take more than the tensor."""
        kinds = [storage_of(v) for v in (*self.op.operands, *self.op.results)]
        if len(kinds) != 2 or kinds[0] not in HALVES or kinds[1] != kinds[0]:
            raise self.is_not_of("f16 or bf16")
        self._kind = kinds[0]

    def constants(self) -> dict[str, np.ndarray]:
        """Return the table."""
        patterns = np.arange(1 << 16, dtype=np.uint16)
        values = from_bf16_bits(patterns) if self._kind == "bf16" else patterns.view(np.float16).astype(np.float32)
        with np.errstate(all="ignore"):
            return {"table": stored(np.asarray(self.op.run(values)[0]), self._kind)}

    def element(self, values: Sequence[Expr], constants: Buffers) -> Expr:
        """Look up."""
        return constants["table"][cast("int32", values[0])]
