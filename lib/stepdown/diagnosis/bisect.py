"""The first tensor, pass or rewrite that leaves tolerance, in O(log n) probes where the fault stays once it is there.

Tensors through which every path from the inputs to an output leads (the output's dominators) carry every fault on; one
probe in their middle halves what is left. Between the last good and the first bad of them, every tensor is looked at.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import networkx
import numpy as np
from xdsl.ir import SSAValue

from stepdown.diagnosis.cut import cut, is_constant
from stepdown.diagnosis.reference import Tensors, named, real, root_name, run_values, stored
from stepdown.diagnosis.tolerance import Expected, Likeness, Tolerance, expected, likeness
from stepdown.diagnosis.units import Unit, Units
from stepdown.dialects.op import TensorOp, layout_of
from stepdown.dialects.program import Program
from stepdown.dialects.types import is_none, is_real
from stepdown.runtimes.interpreter import Interpreter

_ROOT = "the inputs"
_SQUASHING = ("top.Softmax", "top.Sigmoid")
_MANY = 1000
"""A tensor of so many elements is not good by chance."""

Judge = Tolerance | Expected


def first_bad(count: int, bad: Callable[[int], bool]) -> int:
    """Return the least index below `count` that is bad, `count` where none is; `bad` holds from some index on."""
    low, high = 0, count
    while low < high:
        middle = (low + high) // 2
        if bad(middle):
            high = middle
        else:
            low = middle + 1
    return low


@dataclass
class Probe:
    """Runs of the lowered program up to one tensor, each of which only computes what that tensor needs."""

    target: Program
    arguments: Mapping[SSAValue, np.ndarray]
    tensors: Tensors
    tolerance: Judge
    units: Units
    seen: dict[str, Likeness] = field(default_factory=dict)

    @property
    def runs(self) -> int:
        """How many runs were made."""
        return len(self.seen)

    def bad(self, name: str) -> bool:
        """Tell whether the tensor `name` of the lowered run leaves tolerance; one run, the first time."""
        if name not in self.seen:
            value = self.units.by_name[name].value
            self.seen[name] = likeness(real(value, self._run_to(value)), self.tensors[name])
        return not self.tolerance.holds(name, self.seen[name])

    def _run_to(self, value: SSAValue) -> np.ndarray:
        part = cut(self.target, behind(value), [value], self.target.name)
        inputs: list[SSAValue] = [op.results[0] for op in part.input_ops]
        return Interpreter(part).run({v: stored(v, self.tensors[root_name(v)]) for v in inputs})[0]


def behind(value: SSAValue) -> list[TensorOp]:
    """Return the ops, inputs left out, that a value is computed by."""
    found: set[TensorOp] = set()
    waiting = [value]
    while waiting:
        op = waiting.pop().owner
        if isinstance(op, TensorOp) and op not in found and not op.name.endswith((".Input", ".Weight", ".None")):
            found.add(op)
            waiting += [v for v in op.operands if not is_none(v)]
    return list(found)


def graph_of(program: Program) -> networkx.DiGraph:
    """Return the program's tensors of the source model as a graph, one root in front of all inputs."""
    graph = networkx.DiGraph()
    for op in program.ops:
        for value in (v for v in op.results if not op.name.endswith((".Weight", ".None")) and not is_none(v)):
            graph.add_node(root_name(value))
            makers = [root_name(v) for v in op.operands if isinstance(v.owner, TensorOp) and not is_constant(v)]
            graph.add_edges_from((maker, root_name(value)) for maker in makers if maker != root_name(value))
            if op.name.endswith(".Input"):
                graph.add_edge(_ROOT, root_name(value))
    return graph


def dominators(graph: networkx.DiGraph, output: str) -> list[str]:
    """Return the tensors that every path from the inputs to `output` leads through, first to last."""
    above = networkx.immediate_dominators(graph, _ROOT)
    chain = [output]
    while above.get(chain[-1], chain[-1]) not in (None, _ROOT, chain[-1]):
        chain.append(above[chain[-1]])
    return chain[::-1]


@dataclass(frozen=True)
class Found:
    """The first bad unit, what its tensor is like, and by which tolerance it is bad.

    `runs` counts the probes, `tensors` those that a look at every tensor would have taken.
    """

    unit: Unit
    like: Likeness
    tolerance: Judge
    runs: int
    tensors: int


