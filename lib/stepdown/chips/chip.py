"""The description of a machine, read from its TOML."""

import os
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from stepdown.errors import InputError
from stepdown.files.npz import closest

_FOLDER = Path(__file__).parent
MODES = ("F32", "F16", "BF16", "INT8")
_CHOICES = {
    "kind": ("npu", "cpu", "c"),
    "engine": ("lanes", "systolic", "cpu"),
    "profile": ("tosa", "float_scale"),
}
# What a fact must be, beside its choices.
_SORTS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "name": (lambda value: isinstance(value, str), "text"),
    "modes": (lambda value: isinstance(value, list) and all(isinstance(m, str) for m in value), "a list of texts"),
    "asymmetric": (lambda value: isinstance(value, bool), "true or false"),
    "sources": (
        lambda value: isinstance(value, dict) and all(isinstance(s, str) for s in value.values()), "a table of texts",
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Chip:
    """A machine as data.

    kind: npu, cpu or c; engine: how it multiplies; profile: its integer arithmetic (see `stepdown.numerics`);
    modes: the types it computes in; asymmetric: whether activations may have a zero point; sources: where each fact is
    published, or the word «assumption» with its reason.
    """

    name: str
    kind: str
    engine: str
    profile: str
    modes: tuple[str, ...]
    asymmetric: bool
    sources: dict[str, str]


def chip_names() -> list[str]:
    """Return the names of the chips that come with the package."""
    return sorted(path.stem for path in _FOLDER.glob("*.toml"))


def load_chip(name: str | os.PathLike[str]) -> Chip:
    """Return a chip of the package by name, or any chip by the path of its TOML.

    Raises:
        InputError: no such chip; the file is malformed, lacks a fact, or has one without a source.
    """
    path = Path(name) if str(name).endswith(".toml") else _FOLDER / f"{name}.toml"
    if not path.is_file():
        raise InputError(f"no chip '{name}'", fix=f"{closest(str(name), chip_names())}, or give the path of a .toml")
    try:
        return _checked(tomllib.loads(path.read_text(encoding="utf-8")), str(path))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"not a chip description ({error})", str(path)) from None


def _checked(table: dict[str, Any], where: str) -> Chip:
    wanted = {field.name for field in fields(Chip)}
    for problem, names in (("lacks", wanted - set(table)), ("has the unknown", set(table) - wanted)):
        if names:
            raise InputError(f"{problem} {', '.join(sorted(names))}", where)
    for key, (good, wanted_text) in _SORTS.items():
        if not good(table[key]):
            raise InputError(f"{key} is {str(table[key])[:80]}, want {wanted_text}", where)
    for key, choices in _CHOICES.items():
        if table[key] not in choices:
            raise InputError(f"{key} is {table[key]!r}, want one of {', '.join(choices)}", where)
    if unknown := sorted(set(table["modes"]) - set(MODES)):
        raise InputError(f"unknown mode {unknown[0]}, want some of {', '.join(MODES)}", where)
    return Chip(**{**table, "modes": tuple(table["modes"])})
