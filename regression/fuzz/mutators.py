"""Mutators of bytes and of text. All randomness comes from the `Random` given: the same state, the same input.

Hypothesis gives such a Random too (`st.randoms`), and shrinks what fails.
"""

import re
import struct
from collections.abc import Callable, Sequence
from random import Random

Mutator = Callable[[Random, bytes, Sequence[bytes]], bytes]
"""(randomness, one input, other inputs to take parts from) → a new input."""

MAX_BYTES = 1 << 16
INTEGERS = (
    0, 1, -1, 2, 3, 4, 7, 8, 16, 127, 128, 255, 256, -128, 1000, 32767, 65535, 65536, 1 << 20, (1 << 31) - 1, 1 << 31,
    -(1 << 31), (1 << 32) - 1, 1 << 32, 1 << 40, 1 << 53, 1 << 62, (1 << 63) - 1, -(1 << 63), 1 << 63, (1 << 64) - 1,
)  # fmt: skip
FLOATS = (
    0.0, -0.0, 1.0, -1.0, 0.5, 2.0, 1e-45, 1e-30, 1e30, 3.4e38, -3.4e38, 1e300, float("inf"), float("-inf"),
    float("nan"), 2.0**31, 2.0**63, 1e-310,
)  # fmt: skip
WORDS = (
    "", " ", "\n", "\t", "\0", "a", "x", "..", "../..", "/", "/etc/passwd", "../../x", ".", "a/b", "a\nb", "é", "日本",
    "\u202e", "\ud7ff", "'", '"', "\\", "%s%n", "{}", "#", "x" * 300, "nan", "inf", "None", "-", ",", ";", "*",
)  # fmt: skip


def integer(rng: Random) -> int:
    """Return an integer at which code breaks, or a small one."""
    if rng.random() < 0.4:
        return rng.randrange(-4, 17)
    return rng.choice(INTEGERS) + rng.choice((0, 0, 0, 1, -1))


def floating(rng: Random) -> float:
    """Return a float at which code breaks, or a usual one."""
    return rng.choice(FLOATS) if rng.random() < 0.7 else rng.uniform(-4, 4)


def word(rng: Random, known: Sequence[str] = ()) -> str:
    """Return a text at which code breaks, or one of the `known` ones."""
    return rng.choice(known) if known and rng.random() < 0.7 else rng.choice(WORDS)


# --- bytes


def _flip(rng: Random, data: bytearray, others: Sequence[bytes]) -> None:
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def _set_byte(rng: Random, data: bytearray, others: Sequence[bytes]) -> None:
    data[rng.randrange(len(data))] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))


def _truncate(rng: Random, data: bytearray, others: Sequence[bytes]) -> None:
    del data[rng.randrange(len(data)) :]


def _delete(rng: Random, data: bytearray, others: Sequence[bytes]) -> None:
    start = rng.randrange(len(data))
    del data[start : start + 1 + rng.randrange(min(64, len(data)))]


def _repeat(rng: Random, data: bytearray, others: Sequence[bytes]) -> None:
    start = rng.randrange(len(data))
    part = data[start : start + 1 + rng.randrange(32)]
    data[start:start] = part * rng.choice((1, 2, 8, 64))


def _insert(rng: Random, data: bytearray, others: Sequence[bytes]) -> None:
    at = rng.randrange(len(data) + 1)
    data[at:at] = rng.randbytes(1 + rng.randrange(8))


def _insert_word(rng: Random, data: bytearray, others: Sequence[bytes]) -> None:
    at = rng.randrange(len(data) + 1)
    data[at:at] = rng.choice(WORDS).encode("utf-8", "surrogatepass")


def _splice(rng: Random, data: bytearray, others: Sequence[bytes]) -> None:
    other = rng.choice(others) if others else bytes(data)
    if other:
        start, at = rng.randrange(len(other)), rng.randrange(len(data))
        part = other[start : start + 1 + rng.randrange(128)]
        data[at : at + rng.choice((0, len(part)))] = part


def _set_integer(rng: Random, data: bytearray, others: Sequence[bytes]) -> None:
    """Overwrite an aligned little-endian integer: offsets, counts and lengths of binary formats."""
    size = rng.choice((1, 2, 4, 8))
    if len(data) >= size:
        at = rng.randrange(len(data) - size + 1) // size * size
        data[at : at + size] = (integer(rng) % (1 << 8 * size)).to_bytes(size, "little")


def _add_to_integer(rng: Random, data: bytearray, others: Sequence[bytes]) -> None:
    if len(data) >= 4:
        at = rng.randrange(len(data) - 3)
        (value,) = struct.unpack_from("<I", data, at)
        struct.pack_into("<I", data, at, (value + rng.choice((-64, -4, -1, 1, 4, 64, 4096))) % (1 << 32))