def first_bad_op(
    target: Program,
    reference: Program,
    sample: Mapping[str, np.ndarray],
    tolerance: Tolerance | None = None,
    chip: str = "",
) -> Found | None:
    """Return the first op of `target` whose tensor leaves tolerance, None where no output does.

    Without a tolerance each tensor may be as noisy as its lowering makes it: see `tolerance.expected`, which takes the
    `chip`, and one more run. What stands in front of a last Softmax, or of a few last elements, then counts too.

    Raises:
        InputError: without a tolerance, the reference cannot be lowered as `target` was.
    """
    units = Units(target, reference)
    values = run_values(reference, sample)
    tensors = named(values)
    judge = tolerance or expected(units, sample, tensors, chip)
    probe = Probe(target, values, tensors, judge, units)
    graph = graph_of(target)
    for output in [root_name(v) for v in target.results if is_real(v)]:
        whole = [name for name in dominators(graph, output) if name in units.by_name]
        chain = _to_a_bad_end(whole, probe) if tolerance is None else whole[: probe.bad(whole[-1]) * len(whole)]
        if not chain:
            continue
        probe.tolerance = judge.given_output(chain[-1], probe.seen[chain[-1]])
        at = first_bad(len(chain) - 1, lambda i, chain=chain: probe.bad(chain[i]))  # type: ignore[misc]
        name = _nearby(graph, chain[at - 1] if at else _ROOT, chain[at], probe)
        return Found(units.by_name[name], probe.seen[name], probe.tolerance, probe.runs, len(units.all))
    return None


def _to_a_bad_end(chain: list[str], probe: Probe) -> list[str]:
    """Return a chain of dominators up to a bad tensor at its end, nothing where there is none.

    What squashes scores (a Softmax) hides errors or blows them up: the scores are looked at first. A tensor of few
    elements may be good by chance: those in front of it are looked at too, up to one of many.
    """
    squashed = bool(chain) and probe.units.by_name[chain[-1]].source.name in _SQUASHING
    for end in range(len(chain) - squashed, 0, -1):
        if probe.bad(chain[end - 1]):
            return chain[:end]
        if probe.seen[chain[end - 1]].count >= _MANY:
            break
    return chain if squashed and probe.bad(chain[-1]) else []


def _nearby(graph: networkx.DiGraph, good: str, bad: str, probe: Probe) -> str:
    """Return the first bad tensor between a good dominator and the bad one after it, in the program's order."""
    between = (networkx.ancestors(graph, bad) | {bad}) - networkx.ancestors(graph, good) - {good}
    return next(u.name for u in probe.units.all if u.name in between and probe.bad(u.name))


# --- reducing


@dataclass(frozen=True)
class Reduced:
    """A part of both programs that shows the fault on its own: inputs, and its one result in either."""

    target: Program
    reference: Program
    inputs: Tensors
    ops: int
    tolerance: Tolerance
    """What the part's result leaves."""


def reduce(
    target: Program, reference: Program, sample: Mapping[str, np.ndarray], unit: Unit, tolerance: Judge
) -> Reduced | None:
    """Return the fewest ops that end in `unit` and leave tolerance on the reference's own tensors.

    None where the unit is a network input, which no op makes.
    """
    if unit.source.name == "top.Input":
        return None
    tensors = named(run_values(reference, sample))
    units = Units(target, reference)
    order = [u for u in units.all if u.value in _results(behind(unit.value))]

    def like(count: int) -> Likeness:
        return _like(units, unit, order[len(order) - count :], tensors)

    count = first_bad(len(order) - 1, lambda i: not tolerance.holds(unit.name, like(i + 1))) + 1
    part, meant = _parts(units, unit, order[len(order) - count :])
    shown = tolerance.shown_by(unit.name, like(count))
    names = dict.fromkeys(root_name(op.results[0]) for op in part.input_ops + meant.input_ops)
    return Reduced(part, meant, {name: _as_stored(units, name, tensors) for name in names}, count, shown)


def _as_stored(units: Units, name: str, tensors: Tensors) -> np.ndarray:
    """Return a tensor in real units as the programs store it: the inputs of a part know of no other layout."""
    order = layout_of(units.by_name[name].value) if name in units.by_name else ()
    return np.ascontiguousarray(tensors[name].transpose(np.argsort(order))) if order else tensors[name]


def _results(ops: Sequence[TensorOp]) -> set[SSAValue]:
    return {v for op in ops for v in op.results}


def _like(units: Units, unit: Unit, chosen: Sequence[Unit], tensors: Tensors) -> Likeness:
    """Return what the tensor of `unit` is like where only the `chosen` units are lowered."""
    part, _ = _parts(units, unit, chosen)
    inputs: list[SSAValue] = [op.results[0] for op in part.input_ops]
    found = Interpreter(part).run({v: stored(v, _as_stored(units, root_name(v), tensors)) for v in inputs})[0]
    return likeness(real(part.results[0], found), tensors[unit.name])


def _parts(units: Units, unit: Unit, chosen: Sequence[Unit]) -> tuple[Program, Program]:
    """Return what the `chosen` units compute, lowered and in floats; both return the tensor of `unit`."""
    names = {u.name for u in chosen}
    lowered = [op for op in behind(unit.value) if root_name(op.results[0]) in names]
    meant = [op for op in behind(unit.meaning) if op.tensor_name in names]
    return (
        cut(units.target, lowered, [unit.value], f"{units.target.name}_cut"),
        cut(units.reference, meant, [unit.meaning], f"{units.reference.name}_cut"),
    )
