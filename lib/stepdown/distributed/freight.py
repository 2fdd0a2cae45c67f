"""Files and arrays on their way between a client and the workers of a cluster: plain bytes, checked by SHA-256."""

import contextlib
import hashlib
import io
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from stepdown.errors import InputError
from stepdown.files.hashes import sha256_file
from stepdown.runtimes.model_files import files_beside

CHUNK_BYTES = 4 << 20
"""How much one message carries at most."""

Header = dict[str, Any]

Arrays = dict[str, np.ndarray]
"""What a shard gives: named arrays, which can be written to an npz file."""


@dataclass(frozen=True)
class Item:
    """A file that a worker needs: its name as the user gave it, in two parts, its SHA-256, and where its content is.

    Files with one `prefix`, which ends in a slash or is empty, lie in one folder on the worker, as they do here.
    """

    prefix: str
    tail: str
    sha256: str
    source: str = ""
    content: bytes = b""

    @property
    def name(self) -> str:
        """The file's name, as the user gave it."""
        return self.prefix + self.tail

    @property
    def place(self) -> str:
        """Where the file goes, relative to the run's folder on the worker."""
        return f"{folder_of(self.prefix)}/{self.tail}"

    def as_plain(self) -> Header:
        """Return all but the content, for a message."""
        return {"prefix": self.prefix, "place": self.place, "sha256": self.sha256, "source": self.source}


def folder_of(prefix: str) -> str:
    """Return the folder, on a worker, of all files whose names begin with `prefix`."""
    return hashlib.sha256(prefix.encode()).hexdigest()[:16]


def split_name(name: str) -> tuple[str, str]:
    """Return a file's name up to its last slash, as it was given, and what follows."""
    tail = os.path.basename(name)
    return name[: len(name) - len(tail)], tail


def place_of(name: str) -> str:
    """Return where a file goes, relative to the run's folder on the worker."""
    prefix, tail = split_name(name)
    return f"{folder_of(prefix)}/{tail}"


def item(path: str | os.PathLike[str], beside: str = "") -> Item:
    """Return a file; with `beside`, one that this model names by a path relative to its own folder.

    Raises:
        InputError: it cannot be read.
    """
    prefix, tail = (split_name(beside)[0], str(path)) if beside else split_name(str(path))
    source = os.path.abspath(prefix + tail)
    try:
        return Item(prefix, tail, sha256_file(source), source)
    except OSError as error:
        raise InputError(f"cannot be sent to workers ({error.strerror})", prefix + tail) from None


def items(paths: Iterable[str | os.PathLike[str]]) -> list[Item]:
    """Return those files that there are; what is missing here will be missing there, and be told so."""
    return [item(path) for path in dict.fromkeys(map(str, paths)) if os.path.exists(path)]


def model_items(path: str) -> list[Item]:
    """Return a model and the files that it names."""
    return [item(path), *(item(name, beside=path) for name in files_beside(path))]


def held_item(tail: str, content: bytes) -> Item:
    """Return a file that is made of `content`."""
    return Item("", tail, hashlib.sha256(content).hexdigest(), content=content)


def messages(wanted: Sequence[Item]) -> Iterator[tuple[Header, bytes]]:
    """Yield the content of files, several in a message or a large one in several: `pieces` says what is whose.

    Raises:
        InputError: a file is not what it was when the run began.
    """
    pieces: list[list[Any]] = []
    held: list[bytes] = []
    for one in wanted:
        for offset, chunk in _chunks(one):
            if sum(map(len, held)) + len(chunk) > CHUNK_BYTES and held:
                yield {"pieces": pieces}, b"".join(held)
                pieces, held = [], []
            pieces.append([one.place, offset, len(chunk)])
            held.append(chunk)
    if pieces:
        yield {"pieces": pieces}, b"".join(held)


def _chunks(one: Item) -> Iterator[tuple[int, bytes]]:
    digest, offset = hashlib.sha256(), 0
    try:
        with open(one.source, "rb") if one.source else io.BytesIO(one.content) as stream:
            while (chunk := stream.read(CHUNK_BYTES)) or offset == 0:
                digest.update(chunk)
                yield offset, chunk
                if not chunk:
                    break
                offset += len(chunk)
    except OSError as error:
        raise InputError(f"cannot be read any more ({error.strerror})", one.name) from None
    if digest.hexdigest() != one.sha256:
        raise InputError("changes while it is in use", one.name, "run again")


def keep_pieces(folder: Path, header: Mapping[str, Any], data: bytes) -> None:
    """Write what a message carries below `folder`."""
    start = 0
    for place, offset, length in header["pieces"]:
        path = inside(folder, place)
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "wb" if offset == 0 else "r+b") as stream:
            stream.seek(offset)
            stream.write(data[start : start + length])
        start += length


def inside(folder: Path, place: str) -> Path:
    """Return a place below a folder.

    Raises:
        InputError: it would be outside.
    """
    path = (folder / place).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise InputError("would lie outside of its folder", place)
    return path


def pack(header: Header, arrays: Arrays | None = None) -> bytes:
    """Return a message: a line of JSON, and arrays as an npz behind it."""
    stream = io.BytesIO()
    stream.write(json.dumps(header).encode() + b"\n")
    if arrays is not None:
        held = io.BytesIO()
        np.savez(held, allow_pickle=False, **{f"_{name}": array for name, array in arrays.items()})
        stream.write(held.getvalue())
    return stream.getvalue()


def unpack(message: bytes) -> tuple[Header, Arrays]:
    """Return what `pack` was given; nothing is unpickled."""
    line, _, rest = message.partition(b"\n")
    header: Header = json.loads(line)
    if not rest:
        return header, {}
    with contextlib.closing(np.load(io.BytesIO(rest), allow_pickle=False)) as stored:
        return header, {name[1:]: stored[name] for name in stored.files}
