"""A mutator of npz files: their bytes, and the headers inside them that promise shapes and sizes."""

import io
import struct
import zipfile
from collections.abc import Sequence
from random import Random

from fuzz.mutators import INTEGERS, WORDS, mutate_bytes, text_mutator

_HEADER = text_mutator(
    "descr", "fortran_order", "shape", "True", "False", "'<f4'", "'|O'", "'<U9'", "'<M8[s]'", "'<f8'", "(", ")", "1e9",
    "'|V0'", "'|S0'", "[('a','<f4')]", "None", "9" * 30, "-1",
)  # fmt: skip


def mutate_npz(rng: Random, data: bytes, others: Sequence[bytes] = ()) -> bytes:
    """Change bytes of the file, or of its members before they are packed again, or what the file says of them."""
    if rng.random() < 0.35:
        return mutate_bytes(rng, data, others)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = [(info.filename, archive.read(info)) for info in archive.infolist()]
    except Exception:  # an input that is no zip any more
        return mutate_bytes(rng, data, others)
    packed = _pack(rng, [_change(rng, *member) if rng.random() < 0.6 else member for member in members])
    return _lie(rng, packed) if rng.random() < 0.3 else packed


def _change(rng: Random, name: str, content: bytes) -> tuple[str, bytes]:
    kind = rng.randrange(4)
    if kind == 0:
        return rng.choice(WORDS).encode("utf-8", "replace").decode() + rng.choice((".npy", "")), content
    if kind == 1 or not content.startswith(b"\x93NUMPY"):
        return name, mutate_bytes(rng, content)
    start, length = 10, struct.unpack_from("<H", content, 8)[0] if len(content) > 9 else 0
    header = _HEADER(rng, content[start : start + length])
    head = content[:6] + bytes((rng.choice((1, 1, 1, 2, 3, 0)), 0)) + struct.pack("<H", len(header) % (1 << 16))
    return name, head + header + content[start + length :]


def _pack(rng: Random, members: list[tuple[str, bytes]]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in members:
            packing = rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA))
            archive.writestr(zipfile.ZipInfo(name.replace("\0", "_")), content, packing)
    return stream.getvalue()


def _lie(rng: Random, packed: bytes) -> bytes:
    """Let the directory of a zip declare another size, method or place."""
    at = packed.rfind(b"PK\x01\x02")
    if at < 0:
        return packed
    offset, size = rng.choice(((10, 2), (16, 4), (20, 4), (24, 4), (42, 4), (8, 2)))
    value = rng.choice(INTEGERS) % (1 << 8 * size)
    return packed[: at + offset] + value.to_bytes(size, "little") + packed[at + offset + size :]
