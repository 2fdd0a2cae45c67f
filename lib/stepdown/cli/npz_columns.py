"""What the npz_tool commands share: aligned columns, lists of names, shapes and types as typed by the user."""

import re
from collections.abc import Iterable, Sequence

import numpy as np

from stepdown.errors import InputError
from stepdown.files.npz import NpzFile, closest

DTYPES = {
    "f32": "<f4", "f16": "<f2", "f64": "<f8", "i8": "i1", "u8": "u1", "i16": "<i2", "u16": "<u2", "i32": "<i4",
    "u32": "<u4", "i64": "<i8", "u64": "<u8", "bool": "?", "bf16": "<u2",
}  # fmt: skip
_LONG_NAMES = {
    "float32": "f32", "fp32": "f32", "float16": "f16", "fp16": "f16", "float64": "f64", "bfloat16": "bf16",
    "int8": "i8", "uint8": "u8", "int16": "i16", "uint16": "u16", "int32": "i32", "uint32": "u32",
    "int64": "i64", "uint64": "u64",
}  # fmt: skip


def aligned(rows: Sequence[Sequence[str]], right: Iterable[int] = ()) -> list[str]:
    """Return the rows as lines of aligned columns; those in `right` are aligned to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    rights = set(right)
    return [
        "  ".join(
            c.rjust(w) if i in rights else c.ljust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def counted(count: int, what: str) -> str:
    """Return `1 tensor` or `2 tensors`."""
    return f"{count} {what}{'' if count == 1 else 's'}"


def split_names(texts: Iterable[str], file: NpzFile | None = None) -> list[str]:
    """Return the names in `a,b` and `a b`; a tensor of `file` may have a comma in its name.

    Raises:
        InputError: `file` lacks one of them.
    """
    names = [n for text in texts for n in ([text] if file and text in file else text.split(",")) if n]
    for name in names:
        if file and name not in file:
            raise InputError(f"has no tensor '{name}'", file.path, closest(name, file))
    return list(dict.fromkeys(names))


def integers(text: str, what: str) -> tuple[int, ...]:
    """Parse `1,3,4` (also as `[1,3,4]`, `(1, 3, 4)` and `1x3x4`); `[]` is a scalar's shape.

    Raises:
        InputError: it is something else.
    """
    words = [word for word in re.split(r"[,x\s]+", text.strip().strip("[]()")) if word]
    if not all(re.fullmatch(r"-?\d{1,18}", word) for word in words) or not (words or text.strip() in ("[]", "()")):
        raise InputError(f"{what} '{text}' is not a list of integers", fix="write it as 1,3,224,224")
    return tuple(map(int, words))


def count_of(text: str, what: str) -> int:
    """Parse a positive integer."""
    if not re.fullmatch(r"\d{1,18}", text) or not int(text):
        raise InputError(f"{what} '{text}' is not a positive integer", fix="write it as 5")
    return int(text)


def element_type(text: str) -> str:
    """Return the short name of an element type (`f32` for `float32`)."""
    short = _LONG_NAMES.get(text, text)
    if short not in DTYPES:
        raise InputError(f"unknown type '{text}'", fix=f"use one of {', '.join(DTYPES)}")
    return short


def short_type(dtype: np.dtype) -> str:
    """Return the short name of a numpy type, numpy's own where there is none."""
    return _LONG_NAMES.get(dtype.name, dtype.name)
