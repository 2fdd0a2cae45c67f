"""Recurrent layers with their state as an explicit operand and result.

Weights are stacked over directions D and gates G: weight[D, G·H, I], recurrence[D, G·H, H], bias[D, 2·G·H] (that of
the input, then that of the state), states [D, B, H]. Sequences are [S, B, …], with `batch_first` all are [B, …].
"""

import math
from typing import ClassVar

import numpy as np

from stepdown.dialects.fields import Bool, Float, Floats, Str
from stepdown.dialects.op import Arrays, Kind
from stepdown.dialects.top.base import Example, TopOp, top_op
from stepdown.dialects.top.gates import GATE_FUNCTIONS, Gate
from stepdown.dialects.types import Shape, shape_of

DIRECTIONS = ("forward", "reverse", "bidirectional")
State = list[np.ndarray]
"""The state between two steps, each [B, H]: what is put out, and what is kept beside it."""


class Recurrent(TopOp):
    """A layer that goes through a sequence; shorter sequences of a batch give 0 after their end.

    `activations` names the gate functions of each direction, in order; `alpha` and `beta` hold the parameters of each.
    `clip` bounds the magnitude of what goes into a gate function; 0 is no bound.

    C1: the input is a batch of sequences of the width of the weight
    C2: weight and recurrence have a plane a direction and a row a gate and unit
    C3: the bias has two values a gate and unit for each direction
    C4: there is one length a sequence
    C5: an initial state has one value a unit for each direction and sequence
    C6: each direction has its gate functions, all known, each with its alpha and beta
    """

    kind = Kind.FLOAT
    inputs: ClassVar[tuple[str, ...]] = ("input", "weight", "recurrence", "bias?", "lengths?", "initial_h?")
    results_count = 2
    gates: ClassVar[int]
    functions: ClassVar[tuple[str, ...]]
    direction = Str("forward", DIRECTIONS)
    activations = Str()
    alpha = Floats()
    beta = Floats()
    clip = Float(0.0)
    batch_first = Bool(False)

    @classmethod
    def example_of(cls, rng: np.random.Generator) -> Example:
        """Return operands and attributes for the tests: both directions, lengths, bias and state."""
        steps, batch, width, hidden = 4, 3, 2, 5
        rows = cls.gates * hidden
        sizes = [(steps, batch, width), (2, rows, width), (2, rows, hidden), (2, 2 * rows)]
        arrays = [rng.uniform(-1, 1, size) for size in sizes]
        states = [rng.uniform(-1, 1, (2, batch, hidden)) for _ in range(cls.results_count - 1)]
        chosen = cls.functions * 2
        attributes = {"activations": ",".join(chosen), "alpha": [1.0] * len(chosen), "beta": [0.0] * len(chosen)}
        return [*arrays, np.array([4, 1, 2], np.int32), *states], {**attributes, "direction": "bidirectional"}

    @staticmethod
    def example(rng: np.random.Generator) -> Example:
        """Return operands and attributes for the tests."""
        raise NotImplementedError

    # --- shapes

    @property
    def directions(self) -> int:
        """How many directions there are."""
        return 2 if self.direction == "bidirectional" else 1

    def shapes(
        self, input: Shape, weight: Shape, recurrence: Shape, bias: Shape | None = None, lengths: Shape | None = None,
        *states: Shape | None,
    ) -> list[Shape]:  # fmt: skip
        """Return the shape of all outputs and those of the last states."""
        self.require(len(input) == 3 and input[2:] == weight[2:], "C1", f"{input} with weight {weight}")
        hidden, rows = recurrence[-1] if recurrence else 0, recurrence[1:2]
        planes = weight[:2] == recurrence[:2] == (self.directions, self.gates * hidden)
        self.require(planes and len(recurrence) == 3, "C2", f"{weight}, {recurrence}")
        self.require(bias in (None, (self.directions, 2 * rows[0])), "C3", f"{bias}")
        batch, steps = input[:2] if self.batch_first else input[1::-1]
        self.require(lengths in (None, (batch,)), "C4", f"{lengths} for {batch} sequences")
        state = (batch, self.directions, hidden) if self.batch_first else (self.directions, batch, hidden)
        self.require(all(s in (None, state) for s in states), "C5", f"{states}, want {state}")
        self._check_functions()
        if self.batch_first:
            return [(batch, steps, self.directions, hidden), *[state] * (self.results_count - 1)]
        return [(steps, self.directions, batch, hidden), *[state] * (self.results_count - 1)]

    def _check_functions(self) -> None:
        names, count = self.activations.split(","), len(self.functions) * self.directions
        right = len(names) == len(self.alpha) == len(self.beta) == count and set(names) <= set(GATE_FUNCTIONS)
        self.require(right, "C6", f"{self.activations}, want {count} of {', '.join(GATE_FUNCTIONS)}")

    def cost(self) -> int:
        """Return S·B·D·G·H·(I + H)."""
        weights = math.prod(shape_of(self.operands[1])) + math.prod(shape_of(self.operands[2]))
        return math.prod(shape_of(self.operands[0])[:2]) * weights

    # --- meaning

    def compute(
        self, input: np.ndarray, weight: np.ndarray, recurrence: np.ndarray, bias: np.ndarray | None = None,
        lengths: np.ndarray | None = None, initial_h: np.ndarray | None = None, *more: np.ndarray | None,
    ) -> Arrays:  # fmt: skip
        """Return all outputs and the last states."""
        x = input.swapaxes(0, 1) if self.batch_first else input
        steps, batch, hidden = *x.shape[:2], recurrence.shape[2]
        ends = np.full(batch, steps) if lengths is None else np.clip(lengths, 0, steps)
        given = [initial_h, *more][: self.results_count - 1]
        given += [None] * (self.results_count - 1 - len(given))
        starts = [self._start(s, batch, hidden, x.dtype) for s in given]
        sums = np.zeros((self.directions, 2 * self.gates * hidden), x.dtype) if bias is None else bias
        extra = more[self.results_count - 2 :]
        made = []
        for d in range(self.directions):
            order = _order(ends, steps, self.direction == "reverse" or d == 1)
            projected = np.take_along_axis(x, order[:, :, None], 0) @ weight[d].T + sums[d, : self.gates * hidden]
            layer = Layer(self, d, recurrence[d], sums[d, self.gates * hidden :], extra)
            outputs, last = layer.run(projected, [s[d] for s in starts], ends)
            made.append([np.take_along_axis(outputs, order[:, :, None], 0), *last])
        return self._stacked([list(parts) for parts in zip(*made, strict=True)])

    def _start(self, given: np.ndarray | None, batch: int, hidden: int, dtype: np.dtype) -> np.ndarray:
        if given is None:
            return np.zeros((self.directions, batch, hidden), dtype)
        return given.swapaxes(0, 1) if self.batch_first else given

    def _stacked(self, results: list[list[np.ndarray]]) -> Arrays:
        outputs, *states = (np.stack(parts, 1 if i == 0 else 0) for i, parts in enumerate(results))
        if not self.batch_first:
            return [outputs, *states]
        return [outputs.transpose(2, 0, 1, 3), *(s.swapaxes(0, 1) for s in states)]

    def step(self, layer: "Layer", x: np.ndarray, state: State) -> State:
        """Return the state after one step; `x` [B, G·H] is the projected input with its bias."""
        raise NotImplementedError(self.name)


