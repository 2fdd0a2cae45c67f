"""A part of a model file that the host runs: a module of the TPU dialect on the reference interpreter."""

from collections.abc import Collection, Mapping, Sequence

import numpy as np
from xdsl.ir import SSAValue

from stepdown.dialects.op import TensorOp, value_name
from stepdown.dialects.program import Program, Weights
from stepdown.dialects.text import describe, parse_module
from stepdown.dialects.types import shape_of, storage_of
from stepdown.errors import InputError
from stepdown.model import ModelFile, Subnet, Tensor
from stepdown.model.arrays import stored_values, values
from stepdown.runtimes.interpreter import Interpreter

Arrays = dict[str, np.ndarray]
"""Tensors by name, as they are stored (bf16 as its bits)."""


class HostSubnet:
    """A host subnet of a model file, ready to run."""

    def __init__(self, model: ModelFile, subnet: Subnet, tensors: Mapping[str, Tensor]) -> None:
        """Read its text and weights from the file.

        Raises:
            InputError: the text is no module, or its inputs, outputs and weights are not those of the subnet.
        """
        self._where = f"{model.path}, section '{subnet.text}'"
        weights = Weights()
        weights.update({weight.name: model.array(weight) for weight in subnet.weights})
        self.program = Program(parse_module(model.text(subnet.text), self._where), weights, self._where)
        self._check(subnet, tensors)
        self._interpreter = Interpreter(self.program)

    def _check(self, subnet: Subnet, tensors: Mapping[str, Tensor]) -> None:
        """Check that the module is what the file says, and that every op reads what is made before it."""
        weights = {weight.name: (weight.shape, weight.type) for weight in subnet.weights}
        made = set[SSAValue]()
        for op in self.program.ops:
            if not op.name.endswith(".Input") and any(value not in made for value in op.operands):
                raise InputError(f"{describe(op)} reads what no op before it makes", self._where)
            if op.name.endswith(".Weight") and weights.get(op.key) != _kind(op.results[0]):  # type: ignore[attr-defined]
                raise InputError(f"weight '{op.key}' is not in the subnet as it is here", self._where)  # type: ignore[attr-defined]
            made.update(op.results)
        if any(value not in made for value in self.program.results):
            raise InputError("an output is made by no op", self._where)
        self._check_border([op.results[0] for op in self.program.input_ops], subnet.inputs, tensors)
        self._check_border(list(self.program.results), subnet.outputs, tensors)

    def _check_border(self, found: list[SSAValue], names: Sequence[str], tensors: Mapping[str, Tensor]) -> None:
        if sorted({value_name(value) for value in found}) != sorted(names):
            raise InputError("reads or makes other tensors than the subnet", self._where)
        for value in found:
            tensor = tensors[value_name(value)]
            if _kind(value) != (tensor.shape, tensor.type):
                raise InputError(f"'{tensor.name}' has another shape or type than in the file", self._where)

    @property
    def names(self) -> list[str]:
        """The tensors that it makes."""
        return [name for op in self.program.ops if _makes_a_tensor(op) for name in op.names]

    @property
    def seconds(self) -> dict[tuple[str, str], float]:
        """How long each op of the last run took, by its name and that of its first tensor."""
        found = self._interpreter.seconds
        return {(op.name, op.tensor_name): seconds for op, seconds in found.items() if _makes_a_tensor(op)}

    def run(self, given: Mapping[str, np.ndarray], wanted: Collection[str]) -> Arrays:
        """Return the tensors of `wanted` that it makes.

        Raises:
            StepError: an op cannot work on these values; names it.
        """
        made: Arrays = {}

        def keep(op: TensorOp, index: int, array: np.ndarray) -> None:
            if op.names[index] in wanted and _makes_a_tensor(op):
                made[op.names[index]] = stored_values(array, storage_of(op.results[index]))

        inputs = [op.results[0] for op in self.program.input_ops]
        self._interpreter.run({v: values(given[value_name(v)], storage_of(v)) for v in inputs}, keep)
        return made


def _makes_a_tensor(op: TensorOp) -> bool:
    return not op.name.endswith((".Input", ".Weight", ".None"))


def _kind(value: SSAValue) -> tuple[tuple[int, ...], str]:
    return shape_of(value), storage_of(value)
