"""The cheapest modes under bounds on the outputs' noise, or the least noise under a bound on cost, exactly (HiGHS).

Binary y[op, mode] chooses; c[tensor, mode] ≥ y[reader, mode] − y[maker, mode] is 1 where the tensor is cast;
d[tensor, made, mode] is 1 where that costs more because the tensor was made in a wide type. Noise
powers of ops and of casts to INT8 add up at an output, as those of independent errors do.
Source: J. Hall et al., HiGHS; the additive model is checked by running what it chooses (`stepdown.diagnosis.mixed`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from stepdown.diagnosis.cost import Work, cast_cost, op_cost

SOURCE_MODE = "F32"
"""The type of the network's inputs and outputs."""
_GAP, _MAX_NODES = 1e-4, 20_000


@dataclass(frozen=True)
class Node:
    """An op: the modes it may have with its noise at each output, the ops whose tensors it reads, and who ends there.

    `cast` is the noise, by output, of storing its tensor in INT8 where it is made in another type.
    """

    name: str
    work: Work
    elements: int
    noise: Mapping[str, Sequence[float]]
    cast: Sequence[float]
    reads: Sequence[str] = ()
    is_output: bool = False


@dataclass(frozen=True)
class Choice:
    """A mode an op, what it costs in all, and the noise that is expected at each output."""

    modes: Mapping[str, str]
    cost: float
    noise: tuple[float, ...]


@dataclass
class _Rows:
    """Rows of a sparse matrix with their bounds."""

    low: list[float] = field(default_factory=list)
    high: list[float] = field(default_factory=list)
    start: list[int] = field(default_factory=lambda: [0])
    index: list[int] = field(default_factory=list)
    value: list[float] = field(default_factory=list)

    def add(self, low: float, terms: Mapping[int, float], high: float) -> None:
        self.low.append(low)
        self.high.append(high)
        self.index += terms
        self.value += terms.values()
        self.start.append(len(self.index))