class Layer:
    """One direction of a recurrent op: its weights and gate functions."""

    def __init__(
        self, op: Recurrent, direction: int, recurrence: np.ndarray, bias: np.ndarray,
        extra: tuple[np.ndarray | None, ...],
    ) -> None:  # fmt: skip
        self.op, self.recurrence, self.bias = op, recurrence, bias
        self.hidden = recurrence.shape[1]
        self.extra = [None if e is None else e[direction] for e in extra]
        count = len(op.functions)
        chosen = slice(direction * count, (direction + 1) * count)
        rows = zip(op.activations.split(",")[chosen], op.alpha[chosen], op.beta[chosen], strict=True)
        # Only the functions of gates are clipped: the cell goes as it is through the third one, as in onnxruntime.
        limits = [op.clip, op.clip, 0.0]
        self.functions = [Gate(*row, limit) for row, limit in zip(rows, limits, strict=False)]

    def gate(self, x: np.ndarray, *numbers: int) -> np.ndarray:
        """Return the columns of some gates that follow each other."""
        return x[..., numbers[0] * self.hidden : (numbers[-1] + 1) * self.hidden]

    def from_state(self, h: np.ndarray, *numbers: int) -> np.ndarray:
        """Return h·Rᵀ + its bias for some gates."""
        rows = slice(numbers[0] * self.hidden, (numbers[-1] + 1) * self.hidden)
        return h @ self.recurrence[rows].T + self.bias[rows]

    def run(self, projected: np.ndarray, state: State, ends: np.ndarray) -> tuple[np.ndarray, State]:
        """Go through projected[S, B, G·H]; return the outputs [S, B, H] and the states at the ends."""
        outputs = np.zeros((*projected.shape[:2], self.hidden), projected.dtype)
        for step, x in enumerate(projected):
            inside = (step < ends)[:, None]
            made = self.op.step(self, x, state)
            state = [
                np.where(inside, new, old).astype(x.dtype, copy=False) for new, old in zip(made, state, strict=True)
            ]
            outputs[step] = np.where(inside, made[0], 0)
        empty = (ends == 0)[:, None]
        return outputs, [np.where(empty, 0, s).astype(s.dtype, copy=False) for s in state]


