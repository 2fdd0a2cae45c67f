"""Elementwise ops of f16 and bf16: of several operands in float64, of one by a table of all values."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from stepdown.dialects.op import Kind
from stepdown.dialects.top import TOP_OPS
from stepdown.dialects.types import storage_of
from stepdown.native.halves import HALVES, rounded, stored, widened
from stepdown.native.kernels.base import Buffers, kernel
from stepdown.native.kernels.conv import activated
from stepdown.native.kernels.elementwise import Elementwise
from stepdown.native.tir import Expr, cast, const, largest, select, smallest
from stepdown.numerics.floats import from_bf16_bits

_WIDE = "float64"
_FOLDS: dict[str, Callable[[Any, Any], Expr]] = {
    "Add": lambda a, b: a + b,
    "Sub": lambda a, b: a - b,
    "Mul": lambda a, b: a * b,
    "Div": lambda a, b: a / b,
    "Max": largest,
    "Min": smallest,
    "PRelu": lambda a, b: select(a < const(0.0, _WIDE), a * b, a),
}
"""By op, what the operands are folded by."""


@kernel(*_FOLDS)
class HalfElementwise(Elementwise):
    """A fold of operands that broadcast, in float64, rounded once."""

    def check(self) -> None:
        """Refuse other types."""
        self._kind = storage_of(self.op.results[0])
        if self._kind not in HALVES or any(self._source(i) is None for i, _ in enumerate(self.sides)):
            raise self.refuse("is not of f16 or bf16")
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
            total = self._fold(total, side)
        return rounded(activated(self.op, total, _WIDE), self._kind)

    def _wide(self, value: Expr, index: int) -> Expr:
        kind = self._source(index)
        return cast(_WIDE, widened(value, kind) if kind in HALVES else value)


@kernel(*(name for name, op in TOP_OPS.items() if op.kind is Kind.LUT))
class HalfTable(Elementwise):
    """A function of one tensor: the table of its 65,536 values is made by the op itself."""

    def check(self) -> None:
        """Refuse other types, and functions that take more than the tensor."""
        kinds = [storage_of(v) for v in (*self.op.operands, *self.op.results)]
        if len(kinds) != 2 or kinds[0] not in HALVES or kinds[1] != kinds[0]:
            raise self.refuse("is not of f16 or bf16")
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
