"""Multipliers, shifts and tables that are not what the types of an op say: its integers stray from its real numbers."""

from collections.abc import Mapping

import numpy as np

from stepdown.diagnosis.causes import RESCALE, TABLE, Imitation, Off, step
from stepdown.diagnosis.units import Local, Unit, Units
from stepdown.dialects.types import quant_of

_STRAY_STEPS = 2.0
"""How far a right result may be from the same op in real numbers, in steps: half for each of two roundings, and slack
for sums whose terms are much larger than the result."""


def wrong_arithmetic(units: Units, unit: Unit, local: Local, tensors: Mapping[str, np.ndarray]) -> tuple[str, str]:
    """Return the cause (table or rescale) and what is wrong with it; empty texts where nothing is.

    The op is imitated in real numbers with its own weights, ends and steps: what is left of the difference is its
    table, or its multipliers and shifts. Only quantised results are judged.
    """
    params = quant_of(unit.value)
    if params is None or params.axis is not None:
        return "", ""
    imitation = Imitation(units, unit, local.operands, tensors)
    if not imitation.possible:
        return "", ""
    off = np.abs(np.asarray(local.result, np.float64) - imitation.run(Off())) / step(params)
    strays = float(off.max(initial=0.0))
    if not strays > _STRAY_STEPS:
        return "", ""
    cause = TABLE if unit.op.name == "tpu.Lut" else RESCALE
    return cause, f"its {_WHAT[cause]} not what its types say: results are off by up to {strays:.4g} steps"


_WHAT = {TABLE: "table is", RESCALE: "multipliers or shifts are"}
