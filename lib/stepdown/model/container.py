"""The container of a model file: named sections of bytes in the safetensors format, each under its SHA-256.

    8 bytes        length of the header, little-endian
    header         JSON, padded with spaces so that the sections begin at a multiple of 64
    sections       one after the other, without gaps, to the end of the file

The header begins with `{"__metadata__":{"sha256":"`, so the 64 digits of the file's hash lie at byte 35. They are the
SHA-256 of the length and the header with zeros in their place; the header has the SHA-256 of every section, and there
is nothing else in the file. Any changed byte is therefore found, and the section that it lies in.

Sections whose size is a multiple of 64 come first, then of 32, and so on: each array lies at a multiple of the size of
its elements without padding.
"""

import hashlib
import mmap
import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from stepdown.errors import InputError, UnsupportedModel
from stepdown.files.atomic import atomic_path
from stepdown.model.json_text import json_bytes, parse_json

FORMAT = "stepdown model"
VERSION = 1
MAX_HEADER_BYTES = 32 << 20
MAX_NAME_BYTES = 4096
ALIGNMENT = 64
Content = bytes | memoryview
Sections = Mapping[str, Content]

_BEGINNING = b'{"__metadata__":{"sha256":"'
_HASH_PREFIX = "sha256/"
_ZEROS = b"0" * 64
_AGAIN = "generate or copy it again"


@dataclass(frozen=True)
class Container:
    """The sections of a file, in its order, as read-only views of the mapped file; `sha256` is that of the whole."""

    path: str
    sections: Sections
    hashes: Mapping[str, str]
    sha256: str


def write_container(path: str | os.PathLike[str], sections: Sections) -> str:
    """Write sections atomically and return the hash of the file; equal sections give equal bytes.

    Raises:
        InputError: a name that no section may have, or `path` cannot be written.
    """
    ordered = {name: sections[name] for name in sorted(sections, key=lambda name: _place(name, sections[name]))}
    for name in ordered:
        if problem := _name_problem(name):
            raise InputError(problem, str(path))
    beginning = _header(ordered)
    digits = hashlib.sha256(beginning).hexdigest()
    at = 8 + len(_BEGINNING)
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        stream.write(beginning[:at] + digits.encode() + beginning[at + len(digits) :])
        for content in ordered.values():
            stream.write(content)
    return digits


def _place(name: str, content: Content) -> tuple[int, str]:
    """Return the key by which sections are sorted: those of the largest alignment first."""
    return -min(ALIGNMENT, len(content) & -len(content) or ALIGNMENT), name


def _name_problem(name: str) -> str:
    try:
        good = 0 < len(name.encode()) <= MAX_NAME_BYTES and name != "__metadata__"
    except UnicodeEncodeError:
        good = False
    return "" if good else f"'{name[:40]!a}' cannot be the name of a section"


def _header(sections: Sections) -> bytes:
    """Return the length and the header, with zeros for the hash of the file."""
    hashes = {_HASH_PREFIX + name: hashlib.sha256(content).hexdigest() for name, content in sections.items()}
    facts = json_bytes({"format": FORMAT, "version": str(VERSION), **hashes})
    rows, end = [], 0
    for name, content in sections.items():
        start, end = end, end + len(content)
        row = {"dtype": "U8", "shape": [len(content)], "data_offsets": [start, end]}
        rows.append(json_bytes({name: row})[1:-1])
    text = _BEGINNING + _ZEROS + b'",' + b",".join([facts[1:], *rows]) + b"}"
    text += b" " * (-(8 + len(text)) % ALIGNMENT)
    return struct.pack("<Q", len(text)) + text