def _order(ends: np.ndarray, steps: int, backwards: bool) -> np.ndarray:
    """Return which step of each sequence comes when, int64[S, B]: a reversed one is turned round up to its end."""
    step = np.arange(steps)[:, None]
    return np.where(step < ends, ends - 1 - step, step) if backwards else np.broadcast_to(step, (steps, len(ends)))


@top_op
class Rnn(Recurrent):
    """h' = f(W·x + R·h + b). Source: ONNX RNN-22."""

    gates = 1
    functions = ("Tanh",)

    @staticmethod
    def example(rng: np.random.Generator) -> Example:
        """Return operands and attributes for the tests."""
        return Rnn.example_of(rng)

    def step(self, layer: Layer, x: np.ndarray, state: State) -> State:
        """Return the next state."""
        return [layer.functions[0](x + layer.from_state(state[0], 0))]


@top_op
class Gru(Recurrent):
    """h' = (1 − z)∘n + z∘h, gates in the order z, r, n: update, reset, new. Source: ONNX GRU-22.

    n = g(W·x + R·(r∘h) + b), with `reset_after` n = g(W·x + r∘(R·h + b_R) + b_W).
    """

    gates = 3
    functions = ("Sigmoid", "Tanh")
    reset_after = Bool(False)

    @staticmethod
    def example(rng: np.random.Generator) -> Example:
        """Return operands and attributes for the tests."""
        return Gru.example_of(rng)

    def step(self, layer: Layer, x: np.ndarray, state: State) -> State:
        """Return the next state."""
        h, (f, g) = state[0], layer.functions
        gates = f(layer.gate(x, 0, 1) + layer.from_state(h, 0, 1))
        z, r = layer.gate(gates, 0), layer.gate(gates, 1)
        past = r * layer.from_state(h, 2) if self.reset_after else layer.from_state(r * h, 2)
        return [(1 - z) * g(layer.gate(x, 2) + past) + z * h]


@top_op
class Lstm(Recurrent):
    """c' = f∘c + i∘n, h' = o∘h(c'), gates in the order i, o, f, n: input, output, forget, new. Source: ONNX LSTM-22.

    Peepholes [D, 3·H] let i, f (c) and o (c') see the cell; with `input_forget` f = 1 − i.

    C7: the peepholes have three values a unit for each direction
    """

    inputs = (*Recurrent.inputs, "initial_c?", "peephole?")
    results_count = 3
    gates = 4
    functions = ("Sigmoid", "Tanh", "Tanh")
    input_forget = Bool(False)

    @staticmethod
    def example(rng: np.random.Generator) -> Example:
        """Return operands and attributes for the tests."""
        arrays, attributes = Lstm.example_of(rng)
        return [*arrays, rng.uniform(-1, 1, (2, 15))], attributes

    def shapes(
        self, input: Shape, weight: Shape, recurrence: Shape, bias: Shape | None = None, lengths: Shape | None = None,
        *states: Shape | None,
    ) -> list[Shape]:  # fmt: skip
        """Return the shape of all outputs and those of the last states."""
        found = super().shapes(input, weight, recurrence, bias, lengths, *states[:2])
        wanted = (self.directions, 3 * recurrence[2])
        self.require(all(p in (None, wanted) for p in states[2:]), "C7", f"{states[2:]}, want {wanted}")
        return found

    def step(self, layer: Layer, x: np.ndarray, state: State) -> State:
        """Return the next output and cell."""
        (h, c), (f, g, last) = state, layer.functions
        gates = x + layer.from_state(h, 0, 3)
        peephole = layer.extra[0] if layer.extra else None
        seen = [0, 0, 0] if peephole is None else peephole.reshape(3, -1)  # by i, o, f
        i = f(layer.gate(gates, 0) + seen[0] * c)
        forget = 1 - i if self.input_forget else f(layer.gate(gates, 2) + seen[2] * c)
        cell = forget * c + i * g(layer.gate(gates, 3))
        o = f(layer.gate(gates, 1) + seen[1] * cell)
        return [o * last(cell), cell]
