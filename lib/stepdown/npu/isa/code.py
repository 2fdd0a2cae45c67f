"""Commands as bytes: a header of 4 bytes (opcode u8, a zero u8, size in bytes u16), then the fields in order."""

import struct
from collections.abc import Iterable, Iterator

from stepdown.errors import InputError
from stepdown.npu.isa import dma, multiply, vector  # noqa: F401  # they fill the table
from stepdown.npu.isa.command import ENGINES, INSTRUCTIONS, Command, runs_on
from stepdown.npu.isa.fields import packing

HEADER = struct.Struct("<BBH")


def size_bytes(instruction: type[Command]) -> int:
    """Return the bytes of a command with its header."""
    return HEADER.size + packing(instruction).size


def encode(commands: Iterable[Command]) -> bytes:
    """Return the bytes of a stream.

    Raises:
        InputError: a command breaks a constraint, or a number does not fit its field.
    """
    return b"".join(_encoded(command, index) for index, command in enumerate(commands))


def decode(stream: bytes, engine: str) -> list[Command]:
    """Return the commands of an engine's stream; every constraint of every command holds.

    Raises:
        InputError: the bytes are no such stream; names the command.
    """
    return list(_decoded(stream, engine))


def place(command: Command, index: int, engine: str = "") -> str:
    """Return what names a command in messages; without an engine the one that its instruction names."""
    return f"command {index} of {engine or command.engine} ({command.mnemonic}, layer {command.layer})"


def _encoded(command: Command, index: int) -> bytes:
    try:
        command.check()
        fields = packing(type(command)).pack(*command.numbers())
    except InputError as error:
        raise InputError(error.what, place(command, index)) from None
    except (struct.error, ValueError, OverflowError) as error:
        raise InputError(f"a value does not fit its field ({error})", place(command, index)) from None
    return HEADER.pack(command.opcode, 0, HEADER.size + len(fields)) + fields


def _decoded(stream: bytes, engine: str) -> Iterator[Command]:
    offset, index = 0, 0
    while offset < len(stream):
        where = f"command {index} of {engine} (byte {offset})"
        instruction, size = _header(stream, offset, engine, where)
        numbers = packing(instruction).unpack_from(stream, offset + HEADER.size)
        try:
            command = instruction.take(iter(numbers))
            command.check()
        except InputError as error:
            raise InputError(error.what, f"{where}, {instruction.mnemonic}") from None
        yield command
        offset, index = offset + size, index + 1


def _header(stream: bytes, offset: int, engine: str, where: str) -> tuple[type[Command], int]:
    """Return the instruction at an offset and its size."""
    if engine not in ENGINES:
        raise InputError(f"no engine '{engine}'", fix=f"one of {', '.join(ENGINES)}")
    if offset + HEADER.size > len(stream):
        raise InputError("the stream ends within a header", where)
    opcode, zero, size = HEADER.unpack_from(stream, offset)
    instruction = INSTRUCTIONS.get(opcode)
    if instruction is None or not runs_on(instruction, engine) or zero:
        raise InputError(f"no instruction {opcode:#04x} of this engine", where)
    if size != size_bytes(instruction) or offset + size > len(stream):
        raise InputError(f"{instruction.mnemonic} has {size} bytes, want {size_bytes(instruction)}", where)
    return instruction, size
