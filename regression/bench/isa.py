"""docs/isa.md: the instruction set, written from the table that encodes, decodes and disassembles it."""

import inspect
import re
from collections.abc import Iterator
from pathlib import Path

from stepdown.npu.isa import INSTRUCTIONS, Command, Tensor
from stepdown.npu.isa.code import HEADER, size_bytes
from stepdown.npu.isa.fields import Field, Record, items, packing

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "isa.md"
COMMAND = "python regression/bench/isa.py"
INTRODUCTION = f"""# Instruction set

Written by `{COMMAND}` from `lib/stepdown/npu/isa`; a test compares it. It is our own: no
vendor's silicon or firmware reads it. How engines, memories and synchronisation work together is told in
[design.md](design.md#the-npu).

A stream is the commands of one engine, one after the other. A command is a header of {HEADER.size} bytes (opcode u8, a
zero u8, size of the command in bytes u16) and the fields in the order of its table, little-endian, without gaps. A word
is stored as its number (u8), counted from 0 in the order given here. A decoder refuses unknown opcodes, wrong sizes,
words out of range, NaN, and every command that breaks a constraint (C1, I1, …).

As text a command is its mnemonic and `field=value` for every field that differs from its default:

    conv wait=0,2,0 input=local:i8[1,3,9,9](81,81,9,1)@0x0 …

A tensor is `memory:type[shape](strides)@address`, and `+lane` where that is not 0.
"""


def document() -> str:
    """Return the whole text."""
    ordered = [INSTRUCTIONS[opcode] for opcode in sorted(INSTRUCTIONS)]
    sections = [INTRODUCTION, _operand(), *(_section(instruction) for instruction in ordered)]
    return "\n".join(sections)


def _operand() -> str:
    size = packing(Tensor).size
    return f"## Tensors\n\n{size} bytes.\n\n{_prose(Tensor)}\n\n{_rows(Tensor)}"


def _section(instruction: type[Command]) -> str:
    head = f"## {instruction.mnemonic}\n\nOpcode {instruction.opcode:#04x}, engine {instruction.engine}, "
    return f"{head}{size_bytes(instruction)} bytes.\n\n{_prose(instruction)}\n\n{_rows(instruction)}"


def _prose(record: type[Record]) -> str:
    """Return what the class says, and the constraints that it inherits, one a line."""
    text, *constraints = _split(inspect.getdoc(record) or "")
    for base in record.__mro__[1:]:
        constraints += _split(base.__doc__ or "")[1:]
    listed = "\n".join(f"- {line}" for line in dict.fromkeys(constraints))
    return f"{text}\n\n{listed}" if listed else text


def _split(text: str) -> list[str]:
    """Return the prose and then the constraints of a docstring."""
    lines = [line.strip() for line in text.splitlines()]
    constraints = [line for line in lines if re.match(r"[A-Z]\d.*:", line)]
    return ["\n".join(line for line in lines if line not in constraints).strip(), *constraints]


def _rows(record: type[Record]) -> str:
    head = "| field | bytes | type | unit | default | meaning |\n|---|---|---|---|---|---|\n"
    return head + "".join(f"| {' | '.join(row)} |\n" for row in _cells(record))


def _cells(record: type[Record]) -> Iterator[tuple[str, ...]]:
    for item in items(record):
        if not isinstance(item, Field):
            yield f"`{item.name}`", str(packing(item.record).size), "tensor", "", "", item.meaning
            continue
        default = item.default if isinstance(item.default, bool | int | float | str | tuple) else ""
        shown = ", ".join(map(str, default)) if isinstance(default, tuple) else str(default)
        width = "word" if item.choices else item.width if item.count == 1 else f"{item.count} × {item.width}"
        meaning = f"{item.meaning}: {', '.join(item.choices)}" if item.choices else item.meaning
        yield f"`{item.name}`", str(item.size_bytes), width, item.unit, shown, meaning


if __name__ == "__main__":
    DOCUMENT.write_text(document(), encoding="utf-8")
