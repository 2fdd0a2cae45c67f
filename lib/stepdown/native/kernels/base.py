"""What a kernel is: an op, how its tensors want to lie, the constants it reads, and its code in TIR."""

import importlib
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import numpy as np
from xdsl.ir import SSAValue

from stepdown.dialects.op import TensorOp
from stepdown.dialects.tpu import TpuOp
from stepdown.dialects.types import is_none, quant_of, shape_of, storage_of
from stepdown.errors import UnsupportedModel
from stepdown.native.effort import LEVELS, Effort
from stepdown.native.machine import Machine
from stepdown.native.schedules import Schedule
from stepdown.native.tensors import Order, Tensor, channels_last, logical
from stepdown.native.tir import Function

Buffers = Mapping[str, Any]
K = TypeVar("K", bound="type[Kernel]")

CHANNELS_LAST, LOGICAL, SAME = "channels last", "logical", "same"
SHARES = (0.5, 0.25, 2, 4)
"""Of what is copied at a time by rule: other sizes that are worth a trial."""


@dataclass(frozen=True)
class Choice:
    """Schedules of a workload: the one that is taken, and others, those first that the rule of cost likes best."""

    workload: str
    taken: Schedule
    others: tuple[Schedule, ...]


class OtherTypes(UnsupportedModel):
    """A kernel is of other types than the op: why there is no code is for others to say."""


class Kernel:
    """The code of one op.

    A subclass says in `layout` how its tensors lie: channels last, as they are in the program, or all as the first
    operand does. `inputs` are the activations, by number; weights are arrays.
    """

    layout: ClassVar[str] = SAME
    levels: ClassVar[range] = LEVELS
    """Levels of optimisation at which it may be taken."""
    order: ClassVar[str] = ""
    """The layout of whole networks that it is made for, and is the first to be taken in; "": any."""

    def __init__(self, op: TpuOp, weights: Mapping[SSAValue, np.ndarray], machine: Machine) -> None:
        self.op, self.machine = op, machine
        self.weights: list[np.ndarray | None] = [weights.get(v) for v in op.operands]
        self.inputs = [v for v in op.operands if v not in weights and not is_none(v)]
        self.tensors: list[Tensor] = []
        self.results: list[Tensor] = []
        self.check()

    def check(self) -> None:
        """Refuse what the kernel cannot do.

        Raises:
            UnsupportedModel: the op has options without code.
        """

    def refuse(self, why: str) -> UnsupportedModel:
        """Return the error that names the op and why it has no code."""
        return UnsupportedModel(f"{self.op.name} '{self.op.tensor_name}' {why}")

    def is_not_of(self, kinds: str) -> OtherTypes:
        """Return the error that says of which types the kernel is, where the op's are others."""
        return OtherTypes(f"{self.op.name} '{self.op.tensor_name}' is not of {kinds}")

    # --- layout

    def wanted(self, orders: Sequence[Order]) -> tuple[list[Order], list[Order]]:
        """Return how the inputs must lie and how the results will, given how the inputs do."""
        shapes = [shape_of(v) for v in self.inputs], [shape_of(v) for v in self.op.results]
        ranks = [[len(s) for s in side] for side in shapes]
        if self.layout == CHANNELS_LAST:
            return [channels_last(r) for r in ranks[0]], [channels_last(r) for r in ranks[1]]
        first = next((o for o in orders if len(o) == ranks[1][0]), None) if self.layout == SAME else None
        if first is None:
            return [logical(r) for r in ranks[0]], [logical(r) for r in ranks[1]]
        return [first if len(first) == r else logical(r) for r in ranks[0]], [first for _ in ranks[1]]

    def place(self, inputs: Sequence[Order], results: Sequence[Order]) -> None:
        """Fix how the tensors lie."""
        self.tensors = [tensor_of(v, order) for v, order in zip(self.inputs, inputs, strict=True)]
        self.results = [tensor_of(v, order) for v, order in zip(self.op.results, results, strict=True)]

    # --- code

    def constants(self) -> dict[str, np.ndarray]:
        """Return the arrays that the code reads."""
        return {}

    @property
    def scratch(self) -> tuple[str, int] | None:
        """Type and elements of the memory that the code needs beside its tensors."""
        return None

    def operands(self, inputs: Sequence[Any], constants: Buffers) -> list[Any]:
        """Return the buffer of each operand: an input, or the constant c0, c1, …; None where there is neither."""
        given = iter(inputs)
        return [
            None if is_none(value) else next(given) if self.weights[i] is None else constants.get(f"c{i}")
            for i, value in enumerate(self.op.operands)
        ]

    def beside(self, inputs: Sequence[Any], results: Sequence[Any]) -> dict[str, Any]:
        """Return buffers of the function that its code finds by name, beside constants and scratch."""
        return {}

    def choice(self) -> Choice | None:
        """Return between which schedules there is a choice, None where there is none."""
        return None

    def begin(self, f: Function) -> None:
        """Note the function that is going to be written."""

    def write(self, f: Function, inputs: Sequence[Any], results: Sequence[Any], constants: Buffers) -> None:
        """Write the code; the buffer "scratch" is among the constants where there is one.

        The outermost loop of which each round writes other results is `f.shared`: threads share it, and each has a
        scratch of its own.
        """
        raise NotImplementedError

    def function(self, name: str, constants: Mapping[str, np.ndarray]) -> Function:
        """Return the code as a function of pointers: inputs, constants (those of `constants`), results, scratch."""
        f = Function(name, self.machine.shares)
        inputs = [f.argument(f"x{i}", t.dtype, t.elements) for i, t in enumerate(self.tensors)]
        held = {n: f.argument(n, str(a.dtype), a.size) for n, a in constants.items()}
        results = [f.argument(f"y{i}", t.dtype, t.elements) for i, t in enumerate(self.results)]
        if self.scratch:
            held["scratch"] = f.argument("scratch", *self.scratch)
        self.begin(f)
        self.write(f, inputs, results, {**held, **self.beside(inputs, results)})
        return f


