"""Runs shared libraries that `--codegen` has made of networks, through their C interface."""

import ctypes
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from stepdown.dialects.types import DTYPES
from stepdown.errors import InputError, ResourceError
from stepdown.files.hashes import sha256_file
from stepdown.files.npz import NpzMetadata, TensorInfo
from stepdown.numerics.floats import bf16_bits, from_bf16_bits
from stepdown.numerics.quantize import QuantParams, dequantize
from stepdown.runtimes.mlir import as_input
from stepdown.runtimes.runner import RunnerOptions, Tensors, TensorSpec, match_inputs

_STORED: dict[str, Any] = {**DTYPES, "f16": np.dtype(np.float16), "bf16": np.dtype(np.uint16)}


class ForeignLibrary(InputError):
    """The library is for another processor than this one."""


def why_foreign(path: str) -> str:
    """Return why this processor cannot run a library; '' where it can.

    Raises:
        InputError: it is no library of a network.
    """
    try:
        NativeRunner(path).close()
    except ForeignLibrary as error:
        return error.what
    return ""


class NativeRunner:
    """A network compiled for this processor."""

    def __init__(self, model: str | os.PathLike[str], options: RunnerOptions | None = None) -> None:
        self.path = str(model)
        self._library = _Library(self.path, options.threads if options else 0)
        self._described: dict[str, dict[str, Any]] = {t["name"]: t for t in self._library.metadata["tensors"]}
        self._index = {name: at for at, name in enumerate(self._described)}
        self._inputs: dict[str, str] = self._library.metadata["inputs"]
        native = options is not None and options.output_type == "native"
        self._outputs = [self._output(n, native) for n, t in self._described.items() if t["role"] == "output"]

    @property
    def described(self) -> dict[str, Any]:
        """What the library says of itself: its JSON."""
        return self._library.metadata

    @property
    def preprocessing(self) -> dict[str, dict[str, Any]]:
        """By input name, the preprocessing stored in the library."""
        return dict(self._library.metadata["preprocessing"])

    @property
    def metadata(self) -> NpzMetadata:
        """What every tensor of the library means."""
        tensors = {name: self._info(name) for name in self._described}
        return NpzMetadata(tensors, tuple(self._outputs), os.path.basename(self.path), sha256_file(self.path))

    def inputs(self) -> list[TensorSpec]:
        """The network's inputs: under the names that a caller knows; quantised where integers may be given."""
        specs = []
        for name, given_as in self._inputs.items():
            shape = tuple(self._described[name]["shape"])
            specs.append(TensorSpec(given_as, shape, self._info(self._quantised(name) or name)))
        return specs

    def outputs(self) -> list[TensorSpec]:
        """The network's outputs."""
        return [TensorSpec(name, self._source_shape(name), self._info(name)) for name in self._outputs]

    def run(self, tensors: Mapping[str, np.ndarray], wanted: str = "outputs") -> Tensors:
        """Run once; every tensor that the library keeps where `wanted` is "all", else the outputs.

        Raises:
            InputError: an input does not fit.
        """
        matched = match_inputs(tensors, self.inputs(), self.path)
        for name, given_as in self._inputs.items():
            self._library.data(self._index[name])[...] = self._converted(name, given_as, matched[given_as])
        self._library.run()
        names = list(self._described) if wanted == "all" else self._outputs
        return {name: self._dumped(name) for name in names}

    def again(self) -> None:
        """Run once more on the last inputs: the call of the C interface alone."""
        self._library.run()

    def close(self) -> None:
        """Give the memory of the model back."""
        self._library.close()

    def _info(self, name: str) -> TensorInfo:
        info = self._described[name]["info"]
        return TensorInfo(**{**info, "fused": tuple(info["fused"])})

    def _output(self, name: str, native: bool) -> str:
        """Return the tensor that is given as an output: with `native`, the one that its float copy is a view of."""
        viewed = self._info(name).view_of
        return viewed if native and viewed in self._described else name

    def _quantised(self, name: str) -> str | None:
        """Return the quantised tensor that a float input is a view of, None where the library keeps none."""
        viewed = self._info(name).view_of
        found = self._described.get(viewed)
        return viewed if found and found["params"] else None

    def _source_shape(self, name: str) -> tuple[int, ...]:
        shape, order = self._described[name]["shape"], self._described[name]["layout_order"]
        return tuple(shape[at] for at in order) or tuple(shape)

    def _converted(self, name: str, given_as: str, array: np.ndarray) -> np.ndarray:
        """Return the bytes of an input as the network takes it; integers for a float input are made real, exactly."""
        described = self._described[name]
        quantised = self._quantised(name)
        if quantised is not None and array.dtype == DTYPES[self._described[quantised]["type"]]:
            params = _params(self._described[quantised])
            assert params is not None
            array = dequantize(array, params)
        return as_stored(array, given_as, described, self.path)

    def _dumped(self, name: str) -> np.ndarray:
        """Return a tensor as it is dumped: in its storage type (bf16 as float32), in the source's layout."""
        return as_dumped(self._library.data(self._index[name]).copy(), self._described[name])