class Assignment:
    """The choice of a mode for every op of a network."""

    def __init__(self, nodes: Sequence[Node], outputs: int) -> None:
        self._nodes, self._outputs = nodes, outputs
        self._by_name = {node.name: node for node in nodes}
        self._chosen = {(node.name, mode): i for i, (node, mode) in enumerate(_pairs(nodes))}
        wanted = {(r, mode) for node in nodes for r in node.reads for mode in node.noise if r in self._by_name}
        wanted |= {(node.name, SOURCE_MODE) for node in nodes if node.is_output}
        count = len(self._chosen)
        self._cast = {pair: count + i for i, pair in enumerate(sorted(wanted))}
        dear = [(name, made, mode) for name, mode in self._cast for made in self._by_name[name].noise if made != mode]
        count += len(self._cast)
        self._dear = {triple: count + i for i, triple in enumerate(t for t in dear if self._surcharge(*t))}

    def uniform(self, mode: str) -> Choice:
        """Return the choice of one mode for all ops that have it; the others stay in the widest they have."""
        return self.judge({n.name: mode if mode in n.noise else list(n.noise)[-1] for n in self._nodes})

    def judge(self, modes: Mapping[str, str]) -> Choice:
        """Return the cost and the expected noise of given modes."""
        cost = sum(op_cost(node.work, modes[node.name]) for node in self._nodes)
        noise = np.sum([node.noise[modes[node.name]] for node in self._nodes], axis=0)
        for name, mode in self._cast:
            node = self._by_name[name]
            if modes[name] != mode and self._is_read_in(node, mode, modes):
                cost += cast_cost(node.elements, modes[name], mode)
                noise = noise + np.asarray(node.cast if mode == "INT8" else 0.0)
        return Choice(dict(modes), float(cost), tuple(float(n) for n in noise))

    def solve(self, noise: Sequence[float] | None = None, cost: float | None = None) -> Choice | None:
        """Return the cheapest choice within `noise` at each output, or that of least noise within `cost`; None: none.

        Equal inputs give equal choices: one thread, a fixed seed, a limit on nodes and none on time.
        """
        rows = self._structure()
        costs, noises = self._cost_terms(), self._noise_terms()
        scale = self.uniform("INT8").cost
        if noise is not None:
            for terms, bound in zip(noises, noise, strict=True):
                rows.add(-np.inf, {i: v / bound for i, v in terms.items()}, 1.0)
            objective = {i: v / scale for i, v in costs.items()}
        else:
            assert cost is not None
            rows.add(-np.inf, {i: v / cost for i, v in costs.items()}, 1.0)
            most = max(max(terms.values(), default=0.0) for terms in noises) or 1.0
            objective = {i: sum(t.get(i, 0.0) for t in noises) / most for i in range(self._size)}
        solution = _solve(objective, rows, self._size, len(self._chosen))
        if solution is None:
            return None
        return self.judge({name: mode for (name, mode), i in self._chosen.items() if solution[i] > 0.5})

    # --- inside

    @property
    def _size(self) -> int:
        return len(self._chosen) + len(self._cast) + len(self._dear)

    def _is_read_in(self, node: Node, mode: str, modes: Mapping[str, str]) -> bool:
        if node.is_output and mode == SOURCE_MODE:
            return True
        return any(modes[other.name] == mode for other in self._nodes if node.name in other.reads)

    def _structure(self) -> _Rows:
        """Return the rows that say one mode an op, and where casts are."""
        rows = _Rows()
        for node in self._nodes:
            rows.add(1.0, {self._chosen[node.name, mode]: 1.0 for mode in node.noise}, 1.0)
            for name in (r for r in node.reads if r in self._by_name):
                for mode in node.noise:
                    self._add_cast(rows, name, mode, {self._chosen[node.name, mode]: -1.0})
            if node.is_output:
                self._add_cast(rows, node.name, SOURCE_MODE, {})
        return rows

    def _add_cast(self, rows: _Rows, name: str, mode: str, reader: dict[int, float]) -> None:
        """Add c[name, mode] ≥ y[reader, mode] − y[name, mode], and d[name, made, mode] ≥ both y − 1."""
        wanted = 0.0 if reader else 1.0
        rows.add(wanted, self._cast_row(name, mode, reader), np.inf)
        for made in self._by_name[name].noise:
            if (name, made, mode) in self._dear:
                terms = {self._dear[name, made, mode]: 1.0, self._chosen[name, made]: -1.0, **reader}
                rows.add(wanted - 1.0, terms, np.inf)

    def _surcharge(self, name: str, made: str, mode: str) -> float:
        """Return what a cast from the type of `made` costs more than one from the cheapest other type."""
        node = self._by_name[name]
        least = min(cast_cost(node.elements, m, mode) for m in node.noise if m != mode)
        return cast_cost(node.elements, made, mode) - least

    def _cast_row(self, name: str, mode: str, reader: dict[int, float]) -> dict[int, float]:
        """Return c[name, mode] + y[name, mode] − y[reader, mode]."""
        made = {self._chosen[name, mode]: 1.0} if (name, mode) in self._chosen else {}
        return {self._cast[name, mode]: 1.0, **made, **reader}

    def _cost_terms(self) -> dict[int, float]:
        """Return what every variable costs: c what a cast costs at least, d what it costs more."""
        terms = {i: op_cost(self._by_name[name].work, mode) for (name, mode), i in self._chosen.items()}
        for (name, mode), i in self._cast.items():
            node = self._by_name[name]
            terms[i] = min((cast_cost(node.elements, m, mode) for m in node.noise if m != mode), default=0.0)
        return terms | {i: self._surcharge(*triple) for triple, i in self._dear.items()}

    def _noise_terms(self) -> list[dict[int, float]]:
        """Return, by output, the noise that every variable adds."""
        made = []
        for k in range(self._outputs):
            terms = {i: self._by_name[name].noise[mode][k] for (name, mode), i in self._chosen.items()}
            terms |= {i: self._by_name[name].cast[k] for (name, mode), i in self._cast.items() if mode == "INT8"}
            made.append(terms)
        return made


def _pairs(nodes: Sequence[Node]) -> list[tuple[Node, str]]:
    return [(node, mode) for node in nodes for mode in node.noise]


def _solve(objective: Mapping[int, float], rows: _Rows, size: int, binary: int) -> np.ndarray | None:
    """Return the values of the variables, the first `binary` of them 0 or 1, None where no choice keeps the rows."""
    import highspy

    lp: Any = highspy.HighsLp()
    lp.num_col_, lp.num_row_ = size, len(rows.low)
    lp.col_cost_ = np.array([objective.get(i, 0.0) for i in range(size)])
    lp.col_lower_, lp.col_upper_ = np.zeros(size), np.ones(size)
    lp.row_lower_, lp.row_upper_ = np.array(rows.low), np.array(rows.high)
    lp.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
    lp.a_matrix_.start_, lp.a_matrix_.index_ = np.array(rows.start), np.array(rows.index)
    lp.a_matrix_.value_ = np.array(rows.value)
    kinds = highspy.HighsVarType
    lp.integrality_ = [kinds.kInteger if i < binary else kinds.kContinuous for i in range(size)]
    solver: Any = highspy.Highs()  # type: ignore[no-untyped-call]
    options = {"output_flag": False, "threads": 1, "random_seed": 0, "mip_rel_gap": _GAP, "mip_max_nodes": _MAX_NODES}
    for name, value in options.items():
        solver.setOptionValue(name, value)
    solver.passModel(lp)
    solver.run()
    found = solver.getInfo().primal_solution_status == highspy.SolutionStatus.kSolutionStatusFeasible
    return np.array(solver.getSolution().col_value) if found else None
