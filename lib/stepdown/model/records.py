"""Dataclasses to and from what JSON has, by the types of their fields."""

import types
import typing
from collections.abc import Callable
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from typing import Any, TypeVar

T = TypeVar("T")
MAX_INTEGER = 1 << 53
"""Beyond it readers in other languages may not see the same number."""

_Reader = Callable[[Any], Any]
_NAMES = {str: "text", int: "an integer", float: "a number", bool: "true or false", types.NoneType: "null"}


def plain(value: Any) -> Any:
    """Return a dataclass, and all in it, as dicts and lists; fields that have their default are left out."""
    if type(value) in (str, int):
        return value
    if isinstance(value, tuple):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if is_dataclass(value):
        kind: Any = type(value)
        held = ((name, getattr(value, name), default) for name, default in _defaults(kind))
        return {name: plain(item) for name, item, default in held if item != default}
    return value


@cache
def _defaults(kind: Any) -> tuple[tuple[str, Any], ...]:
    return tuple((field.name, _default(field)) for field in fields(kind))


def _default(field: Any) -> Any:
    return field.default if field.default_factory is MISSING else field.default_factory()


class _Wrong(ValueError):
    """What is wrong, and in which field of which; the path grows while the error rises."""

    def __init__(self, what: str, path: str = "") -> None:
        super().__init__(f"{path.lstrip('.') or 'it'} {what}")
        self.what, self.path = what, path

    def inside(self, place: str) -> "_Wrong":
        """Return the same error, seen from outside of `place`."""
        return _Wrong(self.what, f"{place}{self.path}")


def record(kind: type[T], value: Any) -> T:
    """Return the dataclass `kind` that `value` (from JSON) says.

    Raises:
        ValueError: a field is missing, unknown, or of another type; its place is named.
    """
    anything: Any = kind
    return typing.cast(T, _reader(anything)(value))


@cache
def _reader(hint: Any) -> _Reader:
    """Return what reads a value of the type `hint`."""
    if is_dataclass(hint):
        return _record_reader(hint)
    make = _MAKERS.get(typing.get_origin(hint))
    return make(hint) if make else _scalar_reader(hint)


def _record_reader(kind: Any) -> _Reader:
    readers = {name: _reader(hint) for name, hint in typing.get_type_hints(kind).items()}
    required = {name for name, default in _defaults(kind) if default is MISSING}

    def read(value: Any) -> Any:
        if type(value) is not dict:
            raise _Wrong("is no object")
        for problem, names in (("lacks", required - value.keys()), ("has the unknown", value.keys() - readers.keys())):
            if names:
                raise _Wrong(f"{problem} '{min(names)[:80]}'")
        held = {}
        for name, item in value.items():
            try:
                held[name] = readers[name](item)
            except _Wrong as error:
                raise error.inside(f".{name}") from None
        return kind(**held)

    return read


def _scalar_reader(kind: Any) -> _Reader:
    def read(value: Any) -> Any:
        if type(value) is not kind and not (kind is float and type(value) is int):
            raise _Wrong(f"is {_shown(value)}, want {_NAMES[kind]}")
        if type(value) is int and abs(value) > MAX_INTEGER:
            raise _Wrong("is beyond 2^53")
        if kind is str:
            _check_text(value)
        return float(value) if kind is float else value

    return read


def _check_text(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise _Wrong("holds half a character") from None


def _tuple_reader(hint: Any) -> _Reader:
    item_reader = _reader(typing.get_args(hint)[0])

    def read(value: Any) -> Any:
        if type(value) is not list:
            raise _Wrong(f"is {_shown(value)}, want a list")
        held: list[Any] = []
        try:
            held.extend(map(item_reader, value))
        except _Wrong as error:
            raise error.inside(f"[{len(held)}]") from None
        return tuple(held)

    return read


def _dict_reader(hint: Any) -> _Reader:
    item_reader = _reader(typing.get_args(hint)[1])

    def read(value: Any) -> Any:
        if type(value) is not dict:
            raise _Wrong(f"is {_shown(value)}, want an object")
        held = {}
        for key, item in value.items():
            try:
                _check_text(key)
                held[key] = item_reader(item)
            except _Wrong as error:
                raise error.inside(f".{key[:80]}") from None
        return held

    return read


def _union_reader(hint: Any) -> _Reader:
    """Return what reads a value as the one of some types that its own type in JSON is."""
    options = typing.get_args(hint)
    readers = {list if typing.get_origin(option) is tuple else option: _reader(option) for option in options}
    if float in readers and int not in readers:
        readers[int] = readers[float]
    wanted = " or ".join(_NAMES.get(option, "a list") for option in options)

    def read(value: Any) -> Any:
        if type(value) not in readers:
            raise _Wrong(f"is {_shown(value)}, want {wanted}")
        return readers[type(value)](value)

    return read


def _shown(value: Any) -> str:
    return "an object" if type(value) is dict else "a list" if type(value) is list else str(value)[:40]


_MAKERS: dict[Any, Callable[[Any], _Reader]] = {
    tuple: _tuple_reader, dict: _dict_reader, typing.Union: _union_reader, types.UnionType: _union_reader,
}  # fmt: skip