def read_container(path: str | os.PathLike[str]) -> Container:
    """Map a file and check all of it: the header, the place of every section, and every hash.

    Raises:
        InputError: no such file, not a model file, or damaged; the damaged section is named.
        UnsupportedModel: a later version of the format.
    """
    where = str(path)
    if not os.path.isfile(where):
        raise InputError("is a directory" if os.path.isdir(where) else "no such file", where, "give a .bmodel file")
    with open(where, "rb") as stream:
        if os.fstat(stream.fileno()).st_size < 8:
            raise InputError("not a model file: it ends inside its header", where)
        view = memoryview(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ))
    header, digits = _checked_header(view, where)
    try:
        facts, places = _layout(parse_json(header.decode()), len(view) - 8 - len(header), where)
    except (ValueError, RecursionError) as error:
        raise InputError(f"its header is malformed ({error})", where, _AGAIN) from None
    begin = 8 + len(header)
    sections = {name: view[begin + start : begin + end] for name, (start, end) in places.items()}
    hashes = {name: facts[_HASH_PREFIX + name] for name in places}
    _check_sections(sections, hashes, where)
    return Container(where, sections, hashes, digits)


def _checked_header(view: memoryview, where: str) -> tuple[bytes, str]:
    """Return the header and the hash of the file, which the header agrees with."""
    length = struct.unpack_from("<Q", view)[0]
    at = 8 + len(_BEGINNING)
    if view[8:at] != _BEGINNING:
        raise InputError("not a model file: its header does not begin as that of one", where, "give a .bmodel file")
    if length > MAX_HEADER_BYTES or length > len(view) - 8:
        raise InputError(f"its header is damaged or cut off: {length} of {len(view) - 8} bytes", where, _AGAIN)
    held = bytes(view[: 8 + length])
    digits = held[at : at + len(_ZEROS)]
    if hashlib.sha256(held[:at] + _ZEROS + held[at + len(_ZEROS) :]).hexdigest().encode() != digits:
        raise InputError("its header is damaged (SHA-256 differs)", where, _AGAIN)
    return held[8:], digits.decode()


def _layout(header: Any, held_bytes: int, where: str) -> tuple[dict[str, str], dict[str, tuple[int, int]]]:
    """Return the metadata, and by section where it begins and ends. Raises ValueError where it cannot be."""
    facts = header.pop("__metadata__")
    if not isinstance(facts, dict) or not all(isinstance(text, str) for text in facts.values()):
        raise ValueError("its metadata are no texts")
    _check_version(facts, where)
    wanted = {"sha256", "format", "version", *(_HASH_PREFIX + name for name in header)}
    if set(facts) != wanted:
        raise ValueError(f"its metadata lack or have {min(set(facts) ^ wanted)[:80]!r}")
    places, end = {}, 0
    for name, row in header.items():
        places[name] = _section_place(name, row, end)
        end = places[name][1]
    if end != held_bytes:
        problem = "is cut off" if held_bytes < end else "goes on after its end"
        raise InputError(f"{problem}: its sections take {end} bytes, and there are {held_bytes}", where, _AGAIN)
    return facts, places


def _check_version(facts: Mapping[str, str], where: str) -> None:
    if facts.get("format") != FORMAT:
        raise ValueError(f"it is not of the format '{FORMAT}'")
    version = facts.get("version", "")
    if not version.isdecimal() or len(version) > 9 or int(version) < 1:
        raise ValueError("it has no version")
    if int(version) > VERSION:
        raise UnsupportedModel(f"a model file of version {int(version)}", where, f"we read up to version {VERSION}")


def _section_place(name: str, row: Any, begin: int) -> tuple[int, int]:
    """Return where a section lies; it must follow the one before it."""
    if problem := _name_problem(name):
        raise ValueError(problem)
    match row:
        case {"dtype": "U8", "shape": [int(size)], "data_offsets": [int(start), int(end)]} if len(row) == 3:
            if start == begin and size == end - start >= 0 and not isinstance(size, bool):
                return start, end
    raise ValueError(f"section {name[:80]!r} is not bytes that follow the section before it")


def _check_sections(sections: Sections, hashes: Mapping[str, str], where: str) -> None:
    for name, content in sections.items():
        if hashlib.sha256(content).hexdigest() != hashes[name]:
            raise InputError(f"section '{name}' is damaged (SHA-256 differs)", where, _AGAIN)
