"""An npz file being changed: its tensors are read only when they are written, its metadata follows them."""

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from stepdown.errors import InputError
from stepdown.files.npz import NpzFile, NpzMetadata, TensorInfo, write_npz

Read = Callable[[], np.ndarray]


class _Lazy(Mapping[str, np.ndarray]):
    """Tensors that are read when they are asked for."""

    def __init__(self, readers: Mapping[str, Read]) -> None:
        self._readers = readers

    def __getitem__(self, name: str) -> np.ndarray:
        return self._readers[name]()

    def __iter__(self) -> Iterator[str]:
        return iter(self._readers)

    def __len__(self) -> int:
        return len(self._readers)


@dataclass
class Draft:
    """The tensors and the metadata of a file to write.

    What the metadata says about the network (`outputs`, `model`) stays when tensors are taken out: it stays true.
    """

    readers: dict[str, Read] = field(default_factory=dict)
    meanings: dict[str, TensorInfo] = field(default_factory=dict)
    network: NpzMetadata | None = None

    @classmethod
    def of(cls, file: NpzFile) -> "Draft":
        """Start with all tensors of an open file, which must stay open until the draft is written."""
        metadata = file.metadata
        readers = {name: _reader(file, name) for name in file}
        return cls(readers, dict(metadata.tensors) if metadata else {}, metadata)

    def keep(self, names: list[str]) -> None:
        """Keep only these tensors, in this order."""
        self.readers = {name: self.readers[name] for name in names}
        self.meanings = {name: self.meanings[name] for name in names if name in self.meanings}

    def put(self, name: str, read: Read, meaning: TensorInfo | None = None) -> None:
        """Add or replace a tensor; None is the meaning of a plain one."""
        self.readers[name] = read
        self.meanings.pop(name, None)
        if meaning is not None:
            self.meanings[name] = meaning

    def rename(self, old: str, new: str) -> None:
        """Rename a tensor, in its place, everywhere."""
        self.readers = {new if name == old else name: read for name, read in self.readers.items()}
        self.meanings = {
            new if name == old else name: replace(meaning, view_of=new if meaning.view_of == old else meaning.view_of)
            for name, meaning in self.meanings.items()
        }
        if self.network:
            self.network = replace(self.network, outputs=tuple(new if o == old else o for o in self.network.outputs))

    def add(self, other: "Draft", overwrite: bool, where: str) -> int:
        """Add all tensors of `other`; return how many there were already, with the same bytes and meaning.

        Raises:
            InputError: a tensor is there already and differs, unless `overwrite`.
        """
        again = [name for name in other.readers if name in self.readers and self._same(name, other)]
        for name, read in other.readers.items():
            if name in self.readers and name not in again and not overwrite:
                raise InputError(
                    f"tensor '{name}' is in two of the files and differs", where, "rename one, or give --overwrite"
                )
            self.put(name, read, other.meanings.get(name))
        self.network = _merged(self.network, other.network)
        return len(again)

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write the file, atomically; it has metadata where a tensor has a meaning or the source had metadata."""
        metadata = None
        if self.network or self.meanings:
            metadata = replace(self.network or NpzMetadata(), tensors=self.meanings)
        write_npz(path, _Lazy(self.readers), metadata)

    def _same(self, name: str, other: "Draft") -> bool:
        if self.meanings.get(name) != other.meanings.get(name):
            return False
        a, b = self.readers[name](), other.readers[name]()
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def _reader(file: NpzFile, name: str) -> Read:
    return lambda: file[name]


def _merged(one: NpzMetadata | None, other: NpzMetadata | None) -> NpzMetadata | None:
    """Return what both say about the network; which model made them only where it is the same one."""
    if one is None or other is None:
        return one or other
    outputs = tuple(dict.fromkeys(one.outputs + other.outputs))
    if (one.model, one.model_sha256) == (other.model, other.model_sha256):
        return replace(one, outputs=outputs)
    return NpzMetadata(outputs=outputs)
