"""What a command is made of: fields of fixed width, little-endian, one after the other without gaps.

A record is a frozen dataclass whose fields say their width, unit and meaning: this one table encodes, decodes,
disassembles, parses and documents.
"""

import dataclasses
import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, Self, get_type_hints

from stepdown.errors import InputError

_LETTERS = {"u8": "B", "u16": "H", "u32": "I", "u64": "Q", "i16": "h", "i32": "i", "f32": "f", "f64": "d", "bool": "B"}


@dataclass(frozen=True)
class Field:
    """One field of a record: `count` values of a `width` (u8 … f64, bool); with `choices` the number of a word."""

    name: str
    width: str
    count: int
    unit: str
    meaning: str
    default: Any
    choices: tuple[str, ...] = ()

    @property
    def format(self) -> str:
        """The field as `struct` spells it."""
        return f"{self.count if self.count > 1 else ''}{_LETTERS[self.width]}"

    @property
    def size_bytes(self) -> int:
        """The number of bytes of the encoded field."""
        return struct.calcsize(f"<{self.format}")

    def encode(self, value: Any) -> tuple[Any, ...]:
        """Return the numbers that stand for a value."""
        if self.choices:
            return (self.choices.index(value),)
        return value if self.count > 1 else (value,)

    def decode(self, numbers: tuple[Any, ...]) -> Any:
        """Return the value that numbers stand for.

        Raises:
            InputError: none does.
        """
        if self.choices:
            if numbers[0] >= len(self.choices):
                raise InputError(f"{self.name} is {numbers[0]}, want less than {len(self.choices)}")
            return self.choices[numbers[0]]
        if self.width == "bool":
            if numbers[0] > 1:
                raise InputError(f"{self.name} is {numbers[0]}, want 0 or 1")
            return bool(numbers[0])
        if any(isinstance(n, float) and math.isnan(n) for n in numbers):
            raise InputError(f"{self.name} is not a number")
        return numbers if self.count > 1 else numbers[0]


def number(width: str, unit: str, meaning: str, default: Any = dataclasses.MISSING, count: int = 1) -> Any:
    """Declare a field of `count` numbers; without a default it must be given."""
    return dataclasses.field(
        default=default, metadata={"width": width, "unit": unit, "meaning": meaning, "count": count}
    )


def word(meaning: str, *choices: str, default: Any = dataclasses.MISSING) -> Any:
    """Declare a field that holds one of some words, encoded as its number (u8)."""
    return dataclasses.field(default=default, metadata={"width": "u8", "meaning": meaning, "choices": choices})


def flag(meaning: str) -> Any:
    """Declare a field that is true or false, false by default."""
    return dataclasses.field(default=False, metadata={"width": "bool", "meaning": meaning})


def part(meaning: str) -> Any:
    """Declare a field that is a record of its own."""
    return dataclasses.field(metadata={"meaning": meaning})


class Record:
    """A frozen dataclass of fields and records."""

    def numbers(self) -> Iterator[Any]:
        """Yield all numbers, in the order in which they are encoded."""
        for item in items(type(self)):
            value = getattr(self, item.name)
            yield from item.encode(value) if isinstance(item, Field) else value.numbers()

    @classmethod
    def take(cls, numbers: Iterator[Any]) -> Self:
        """Return the record that the next numbers stand for.

        Raises:
            InputError: they stand for none.
        """
        values: dict[str, Any] = {}
        for item in items(cls):
            if isinstance(item, Field):
                values[item.name] = item.decode(
                    tuple(next(numbers) for _ in range(item.count if not item.choices else 1))
                )
            else:
                values[item.name] = item.record.take(numbers)
        return cls(**values)


@dataclass(frozen=True)
class Part:
    """A record within a record."""

    name: str
    record: type[Record]
    meaning: str


def items(record: type[Record]) -> tuple[Field | Part, ...]:
    """Return the fields and parts of a record in order."""
    key: Any = record  # a class that mypy takes for unhashable
    return _items(key)


@cache
def _items(record: Any) -> tuple[Field | Part, ...]:
    hints = get_type_hints(record)
    return tuple(_item(field, hints[field.name]) for field in dataclasses.fields(record))


def _item(field: "dataclasses.Field[Any]", hint: Any) -> Field | Part:
    told = field.metadata
    if "width" not in told:
        return Part(field.name, hint, told["meaning"])
    choices = told.get("choices", ())
    return Field(
        field.name, told["width"], told.get("count", 1), told.get("unit", ""), told["meaning"], field.default, choices
    )


def packing(record: type[Record]) -> struct.Struct:
    """Return how a whole record is packed."""
    key: Any = record
    return _packing(key)


@cache
def _packing(record: Any) -> struct.Struct:
    return struct.Struct("<" + _format(record))


def _format(record: type[Record]) -> str:
    return "".join(item.format if isinstance(item, Field) else _format(item.record) for item in items(record))
