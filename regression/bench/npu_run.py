"""One lowered network on the machine, with what it took, beside the reference interpreter."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from xdsl.ir import SSAValue

from stepdown.chips import Chip
from stepdown.dialects.op import TensorOp, value_name
from stepdown.dialects.program import Program
from stepdown.npu.codegen import generate, stored
from stepdown.npu.division import divide
from stepdown.runtimes.interpreter import Interpreter, run_op
from stepdown.runtimes.mlir import MlirRunner
from stepdown.sim import Machine, load
from stepdown.sim.timeline import timeline


@dataclass(frozen=True)
class Result:
    """Every tensor of the machine and of the reference by name, as they are held, and what it took."""

    program: Program
    weights: Mapping[SSAValue, np.ndarray]
    tensors: Mapping[str, np.ndarray]
    reference: Mapping[str, np.ndarray]
    host: int
    predicted_s: float
    code_s: float
    load_s: float
    run_s: float
    global_bytes: int

    def by_op(self) -> Iterator[tuple[TensorOp, list[Any], np.ndarray, np.ndarray]]:
        """Yield every op with its operands on the machine, its first result there, and the reference's from these."""
        for op in self.program.ops:
            if op.operands and op.tensor_name in self.tensors and not op.name.endswith(".Input"):
                operands = [self._held(value) for value in op.operands]
                yield op, operands, self.tensors[op.tensor_name], run_op(op, operands)[0]

    def _held(self, value: SSAValue) -> Any:
        if value in self.weights:
            return self.weights[value]
        return None if value.owner.name.endswith(".None") else self.tensors[value_name(value)]  # type: ignore[union-attr]


class Run:
    """The code of a lowered network for a chip.

    Raises:
        ResourceError: a tile does not fit local memory.
    """

    def __init__(self, program: Program, chip: Chip) -> None:
        start = time.perf_counter()
        self.program, self.chip = program, chip
        divide(program, chip)
        self.code = generate(program, chip)
        self._on_host: dict[str, np.ndarray] = {}
        self._code_s = time.perf_counter() - start
        self._interpreter = Interpreter(program)
        self._machine = Machine(chip, self.code.global_bytes, poison=1)

    def run(self, given: Mapping[str, np.ndarray]) -> Result:
        """Return what machine and reference make of an input; host steps go between the parts."""
        arguments = MlirRunner(self.program).arguments(given)
        reference: dict[str, np.ndarray] = {}
        self._interpreter.run(arguments, lambda op, at, array: reference.__setitem__(op.names[at], np.array(array)))
        start = time.perf_counter()
        commands = load(
            self.code.streams, self.chip, self.code.global_bytes, parts=[step.after for step in self.code.host]
        )
        loaded = time.perf_counter()
        self._fill(arguments)
        self._execute(commands)
        ended = time.perf_counter()
        tensors = {name: self._read(name) for name in (*self.code.tensors, *self._on_host)}
        cycles = max((event.end for event in timeline(commands, self.chip)), default=0)
        return Result(
            self.program, self._interpreter.weights, tensors, reference, len(self.code.host),
            cycles * self.chip.seconds_per_cycle, self._code_s, loaded - start, ended - loaded, self.code.global_bytes,
        )  # fmt: skip

    def _fill(self, arguments: Mapping[SSAValue, np.ndarray]) -> None:
        for address, raw in self.code.image.items():
            self._machine.memory.global_memory[address : address + raw.size] = raw
        for op in self.program.input_ops:
            self._put(op.results[0], arguments[op.operands[0]])

    def _execute(self, commands: Any) -> None:
        steps, done = self._machine.steps(commands), dict.fromkeys(commands.commands, 0)
        for step, part in zip(self.code.host, commands.parts, strict=True):
            while done != part:
                done[next(steps)[0]] += 1
            for value, array in zip(step.op.results, run_op(step.op, self._operands(step.op)), strict=True):
                self._put(value, array)
        for _ in steps:
            pass

    def _operands(self, op: TensorOp) -> list[Any]:
        found = []
        for value in op.operands:
            absent = value in self._interpreter.weights or value.owner.name.endswith(".None")  # type: ignore[union-attr]
            found.append(self._interpreter.weights.get(value) if absent else self._read(value_name(value)))
        return found

    def _put(self, value: SSAValue, array: np.ndarray) -> None:
        name = value_name(value)
        if name not in self.code.tensors:
            self._on_host[name] = array
            return
        place, _ = self.code.tensors[name]
        raw = stored(array, place.type)
        self._machine.memory.global_memory[place.address : place.address + raw.size] = raw

    def _read(self, name: str) -> np.ndarray:
        if name in self._on_host:
            return self._on_host[name]
        place, shape = self.code.tensors[name]
        return self._machine.memory.read(place).reshape(shape)
