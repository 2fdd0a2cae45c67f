"""The machine: executes a program on its memories."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from stepdown.chips import Chip
from stepdown.errors import InputError
from stepdown.npu.cost import local_memory
from stepdown.npu.isa import (
    Command,
    Conv,
    Convert,
    Depthwise,
    Eltwise,
    Fill,
    Gather,
    Move,
    Pool,
    Rescale,
    Table,
)
from stepdown.npu.isa.code import place
from stepdown.sim import multiply, transfer, vectors
from stepdown.sim.memory import Memory
from stepdown.sim.order import Choice, first, order
from stepdown.sim.program import Program

_EXECUTE: Mapping[type[Command], Callable[[Memory, Any], None]] = {
    Conv: multiply.multiply,
    Depthwise: multiply.multiply,
    Pool: vectors.pool,
    Eltwise: vectors.eltwise,
    Rescale: vectors.rescale,
    Convert: vectors.convert,
    Table: vectors.table,
    Move: transfer.move,
    Fill: transfer.fill,
    Gather: transfer.gather,
}


class Machine:
    """A chip with its memories; `poison` is a seed that fills them with noise, so that nothing is 0 by chance."""

    def __init__(self, chip: Chip, global_bytes: int, *, poison: int | None = None) -> None:
        self.chip = chip
        self.memory = Memory(local_memory(chip), global_bytes, poison)

    def run(self, program: Program, *, shuffle: int | None = None) -> None:
        """Execute a program: each engine as far as its waits allow, or with a seed in a random order that they allow.

        Raises:
            InputError: a command met a value that it cannot work with; names it.
        """
        for _ in self.steps(program, shuffle=shuffle):
            pass

    def steps(self, program: Program, *, shuffle: int | None = None) -> Iterator[tuple[str, int]]:
        """Execute a program command by command; yields engine and number of each one that has ended.

        Raises:
            InputError: a command met a value that it cannot work with; names it.
        """
        for engine, index in order(program.commands, program.parts, _choice(shuffle)):
            self.execute(program.commands[engine][index], index, engine)
            yield engine, index

    def execute(self, command: Command, index: int = 0, engine: str = "") -> None:
        """Execute one command.

        Raises:
            InputError: it met a value that it cannot work with; names it.
        """
        try:
            with np.errstate(all="ignore"):
                _EXECUTE[type(command)](self.memory, command)
        except InputError as error:
            raise InputError(error.what, place(command, index, engine)) from None


def _choice(seed: int | None) -> Choice:
    if seed is None:
        return first
    random = np.random.default_rng(seed)
    return lambda ready: ready[random.integers(len(ready))]
