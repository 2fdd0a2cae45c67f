"""A mutator of model files: their bytes, and what they say under hashes that are right again."""

import hashlib
import json
import struct
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from fuzz.mutators import floating, integer, mutate_bytes, text_mutator, word

DIGITS = slice(35, 99)
_JSON_WORDS = text_mutator("null", "true", "NaN", "1e999", "[", "{", '"sha256":', '"networks":', ",", ":")


def mutate_model_file(rng: Random, data: bytes, others: Sequence[bytes] = ()) -> bytes:
    """Change bytes, values of the header or of the description, or the text of a section."""
    kind = rng.random()
    if kind < 0.15:
        return mutate_bytes(rng, data, others)
    try:
        header, sections = _parts(data)
    except Exception:  # an input that is no model file any more
        return mutate_bytes(rng, data, others)
    if kind < 0.35:
        return sealed(_header_text(rng, header), b"".join(sections.values()))
    names = [*sections, *["model.json"] * len(sections)] if "model.json" in sections else list(sections)
    if names:
        name = rng.choice(names)
        sections[name] = _section(rng, name, sections[name])
    return packed(sections)


def _parts(data: bytes) -> tuple[dict[str, Any], dict[str, bytes]]:
    (length,) = struct.unpack_from("<Q", data)
    header = json.loads(data[8 : 8 + length])
    rows = {name: row["data_offsets"] for name, row in header.items() if name != "__metadata__"}
    return header, {name: data[8 + length + start : 8 + length + end] for name, (start, end) in rows.items()}


def _header_text(rng: Random, header: dict[str, Any]) -> bytes:
    """Return the text of a header with another value, or with words changed."""
    if rng.random() < 0.5:
        _change(rng, header)
    text = json.dumps(header, separators=(",", ":")).encode()
    return _JSON_WORDS(rng, text) if rng.random() < 0.5 else text


def _section(rng: Random, name: str, content: bytes) -> bytes:
    if name != "model.json" or rng.random() < 0.2:
        return _JSON_WORDS(rng, content) if rng.random() < 0.5 else mutate_bytes(rng, content or b"\0")
    try:
        value = json.loads(content)
        for _ in range(rng.choice((1, 1, 2, 5))):
            _change(rng, value)
        return json.dumps(value).encode()
    except (ValueError, RecursionError):
        return mutate_bytes(rng, content or b"\0")


def _change(rng: Random, value: Any) -> None:
    """Change, remove, repeat or move something somewhere inside `value`."""
    while isinstance(value, dict | list) and value:
        key = rng.choice(list(value)) if isinstance(value, dict) else rng.randrange(len(value))
        if isinstance(value[key], dict | list) and value[key] and rng.random() < 0.85:
            value = value[key]
            continue
        _change_item(rng, value, key)
        return


def _change_item(rng: Random, value: Any, key: Any) -> None:
    kind = rng.randrange(5)
    if kind == 0:
        del value[key]
    elif kind == 1 and isinstance(value, list):
        value.insert(rng.randrange(len(value) + 1), value[key])
    elif kind == 1:
        value[word(rng)] = value[key]
    else:
        value[key] = _like(rng, value[key])


def _like(rng: Random, item: Any) -> Any:
    """Return something to stand in the place of `item`, mostly of its own sort."""
    if type(item) is int and rng.random() < 0.8:
        return rng.choice((integer(rng), item + rng.choice((-1, 1)), float(item)))
    if type(item) is float and rng.random() < 0.8:
        return floating(rng)
    if isinstance(item, str) and rng.random() < 0.8:
        return word(rng, ("npu", "host", "global", "local", "i8", "bf16", "input", "dma"))
    return rng.choice((None, True, [], {}, "", 0, [[]], [1], {"name": "x"}))


def packed(sections: dict[str, bytes], change: Callable[[Any], None] = lambda header: None) -> bytes:
    """Return a file of these sections under right hashes, after `change` of its header."""
    hashes = {f"sha256/{name}": hashlib.sha256(content).hexdigest() for name, content in sections.items()}
    facts = {"sha256": "0" * 64, "format": "stepdown model", "version": "1", **hashes}
    header: dict[str, Any] = {"__metadata__": facts}
    end = 0
    for name, content in sections.items():
        start, end = end, end + len(content)
        header[name] = {"dtype": "U8", "shape": [len(content)], "data_offsets": [start, end]}
    change(header)
    return sealed(json.dumps(header, separators=(",", ":")).encode(), b"".join(sections.values()))


def sealed(header: bytes, sections: bytes) -> bytes:
    """Return a file of a header, whose hash is put right where it has its place, and sections."""
    held = struct.pack("<Q", len(header)) + header
    zeros = held[: DIGITS.start] + b"0" * 64 + held[DIGITS.stop :]
    digits = hashlib.sha256(zeros).hexdigest().encode()
    return held[: DIGITS.start] + digits + held[DIGITS.stop :] + sections