def tensor_of(value: SSAValue, order: Order) -> Tensor:
    """Return a value of the program as it lies in memory."""
    return Tensor(storage_of(value), shape_of(value), order, quant_of(value))


_KERNELS: dict[str, list[type[Kernel]]] = {}


def kernel(*names: str, first: bool = False) -> Callable[[K], K]:
    """Make a class a kernel of the ops so named; of several for one op the first that does not refuse is taken.

    One that is better than others where it does not refuse is asked `first`.
    """

    def register(cls: K) -> K:
        for name in names:
            known = _KERNELS.setdefault(name, [])
            known.insert(0 if first else len(known), cls)
        return cls

    return register


@cache
def _load() -> None:
    """Import every file of this folder: each registers its kernels."""
    for found in pkgutil.iter_modules([str(Path(__file__).parent)]):
        importlib.import_module(f"{__package__}.{found.name}")


def kernel_names() -> set[str]:
    """Return the names of all ops that have a kernel."""
    _load()
    return set(_KERNELS)


def kernel_of(op: TensorOp, weights: Mapping[SSAValue, np.ndarray], machine: Machine) -> Kernel:
    """Return the kernel of an op.

    Raises:
        UnsupportedModel: it has none.
    """
    _load()
    name = op.name.split(".")[1]
    assert isinstance(op, TpuOp)
    refusals: list[UnsupportedModel] = []
    for cls in _candidates(name, machine.effort):
        try:
            return cls(op, weights, machine)
        except UnsupportedModel as error:
            refusals.append(error)
    raise _most_telling(op, refusals)


def _most_telling(op: TensorOp, refusals: Sequence[UnsupportedModel]) -> UnsupportedModel:
    """Return the last refusal of a kernel of the op's types; where there is none, one that names these types."""
    what = f"{op.name} '{op.tensor_name}'"
    if not refusals:
        return UnsupportedModel(f"{what} has no code for CPUs")
    of_types = [refusal for refusal in refusals if not isinstance(refusal, OtherTypes)]
    if of_types:
        return of_types[-1]
    types = dict.fromkeys(storage_of(v) for v in (*op.operands, *op.results) if not is_none(v))
    return UnsupportedModel(f"{what} has no code for CPUs of {' and '.join(types)}")


def _candidates(name: str, effort: Effort) -> list[type[Kernel]]:
    """Return the kernels of an op at a level, those made for the layout first."""
    fitting = [k for k in _KERNELS.get(name, []) if effort.level in k.levels and k.order in ("", effort.layout)]
    return sorted(fitting, key=lambda k: not k.order)
