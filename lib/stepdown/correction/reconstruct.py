"""One op's weight and bias, chosen from what it reads in the integer network and should give."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from xdsl.ir import SSAValue

from stepdown.correction.moments import Centred, Moments, from_rows, has_moments, patches, weight_rows
from stepdown.correction.rounding import RIDGES, best_scales, round_rows, wanted
from stepdown.correction.walk import Walk
from stepdown.dialects.op import TensorOp, value_name
from stepdown.dialects.program import Program
from stepdown.dialects.top.source import Weight
from stepdown.dialects.types import is_none, quant_of, tensor
from stepdown.numerics.quantize import QuantParams, dequantize
from stepdown.transforms.lowering.integer import can_lower
from stepdown.transforms.lowering.mac import channel_axis, lowered_scales

MAX_COLUMNS = 512
"""Output positions of a sample that are looked at; of more, evenly spaced ones."""
_CHECKED = 4
# One in so many of them is used to compare candidates.
Rows = tuple[np.ndarray, np.ndarray]
"""Real rows[G, O, K] and bias[G, O]."""
Halves = tuple[Centred, Centred]
"""Of the even samples, and of the odd ones."""


@dataclass(frozen=True)
class Report:
    """Errors of one op's outputs, as shares of their power: weights rounded to nearest, and as chosen."""

    before: float
    after: float
    ridge: float

    def __str__(self) -> str:
        return f"error {self.before:.3e} → {self.after:.3e} (ridge {self.ridge:g})"


def can_reconstruct(walk: Walk, op: TensorOp) -> bool:
    """Tell whether `op` is lowered to integers with a constant float weight of two or more dimensions."""
    if not has_moments(op) or not can_lower(walk.state, op) or quant_of(op.operands[1]):
        return False
    weight = walk.state.constant(op.operands[1])
    bias = is_none(op.operands[2]) or walk.state.constant(op.operands[2]) is not None
    return weight is not None and bias and (weight.ndim == 2 or type(op).__name__ == "Conv")


def reconstruct(walk: Walk, op: TensorOp, rounds: int) -> Report | None:
    """Replace the weight and the bias of `op`; None where it is none that can be.

    After the first solution, up to `rounds` more follow in which outputs that both networks clip on the same side, by
    the op's ReLU or by the range of its result, count as right, for as long as that helps samples not fitted on.
    """
    if not can_reconstruct(walk, op):
        return None
    solver = _Solver(walk, op)
    report = solver.search(rounds)
    solver.store()
    return report


def correct_bias(walk: Walk, op: TensorOp) -> float | None:
    """Replace the bias of `op` by one whose outputs have the float network's means; None where there is no such op.

    Returns the largest change, in units of the result's scale.
    """
    if not can_reconstruct(walk, op):
        return None
    solver = _Solver(walk, op)
    return solver.correct_bias()


