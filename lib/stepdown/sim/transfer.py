"""What the DMA engine does: bits are moved as they are."""

import numpy as np

from stepdown.errors import InputError
from stepdown.npu.isa import Fill, Gather, Move
from stepdown.sim.memory import Memory


def move(memory: Memory, command: Move) -> None:
    """Execute a copy."""
    bits = memory.read_bits(command.source)
    if command.order != "nchw":
        bits = bits.transpose(["nchw".index(letter) for letter in command.order])
    memory.write_bits(command.target, bits.reshape(command.target.shape))


def fill(memory: Memory, command: Fill) -> None:
    """Set every element."""
    memory.write_bits(command.target, np.array(command.value))


def gather(memory: Memory, command: Gather) -> None:
    """Pick rows by number.

    Raises:
        InputError: there is no such row.
    """
    index = memory.read(command.index).reshape(-1)
    rows = command.source.shape[2]
    wrong = index[(index < 0) | (index >= rows)]
    if wrong.size:
        raise InputError(f"row {wrong[0]} is asked for; the source has {rows}")
    memory.write_bits(command.target, memory.read_bits(command.source)[:, :, index])
