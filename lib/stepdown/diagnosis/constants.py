"""Weights and biases of a lowered network that no rounding of the reference's could have given."""

import numpy as np
from xdsl.ir import SSAValue

from stepdown.diagnosis.causes import BIAS, WEIGHT, bias_scale
from stepdown.diagnosis.reference import real, stored
from stepdown.diagnosis.units import Unit, Units
from stepdown.dialects.op import Kind, TensorOp
from stepdown.dialects.types import is_none, quant_of, shape_of

_WRONG_STEPS = 1.0
"""A weight that is further than this many of its steps from the reference's is another one, however it was rounded."""
_WRONG_SHARE = 0.5
"""A bias that is further than this share of the largest one from the reference's is another one, however corrected."""


def wrong_constant(units: Units, unit: Unit) -> tuple[str, str]:
    """Return the cause (weight or bias) and what is wrong with a constant of a MAC; empty texts where nothing is."""
    op, source = unit.op, unit.source
    if source.kind is not Kind.MAC or type(op).__name__ != type(source).__name__:
        return "", ""
    for index, cause, judge in ((1, WEIGHT, _weight_problem), (2, BIAS, _bias_problem)):
        if len(source.operands) > index and _is_weight(source.operands[index]):
            problem = judge(units, op, source, index)
            if problem:
                return cause, problem
    return "", ""


def _weight_problem(units: Units, op: TensorOp, source: TensorOp, index: int) -> str:
    value, meaning = op.operands[index], source.operands[index]
    if not _is_weight(value) or shape_of(value) != shape_of(meaning):
        return ""
    meant = units.reference_weight(meaning).astype(np.float64)
    off = np.abs(stored(meaning, real(value, units.target_weight(value))) - meant)
    params = quant_of(value)
    axis = params.axis if params and params.axis is not None else 0
    peaks = off.max(axis=tuple(i for i in range(off.ndim) if i != axis), initial=0.0)
    coarse = np.abs(meant).max(initial=0.0) * 2.0**-6
    steps = peaks / (np.atleast_1d(np.asarray(params.scale, np.float64)) if params else max(coarse, 1e-30))
    if steps.max(initial=0.0) <= _WRONG_STEPS:
        return ""
    return f"its weight is not the reference's: channel {int(steps.argmax())} is off by {steps.max():.4g} steps"


def _bias_problem(units: Units, op: TensorOp, source: TensorOp, index: int) -> str:
    meant = np.ravel(units.reference_weight(source.operands[index])).astype(np.float64)
    value = op.operands[index]
    found = np.zeros_like(meant) if is_none(value) else np.ravel(units.target_weight(value)) * bias_scale(op)
    if not meant.size or found.size != meant.size:
        return ""
    off = np.abs(found - meant)
    allowed = np.maximum(bias_scale(op) * _WRONG_STEPS, _WRONG_SHARE * np.abs(meant).max())
    place = int((off / np.maximum(allowed, 1e-30)).argmax())
    if off[place] <= np.broadcast_to(allowed, off.shape)[place]:
        return ""
    return f"its bias is not the reference's: channel {place} has {found[place]:.4g} for {meant[place]:.4g}"


def _is_weight(value: SSAValue) -> bool:
    return isinstance(value.owner, TensorOp) and value.owner.name.endswith(".Weight")
