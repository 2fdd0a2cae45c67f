"""Dataclasses to and from what JSON has, by the types of their fields."""

import types
import typing
from collections.abc import Callable, Hashable
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from typing import Any, TypeVar

T = TypeVar("T")
_Reader = Callable[[Any, Any, str], Any]
MAX_INTEGER = 1 << 53
"""Beyond it readers in other languages may not see the same number."""

_NAMES = {str: "text", int: "an integer", float: "a number", bool: "true or false", types.NoneType: "null"}


def plain(value: Any) -> Any:
    """Return a dataclass, and all in it, as dicts and lists; fields that have their default are left out."""
    if is_dataclass(value):
        held = ((field, getattr(value, field.name)) for field in fields(value))
        return {field.name: plain(item) for field, item in held if item != _default(field)}
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, tuple) else value


def record(kind: type[T], value: Any, where: str = "") -> T:
    """Return the dataclass `kind` that `value` (from JSON) says; `where` is its place, for messages.

    Raises:
        ValueError: a field is missing, unknown, or of another type.
    """
    if type(value) is not dict:
        raise ValueError(f"{where or 'it'} is no object")
    hints, required = _hints(typing.cast(Hashable, kind))
    for problem, names in (("lacks", required - set(value)), ("has the unknown", set(value) - set(hints))):
        if names:
            raise ValueError(f"{where or 'it'} {problem} '{min(names)[:80]}'")
    return kind(**{name: _read(hints[name], item, f"{where}.{name}".lstrip(".")) for name, item in value.items()})


@cache
def _hints(kind: Any) -> tuple[dict[str, Any], set[str]]:
    """Return the types of the fields, and the names of those without a default."""
    hints = typing.get_type_hints(kind)
    return hints, {field.name for field in fields(kind) if _default(field) is MISSING}


def _default(field: Any) -> Any:
    return field.default if field.default_factory is MISSING else field.default_factory()


def _read(hint: Any, value: Any, where: str) -> Any:
    """Return `value` as the type `hint` wants it."""
    by_default: _Reader = record if is_dataclass(hint) else _scalar
    return _READERS.get(typing.get_origin(hint), by_default)(hint, value, where)


def _scalar(kind: Any, value: Any, where: str) -> Any:
    if type(value) is not kind and not (kind is float and type(value) is int):
        raise ValueError(f"{where} is {_shown(value)}, want {_NAMES[kind]}")
    if type(value) is int and abs(value) > MAX_INTEGER:
        raise ValueError(f"{where} is beyond 2^53")
    if kind is str:
        _check_text(value, where)
    return kind(value) if kind is float else value


def _check_text(text: str, where: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{where} holds half a character") from None


def _tuple(hint: Any, value: Any, where: str) -> Any:
    if type(value) is not list:
        raise ValueError(f"{where} is {_shown(value)}, want a list")
    item = typing.get_args(hint)[0]
    return tuple(_read(item, held, f"{where}[{index}]") for index, held in enumerate(value))


def _dict(hint: Any, value: Any, where: str) -> Any:
    if type(value) is not dict:
        raise ValueError(f"{where} is {_shown(value)}, want an object")
    for key in value:
        _check_text(key, where)
    item = typing.get_args(hint)[1]
    return {key: _read(item, held, f"{where}.{key[:80]}") for key, held in value.items()}


def _union(hint: Any, value: Any, where: str) -> Any:
    """Return `value` as the first of some types that it can be."""
    options = typing.get_args(hint)
    for option in options:
        if type(value) is (typing.get_origin(option) or option) or (_is_tuple(option) and type(value) is list):
            return _read(option, value, where)
    if float in options and type(value) is int:
        return _scalar(float, value, where)
    raise ValueError(f"{where} is {_shown(value)}, want {' or '.join(map(_title, options))}")


def _is_tuple(option: Any) -> bool:
    return typing.get_origin(option) is tuple


def _title(option: Any) -> str:
    return _NAMES.get(option, "a list")


def _shown(value: Any) -> str:
    return "an object" if type(value) is dict else "a list" if type(value) is list else str(value)[:40]


_READERS: dict[Any, _Reader] = {
    tuple: _tuple, dict: _dict, typing.Union: _union, types.UnionType: _union,
}  # fmt: skip
