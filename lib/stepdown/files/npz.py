"""Tensors in `.npz` files, with what a plain npz cannot say about them.

A dumped file has one more member, `__stepdown__` (uint8, JSON): see `TensorInfo` and `NpzMetadata`.
The reader never unpickles and allocates only what a member's own bytes can fill.
"""

import contextlib
import io
import json
import lzma
import math
import os
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np

from stepdown.errors import InputError
from stepdown.files.atomic import atomic_path

METADATA_MEMBER = "__stepdown__"
MAX_TENSOR_BYTES = 8 << 30
# A packed file that grows larger than the first, and by more than the second, is there to fill the memory.
MAX_UNPACKED_BYTES, MAX_GROWTH = 256 << 20, 100
# Zip files count the letters of a name in 16 bits.
MAX_NAME_BYTES = 65_000
_EPOCH = (1980, 1, 1, 0, 0, 0)
# What zipfile and numpy raise on broken members.
_BROKEN = (
    ValueError, KeyError, IndexError, EOFError, OSError, SyntaxError, TypeError, NotImplementedError, RuntimeError,
    OverflowError, struct.error, tokenize.TokenError, zipfile.BadZipFile, zlib.error, lzma.LZMAError,
)  # fmt: skip


@dataclass(frozen=True)
class TensorInfo:
    """What a stored tensor means.

    `type` is the storage type (i8, u8, i32, f16, bf16, f32, …); real value = (stored − zero_point) × scale, by
    channel along `axis` where `scale` is a list. `fused` names the tensors of the source model that this op
    swallowed; `view_of` names the tensor this one repeats in another type; `internal` marks a tensor that the source
    model does not have (an importer's or a pass's intermediate).
    """

    type: str = "f32"
    scale: float | list[float] | None = None
    zero_point: int | list[int] = 0
    axis: int | None = None
    layout: str = ""
    fused: tuple[str, ...] = ()
    view_of: str = ""
    internal: bool = False


@dataclass(frozen=True)
class NpzMetadata:
    """The `__stepdown__` member: one `TensorInfo` a tensor, and which model made them."""

    tensors: dict[str, TensorInfo] = field(default_factory=dict)
    outputs: tuple[str, ...] = ()
    model: str = ""
    model_sha256: str = ""

    def to_json(self) -> str:
        """Return the text stored in the file; the same metadata gives the same bytes."""
        default = asdict(TensorInfo())
        tensors = {
            name: {k: v for k, v in asdict(info).items() if v != default[k] or k == "type"}
            for name, info in self.tensors.items()
        }
        return json.dumps({**asdict(self), "tensors": tensors}, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> "NpzMetadata":
        """Parse what `to_json` wrote. Raises ValueError, KeyError or TypeError where it is malformed."""
        raw = json.loads(text)
        tensors = {
            name: TensorInfo(**{**info, "fused": tuple(info.get("fused", ()))}) for name, info in raw["tensors"].items()
        }
        return cls(tensors, tuple(raw["outputs"]), raw["model"], raw["model_sha256"])


class NpzFile(Mapping[str, np.ndarray]):
    """A read-only view of an npz file: tensors are read when asked for, one at a time.

    Iterates over tensor names in the order of the file, without the metadata member.

    Raises:
        InputError: no such file, not an npz, a member that is pickled, truncated, too large or otherwise broken.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = str(path)
        if not os.path.isfile(path):
            raise InputError(
                "is a directory" if os.path.isdir(path) else "no such file", self.path, "give an .npz file"
            )
        try:
            self._zip = zipfile.ZipFile(path)
        except _BROKEN as error:
            raise InputError(f"not an npz file ({error})", self.path) from error
        members = [i for i in self._zip.infolist() if not i.filename.endswith("/")]
        self._refuse_bomb(sum(i.file_size for i in members))
        self._members = {_tensor_name(i.filename): i for i in members}
        self._has_metadata = self._members.pop(METADATA_MEMBER, None) is not None

    def __iter__(self) -> Iterator[str]:
        return iter(self._members)

    def __len__(self) -> int:
        return len(self._members)

    def __contains__(self, name: object) -> bool:
        return name in self._members

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self._members:
            raise InputError(f"has no tensor '{name}'", self.path, closest(name, self))
        with self._open(name) as (stream, shape, fortran, dtype):
            return _read_array(stream, shape, fortran, dtype)

    def header(self, name: str) -> tuple[tuple[int, ...], np.dtype]:
        """Return shape and dtype of a tensor without reading its values."""
        with self._open(name) as (_, shape, _, dtype):
            return shape, dtype

    @property
    def metadata(self) -> NpzMetadata | None:
        """The file's `__stepdown__` member, None for a plain npz."""
        if not self._has_metadata:
            return None
        with self._open(METADATA_MEMBER) as (stream, shape, fortran, dtype):
            raw = _read_array(stream, shape, fortran, dtype)
        try:
            return NpzMetadata.from_json(raw.tobytes().decode())
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"member {METADATA_MEMBER} is malformed ({error})", self.path) from error

    def close(self) -> None:
        """Close the file."""
        self._zip.close()

    def _refuse_bomb(self, unpacked_bytes: int) -> None:
        held = os.path.getsize(self.path)
        if unpacked_bytes > max(MAX_UNPACKED_BYTES, MAX_GROWTH * held):
            self.close()
            raise InputError(f"would unpack from {held} to {unpacked_bytes} bytes", self.path, "store it unpacked")

    @contextlib.contextmanager
    def _open(self, name: str) -> Iterator[tuple[IO[bytes], tuple[int, ...], bool, np.dtype]]:
        """Open a member behind its checked header; every way in which it can be broken is an InputError."""
        try:
            member = self._members.get(name) or self._zip.getinfo(f"{name}.npy")
            if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise ValueError("is packed in a way that no npz is")  # LZMA's dictionary may take gigabytes
            with self._zip.open(member) as stream:
                yield stream, *_checked_header(stream, member.file_size)
        except InputError:
            raise
        except _BROKEN as error:
            raise InputError(f"tensor '{name}' cannot be read ({error})", self.path) from error


