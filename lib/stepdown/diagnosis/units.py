"""A lowered network cut into units: what makes one tensor of the source model, with the float ops that mean it.

A unit is run on the reference's tensors, stored as its own operands want them. Its own error is the difference from
its float meaning on those same stored operands: the rounding of an operand belongs to the unit that makes it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from xdsl.ir import SSAValue

from stepdown.diagnosis.reference import Tensors, real, root_name, stored
from stepdown.dialects.op import TensorOp, layout_of, value_name
from stepdown.dialects.program import Program
from stepdown.dialects.types import is_none, is_real
from stepdown.runtimes.interpreter import load_weight, run_op


@dataclass(frozen=True)
class Unit:
    """The tensor `name`: `value` of the lowered module, `meaning` of the reference, `op` the lowered op that counts."""

    name: str
    value: SSAValue
    meaning: SSAValue
    op: TensorOp

    @property
    def source(self) -> TensorOp:
        """The reference's op."""
        assert isinstance(self.meaning.owner, TensorOp)
        return self.meaning.owner


@dataclass
class Local:
    """One unit's run: its result, and what its operands held, in real units and the source's layout."""

    result: np.ndarray
    operands: Tensors = field(default_factory=dict)


class Units:
    """The units of a lowered program, in its order."""

    def __init__(self, target: Program, reference: Program) -> None:
        self.target, self.reference = target, reference
        self._target_weights: dict[SSAValue, np.ndarray] = {}
        self._reference_weights: dict[SSAValue, np.ndarray] = {}
        means = {value_name(v): v for op in _computing(reference) for v in op.results}
        plain = {value_name(v): v for op in _computing(target) for v in op.results}
        self.all = [Unit(n, v, means[n], _main(v, n)) for n, v in plain.items() if n in means and _counts(v, means[n])]
        self.by_name = {unit.name: unit for unit in self.all}

    def run(self, unit: Unit, tensors: Mapping[str, np.ndarray]) -> Local:
        """Return a unit's result on the reference's `tensors`."""
        local = Local(np.empty(0))
        array = self._local(unit.value, unit.name, tensors, local.operands)
        local.result = real(unit.value, array)
        return local

    def mean(self, unit: Unit, operands: Tensors, tensors: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return the float meaning of a unit on `operands`; tensors that it does not read are the reference's."""
        return real(unit.meaning, self._meant(unit.meaning, operands, tensors))

    # --- inside

    def target_weight(self, value: SSAValue) -> np.ndarray:
        """Return a weight of the lowered module as it is stored."""
        return _weight(self.target, self._target_weights, value)

    def reference_weight(self, value: SSAValue) -> np.ndarray:
        """Return a weight of the reference."""
        return _weight(self.reference, self._reference_weights, value)

    def _local(self, value: SSAValue, own: str, tensors: Mapping[str, np.ndarray], seen: Tensors) -> np.ndarray:
        """Return a value of the lowered module from the reference's tensors, but for the unit `own` itself."""
        if _is_weight(value):
            return self.target_weight(value)
        name = root_name(value)
        if name in tensors and (name != own or value.owner.name.endswith(".Input")):  # type: ignore[union-attr]
            array = stored(value, tensors[name])
            seen[name] = real(value, array)
            return array
        op = value.owner
        assert isinstance(op, TensorOp)
        operands = [None if is_none(v) else self._local(v, own, tensors, seen) for v in op.operands]
        return run_op(op, operands)[list(op.results).index(value)]  # type: ignore[arg-type]

    def _meant(self, value: SSAValue, operands: Tensors, tensors: Mapping[str, np.ndarray]) -> np.ndarray:
        if _is_weight(value):
            return self.reference_weight(value)
        op = value.owner
        assert isinstance(op, TensorOp)
        if op.name.endswith(".Input"):
            return stored(value, tensors[value_name(value)])
        arrays = [None if is_none(v) else self._operand(v, operands, tensors) for v in op.operands]
        return run_op(op, arrays)[list(op.results).index(value)]  # type: ignore[arg-type]

    def _operand(self, value: SSAValue, operands: Tensors, tensors: Mapping[str, np.ndarray]) -> np.ndarray:
        name = value_name(value)
        if name in operands and not _is_weight(value):
            return stored(value, operands[name])
        return self._meant(value, operands, tensors)


def _weight(program: Program, held: dict[SSAValue, np.ndarray], value: SSAValue) -> np.ndarray:
    if value not in held:
        assert isinstance(value.owner, TensorOp)
        held[value] = load_weight(program, value.owner)
    return held[value]


def _is_weight(value: SSAValue) -> bool:
    return isinstance(value.owner, TensorOp) and value.owner.name.endswith(".Weight")


def _computing(program: Program) -> list[TensorOp]:
    return [op for op in program.ops if not op.name.endswith((".Weight", ".None"))]


def _counts(value: SSAValue, meaning: SSAValue) -> bool:
    """Tell whether a tensor may have an error of its own: reals, unless it is an input as it came."""
    untouched = value.owner.name == "tpu.Input"  # type: ignore[union-attr]
    return is_real(value) and is_real(meaning) and not untouched and len(layout_of(value)) in (0, _rank(meaning))


def _rank(value: SSAValue) -> int:
    return len(value.type.get_shape())  # type: ignore[attr-defined]


def _main(value: SSAValue, name: str) -> TensorOp:
    """Return the op behind the casts that make the tensor `name`."""
    op = value.owner
    assert isinstance(op, TensorOp)
    while op.name in ("tpu.Convert", "tpu.Rescale") and root_name(op.operands[0]) == name:
        inner = op.operands[0].owner
        assert isinstance(inner, TensorOp)
        if inner.name.endswith(".Input"):
            break
        op = inner
    return op
