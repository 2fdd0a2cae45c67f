"""The float network beside the lowered one: its tensors on some samples, by name and in the source model's layout."""

from collections.abc import Mapping, Sequence

import numpy as np
from xdsl.ir import SSAValue

from stepdown.dialects.op import TensorOp, layout_of, value_name
from stepdown.dialects.program import Program, State
from stepdown.dialects.tpu import view_of
from stepdown.dialects.types import DTYPES, is_none, quant_of, storage_of
from stepdown.errors import InputError
from stepdown.numerics.floats import ROUND
from stepdown.numerics.quantize import dequantize, quantize
from stepdown.runtimes.interpreter import Interpreter
from stepdown.runtimes.mlir import MlirRunner

Tensors = dict[str, np.ndarray]
Values = dict[SSAValue, np.ndarray]


def run_values(program: Program, sample: Mapping[str, np.ndarray]) -> Values:
    """Return every value of one run, as the interpreter holds it; the function's arguments among them."""
    arguments = MlirRunner(program).arguments(sample)
    values: Values = dict(arguments)

    def keep(op: TensorOp, index: int, array: np.ndarray) -> None:
        values[op.results[index]] = array

    Interpreter(program).run(arguments, keep)
    return values


def check_reference(program: Program) -> None:
    """Raise InputError where `program` is no float TOP module."""
    if program["state"] not in (State.TOP_F32, State.TOP_CALIBRATED):
        fix = "give the .mlir file that model_transform.py wrote"
        raise InputError(f"the reference is in state {program['state'] or 'none'}, want TOP", program.path, fix)


def check_pair(target: Program, reference: Program) -> None:
    """Raise InputError where `target` is no lowered module of the float module `reference`."""
    check_reference(reference)
    if target["state"] != State.TPU_LOWERED:
        fix = "give a module that tpuc-opt --convert-top-to-tpu wrote"
        raise InputError(f"is in state {target['state'] or 'none'}, want TPU_LOWERED", target.path, fix)
    known = {name for op in reference.ops for name in op.names}
    lost = [name for name in (root_name(v) for v in target.results) if name not in known]
    if lost:
        raise InputError(f"its output '{lost[0]}' is no tensor of {reference.path or 'the reference'}", target.path)


def root_name(value: SSAValue) -> str:
    """Return the name of the source model's tensor that a value holds, in whatever type."""
    return view_of(value) or value_name(value)


def stored(value: SSAValue, array: np.ndarray) -> np.ndarray:
    """Return a tensor given in real units and in the source's layout as the interpreter holds `value`."""
    order, params, storage = layout_of(value), quant_of(value), storage_of(value)
    placed = array.transpose(np.argsort(order)) if order else array
    if params is not None:
        return quantize(placed, params)
    return ROUND[storage](placed) if storage in ROUND else placed.astype(DTYPES[storage], copy=False)


def real(value: SSAValue, array: np.ndarray) -> np.ndarray:
    """Return what the interpreter holds for `value` in real units and in the source's layout."""
    params, order = quant_of(value), layout_of(value)
    numbers = array if params is None else dequantize(array, params)
    return numbers.transpose(order) if order else numbers


def named(values: Mapping[SSAValue, np.ndarray]) -> Tensors:
    """Return the tensors of a run by name, in real units and in the source's layout."""
    return {value_name(v): real(v, a) for v, a in values.items() if isinstance(v.owner, TensorOp) and not is_none(v)}


def output_names(program: Program) -> Sequence[str]:
    """Return the names that the source model has for the outputs."""
    return [root_name(v) for v in program.results]
