"""The one protocol by which every tool runs every kind of model file."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from stepdown.errors import InputError
from stepdown.files.npz import NpzMetadata, TensorInfo, closest

Tensors = dict[str, np.ndarray]


@dataclass(frozen=True)
class TensorSpec:
    """A network input or output: its name, shape (None for a size that is not fixed) and what is stored in it."""

    name: str
    shape: tuple[int | None, ...]
    info: TensorInfo


@dataclass(frozen=True)
class RunnerOptions:
    """Options of a runner; a kind of file reads those it has."""

    threads: int = 0
    """0: as many as the engine takes by itself: all processors' of onnxruntime, one of a library of ours."""
    output_type: str = "f32"
    """f32: quantised and 16-bit outputs are converted; native: they come in their own type."""
    kernels: str = "reference"
    """LiteRT's kernels: reference, optimized, or xnnpack."""
    network: str = ""
    """Which network of a model file that holds several."""
    shuffle: int | None = None
    """A seed: the simulator starts from memories full of noise, and runs commands in a random order that they allow."""


class Runner(Protocol):
    """An opened model."""

    @property
    def preprocessing(self) -> dict[str, dict[str, Any]]:
        """By input name, the attributes that say how an image becomes that input; empty where the file says nothing."""

    @property
    def metadata(self) -> NpzMetadata:
        """What the tensors of the last run mean."""

    def inputs(self) -> list[TensorSpec]:
        """The network's inputs."""

    def outputs(self) -> list[TensorSpec]:
        """The network's outputs."""

    def run(self, tensors: Mapping[str, np.ndarray], wanted: str = "outputs") -> Tensors:
        """Run once; return the outputs, or every tensor where `wanted` is "all"."""

    def close(self) -> None:
        """Release the model."""


class EngineRunner:
    """What the runners of files that another engine runs share: such a file does not say how a photo becomes an input.

    A subclass sets `path`, its SHA-256 and, after each run, what the tensors of that run store.
    """

    path: str
    _sha256: str
    _dumped: dict[str, TensorInfo]

    @property
    def preprocessing(self) -> dict[str, dict[str, Any]]:
        """Nothing: the file does not say."""
        return {}

    @property
    def metadata(self) -> NpzMetadata:
        """What the tensors of the last run mean."""
        outputs = tuple(spec.name for spec in self.outputs())
        return NpzMetadata(dict(self._dumped), outputs, os.path.basename(self.path), self._sha256)

    def outputs(self) -> list[TensorSpec]:
        """The network's outputs."""
        raise NotImplementedError

    def converted(self, array: np.ndarray, name: str, wanted: np.dtype) -> np.ndarray:
        """Return an input in the type the model wants; only float widths and lossless integers are converted.

        Raises:
            InputError: it is of another type.
        """
        if (array.dtype.kind == wanted.kind == "f") or np.can_cast(array.dtype, wanted, "safe"):
            return np.ascontiguousarray(array, wanted).reshape(array.shape)
        if array.dtype.kind in "iu" and wanted.kind in "iu" and np.array_equal(array, array.astype(wanted)):
            return array.astype(wanted)
        raise InputError(f"input '{name}' is {array.dtype}, want {wanted}", self.path, "convert it with npz_tool.py")


def match_inputs(given: Mapping[str, np.ndarray], specs: list[TensorSpec], where: str) -> Tensors:
    """Return the given tensors under the names of the network's inputs, in their order, shapes checked.

    Raises:
        InputError: an input is missing, has another shape, or a tensor belongs to no input.
    """
    names = [spec.name for spec in specs]
    for name in given:
        if name not in names:
            raise InputError(f"the model has no input '{name}'", where, closest(name, names))
    matched = {}
    for spec in specs:
        if spec.name not in given:
            listed = f" (given: {', '.join(given)})" if given else ""
            raise InputError(f"input '{spec.name}' is missing{listed}", where, "give its tensor too")
        matched[spec.name] = _checked(given[spec.name], spec, where)
    return matched


def _checked(value: np.ndarray, spec: TensorSpec, where: str) -> np.ndarray:
    fits = len(value.shape) == len(spec.shape) and all(
        w in (None, g) for w, g in zip(spec.shape, value.shape, strict=True)
    )
    if not fits:
        raise InputError(f"input '{spec.name}' has shape {value.shape}, want {spec.shape}", where)
    if value.dtype == object:
        raise InputError(f"input '{spec.name}' holds Python objects, want numbers", where)
    return value
