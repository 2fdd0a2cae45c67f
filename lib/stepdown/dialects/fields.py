"""Attributes of an op, declared once: `strides = Ints(1, 1)` in an op class is its type, default and accessor.

Reading `op.strides` gives a plain Python value; the text of the IR holds MLIR's builtin attributes.
"""

from collections.abc import Sequence
from typing import Any, Generic, TypeVar, overload

from xdsl.dialects.builtin import DenseArrayBase, DictionaryAttr, FloatAttr, IntegerAttr, StringAttr, f64, i1, i64
from xdsl.ir import Attribute, Operation

T = TypeVar("T")


class Field(Generic[T]):
    """One attribute of an op class; without a default it must be given."""

    expected = ""

    def __init__(self, default: T | None = None, choices: Sequence[T] = ()) -> None:
        self.default, self.choices = default, tuple(choices)
        self.name = ""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, op: None, owner: type) -> "Field[T]": ...
    @overload
    def __get__(self, op: Operation, owner: type) -> T: ...
    def __get__(self, op: Operation | None, owner: type) -> "Field[T] | T":
        if op is None:
            return self
        attribute = op.attributes.get(self.name)
        return self.default if attribute is None else self.decode(attribute)  # type: ignore[return-value]

    def __set__(self, op: Operation, value: T) -> None:
        op.attributes[self.name] = self.encode(value)

    def problem(self, attribute: Attribute | None) -> str:
        """Return what is wrong with the attribute of an op, '' when nothing is."""
        if attribute is None:
            return "" if self.default is not None else f"attribute {self.name} is missing, want {self.expected}"
        try:
            value = self.decode(attribute)
        except (AttributeError, TypeError, ValueError):
            return f"attribute {self.name} is {attribute}, want {self.expected}"
        if self.choices and value not in self.choices:
            return f"{self.name} is {value!r}, want one of {', '.join(map(str, self.choices))}"
        return ""

    def encode(self, value: Any) -> Attribute:
        """Return the builtin attribute that holds `value`."""
        raise NotImplementedError

    def decode(self, attribute: Any) -> T:
        """Return the Python value of a builtin attribute."""
        raise NotImplementedError


class Int(Field[int]):
    """A 64-bit integer."""

    expected = "an integer"

    def encode(self, value: Any) -> Attribute:
        """Return `value : i64`."""
        return IntegerAttr(int(value), i64)

    def decode(self, attribute: Any) -> int:
        """Return the integer."""
        return int(attribute.value.data)


class Bool(Field[bool]):
    """true or false."""

    expected = "true or false"

    def encode(self, value: Any) -> Attribute:
        """Return the i1 attribute."""
        return IntegerAttr(int(bool(value)), i1)

    def decode(self, attribute: Any) -> bool:
        """Return the truth value."""
        return bool(attribute.value.data)


class Float(Field[float]):
    """A 64-bit float."""

    expected = "a float"

    def encode(self, value: Any) -> Attribute:
        """Return `value : f64`."""
        return FloatAttr(float(value), f64)

    def decode(self, attribute: Any) -> float:
        """Return the float."""
        if not isinstance(attribute, FloatAttr):
            raise TypeError("not a float")
        return float(attribute.value.data)


class Str(Field[str]):
    """A string."""

    expected = "a string"

    def encode(self, value: Any) -> Attribute:
        """Return the string attribute."""
        return StringAttr(str(value))

    def decode(self, attribute: Any) -> str:
        """Return the string."""
        return str(attribute.data) if isinstance(attribute, StringAttr) else str(bytes(attribute), "ascii")


class Ints(Field[tuple[int, ...]]):
    """A list of 64-bit integers."""

    expected = "array<i64: …>"

    def encode(self, value: Any) -> Attribute:
        """Return `array<i64: …>`."""
        return DenseArrayBase.from_list(i64, [int(v) for v in value])

    def decode(self, attribute: Any) -> tuple[int, ...]:
        """Return the integers."""
        if attribute.elt_type != i64:
            raise TypeError("not 64-bit integers")
        return tuple(attribute.get_values())


class Floats(Field[tuple[float, ...]]):
    """A list of 64-bit floats."""

    expected = "array<f64: …>"

    def encode(self, value: Any) -> Attribute:
        """Return `array<f64: …>`."""
        return DenseArrayBase.from_list(f64, [float(v) for v in value])

    def decode(self, attribute: Any) -> tuple[float, ...]:
        """Return the floats."""
        if attribute.elt_type != f64:
            raise TypeError("not 64-bit floats")
        return tuple(attribute.get_values())


class IntOrInts(Field[tuple[int, ...]]):
    """A 64-bit integer for an op with one result, a list of them for one with several."""

    expected = "an integer, or array<i64: …>"

    def encode(self, value: Any) -> Attribute:
        """Return `value : i64` of one integer, else `array<i64: …>`."""
        return Int().encode(value[0]) if len(value) == 1 else Ints().encode(value)

    def decode(self, attribute: Any) -> tuple[int, ...]:
        """Return the integers."""
        return (Int().decode(attribute),) if isinstance(attribute, IntegerAttr) else Ints().decode(attribute)


class Texts(Field[dict[str, str]]):
    """Strings by name."""

    expected = '{name = "…", …}'

    def encode(self, value: Any) -> Attribute:
        """Return the dictionary attribute, its names sorted."""
        return DictionaryAttr({name: StringAttr(text) for name, text in sorted(value.items())})

    def decode(self, attribute: Any) -> dict[str, str]:
        """Return the strings by name."""
        return {name: Str().decode(text) for name, text in attribute.data.items()}


def named(**fields: Field[Any]) -> dict[str, Field[Any]]:
    """Return fields by name that are no class attributes."""
    for name, field in fields.items():
        field.name = name
    return fields
