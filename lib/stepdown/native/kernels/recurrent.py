"""Recurrent layers of reals: one sequence after the other, all its steps in turn, sums in f32.

Threads share the sequences of a batch. Weights lie [operands, gates · units], so that neighbouring units fill a vector.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from stepdown.dialects.types import is_none, shape_of, storage_of
from stepdown.native.halves import HALVES, REALS, single_of
from stepdown.native.kernels.base import LOGICAL, Buffers, Kernel, kernel
from stepdown.native.kernels.functions import real
from stepdown.native.kernels.recurrent_layer import GATES, GateFunction, Layer
from stepdown.native.tir import Expr, Function, cast, clamp, const, select

_LENGTHS, _STATES = 4, 5
"""Operands of `top.Recurrent`: the lengths, and the first of the states."""


class Recurrence(Kernel):
    """A recurrent layer whose weights are constant: a subclass gives `step`."""

    layout = LOGICAL
    gates: int

    def check(self) -> None:
        """Refuse other types, weights that are computed, and gate functions without code."""
        op: Any = self.op
        kinds = {storage_of(v) for i, v in enumerate(op.operands) if i != _LENGTHS and not is_none(v)}
        self._kind = kinds.pop()
        if kinds or self._kind not in REALS:
            raise self.is_not_of("reals of one type")
        if any(self.weights[i] is None and not is_none(op.operands[i]) for i in self._constant_operands):
            raise self.refuse("has weights that are computed")
        if not self.machine.scratch_bytes:
            raise self.refuse("keeps its state beside the tensors, and its chip has no memory for that")
        for name in op.activations.split(","):
            if name not in GATES:
                raise self.refuse(f"has gates by {name}, which has no code for CPUs")
        self._half = single_of(self._kind, self.machine) if self._kind in HALVES else None
        self.hidden = shape_of(op.operands[2])[2]

    @property
    def _constant_operands(self) -> list[int]:
        """The operands that have to be constants: weight, recurrence, bias, and what follows the states."""
        return [1, 2, 3, *range(_STATES + self.op.results_count - 1, len(self.op.operands))]

    @property
    def scratch(self) -> tuple[str, int]:
        """See `Layer.scratch`."""
        return "float32", (3 + 2 * self.gates) * self.hidden

    # --- constants

    def constants(self) -> dict[str, np.ndarray]:
        """Return by direction the weights and biases of input and state, and the states and lengths that are known."""
        op: Any = self.op
        rows = self.gates * self.hidden
        held: dict[str, np.ndarray] = {}
        for d in range(op.directions):
            bias = np.zeros(2 * rows) if self.weights[3] is None else self.weights[3][d]
            for name, matrix, begin in (("weight", 1, bias[:rows]), ("recurrence", 2, bias[rows:])):
                weights = self.weights[matrix]
                assert weights is not None
                held[f"{name}{d}"] = weights[d].T.astype(np.float32).ravel()
                held[f"{name}_bias{d}"] = begin.astype(np.float32)
        for i in range(_LENGTHS, len(op.operands)):
            array = self.weights[i]
            if array is not None:
                held[f"operand{i}"] = array.astype(np.int32 if i == _LENGTHS else np.float32).ravel()
        return held

    # --- code

    def write(self, f: Function, inputs: Sequence[Any], results: Sequence[Any], constants: Buffers) -> None:
        """Write the loop over the sequences, for each direction."""
        op: Any = self.op
        given = dict(zip((i for i, v in enumerate(op.operands) if v in self.inputs), inputs, strict=True))
        batch, steps = shape_of(op.operands[0])[:2] if op.batch_first else shape_of(op.operands[0])[1::-1]
        with f.shared(batch) as b:
            for d in range(op.directions):
                layer = Layer(f, constants, d, self.hidden, self.gates, self.machine.lanes, self._functions(d))
                self._sequence(layer, given, results, b, batch, steps)

    def _functions(self, direction: int) -> list[GateFunction]:
        op: Any = self.op
        count = len(op.functions)
        chosen = slice(direction * count, (direction + 1) * count)
        rows = zip(op.activations.split(",")[chosen], op.alpha[chosen], op.beta[chosen], strict=True)
        return [GateFunction(*row, limit) for row, limit in zip(rows, [op.clip, op.clip, 0.0], strict=False)]

    def _sequence(
        self, layer: Layer, given: dict[int, Any], results: Sequence[Any], b: Expr, batch: int, steps: int
    ) -> None:
        """Write one sequence in one direction: states, steps, zeros after its end, last states."""
        op: Any = self.op
        f, d = layer.f, layer.direction
        end = f.let(self._end(given, layer.constants, b, steps))
        for number in range(len(results) - 1):
            self._begin(layer, number, given, self._state_at(b, d, batch))
        place = f.let((b * steps * op.directions if op.batch_first else b) * self.hidden + self._plane(d, batch))
        across = op.directions * self.hidden * (1 if op.batch_first else batch)
        backwards = op.direction == "reverse" or d == 1
        with f.between(const(0), end) as step:
            at = f.let(end - 1 - step if backwards else step)
            x = f.let((b * steps + at if op.batch_first else at * batch + b) * shape_of(op.operands[0])[2])
            self._sums_of_input(layer, given[0], x)
            self.step(layer)
            layer.units(lambda j: f.store(results[0], place + at * across + j, self._closed(layer.scratch[layer.h(j)])))
        with f.between(end, const(steps)) as step:
            layer.units(lambda j: f.store(results[0], place + step * across + j, self._closed(real(0.0))))
        self._finish(layer, results[1:], self._state_at(b, d, batch), end)

    def _plane(self, direction: int, batch: int) -> int:
        """Return where the outputs of a direction begin."""
        return direction * self.hidden * (1 if self.op.batch_first else batch)  # type: ignore[attr-defined]

    def _state_at(self, b: Expr, direction: int, batch: int) -> Expr:
        """Return where the state of a sequence begins."""
        op: Any = self.op
        return (b * op.directions + direction if op.batch_first else b + direction * batch) * self.hidden

    def _end(self, given: dict[int, Any], constants: Buffers, b: Expr, steps: int) -> Expr:
        """Return how many steps a sequence has."""
        if is_none(self.op.operands[_LENGTHS]):
            return const(steps)
        lengths = given.get(_LENGTHS, constants.get(f"operand{_LENGTHS}"))
        return clamp(cast("int32", lengths[b]), 0, steps)  # type: ignore[index]

    def _begin(self, layer: Layer, number: int, given: dict[int, Any], first: Expr) -> None:
        """Write what a state begins with."""
        f, at = layer.f, (layer.h, layer.c)[number]
        index = _STATES + number
        held = layer.constants.get(f"operand{index}")

        def begin(j: Expr) -> Expr:
            if held is not None:
                return held[first + j]
            return self._opened(given[index][first + j]) if index in given else real(0.0)

        layer.units(lambda j: f.store(layer.scratch, at(j), begin(j)))

    def _sums_of_input(self, layer: Layer, x: Any, first: Expr) -> None:
        depth = shape_of(self.op.operands[0])[2]
        layer.sums("weight", depth, lambda k: self._opened(x[first + k]), layer.from_input, range(self.gates))

    def _finish(self, layer: Layer, results: Sequence[Any], first: Expr, end: Expr) -> None:
        """Store the last states; those of an empty sequence are 0."""

        def kept(y: Any, at: Any, j: Expr) -> None:
            last = select(end > 0, layer.scratch[at(j)], real(0.0))
            layer.f.store(y, first + j, self._closed(last))

        for y, at in zip(results, (layer.h, layer.c), strict=False):
            layer.units(partial(kept, y, at))

    def step(self, layer: Layer) -> None:
        """Write what follows the sums over the input: the states after one step."""
        raise NotImplementedError

    def _opened(self, value: Expr) -> Expr:
        return value if self._half is None else self._half.real(value)

    def _closed(self, value: Expr) -> Expr:
        return value if self._half is None else self._half.closed(value)


@kernel("Rnn")
class PlainRecurrence(Recurrence):
    """h' = f(W·x + R·h + b)."""

    gates = 1

    def step(self, layer: Layer) -> None:
        """Write the next output."""
        t, (function,) = layer.scratch, layer.functions
        layer.sums("recurrence", self.hidden, lambda k: t[layer.h(k)], layer.from_state, range(1))
        layer.units(
            lambda j: layer.f.store(t, layer.h(j), function(t[layer.from_input(0, j)] + t[layer.from_state(0, j)]))
        )


