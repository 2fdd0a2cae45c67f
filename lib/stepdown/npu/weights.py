"""Constants of a program."""

import numpy as np

from stepdown.dialects.op import TensorOp
from stepdown.dialects.program import Program
from stepdown.dialects.types import storage_of
from stepdown.numerics.floats import from_bf16_bits


def held_weight(program: Program, op: TensorOp) -> np.ndarray:
    """Return a constant as the interpreter holds it: 16-bit floats as float32."""
    array = program.weights[op.key]  # type: ignore[attr-defined]
    kind = storage_of(op.results[0])
    if kind == "bf16" and array.dtype == np.uint16:
        return from_bf16_bits(array)
    return array.astype(np.float32) if kind == "f16" else array
