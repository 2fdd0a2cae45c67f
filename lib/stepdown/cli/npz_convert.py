"""The converting commands of npz_tool.py: raw and .npy files, and the float formats."""

import argparse
import math
import os
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np

from stepdown.cli.npz_columns import DTYPES, counted, element_type, integers, short_type
from stepdown.cli.npz_draft import Draft, Read
from stepdown.compare.decode import PLAIN, real_values
from stepdown.errors import InputError
from stepdown.files.atomic import atomic_path
from stepdown.files.npz import NpzFile, TensorInfo, read_npz
from stepdown.numerics.floats import bf16_bits, from_bf16_bits, round_bf16


def to_bin(args: argparse.Namespace) -> int:
    """Write the elements of a tensor as raw little-endian bytes: as they are stored, or converted to `--type`."""
    where = f"{args.file}: tensor '{args.name}'"
    with closing(NpzFile(args.file)) as file:
        stored, meaning = file[args.name], (file.metadata.tensors if file.metadata else {}).get(args.name, PLAIN)
    own = "bf16" if meaning.type == "bf16" and stored.dtype == np.uint16 else short_type(stored.dtype)
    kind = element_type(args.type) if args.type else own
    raw = stored if kind == own else _as_type(stored, meaning, kind, where)
    little = raw.astype(raw.dtype.newbyteorder("<"), copy=False)
    with atomic_path(args.out) as temporary:
        temporary.write_bytes(little.tobytes())
    print(f"{raw.size} elements of {kind} {raw.shape}, {little.nbytes} bytes; wrote {args.out}")
    return 0