@kernel("Gru")
class GatedRecurrence(Recurrence):
    """h' = (1 − z)∘n + z∘h, gates in the order z, r, n."""

    gates = 3

    def step(self, layer: Layer) -> None:
        """Write the gates that update and reset, then the new output."""
        t, (f, g) = layer.scratch, layer.functions
        is_reset_after = self.op.reset_after  # type: ignore[attr-defined]
        layer.sums(
            "recurrence", self.hidden, lambda k: t[layer.h(k)], layer.from_state, range(3 if is_reset_after else 2)
        )

        def gates(j: Expr) -> None:
            z, r = (f(t[layer.from_input(gate, j)] + t[layer.from_state(gate, j)]) for gate in range(2))
            layer.f.store(t, layer.from_input(0, j), z)
            last = layer.from_state(2, j)
            layer.f.store(t, last if is_reset_after else layer.spare(j), r * t[last if is_reset_after else layer.h(j)])

        def new(j: Expr) -> None:
            z = t[layer.from_input(0, j)]
            made = g(t[layer.from_input(2, j)] + t[layer.from_state(2, j)])
            layer.f.store(t, layer.h(j), (real(1.0) - z) * made + z * t[layer.h(j)])

        layer.units(gates)
        if not is_reset_after:
            layer.sums("recurrence", self.hidden, lambda k: t[layer.spare(k)], layer.from_state, range(2, 3))
        layer.units(new)


@kernel("Lstm")
class LongRecurrence(Recurrence):
    """c' = f∘c + i∘n, h' = o∘last(c'), gates in the order i, o, f, n; peepholes let i, o and f see the cell."""

    gates = 4

    def step(self, layer: Layer) -> None:
        """Write the next cell and output."""
        t, (f, g, last) = layer.scratch, layer.functions
        seen = layer.constants.get(f"operand{_STATES + 2}")
        layer.sums("recurrence", self.hidden, lambda k: t[layer.h(k)], layer.from_state, range(4))

        def gate(number: int, j: Expr, cell: Expr) -> Expr:
            total = t[layer.from_input(number, j)] + t[layer.from_state(number, j)]
            if seen is None or number > 2:
                return total
            return total + seen[j + (3 * layer.direction + number) * self.hidden] * cell

        def unit(j: Expr) -> None:
            old = t[layer.c(j)]
            i = f(gate(0, j, old))
            forget = real(1.0) - i if self.op.input_forget else f(gate(2, j, old))  # type: ignore[attr-defined]
            cell = forget * old + i * g(gate(3, j, old))
            layer.f.store(t, layer.c(j), cell)
            layer.f.store(t, layer.h(j), f(gate(1, j, t[layer.c(j)])) * last(t[layer.c(j)]))

        layer.units(unit)
