"""Runs code on the machine, and the network on the reference interpreter beside it."""

from collections.abc import Mapping

import numpy as np

from stepdown.chips import Chip
from stepdown.dialects.op import TensorOp, value_name
from stepdown.dialects.program import Program
from stepdown.npu.codegen import generate, stored
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

    With `host`, ops without commands are executed by the reference, from and to the machine's memory.
    """
    arguments = MlirRunner(program).arguments(given)
    wanted: Tensors = {}
    reference = Interpreter(program)
    reference.run(arguments, lambda op, at, array: wanted.__setitem__(op.names[at], np.array(array)))
    code = generate(program, chip, host=host)
    machine = Machine(chip, code.global_bytes, poison=poison)

    def put(address: int, raw: np.ndarray) -> None:
        machine.memory.global_memory[address : address + raw.size] = raw

    def operands(op: TensorOp) -> list[np.ndarray | None]:
        found = []
        for value in op.operands:
            place, shape = code.tensors.get(value_name(value), (None, ())) if value.owner.results else (None, ())
            found.append(reference.weights.get(value) if place is None else machine.memory.read(place).reshape(shape))
        return found

    for address, raw in code.image.items():
        put(address, raw)
    for op in program.input_ops:
        place, _ = code.tensors[value_name(op.results[0])]
        put(place.address, stored(arguments[op.operands[0]], place.type))
    program_of_machine = load(code.streams, chip, code.global_bytes, parts=[step.after for step in code.host])
    steps = machine.steps(program_of_machine, shuffle=shuffle)
    done = dict.fromkeys(program_of_machine.commands, 0)
    for step, part in zip(code.host, program_of_machine.parts, strict=True):
        while done != part:
            done[next(steps)[0]] += 1
        for value, array in zip(step.op.results, run_op(step.op, operands(step.op)), strict=True):
            place, _ = code.tensors[value_name(value)]
            put(place.address, stored(array, place.type))
    for _ in steps:
        pass
    got = {name: machine.memory.read(place).reshape(shape) for name, (place, shape) in code.tensors.items()}
    return wanted, got


def differences(wanted: Tensors, got: Tensors) -> dict[str, int]:
    """Return by tensor how many bytes differ; all tensors that the machine has are compared."""
    assert "out" in got or "out0" in got or len(got) > 8
    found = {}
    for name, array in got.items():
        mine, other = (np.ascontiguousarray(a).view(np.uint8) for a in (array, wanted[name]))
        if mine.shape != other.shape or not np.array_equal(mine, other):
            found[name] = int((mine != other).sum()) if mine.shape == other.shape else -1
    return found
