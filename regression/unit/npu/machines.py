"""Runs code on the machine, and the network on the reference interpreter beside it."""

from collections.abc import Mapping

import numpy as np

from stepdown.chips import Chip
from stepdown.dialects.op import TensorOp, value_name
from stepdown.dialects.program import Program
from stepdown.dialects.types import shape_of
from stepdown.npu.code import Code, LocalPart
from stepdown.npu.codegen import generate
from stepdown.npu.division import divide
from stepdown.npu.groups.fit import Choice
from stepdown.npu.groups.layers import root_of
from stepdown.npu.images import stored
from stepdown.npu.isa import COMPUTE
from stepdown.npu.subnets import subnet_kinds
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
    choose: Choice | None = None,
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
    code = generate(program, chip, choose)
    beside = _Beside(code, Machine(chip, code.global_bytes, poison=poison), reference)
    for op in program.input_ops:
        beside.keep(op.tensor_name, arguments[op.operands[0]])
    program_of_machine = load(code.streams, chip, code.global_bytes, parts=[step.after for step in code.host])
    steps = beside.machine.steps(program_of_machine, shuffle=shuffle)
    done = dict.fromkeys(program_of_machine.commands, 0)
    for step, part in zip(code.host, program_of_machine.parts, strict=True):
        while done != part:
            engine, index = next(steps)
            done[engine] += 1
            beside.ended(engine, index)
        beside.execute(step.op)
    for engine, index in steps:
        beside.ended(engine, index)
    assert set(code.tensors) <= set(beside.tensors)
    return wanted, beside.tensors | beside.captured()


def _made(code: Code, roots: Mapping[str, str]) -> dict[tuple[str, int], list[str]]:
    """Return which tensors in global memory are whole once an engine has ended so many commands.

    They are stored by the last transfers of the op that makes them.
    """
    ends: dict[str, tuple[str, int]] = {}
    for step in code.steps:
        made = code.layers[step.layer]
        stores = [(engine, first + count) for engine, first, count in step.ranges if engine != COMPUTE]
        ends[made] = max([*stores, ends.get(made, ("", 0))])
    found: dict[tuple[str, int], list[str]] = {}
    for name, maker in roots.items():
        if maker in ends:
            found.setdefault(ends[maker], []).append(name)
    return found


def _makers(code: Code, program: Program) -> dict[str, str]:
    """Return, by tensor in global memory, the first tensor of the op that makes its bytes: a reshape makes none."""
    kinds = subnet_kinds(program)
    values = [value for op in program.ops for value in op.results if value_name(value) in code.tensors]
    return {value_name(value): root_of(value, kinds).owner.names[0] for value in values}


class _Beside:
    """The host beside a machine: its memory holds what commands read or make, `tensors` the rest."""

    def __init__(self, code: Code, machine: Machine, reference: Interpreter) -> None:
        self.machine = machine
        self.tensors: Tensors = {}
        self._code, self._reference = code, reference
        for address, raw in code.image.items():
            machine.memory.global_memory[address : address + raw.size] = raw
        self._makers = _makers(code, reference.program)
        self._made = _made(code, self._makers)
        self._parts: dict[int, list[LocalPart]] = {}
        for part in code.local:
            ends = [first + count for engine, first, count in code.steps[part.made].ranges if engine == COMPUTE]
            self._parts.setdefault(max(ends) - 1, []).append(part)
        self._local: dict[str, tuple[np.ndarray, np.ndarray]] = {}

    def ended(self, engine: str, index: int) -> None:
        """Take tensors as soon as they are made: memory is used again; of those in local memory alone, the parts."""
        self.tensors |= {name: np.array(self.held(name)) for name in self._made.get((engine, index + 1), ())}
        for part in self._parts.get(index, ()) if engine == COMPUTE else ():
            array = np.asarray(self.machine.memory.read(part.place))
            name = value_name(part.value)
            whole, missing = self._local.setdefault(
                name, (np.zeros(part.whole, array.dtype), np.ones(part.whole, bool))
            )
            box = tuple(slice(*span) for span in part.region.spans)
            assert missing[box].all() or whole[box][~missing[box]].tobytes() == array[~missing[box]].tobytes()
            whole[box], missing[box] = array, False

    def captured(self) -> Tensors:
        """Return the tensors that were taken; all of each has been there."""
        assert not any(missing.any() for _, missing in self._local.values())
        shapes = {value_name(part.value): shape_of(part.value) for parts in self._parts.values() for part in parts}
        return {name: whole.reshape(shapes[name]) for name, (whole, _) in self._local.items()}

    def execute(self, op: TensorOp) -> None:
        """Execute an op of the host."""
        operands = []
        for value in op.operands:
            constant = value in self._reference.weights or value.owner.name.endswith(".None")
            operands.append(self._reference.weights.get(value) if constant else self.held(value_name(value)))
        for name, array in zip(op.names, run_op(op, operands), strict=True):
            self.keep(name, array)

    def held(self, name: str) -> np.ndarray:
        """Return a tensor as it was when it was made, or lies there."""
        if name in self.tensors:
            return self.tensors[name]
        place, shape = self._code.tensors[name]
        return self.machine.memory.read(place).reshape(shape)

    def keep(self, name: str, array: np.ndarray) -> None:
        """Store a tensor that the machine does not make."""
        self.tensors[name] = array
        if name not in self._code.tensors:
            return
        place, _ = self._code.tensors[name]
        raw = stored(array, place.type)
        self.machine.memory.global_memory[place.address : place.address + raw.size] = raw
        same = [other for other, maker in self._makers.items() if maker == name != other]
        self.tensors |= {other: array.reshape(self._code.tensors[other][1]) for other in same}


def differences(wanted: Tensors, got: Tensors) -> dict[str, int]:
    """Return by tensor how many bytes differ; all tensors that the machine has are compared."""
    assert "out" in got or "out0" in got or len(got) > 8
    found = {}
    for name, array in got.items():
        mine, other = (np.ascontiguousarray(a).view(np.uint8) for a in (array, wanted[name]))
        if mine.shape != other.shape or not np.array_equal(mine, other):
            found[name] = int((mine != other).sum()) if mine.shape == other.shape else -1
    return found
