"""Runs `.mlir` files of both dialects on the reference interpreter."""

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
from xdsl.ir import SSAValue

from stepdown.dialects.meaning import tensor_info
from stepdown.dialects.op import TensorOp, layout_of, value_name
from stepdown.dialects.program import Program, argument_name, read_program
from stepdown.dialects.types import DTYPES, quant_of, shape_of, storage_of
from stepdown.errors import InputError
from stepdown.files.hashes import sha256_file
from stepdown.files.npz import NpzMetadata
from stepdown.numerics.quantize import QuantParams, quantize
from stepdown.runtimes.interpreter import Interpreter
from stepdown.runtimes.runner import RunnerOptions, Tensors, TensorSpec, match_inputs


class MlirRunner:
    """A program on the reference interpreter."""

    def __init__(self, model: str | os.PathLike[str] | Program, options: RunnerOptions | None = None) -> None:
        self.program = model if isinstance(model, Program) else read_program(model)
        if options and options.output_type == "native":
            self.program.finish([_native(v) for v in self.program.results])
        self._interpreter = Interpreter(self.program)

    @property
    def preprocessing(self) -> dict[str, dict[str, Any]]:
        """By input name, the preprocessing stored in the module."""
        return self.program.preprocessing

    @property
    def metadata(self) -> NpzMetadata:
        """What every tensor of the program means."""
        tensors = {value_name(v): tensor_info(v) for op in self.program.ops if _dumped(op) for v in op.results}
        path = self.program.path
        return NpzMetadata(
            tensors, tuple(self.program.output_names), os.path.basename(path), sha256_file(path) if path else ""
        )

    def inputs(self) -> list[TensorSpec]:
        """The network's inputs."""
        return [input_spec(op) for op in self.program.input_ops]

    def outputs(self) -> list[TensorSpec]:
        """The network's outputs."""
        return [_spec(v) for v in self.program.results]

    def run(self, tensors: Mapping[str, np.ndarray], wanted: str = "outputs") -> Tensors:
        """Run once; every tensor in its own type where `wanted` is "all", else the outputs."""
        arguments = self.arguments(tensors)
        dumped: Tensors = {}

        def keep(op: TensorOp, index: int, array: np.ndarray) -> None:
            dumped[op.names[index]] = as_stored(array, op.results[index])

        results = self._interpreter.run(arguments, keep if wanted == "all" else None)
        if wanted == "all":
            return dumped
        return {value_name(v): as_stored(a, v) for v, a in zip(self.program.results, results, strict=True)}

    def close(self) -> None:
        """Nothing to release."""

    @property
    def seconds(self) -> dict[tuple[str, str], float]:
        """How long each op of the last run took, by its name and that of its first tensor."""
        return {(op.name, op.tensor_name): seconds for op, seconds in self._interpreter.seconds.items()}

    @property
    def overflows(self) -> dict[str, int]:
        """By tensor name, the results of the last run that were too large for float16."""
        return self._interpreter.overflows

    def arguments(self, given: Mapping[str, np.ndarray]) -> dict[SSAValue, np.ndarray]:
        """Return the values the caller gives: function arguments, or quantised inputs as they are."""
        matched = match_inputs(given, self.inputs(), self.program.path)
        values = {}
        for op in self.program.input_ops:
            array, quantised = matched[argument_name(op)], quantised_input(op)
            if quantised is not None and array.dtype == DTYPES[storage_of(quantised)]:
                values[quantised] = array
            else:
                values[op.operands[0]] = _argument(array, op.results[0], self.program.path)
        return values


def quantised_input(op: TensorOp) -> SSAValue | None:
    """Return the quantised value of a network input where its one reader quantises it, else None."""
    readers = [use.operation for use in op.results[0].uses]
    if len(readers) == 1 and quant_of(readers[0].results[0]) and readers[0].name == "tpu.Convert":
        return readers[0].results[0]
    return None


def _native(value: SSAValue) -> SSAValue:
    """Return an output in the type it is computed in, before the conversion to f32 that ends the program."""
    owner = value.owner
    return owner.operands[0] if isinstance(owner, TensorOp) and owner.name == "tpu.Convert" else value


def input_spec(op: TensorOp) -> TensorSpec:
    """Return an input as a caller gives it: under its own name; quantised where integers may be given."""
    value = quantised_input(op) or op.results[0]
    return TensorSpec(argument_name(op), shape_of(value), tensor_info(value))


def as_stored(array: np.ndarray, value: SSAValue) -> np.ndarray:
    """Return an interpreter's array as it is dumped: in its storage type (bf16 stays float32), in the source's layout.

    `array` lies as the program stores it; a tensor whose location says `layout 0,2,3,1` is transposed by that order.
    """
    order = layout_of(value)
    placed = np.ascontiguousarray(array.transpose(order)) if order else array
    return placed.astype(np.float16) if storage_of(value) == "f16" else placed


def _source_shape(value: SSAValue) -> tuple[int, ...]:
    shape = shape_of(value)
    return tuple(shape[i] for i in layout_of(value)) or shape


def _dumped(op: TensorOp) -> bool:
    return not op.name.endswith((".Weight", ".None"))


def _spec(value: SSAValue) -> TensorSpec:
    return TensorSpec(value_name(value), _source_shape(value), tensor_info(value))


def _argument(array: np.ndarray, value: SSAValue, where: str) -> np.ndarray:
    return as_input(array, value_name(value), storage_of(value), quant_of(value), where)


def as_input(array: np.ndarray, name: str, storage: str, params: QuantParams | None, where: str) -> np.ndarray:
    """Return an input in the type its op wants: float and integer widths are converted, reals quantised if it is.

    Raises:
        InputError: it is of another type.
    """
    wanted = DTYPES[storage]
    if array.dtype == wanted:
        return array
    if params is not None and np.issubdtype(array.dtype, np.floating):
        return quantize(array, params)
    both_float = np.issubdtype(array.dtype, np.floating) and np.issubdtype(wanted, np.floating)
    if both_float or np.can_cast(array.dtype, wanted, "safe") or _fits(array, wanted):
        return array.astype(wanted)
    raise InputError(f"input '{name}' is {array.dtype}, want {wanted}", where, "convert it with npz_tool.py")


def _fits(array: np.ndarray, wanted: np.dtype) -> bool:
    if not (np.issubdtype(array.dtype, np.integer) and np.issubdtype(wanted, np.integer)) or not array.size:
        return False
    limits = np.iinfo(wanted)
    return bool(array.min() >= limits.min and array.max() <= limits.max)
