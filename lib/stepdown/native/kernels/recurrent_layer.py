"""One direction of a recurrent layer, for one sequence: its sums, its gates, and where its numbers lie."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from types import SimpleNamespace
from typing import Any

from stepdown.native.kernels.base import Buffers
from stepdown.native.kernels.floating import FUNCTIONS
from stepdown.native.kernels.functions import Let, kept, real
from stepdown.native.kernels.image import along, cuts
from stepdown.native.tir import Expr, Function

_VECTORS = 4
_AFFINE, _SCALED_TANH = "Affine", "ScaledTanh"
GATES = (*FUNCTIONS, _AFFINE, _SCALED_TANH)
"""Names of functions that have code."""


@dataclass(frozen=True)
class GateFunction:
    """A function of gates, as `dialects.top.gates` defines it; `clip` bounds what goes in, 0 is no bound."""

    name: str
    alpha: float
    beta: float
    clip: float

    def __call__(self, let: Let, x: Expr) -> Expr:
        """Return its f32 value."""
        given = kept(x, -self.clip, self.clip) if self.clip > 0 else x
        if self.name == _AFFINE:
            return given * real(self.alpha) + real(self.beta)
        if self.name == _SCALED_TANH:
            return real(self.alpha) * FUNCTIONS["Tanh"](let, None, [real(self.beta) * given])
        return FUNCTIONS[self.name](let, SimpleNamespace(alpha=self.alpha, beta=self.beta, relu_limit=-1.0), [given])


@dataclass(frozen=True)
class Layer:
    """One direction of an op, for one sequence: what its code reads, and where its numbers lie in the scratch."""

    f: Function
    constants: Buffers
    direction: int
    hidden: int
    gates: int
    lanes: int
    gate_functions: Sequence[GateFunction]

    @property
    def functions(self) -> list[Callable[[Expr], Expr]]:
        """The functions of the gates, in their order."""
        return [partial(function, self.f.once) for function in self.gate_functions]

    @property
    def scratch(self) -> Any:
        """The memory of the states (two), of the gates by the input and by the state, and of one vector more."""
        return self.constants["scratch"]

    def h(self, j: Expr) -> Expr:
        """Return where the output of unit j is."""
        return j

    def c(self, j: Expr) -> Expr:
        """Return where the cell of unit j is."""
        return j + self.hidden

    def from_input(self, gate: int, j: Expr) -> Expr:
        """Return where the sum of a gate over the input is."""
        return j + (2 + gate) * self.hidden

    def from_state(self, gate: int, j: Expr) -> Expr:
        """Return where the sum of a gate over the state is."""
        return j + (2 + self.gates + gate) * self.hidden

    def spare(self, j: Expr) -> Expr:
        """Return where what is made of the state is."""
        return j + (2 + 2 * self.gates) * self.hidden

    def units(self, body: Callable[[Expr], None]) -> None:
        """Write `body(j)` for every unit."""
        along(self.f, self.hidden, self.lanes, body)

    def sums(self, matrix: str, depth: int, operand: Any, target: Any, gates: range) -> None:
        """Write the sums of some gates over `depth` operands, begun with the bias, to `target(gate, unit)`."""
        f, rows = self.f, self.gates * self.hidden
        weights, bias = self.constants[f"{matrix}{self.direction}"], self.constants[f"{matrix}_bias{self.direction}"]
        first = gates[0] * self.hidden
        for part in cuts(len(gates) * self.hidden, _VECTORS * self.lanes):
            with f.loop(part.count) as i:
                row = f.let(i * part.width + (first + part.first))
                made = f.local("float32", part.width)
                with f.loop(part.width, "vector") as lane:
                    f.store(made, lane, bias[row + lane])
                with f.loop(depth) as k:
                    value = f.let(operand(k))
                    with f.loop(part.width, "vector") as lane:
                        f.store(made, lane, made[lane] + value * weights[k * rows + row + lane])
                with f.loop(part.width, "vector") as lane:
                    f.store(self.scratch, target(0, row) + lane, made[lane])