def from_bin(args: argparse.Namespace) -> int:
    """Put raw little-endian bytes into an npz file as a tensor."""
    raw = _read_bytes(args.source)
    kind = element_type(args.type)
    dtype = np.dtype(DTYPES[kind])
    if len(raw) % dtype.itemsize:
        raise InputError(
            f"has {len(raw)} bytes, which are not whole elements of {kind}", args.source, "give its --type"
        )
    shape = integers(args.shape, "shape") if args.shape is not None else (len(raw) // dtype.itemsize,)
    if min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize != len(raw):
        wanted = math.prod(shape) * dtype.itemsize
        raise InputError(
            f"has {len(raw)} bytes, but {kind} {shape} takes {wanted}", args.source, "give its --type and --shape"
        )
    tensor = np.frombuffer(raw, dtype).reshape(shape)
    return _put(args, tensor, TensorInfo("bf16") if kind == "bf16" else None)


def to_npy(args: argparse.Namespace) -> int:
    """Write a tensor to a .npy file."""
    with closing(NpzFile(args.file)) as file:
        tensor = file[args.name]
    with atomic_path(args.out) as temporary, temporary.open("wb") as stream:
        np.save(stream, tensor, allow_pickle=False)
    print(f"{tensor.dtype} {tensor.shape}; wrote {args.out}")
    return 0


def from_npy(args: argparse.Namespace) -> int:
    """Put a .npy file into an npz file as a tensor."""
    if not args.source.endswith(".npy"):
        raise InputError("is not named .npy", args.source, "give a .npy file")
    (tensor,) = read_npz(args.source).values()
    return _put(args, tensor, None)


def fp32_to_fp16(args: argparse.Namespace) -> int:
    """Round all float32 tensors to float16, to nearest even; values beyond it become infinite, and are counted."""
    return _convert(args, _is_plain_float(np.float32), _to_f16, "f16")


def fp16_to_fp32(args: argparse.Namespace) -> int:
    """Widen all float16 tensors to float32."""
    return _convert(args, _is_plain_float(np.float16), lambda x: x.astype(np.float32), "f32")


def fp32_to_bf16(args: argparse.Namespace) -> int:
    """Round all float32 tensors to bfloat16 bit patterns (uint16), to nearest even."""
    return _convert(args, _is_plain_float(np.float32), bf16_bits, "bf16")


def bf16_to_fp32(args: argparse.Namespace) -> int:
    """Widen all bfloat16 tensors to float32; in a file without metadata these are all of type uint16."""
    return _convert(args, _holds_bf16, from_bf16_bits, "f32")


Chooses = Callable[[NpzFile, str, dict[str, TensorInfo]], bool]


def _is_plain_float(wanted: type[np.floating]) -> Chooses:
    def chooses(file: NpzFile, name: str, meanings: dict[str, TensorInfo]) -> bool:
        return file.header(name)[1].newbyteorder("=") == wanted and meanings.get(name, PLAIN).scale is None

    return chooses


def _holds_bf16(file: NpzFile, name: str, meanings: dict[str, TensorInfo]) -> bool:
    is_u16 = file.header(name)[1].newbyteorder("=") == np.uint16
    return is_u16 and (meanings.get(name, PLAIN).type == "bf16" if file.metadata else True)


def _convert(args: argparse.Namespace, chooses: Chooses, change: Callable[[np.ndarray], np.ndarray], kind: str) -> int:
    """Convert the tensors that `chooses` chooses; the others are kept as they are."""
    overflows: dict[str, int] = {}
    with closing(NpzFile(args.file)) as file:
        draft = Draft.of(file)
        chosen = [name for name in file if chooses(file, name, draft.meanings)]
        if not chosen:
            raise InputError(f"has no tensor for {args.command}", args.file, "see `npz_tool.py dump` for its types")
        for name in chosen:
            meaning = replace(draft.meanings.get(name, PLAIN), type=kind)
            known = draft.meanings or kind == "bf16"
            draft.put(name, _changed(draft.readers[name], change, name, overflows), meaning if known else None)
        draft.write(args.out)
    for name, count in overflows.items():
        print(f"warning: {name}: {counted(count, 'finite value')} became infinite")
    kept = len(draft.readers) - len(chosen)
    print(f"{counted(len(chosen), 'tensor')} converted, {kept} kept as they were; wrote {args.out}")
    return 0


def _changed(read: Read, change: Callable[[np.ndarray], np.ndarray], name: str, overflows: dict[str, int]) -> Read:
    def changed() -> np.ndarray:
        old = read()
        new = change(old)
        real = from_bf16_bits(new) if new.dtype == np.uint16 else new
        count = int(np.count_nonzero(np.isinf(real))) - _infinite(old)
        if count > 0:
            overflows[name] = count
        return new

    return changed


def _infinite(x: np.ndarray) -> int:
    return (
        int(np.count_nonzero(np.isinf(x)))
        if x.dtype.kind == "f"
        else int(np.count_nonzero(np.isinf(from_bf16_bits(x))))
    )


def _to_f16(x: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        return x.astype(np.float16)


def _as_type(stored: np.ndarray, meaning: TensorInfo, kind: str, where: str) -> np.ndarray:
    """Convert elements: to a float type their real values, rounded to nearest even; to an integer type all exactly.

    Raises:
        InputError: an integer type that cannot hold the values, or elements that are not numbers.
    """
    is_float = kind in ("f16", "bf16", "f32", "f64")
    x = real_values(stored, meaning, where) if is_float or meaning.type == "bf16" else stored
    if x.dtype.kind not in "biuf":
        raise InputError(f"holds {x.dtype}, not real numbers", where, "leave out --type")
    if kind == "bf16":
        return bf16_bits(round_bf16(x if x.dtype.kind == "f" else x.astype(np.float64)))
    with np.errstate(all="ignore"):
        converted = x.astype(DTYPES[kind])
    if not is_float and not np.array_equal(converted, x):
        raise InputError(f"has values that {kind} cannot hold", where, "quantise it first, or choose a wider --type")
    return converted


def _put(args: argparse.Namespace, tensor: np.ndarray, meaning: TensorInfo | None) -> int:
    """Put a tensor into the file `args.file`, which is made where it does not exist."""
    one = Draft()
    one.put(args.name, lambda: tensor, meaning)
    if os.path.exists(args.file):
        with closing(NpzFile(args.file)) as file:
            draft = Draft.of(file)
            draft.add(one, args.overwrite, args.file)
            draft.write(args.file)
    else:
        one.write(args.file)
    print(f"'{args.name}' {tensor.dtype} {tensor.shape}; wrote {args.file}")
    return 0


def _read_bytes(path: str) -> bytes:
    if not Path(path).is_file():
        raise InputError("no such file", path, "give a raw file")
    return Path(path).read_bytes()
