"""The options of a TFLite operator as a dictionary, by the names of the schema."""

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

# Enumerations of the schema whose values rules read by name.
ENUMERATIONS: dict[str, tuple[str, ...]] = {
    "Padding": ("SAME", "VALID"),
    "FusedActivationFunction": ("NONE", "RELU", "RELU_N1_TO_1", "RELU6", "TANH", "SIGN_BIT"),
    "Mode": ("REFLECT", "SYMMETRIC"),
    "WeightsFormat": ("DEFAULT", "SHUFFLED4x16INT8"),
}
_NOT_FIELDS = ("Init", "GetRootAs")


def read_options(operator: Any) -> dict[str, Any]:
    """Return the builtin options of an operator table; scalars, lists of numbers, enumerations by name.

    Raises:
        ValueError: an enumeration has no such value.
    """
    found: dict[str, Any] = {}
    for kinds, kind, table in (
        ("BuiltinOptions", operator.BuiltinOptionsType(), operator.BuiltinOptions()),
        ("BuiltinOptions2", operator.BuiltinOptions2Type(), operator.BuiltinOptions2()),
    ):
        name = _option_names(kinds).get(kind, "NONE")
        if name != "NONE" and table is not None:
            found |= _read(name, table)
    return found


def _read(name: str, table: Any) -> dict[str, Any]:
    import tflite

    options = getattr(tflite, name)()
    options.Init(table.Bytes, table.Pos)
    return {field: _decoded(field, get(options)) for field, get in _fields(name)}


def _decoded(field: str, value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.tolist()
    names = ENUMERATIONS.get(field)
    if names is None:
        return value
    if not 0 <= value < len(names):
        raise ValueError(f"{field} is {value}")
    return names[value]


@cache
def _fields(name: str) -> list[tuple[str, Callable[[Any], Any]]]:
    """Return the fields of an options class with what reads them; vectors of numbers are read as arrays."""
    import tflite

    members = {n: m for n, m in vars(getattr(tflite, name)).items() if n[0].isupper() and callable(m)}
    vectors = [n.removesuffix("AsNumpy") for n in members if n.endswith("AsNumpy")]
    scalars = [
        n
        for n in members
        if not n.startswith(_NOT_FIELDS) and not n.startswith(tuple(vectors) or ("\0",)) and not n.endswith("Length")
    ]
    return [*((n, members[n]) for n in scalars), *((n, members[f"{n}AsNumpy"]) for n in vectors)]


@cache
def _option_names(kinds: str) -> dict[int, str]:
    import tflite

    return {number: name for name, number in vars(getattr(tflite, kinds)).items() if isinstance(number, int)}