def as_stored(array: np.ndarray, given_as: str, described: Mapping[str, Any], path: str) -> np.ndarray:
    """Return the bytes of an input as a compiled network takes it; `described` is its part of the metadata.

    Raises:
        InputError: it does not fit.
    """
    kind = described["type"]
    converted = as_input(array, given_as, kind, _params(described), path)
    stored = bf16_bits(converted) if kind == "bf16" else converted.astype(_STORED[kind])
    return np.ascontiguousarray(stored.transpose(described["order"])).reshape(-1).view(np.uint8)


def as_dumped(raw: np.ndarray, described: Mapping[str, Any]) -> np.ndarray:
    """Return a tensor as it is dumped: in its storage type (bf16 as float32), in the source's layout."""
    shape, order = described["shape"], described["order"]
    lying = raw.view(_STORED[described["type"]]).reshape([shape[at] for at in order])
    placed = lying.transpose(np.argsort(order)) if order else lying
    if described["layout_order"]:
        placed = placed.transpose(described["layout_order"])
    placed = np.asarray(placed, order="C")  # which leaves a number without dimensions as it is
    return from_bf16_bits(placed) if described["type"] == "bf16" else placed


def _params(described: Mapping[str, Any]) -> QuantParams | None:
    given = described["params"]
    if given is None:
        return None
    scale = tuple(given["scale"]) if isinstance(given["scale"], list) else given["scale"]
    return QuantParams(scale, given["zero_point"], given["type"], given["axis"])


class _SdTensor(ctypes.Structure):
    """`sd_tensor` of stepdown.h."""

    _fields_ = (
        ("name", ctypes.c_char_p), ("type", ctypes.c_char_p), ("role", ctypes.c_int), ("rank", ctypes.c_int),
        ("shape", ctypes.POINTER(ctypes.c_int64)), ("scale", ctypes.c_double), ("zero_point", ctypes.c_int),
        ("bytes", ctypes.c_size_t),
    )  # fmt: skip


def _check_kind(library: str | Path, path: str) -> None:
    """Check that a library is for the kind of processor that runs this program."""
    made_for, here = _elf_machine(library), _elf_machine(sys.executable)
    if made_for and here and made_for != here:
        what = f"is code for another kind of processor (ELF's number {made_for}, here {here})"
        raise ForeignLibrary(what, path, "run it there, or make one for this processor by chip=…")


def _elf_machine(path: str | Path) -> int:
    """Return the number of the kind of processor that a file is for; 0 where it is no ELF file."""
    with open(path, "rb") as file:
        begin = file.read(20)
    return int.from_bytes(begin[18:20], "little") if begin[:4] == b"\x7fELF" and len(begin) == 20 else 0


class _Library:
    """The functions of stepdown.h in a library; the loader knows a path once, so that each is opened as a copy."""

    def __init__(self, path: str, threads: int) -> None:
        with tempfile.TemporaryDirectory() as folder:
            copy = shutil.copyfile(path, Path(folder) / "network.so")
            _check_kind(copy, path)
            try:
                self._functions = ctypes.CDLL(str(copy))
                self._functions.sd_missing.restype = ctypes.c_char_p
                self._functions.sd_create_threads.restype = ctypes.c_void_p
                self._functions.sd_data.restype = ctypes.c_void_p
                self._functions.sd_tensors.restype = ctypes.POINTER(_SdTensor)
                text = ctypes.string_at(ctypes.addressof(ctypes.c_char.in_dll(self._functions, "stepdown_metadata")))
            except (OSError, AttributeError, ValueError) as error:
                raise InputError(f"is no library of a network for this processor ({error})", path) from None
        self.metadata: dict[str, Any] = json.loads(text)
        if missing := self._functions.sd_missing():
            made_for, fix = self.metadata["processor"], "name this one (or an older one) by processor=… of --codegen"
            raise ForeignLibrary(f"is code for {made_for}, and this processor has no {missing.decode()}", path, fix)
        count = ctypes.c_size_t()
        table = self._functions.sd_tensors(ctypes.byref(count))
        self._bytes = [table[i].bytes for i in range(count.value)]
        self._model: int | None = self._functions.sd_create_threads(ctypes.c_int(threads or 1))
        if not self._model:
            what = f"memory, or no {threads} threads," if threads > 1 else "memory"
            raise ResourceError(f"has no {what} to run in", path)

    def data(self, tensor: int) -> np.ndarray:
        """Return the memory of a tensor, as bytes."""
        at = self._functions.sd_data(ctypes.c_void_p(self._model), ctypes.c_size_t(tensor))
        return np.ctypeslib.as_array((ctypes.c_uint8 * self._bytes[tensor]).from_address(at))

    def run(self) -> None:
        """Run the network."""
        self._functions.sd_run(ctypes.c_void_p(self._model))

    def close(self) -> None:
        """Give the memory back."""
        self._functions.sd_destroy(ctypes.c_void_p(self._model))
        self._model = None