def read_npz(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Read all tensors of an npz file (or the one array of a `.npy`, under the file's stem)."""
    if str(path).endswith(".npy"):
        return {Path(path).stem: _read_npy(path)}
    file = NpzFile(path)
    try:
        return {name: file[name] for name in file}
    finally:
        file.close()


def write_npz(
    path: str | os.PathLike[str], tensors: Mapping[str, np.ndarray], metadata: NpzMetadata | None = None
) -> None:
    """Write tensors, in the order given, atomically; the same tensors give the same bytes.

    Members are stored uncompressed with a fixed date, so files can be memory-mapped and compared by hash.
    """
    with (
        atomic_path(path) as temporary,
        zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED, allowZip64=True) as archive,
    ):
        for name, tensor in tensors.items():
            _write_member(archive, name, np.asarray(tensor))
        if metadata is not None:
            _write_member(archive, METADATA_MEMBER, np.frombuffer(metadata.to_json().encode(), np.uint8))


def closest(name: str, names: "Mapping[str, Any] | list[str]") -> str:
    """Return the hint «did you mean …» for a name that is not among `names`."""
    import difflib

    found = difflib.get_close_matches(name, list(names), n=1, cutoff=0.5)
    if found:
        return f"did you mean '{found[0]}'?"
    shown = list(names)[:5]
    return f"it has {', '.join(shown)}{', …' if len(names) > len(shown) else ''}" if shown else "it is empty"


def _tensor_name(filename: str) -> str:
    return filename.removesuffix(".npy")


def _read_header(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    version = np.lib.format.read_magic(stream)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    try:
        shape, fortran, dtype = read(stream)
    except MemoryError:  # Python's own parser says so of what nests too deeply
        raise ValueError("has a malformed header") from None
    return shape, fortran, dtype


def _checked_header(stream: IO[bytes], held_bytes: int) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Return shape, order and dtype of an array that `held_bytes` can hold. Raises ValueError for any other."""
    shape, fortran, dtype = _read_header(stream)
    if dtype.hasobject:
        raise ValueError("holds pickled Python objects, which are not read")
    if any(d < 0 for d in shape):
        raise ValueError(f"declares the impossible shape {shape}")
    _check_size(shape, dtype, held_bytes)
    return shape, fortran, dtype


def _check_size(shape: tuple[int, ...], dtype: np.dtype, member_bytes: int) -> None:
    """Refuse a header that promises more than its member holds: nothing is allocated on a promise."""
    wanted = dtype.itemsize
    for size in shape:
        wanted *= size
    if wanted > member_bytes:
        raise ValueError(f"declares {wanted} bytes but holds {member_bytes}")
    if wanted > MAX_TENSOR_BYTES:
        raise ValueError(f"has {wanted} bytes, more than the limit of {MAX_TENSOR_BYTES}")


def _read_array(stream: IO[bytes], shape: tuple[int, ...], fortran: bool, dtype: np.dtype) -> np.ndarray:
    count = math.prod(shape)
    raw = bytearray()
    while len(raw) < count * dtype.itemsize:
        block = stream.read(min(1 << 24, count * dtype.itemsize - len(raw)))
        if not block:
            raise ValueError("is truncated")
        raw += block
    stream.read(1)  # reaching the end makes zipfile check the CRC
    flat = np.frombuffer(raw, dtype, count)
    return flat.reshape(shape[::-1]).T if fortran else flat.reshape(shape)


def _read_npy(path: str | os.PathLike[str]) -> np.ndarray:
    try:
        with open(path, "rb") as stream:
            header = _checked_header(stream, os.path.getsize(path))
            return _read_array(stream, *header)
    except _BROKEN as error:
        raise InputError(f"not a .npy file ({error})", str(path)) from error


def _write_member(archive: zipfile.ZipFile, name: str, tensor: np.ndarray) -> None:
    if "\0" in name or len(name.encode()) > MAX_NAME_BYTES:
        raise InputError(f"'{name[:40]}…' cannot be the name of a tensor in an npz file", fix="rename it in the model")
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        buffer, np.lib.format.header_data_from_array_1_0(np.require(tensor, requirements="C"))
    )
    member = zipfile.ZipInfo(f"{name}.npy", _EPOCH)
    member.external_attr = 0o644 << 16
    with archive.open(member, "w", force_zip64=tensor.nbytes > 1 << 31) as stream:
        stream.write(buffer.getvalue())
        if tensor.size:
            stream.write(np.ascontiguousarray(tensor).reshape(-1).view(np.uint8).data)
