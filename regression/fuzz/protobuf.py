"""A mutator of any protobuf message, by the description of its fields: it always makes a message that parses."""

from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import Any

from google.protobuf.descriptor import FieldDescriptor as Field
from google.protobuf.message import DecodeError, Message

from fuzz.mutators import MAX_BYTES, Mutator, floating, integer, mutate_bytes, word

_BITS = {
    Field.CPPTYPE_INT32: (-(1 << 31), 1 << 31), Field.CPPTYPE_UINT32: (0, 1 << 32),
    Field.CPPTYPE_INT64: (-(1 << 63), 1 << 63), Field.CPPTYPE_UINT64: (0, 1 << 64),
}  # fmt: skip
_MAX_REPEATED = 64


def protobuf_mutator(kind: Callable[[], type[Message]], *known: str) -> Mutator:
    """Return a mutator of serialised messages of the type `kind()` that knows the strings `known`."""

    def mutate(rng: Random, data: bytes, others: Sequence[bytes] = ()) -> bytes:
        try:
            message = kind().FromString(data)
            donor = kind().FromString(rng.choice(others)) if others else message
        except DecodeError:
            return mutate_bytes(rng, data, others)
        for _ in range(rng.choice((1, 1, 2, 3, 5))):
            mutate_message(rng, message, donor, known)
        return message.SerializeToString()[:MAX_BYTES]

    return mutate


def mutate_message(rng: Random, message: Any, donor: Any, known: Sequence[str] = ()) -> None:
    """Change one field somewhere in `message`, with parts of `donor`, a message of the same type."""
    parts = list(walk(message))
    part = rng.choice(parts)
    field = rng.choice([f for f, _ in part.ListFields()] or list(part.DESCRIPTOR.fields))
    if rng.random() < 0.15:
        field = rng.choice(list(part.DESCRIPTOR.fields))
    names = [*known, *strings(message)]
    if field.is_repeated:
        _change_repeated(rng, part, field, donor, names)
    elif field.cpp_type == Field.CPPTYPE_MESSAGE:
        _change_inner(rng, part, field, donor)
    elif rng.random() < 0.1:
        part.ClearField(field.name)
    else:
        _assign(part, field, scalar(rng, field, names))


def walk(message: Any) -> Iterator[Any]:
    """Yield a message and all messages inside it."""
    yield message
    for field, value in message.ListFields():
        if field.cpp_type == Field.CPPTYPE_MESSAGE:
            for inner in value if field.is_repeated else (value,):
                yield from walk(inner)


def strings(message: Any) -> list[str]:
    """Return every string in a message, without repetitions."""
    found: dict[str, None] = {}
    for part in walk(message):
        for field, value in part.ListFields():
            if field.type == Field.TYPE_STRING:
                texts = value if field.is_repeated else [value]
                found |= dict.fromkeys(t for t in texts if isinstance(t, str))  # what is no UTF-8 comes as bytes
    return list(found)


def scalar(rng: Random, field: Any, names: Sequence[str]) -> Any:
    """Return a value for a field that is no message."""
    if field.cpp_type in _BITS:
        low, high = _BITS[field.cpp_type]
        return (integer(rng) - low) % (high - low) + low
    if field.cpp_type in (Field.CPPTYPE_FLOAT, Field.CPPTYPE_DOUBLE):
        return floating(rng)
    if field.cpp_type == Field.CPPTYPE_BOOL:
        return rng.random() < 0.5
    if field.cpp_type == Field.CPPTYPE_ENUM:
        return rng.choice(field.enum_type.values).number
    text = word(rng, names).encode("utf-8", "replace").decode()
    if field.type == Field.TYPE_STRING:
        return text
    return rng.choice((text.encode(), rng.randbytes(rng.choice((0, 1, 4, 7, 8, 16, 64)))))


def _assign(part: Any, field: Any, value: Any) -> None:
    try:
        setattr(part, field.name, value)
    except (ValueError, TypeError):  # a closed enum, or a text that UTF-8 cannot hold
        part.ClearField(field.name)


def _change_repeated(rng: Random, part: Any, field: Any, donor: Any, names: Sequence[str]) -> None:
    values = getattr(part, field.name)
    step = rng.choice(("delete", "add", "add", "copy", "swap", "change", "change"))
    at = rng.randrange(len(values)) if values else 0
    if step == "delete" and values:
        del values[at]
    elif field.cpp_type == Field.CPPTYPE_MESSAGE:
        _change_messages(rng, values, field, donor, at, step)
    elif step == "swap" and values:
        other = rng.randrange(len(values))
        values[at], values[other] = values[other], values[at]
    elif step == "change" and values:
        values[at] = scalar(rng, field, names)
    elif len(values) < _MAX_REPEATED:
        values.extend([scalar(rng, field, names)] * rng.choice((1, 1, 1, 2, 16)))


def _change_messages(rng: Random, values: Any, field: Any, donor: Any, at: int, step: str) -> None:
    given = [m for m in walk(donor) if m.DESCRIPTOR.full_name == field.message_type.full_name]
    if step in ("add", "copy") and len(values) < _MAX_REPEATED:
        copy = rng.choice(given).SerializeToString() if given else b""  # a message may hold the one that it is put into
        values.add().ParseFromString(copy)
    elif step == "change" and values and given:
        copy = rng.choice(given).SerializeToString()
        values[at].ParseFromString(copy)
    elif step == "swap" and len(values) > 1:
        other = rng.randrange(len(values))
        one, two = values[at].SerializeToString(), values[other].SerializeToString()
        values[at].ParseFromString(two)
        values[other].ParseFromString(one)


def _change_inner(rng: Random, part: Any, field: Any, donor: Any) -> None:
    given = [m for m in walk(donor) if m.DESCRIPTOR.full_name == field.message_type.full_name]
    if rng.random() < 0.3:
        part.ClearField(field.name)
    elif given:
        getattr(part, field.name).ParseFromString(rng.choice(given).SerializeToString())
    else:
        getattr(part, field.name).SetInParent()
