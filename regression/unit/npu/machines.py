"""Runs code on the machine, and the network on the reference interpreter beside it."""

from collections.abc import Mapping

import numpy as np

from stepdown.chips import Chip
from stepdown.dialects.op import TensorOp, value_name
from stepdown.dialects.program import Program
from stepdown.npu.codegen import Code, generate, stored
from stepdown.npu.division import divide
from stepdown.runtimes.interpreter import Interpreter, run_op
from stepdown.runtimes.mlir import MlirRunner
from stepdown.sim import Machine, load

Tensors = dict[str, np.ndarray]


def run_code(
    program: Program,
    given: Mapping[str, np.ndarray],
    chip: Chip,
    poison: int | None = None,
    shuffle: int | None = None,
    host: bool = False,
) -> tuple[Tensors, Tensors]:
    """Return every tensor of the reference and of the machine, in the types in which they are held.

    With `host`, ops without commands are executed by the reference, from and to the machine's memory; what no command
    reads stays with it.
    """
    arguments = MlirRunner(program).arguments(given)
    wanted: Tensors = {}
    reference = Interpreter(program)
    reference.run(arguments, lambda op, at, array: wanted.__setitem__(op.names[at], np.array(array)))
    if host:
        divide(program, chip)
    code = generate(program, chip)
    beside = _Beside(code, Machine(chip, code.global_bytes, poison=poison), reference)
    for op in program.input_ops:
        beside.keep(op.tensor_name, arguments[op.operands[0]])
    program_of_machine = load(code.streams, chip, code.global_bytes, parts=[step.after for step in code.host])
    steps = beside.machine.steps(program_of_machine, shuffle=shuffle)
    done = dict.fromkeys(program_of_machine.commands, 0)
    for step, part in zip(code.host, program_of_machine.parts, strict=True):
        while done != part:
            done[next(steps)[0]] += 1
        beside.execute(step.op)
    for _ in steps:
        pass
    return wanted, {name: beside.held(name) for name in (*code.tensors, *beside.tensors)}


class _Beside:
    """The host beside a machine: its memory holds what commands read or make, `tensors` the rest."""

    def __init__(self, code: Code, machine: Machine, reference: Interpreter) -> None:
        self.machine = machine
        self.tensors: Tensors = {}
        self._code, self._reference = code, reference
        for address, raw in code.image.items():
            machine.memory.global_memory[address : address + raw.size] = raw

    def execute(self, op: TensorOp) -> None:
        """Execute an op of the host."""
        operands = []
        for value in op.operands:
            constant = value in self._reference.weights or value.owner.name.endswith(".None")
            operands.append(self._reference.weights.get(value) if constant else self.held(value_name(value)))
        for name, array in zip(op.names, run_op(op, operands), strict=True):
            self.keep(name, array)

    def held(self, name: str) -> np.ndarray:
        """Return a tensor as it is now."""
        if name in self.tensors:
            return self.tensors[name]
        place, shape = self._code.tensors[name]
        return self.machine.memory.read(place).reshape(shape)

    def keep(self, name: str, array: np.ndarray) -> None:
        """Store a tensor that the machine does not make."""
        if name not in self._code.tensors:
            self.tensors[name] = array
            return
        place, _ = self._code.tensors[name]
        raw = stored(array, place.type)
        self.machine.memory.global_memory[place.address : place.address + raw.size] = raw


def differences(wanted: Tensors, got: Tensors) -> dict[str, int]:
    """Return by tensor how many bytes differ; all tensors that the machine has are compared."""
    assert "out" in got or "out0" in got or len(got) > 8
    found = {}
    for name, array in got.items():
        mine, other = (np.ascontiguousarray(a).view(np.uint8) for a in (array, wanted[name]))
        if mine.shape != other.shape or not np.array_equal(mine, other):
            found[name] = int((mine != other).sum()) if mine.shape == other.shape else -1
    return found
