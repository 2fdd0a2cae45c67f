"""Commands as text, one a line, and back. Fields with their default are left out."""

import math
import re
from collections.abc import Iterable
from dataclasses import MISSING
from typing import Any

from stepdown.errors import InputError
from stepdown.npu.isa.command import INSTRUCTIONS, Command
from stepdown.npu.isa.fields import Field, items
from stepdown.npu.isa.tensor import BYTES, Tensor

_TENSOR = re.compile(r"(local|global):(\w+)\[([\d,]+)\]\(([-\d,]+)\)@0x([0-9a-f]+)(?:\+(\d+))?")
_MNEMONICS = {instruction.mnemonic: instruction for instruction in INSTRUCTIONS.values()}


def disassemble(commands: Iterable[Command]) -> str:
    """Return the text of commands, e.g. `fill wait=2,0,0 target=local:i8[1,4,2,2](4,4,2,1)@0x40+8 value=3`.

    A tensor is memory:type[shape](strides)@address, and +lane where that is not 0.
    """
    return "".join(_line(command) + "\n" for command in commands)


def parse(text: str) -> list[Command]:
    """Return the commands of a text; what follows a # is a comment.

    Raises:
        InputError: a line is no command, or a command breaks a constraint.
    """
    commands: list[Command] = []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split("#")[0].split()
        if words:
            commands.append(_parsed(words, f"line {number}"))
    return commands


def _line(command: Command) -> str:
    words = [command.mnemonic]
    for item in items(type(command)):
        value = getattr(command, item.name)
        if not isinstance(item, Field) or value != item.default:
            words.append(f"{item.name}={_spelled(value)}")
    return " ".join(words)


def _spelled(value: Any) -> str:
    if isinstance(value, Tensor):
        shape, strides = (",".join(map(str, numbers)) for numbers in (value.shape, value.strides))
        lane = f"+{value.lane}" if value.lane else ""
        return f"{value.space}:{value.type}[{shape}]({strides})@{value.address:#x}{lane}"
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _parsed(words: list[str], where: str) -> Command:
    instruction = _MNEMONICS.get(words[0])
    if instruction is None:
        raise InputError(f"no instruction '{words[0][:40]}'", where, f"one of {', '.join(_MNEMONICS)}")
    known = {item.name: item for item in items(instruction)}
    values: dict[str, Any] = {}
    for word in words[1:]:
        name, _, text = word.partition("=")
        if name not in known or name in values:
            raise InputError(f"{words[0]} has no field '{name[:40]}', or has it twice", where)
        item = known[name]
        try:
            values[name] = _field(item, text) if isinstance(item, Field) else _tensor(text)
        except ValueError:
            raise InputError(f"{name} is '{text[:80]}'", where) from None
    return _made(instruction, values, where)


def _made(instruction: type[Command], values: dict[str, Any], where: str) -> Command:
    try:
        command = instruction(**values)
    except TypeError:
        needed = [i.name for i in items(instruction) if not isinstance(i, Field) or i.default is MISSING]
        lacking = [name for name in needed if name not in values]
        raise InputError(f"{instruction.mnemonic} lacks {', '.join(lacking)}", where) from None
    try:
        command.check()
    except InputError as error:
        raise InputError(error.what, f"{where}, {instruction.mnemonic}") from None
    return command


def _field(field: Field, text: str) -> Any:
    if field.choices:
        field.choices.index(text)
        return text
    if field.width == "bool":
        return bool(("False", "True").index(text))
    numbers = tuple(float(t) if field.width[0] == "f" else int(t, 0) for t in text.split(","))
    if len(numbers) != field.count or any(math.isnan(n) for n in numbers):
        raise ValueError(text)
    return numbers if field.count > 1 else numbers[0]


def _tensor(text: str) -> Tensor:
    match = _TENSOR.fullmatch(text)
    if match is None or match[2] not in BYTES:
        raise ValueError(text)
    shape, strides = ([int(n) for n in numbers.split(",")] for numbers in (match[3], match[4]))
    if len(shape) != 4 or len(strides) != 4:
        raise ValueError(text)
    return Tensor(
        space=match[1],
        type=match[2],
        lane=int(match[6] or 0),
        address=int(match[5], 16),
        shape=(shape[0], shape[1], shape[2], shape[3]),
        strides=(strides[0], strides[1], strides[2], strides[3]),
    )
