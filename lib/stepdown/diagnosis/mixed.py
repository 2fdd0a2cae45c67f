"""Mixed precision: measured sensitivities, the best modes under a bound, and proof by running the mixed network."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from stepdown.diagnosis.assignment import Assignment, Choice, Node
from stepdown.diagnosis.cost import work_of
from stepdown.diagnosis.noise import Noise
from stepdown.diagnosis.relower import Recipe, lower, measure
from stepdown.diagnosis.samples import Sample, Told, quiet
from stepdown.diagnosis.sensitivity import Sensitivities, Sensitivity
from stepdown.dialects.op import TensorOp, value_name
from stepdown.dialects.program import Program
from stepdown.dialects.types import is_none, is_real
from stepdown.errors import InputError
from stepdown.transforms.rewrite import elements_of, returned

_ATTEMPTS, _CURVE_POINTS = 8, 12
_HASTE = 0.97
"""A bound that was missed is tightened by this more than it was missed by."""


@dataclass(frozen=True)
class Goal:
    """A bound: the least SQNR in dB or cosine of every output, or the most that may be paid (1 is all ops in INT8)."""

    sqnr_db: float | None = None
    cosine: float | None = None
    cost: float | None = None

    def noise(self, error: Noise) -> float:
        """Return the ratio of powers that the bound is about."""
        return error.cosine_share if self.cosine is not None else error.share

    @property
    def limit(self) -> float:
        """The most that `noise` may be; inf for a bound on cost. For errors at right angles, cos = 1/√(1 + noise)."""
        if self.cosine is not None:
            return 1 / self.cosine**2 - 1
        return 10 ** (-self.sqnr_db / 10) if self.sqnr_db is not None else math.inf

    def met(self, errors: Sequence[Noise]) -> bool:
        """Tell whether measured outputs keep the bound on accuracy."""
        if self.cosine is not None:
            return all(error.cosine >= self.cosine for error in errors)
        return self.sqnr_db is None or all(error.sqnr_db >= self.sqnr_db for error in errors)


@dataclass(frozen=True)
class Point:
    """A choice of modes, its cost (1 is all ops in INT8), and the SQNR of the worst output, expected and measured."""

    choice: Choice
    cost: float
    expected_db: float
    measured: dict[str, Noise] = field(default_factory=dict)


def _best_of(points: Iterable[Point]) -> str:
    """Return a note on the most accurate point that was run."""
    likes = [(min(e.sqnr_db for e in p.measured.values()), min(e.cosine for e in p.measured.values())) for p in points]
    return "; the best that was run has SQNR {:.2f} dB, cosine {:.6f}".format(*max(likes)) if likes else ""


@dataclass
class Search:
    """One network's problem: nodes and costs, and how a choice is checked."""

    reference: Program
    recipe: Recipe
    found: Sensitivities
    samples: Sequence[Sample]
    goal: Goal
    least_layer_cosine: float = 0.0
    told: Told = quiet
    allowed: Sequence[str] = ("F32",)
    """The modes that were asked for; without F32 among them only ops that can be in no other are in F32."""

    def __post_init__(self) -> None:
        self.nodes = list(self._nodes())
        self.assignment = Assignment(self.nodes, len(self.reference.results))
        self.unit = self.assignment.uniform("INT8").cost
        self._db = Assignment(list(self._nodes(db=True)), len(self.reference.results))

    def point(self, choice: Choice, run: bool = False) -> Point:
        """Return a choice with its relative cost and expected SQNR, run on the samples where asked."""
        noise = max(self._db.judge(choice.modes).noise)
        expected = -10 * math.log10(noise) if noise > 0 else math.inf
        return Point(choice, choice.cost / self.unit, expected, self.check(choice) if run else {})

    def check(self, choice: Choice) -> dict[str, Noise]:
        """Return the outputs' errors of the network with these modes, by really lowering and running it."""
        self.told("running a choice")
        return measure(lower(self.reference, self.mixed(choice)), self.samples, self.found.wanted)

    def mixed(self, choice: Choice) -> Recipe:
        """Return the recipe of a choice."""
        inputs = {name for op in self.reference.input_ops for name in op.names}
        modes = {n: mode for n, mode in choice.modes.items() if mode != self.recipe.mode and n not in inputs}
        return self.recipe.changed({}, modes)

    def best(self) -> Point:
        """Return the best choice that keeps the goal when it is run.

        Raises:
            InputError: no choice keeps it.
        """
        if self.goal.cost is not None:
            choice = self.assignment.solve(cost=self.goal.cost * self.unit)
            if choice is None:
                least = self.assignment.solve(noise=[1e9] * len(self.reference.results))
                cheapest = f", the cheapest choice costs {least.cost / self.unit:.3f}" if least else ""
                raise InputError(f"no choice costs at most {self.goal.cost:g}{cheapest}", "--max_cost")
            return self.point(choice, run=True)
        return self._accurate()

    def _accurate(self) -> Point:
        """Solve and run; tighten the bound by what it was missed by, loosen it by what is spare; keep the cheapest."""
        limit, good, bad = self.goal.limit, 0.0, math.inf
        run: dict[tuple[str, ...], Point] = {}
        for _ in range(_ATTEMPTS):
            choice = self.assignment.solve(noise=[limit] * len(self.reference.results))
            if choice is None:
                break
            modes = tuple(choice.modes.values())
            point = run[modes] = run.get(modes) or self.point(choice, run=True)
            if self._met(point):
                good = max(good, limit)
            else:
                bad = min(bad, limit)
            worst = max(self.goal.noise(error) for error in point.measured.values())
            limit = math.sqrt(good * bad) if 0 < good < bad < math.inf else limit * self._correction(worst)
        kept = [point for point in run.values() if self._met(point)]
        if not kept:
            raise InputError(f"no choice of modes keeps the bound{_best_of(run.values())}", fix="ask for less")
        return min(kept, key=lambda point: point.cost)

    def _met(self, point: Point) -> bool:
        return self.goal.met(list(point.measured.values()))

    def _correction(self, worst: float) -> float:
        """Return by what the bound given to the solver is multiplied when the real noise was `worst`."""
        return _HASTE * self.goal.limit / worst if worst else 1.0

    def curve(self) -> list[Point]:
        """Return choices from the cheapest to the most accurate; their SQNR is the expected one."""
        high = max(self.assignment.uniform("INT8").noise)
        finest = max(self.assignment.uniform(self.recipe.best_float).noise) * 1.2
        low = max(min(finest, high / 2), high * 1e-6)
        steps = [high * (low / high) ** (i / (_CURVE_POINTS - 1)) for i in range(_CURVE_POINTS)]
        choices = [self.assignment.solve(noise=[step * 1.0001] * len(self.reference.results)) for step in steps]
        distinct = {tuple(choice.modes.items()): choice for choice in choices if choice is not None}
        return [self.point(choice) for choice in distinct.values()]

    def _nodes(self, db: bool = False) -> "list[Node]":
        goal = Goal(sqnr_db=0.0) if db else self.goal
        ops = [op for op in self.reference.ops if not op.name.endswith((".Weight", ".None"))]
        return [self._node(op, goal) for op in ops if is_real(op.results[0])]

    def _node(self, op: TensorOp, goal: Goal) -> Node:
        name, entry = op.tensor_name, self.found.ops.get(op.tensor_name)
        zero = [0.0] * len(self.reference.results)
        noise = self._noise(entry, goal, zero) if op.name != "top.Input" else {"F32": zero}
        cast = [goal.noise(error) for error in entry.cast] if entry and entry.cast else zero
        reads = [v for v in op.operands if not is_none(v) and is_real(v)]
        makers = [
            value_name(v) for v in reads if isinstance(v.owner, TensorOp) and not v.owner.name.endswith(".Weight")
        ]
        end = any(returned(result) for result in op.results)
        return Node(name, work_of(op), elements_of(op.results[0].type), noise, cast, tuple(dict.fromkeys(makers)), end)

    def _noise(self, entry: Sensitivity | None, goal: Goal, zero: list[float]) -> dict[str, list[float]]:
        """Return, by mode an op may have, its noise at each output; the widest mode last."""
        noise = {}
        for mode, errors in entry.outputs.items() if entry else ():
            fine = mode != "INT8" or entry is None or entry.own[mode].cosine >= self.least_layer_cosine
            shares = [goal.noise(error) for error in errors]
            if fine and all(map(math.isfinite, shares)):
                noise[mode] = shares
        return {**noise, "F32": zero} if "F32" in self.allowed or not noise else noise