_BYTE_STEPS = (
    _flip, _set_byte, _truncate, _delete, _repeat, _insert, _insert_word, _splice, _set_integer, _set_integer,
    _add_to_integer,
)  # fmt: skip


def mutate_bytes(rng: Random, data: bytes, others: Sequence[bytes] = ()) -> bytes:
    """Apply a few byte-level changes."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 6))):
        if changed:
            rng.choice(_BYTE_STEPS)(rng, changed, others)
    return bytes(changed[:MAX_BYTES])


# --- text

_TOKEN = re.compile(r"\s+|[A-Za-z_][\w.]*|[-+]?\d[\w.+]*|\"(?:[^\"\\\n]|\\.)*\"|.", re.DOTALL)
_BRACKETS = "()[]{}<>\"'"


def text_mutator(*known: str) -> Mutator:
    """Return a mutator of text in lines of tokens that knows the words `known` of its language."""

    def mutate(rng: Random, data: bytes, others: Sequence[bytes] = ()) -> bytes:
        if not data or rng.random() < 0.1:
            return mutate_bytes(rng, data, others)
        text = data.decode("utf-8", "surrogateescape")
        for _ in range(rng.choice((1, 1, 2, 4))):
            text = rng.choice(_TEXT_STEPS)(rng, text, known, others)
        return text.encode("utf-8", "surrogateescape")[:MAX_BYTES]

    return mutate


def _replace_token(rng: Random, text: str, known: Sequence[str], others: Sequence[bytes]) -> str:
    tokens = _TOKEN.findall(text)
    if tokens:
        at = rng.randrange(len(tokens))
        tokens[at] = _like(rng, tokens[at], known, tokens)
    return "".join(tokens)


def _like(rng: Random, token: str, known: Sequence[str], tokens: Sequence[str]) -> str:
    """Return a token to stand in the place of another one: mostly of its own sort."""
    if token[:1].isdigit() or token[:1] in "-+":
        return rng.choice((str(integer(rng)), repr(floating(rng)), token + "0" * 30, "1e999"))
    if token[:1] == '"':
        return '"' + rng.choice(WORDS) + '"'
    if rng.random() < 0.5:
        return rng.choice(tokens)
    return word(rng, known)


def _delete_token(rng: Random, text: str, known: Sequence[str], others: Sequence[bytes]) -> str:
    tokens = _TOKEN.findall(text)
    if tokens:
        del tokens[rng.randrange(len(tokens))]
    return "".join(tokens)


def _insert_token(rng: Random, text: str, known: Sequence[str], others: Sequence[bytes]) -> str:
    tokens = _TOKEN.findall(text)
    tokens.insert(
        rng.randrange(len(tokens) + 1), rng.choice((word(rng, known), rng.choice(_BRACKETS), str(integer(rng))))
    )
    return "".join(tokens)


def _change_lines(rng: Random, text: str, known: Sequence[str], others: Sequence[bytes]) -> str:
    """Delete, repeat, move or borrow a line."""
    lines = text.splitlines(keepends=True) or [""]
    taken = lines[rng.randrange(len(lines))]
    kind = rng.randrange(4)
    if kind in (0, 2):
        lines.remove(taken)
    if kind == 3 and others:
        borrowed = rng.choice(others).decode("utf-8", "surrogateescape").splitlines(keepends=True)
        taken = rng.choice(borrowed) if borrowed else taken
    if kind:
        lines.insert(rng.randrange(len(lines) + 1), taken)
    return "".join(lines)


def _nest(rng: Random, text: str, known: Sequence[str], others: Sequence[bytes]) -> str:
    """Wrap a part in brackets, up to very deep."""
    deep = rng.choice((1, 1, 2, 10, 100, 1000))
    opened, closed = rng.choice((("[", "]"), ("(", ")"), ("{", "}"), ("<", ">"), ("loc(", ")"), ('"', '"')))
    start = rng.randrange(len(text) + 1)
    end = min(len(text), start + rng.randrange(20))
    return text[:start] + opened * deep + text[start:end] + closed * rng.choice((deep, 0)) + text[end:]


def _cut(rng: Random, text: str, known: Sequence[str], others: Sequence[bytes]) -> str:
    return text[: rng.randrange(len(text) + 1)]


_TEXT_STEPS = (
    _replace_token, _replace_token, _replace_token, _replace_token, _delete_token, _insert_token, _change_lines,
    _change_lines, _nest, _cut,
)  # fmt: skip