class _Solver:
    """The search for one op's integers; `chosen` are the real rows and bias found so far."""

    def __init__(self, walk: Walk, op: TensorOp) -> None:
        self.walk, self.op = walk, op
        weight = walk.state.constant(op.operands[1])
        assert weight is not None
        self.weight, self.rows = weight, weight_rows(op, weight).astype(np.float64)
        bias = walk.state.constant(op.operands[2]) if not is_none(op.operands[2]) else None
        groups, outputs, _ = self.rows.shape
        self.bias = np.zeros((groups, outputs)) if bias is None else bias.reshape(groups, outputs).astype(np.float64)
        self.source, self.target = walk.state.params_of(op.operands[0]), walk.state.params_of(op.results[0])
        self.chosen: Rows | None = None
        self._together = 1 if walk.state.chip is None else walk.state.chip.channels_per_scale
        self.integers, self.scales = np.empty(0), np.empty(0)

    # --- what is read and wanted

    def moments(self, chosen: Rows | None) -> Halves:
        """Return what the even and the odd samples show; targets clipped as `chosen` has them clipped."""
        halves = Moments.zero(*self.rows.shape), Moments.zero(*self.rows.shape)
        for sample, (read, want) in enumerate(self._columns()):
            if chosen is not None:
                want = self._excused(want, _outputs(chosen, read))
            halves[sample % 2].add(read, want)
        return halves[0].centred(), halves[1].centred()

    def _columns(self, stride: int = 1) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield, by sample, what the op reads in the integer network [G, K, P] and what it gives in the float one."""
        rows, bias = self.rows.astype(np.float32), _column(self.bias)
        for sample in self.walk.samples:
            read = patches(self.op, self.walk.quantised_of(self.op.operands[0], sample))
            step = min(-(-read.shape[2] // MAX_COLUMNS) * stride, read.shape[2])
            at = slice(sample % step, None, step)
            plain = patches(self.op, self.walk.float_of(self.op.operands[0], sample))[:, :, at]
            yield np.ascontiguousarray(read[:, :, at]), np.matmul(rows, plain) + bias

    def _excused(self, want: np.ndarray, got: np.ndarray) -> np.ndarray:
        low, high = self._bounds()
        above = np.where(want >= high, np.maximum(got, high), want)
        return np.where(want <= low, np.minimum(got, low), above)

    def _bounds(self) -> tuple[np.float32, np.float32]:
        """Return between which numbers the op's results can be told apart."""
        low, high = (float(dequantize(np.array(b), self.target)) for b in self.target.bounds)
        if self.op.do_relu:  # type: ignore[attr-defined]
            limit = self.op.relu_limit  # type: ignore[attr-defined]
            low, high = max(low, 0.0), min(high, limit) if limit >= 0 else high
        return np.float32(low), np.float32(high)

    # --- solving

    def search(self, rounds: int) -> Report:
        """Choose integers, scales and bias."""
        halves = self.moments(None)
        nearest = self._nearest(halves)
        ridge, least = self._best_ridge(halves)
        self._solve(halves, ridge)
        for _ in range(rounds):
            halves = self.moments(self.chosen)
            again, error = self._best_ridge(halves)
            if error >= least:
                break
            ridge, least = again, error
            self._solve(halves, ridge)
        assert self.chosen is not None
        before, after = self._errors([[nearest, self.chosen]] * 2)
        return Report(float(before), float(after), ridge)

    def _best_ridge(self, halves: Halves) -> tuple[float, float]:
        """Return the ridge whose rows, found on one half of the samples, have the least error on the other; and it."""
        fitted = [[_with_bias(wanted(self.rows, h, r).rows, h) for r in RIDGES] for h in halves]
        errors = self._errors(fitted[::-1])
        best = int(errors.argmin())
        return RIDGES[best], float(errors[best])

    def _errors(self, tried: Sequence[Sequence[Rows]]) -> np.ndarray:
        """Return the errors of the op's clipped outputs by candidate; `tried` on the even samples, and on the odd ones.

        Every sample counts by its own power, so that one with large values does not decide for all: a sample's error is
        divided by its power and the samples' mean power together.
        """
        low, high = self._bounds()
        errors, powers = [], []
        for sample, (read, want) in enumerate(self._columns(_CHECKED)):
            want = np.clip(want, low, high)
            powers.append(np.square(want).mean(dtype=np.float64))
            got = (np.clip(_outputs(rows, read), low, high) for rows in tried[sample % 2])
            errors.append([np.square(g - want).mean(dtype=np.float64) for g in got])
        shares = 1 / np.maximum(np.array(powers) + np.mean(powers), np.finfo(np.float32).tiny)
        return np.asarray(2 * (np.array(errors) * shares[:, None]).mean(axis=0))

    def _solve(self, halves: Halves, ridge: float) -> None:
        seen = halves[0] + halves[1]
        problem = wanted(self.rows, seen, ridge)
        self.scales = self._scales(problem.rows)
        if self._together == 1:
            self.scales = best_scales(problem, self.scales)
        self.integers = round_rows(problem, self.scales)
        self.chosen = _with_bias(self.integers * self.scales[:, :, None], seen)

    def _nearest(self, halves: Halves) -> Rows:
        """Return the weight rounded to nearest as lowering does, and the bias that makes the means right."""
        scales = self._scales(self.rows)[:, :, None]
        return _with_bias(np.rint(self.rows / scales) * scales, halves[0] + halves[1])

    def _scales(self, rows: np.ndarray) -> np.ndarray:
        """Return the scale [G, O] that lowering would give each row."""
        groups, outputs, terms = rows.shape
        flat = lowered_scales(
            rows.reshape(-1, terms), self.bias.reshape(-1), 0, self.source, groups, self._together
        )  # fmt: skip
        return flat.astype(np.float64).reshape(groups, outputs)

    def correct_bias(self) -> float:
        """Keep the weight, rounded to nearest, and change the bias alone."""
        _, bias = self._nearest(self.moments(None))
        self._store_bias(bias)
        return float(np.abs(bias - self.bias).max()) / float(self.target.scale)  # type: ignore[arg-type]

    # --- storing

    def store(self) -> None:
        """Put the integers with their scales, and the bias, in the op's place for them."""
        assert self.chosen is not None
        stored = from_rows(self.op, self.integers, self.weight.shape).astype(np.int8)
        scales = tuple(float(s) for s in self.scales.astype(np.float32).reshape(-1))
        params = QuantParams(scales, 0, "i8", channel_axis(self.op, self.weight))
        name = value_name(self.op.operands[1])
        weight = add_weight(self.walk.top, self.op, f"{name}_reconstructed", stored, params)
        self.op.operands[1] = weight
        self._store_bias(self.chosen[1])

    def _store_bias(self, bias: np.ndarray) -> None:
        given = self.op.operands[2]
        key = f"{self.op.tensor_name}_bias" if is_none(given) else f"{value_name(given)}_corrected"
        self.op.operands[2] = add_weight(self.walk.top, self.op, key, bias.astype(np.float32).reshape(-1), "f32")


def add_weight(top: Program, op: TensorOp, key: str, array: np.ndarray, element: str | QuantParams) -> SSAValue:
    """Insert a weight before `op` and return its value."""
    key = top.weights.free_key(key, array)
    top.weights[key] = array
    made = Weight.of(key, tensor(array.shape, element))
    top.block.insert_op_before(made, op)
    return made.results[0]


def _with_bias(rows: np.ndarray, seen: Centred) -> Rows:
    """Return rows with the bias that makes the means of their outputs those of the targets."""
    return rows, seen.y - np.matmul(rows, seen.x[:, :, None])[:, :, 0]


def _outputs(rows: Rows, read: np.ndarray) -> np.ndarray:
    """Return the outputs [G, O, P] for columns [G, K, P]."""
    return np.asarray(np.matmul(rows[0].astype(np.float32), read) + _column(rows[1]))


def _column(values: np.ndarray) -> np.ndarray:
    return values.astype(np.float32)[:, :, None]
