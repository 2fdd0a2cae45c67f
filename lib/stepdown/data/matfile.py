"""Reading tables (struct arrays) of MATLAB files, level 5: as much as ImageNet's `meta.mat` needs.

Source: "MAT-File Format", The MathWorks, chapter 1.
"""

import os
import struct
import zlib
from collections.abc import Iterator

from stepdown.errors import InputError

Value = str | float | None
Row = dict[str, Value]

MAX_BYTES = 64 << 20
_HEADER_BYTES = 128
_MATRIX, _COMPRESSED = 14, 15
_STRUCT_CLASS, _CHAR_CLASS = 2, 4
# By data type, its struct code; by data type, its text encoding.
_NUMBERS = {1: "b", 2: "B", 3: "h", 4: "H", 5: "i", 6: "I", 7: "f", 9: "d", 12: "q", 13: "Q"}
_ENCODINGS = {1: "utf-8", 2: "utf-8", 4: "utf-16-le", 16: "utf-8", 17: "utf-16-le", 18: "utf-32-le"}


def read_table(path: str | os.PathLike[str], content: bytes, variable: str) -> list[Row]:
    """Return the elements of the struct array `variable`, by field: text, a single number, or None for all else.

    `content` is the file's bytes, `path` is where they came from.

    Raises:
        InputError: not a level-5 file of little-endian order, broken, or it holds no such struct array.
    """
    if len(content) < _HEADER_BYTES or content[126:128] != b"IM":
        raise InputError("not a MATLAB file of level 5, little-endian", str(path))
    try:
        for kind, body in _elements(content[_HEADER_BYTES:]):
            inflated = _inflated(body) if kind == _COMPRESSED else [(kind, body)]
            for inner, matrix in inflated:
                name, rows = _table(matrix) if inner == _MATRIX else ("", [])
                if name == variable:
                    return rows
    except (ValueError, KeyError, IndexError, struct.error, zlib.error) as error:
        raise InputError(f"broken MATLAB file ({error})", str(path)) from error
    raise InputError(f"holds no table '{variable}'", str(path))


def _elements(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield (data type, bytes) of the elements that follow each other in `data`."""
    at = 0
    while at + 8 <= len(data):
        kind, size = struct.unpack_from("<II", data, at)
        if kind >> 16:  # a small element: size and type share the first word, the bytes are the second
            yield kind & 0xFFFF, data[at + 4 : at + 4 + min(kind >> 16, 4)]
            at += 8
            continue
        body = data[at + 8 : at + 8 + size]
        if len(body) < size:
            raise ValueError("truncated")
        yield kind, body
        at += 8 + size + (0 if kind == _COMPRESSED else -size % 8)


def _inflated(body: bytes) -> list[tuple[int, bytes]]:
    inflater = zlib.decompressobj()
    content = inflater.decompress(body, MAX_BYTES)
    if inflater.unconsumed_tail:
        raise ValueError(f"more than {MAX_BYTES} bytes")
    return list(_elements(content))


def _table(matrix: bytes) -> tuple[str, list[Row]]:
    """Return the name and the elements of a matrix element; no elements where it is no struct array."""
    (_, flags), _, (_, name), *rest = _elements(matrix)
    if flags[0] != _STRUCT_CLASS:
        return name.decode(), []
    (_, width), (_, names), *cells = rest
    fields = _field_names(names, *struct.unpack("<i", width))
    values = [_value(cell) for _, cell in cells]
    return name.decode(), [
        dict(zip(fields, values[i : i + len(fields)], strict=True)) for i in range(0, len(values), len(fields))
    ]


def _field_names(names: bytes, width: int) -> list[str]:
    if width < 1 or len(names) < width:
        raise ValueError("a struct without fields")
    return [names[i : i + width].split(b"\0")[0].decode() for i in range(0, len(names), width)]


def _value(matrix: bytes) -> Value:
    """Return the text or the single number in a matrix element, None for anything else."""
    parts = list(_elements(matrix))
    if len(parts) != 4:
        return None
    (_, flags), _, _, (kind, content) = parts
    if flags[0] == _CHAR_CLASS:
        return content.decode(_ENCODINGS.get(kind, "utf-8"), errors="replace")
    code = _NUMBERS.get(kind)
    return float(struct.unpack(f"<{code}", content)[0]) if code and struct.calcsize(code) == len(content) else None
