"""A classifier of any kind of file: samples go in, one row of scores a sample comes out."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from importlib import metadata
from typing import Any

import numpy as np

from stepdown import __version__
from stepdown.data.preprocess import Preprocess
from stepdown.errors import InputError
from stepdown.runtimes import Runner, RunnerOptions, open_runner
from stepdown.runtimes.runner import TensorSpec


@dataclass(frozen=True)
class Network:
    """An opened model with one input and the output that holds its scores.

    `preprocess` says how pixels become the input; `batch` samples run at once, `fixed` if the model takes no other
    number: then the last batch is filled up.
    """

    runner: Runner
    name: str
    input: TensorSpec
    output: TensorSpec
    preprocess: Preprocess
    batch: int
    fixed: bool

    @cached_property
    def classes(self) -> int:
        """The number of classes; a model that does not say it is run once."""
        sizes = self.output.shape[1:]
        if sizes and None not in sizes:
            return math.prod(size or 0 for size in sizes)
        shape = (1, *(size or 1 for size in self.input.shape[1:]))
        return int(self.scores([np.zeros(shape, np.float32)])[0].size)

    def tensor(self, sample: np.ndarray) -> np.ndarray:
        """Return the input [1, …] made of pixels (uint8), or a float sample in the shape of the input.

        Raises:
            InputError: the sample does not fit.
        """
        if sample.dtype != np.uint8:
            return _shaped(sample, self.input, self.name)
        if not self.preprocess.is_image:
            raise InputError(
                f"pixels cannot become the input {_shape(self.input)}", self.name, "give float samples of its shape"
            )
        return self.preprocess.apply(_pixels(sample))

    def scores(self, tensors: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Return the scores [C] of each of at most `batch` inputs [1, …].

        Raises:
            InputError: the output is not one row of scores a sample.
        """
        missing = self.batch - len(tensors) if self.fixed else 0
        given = np.concatenate([*tensors, *[tensors[-1]] * missing])
        rows = self.runner.run({self.input.name: given})[self.output.name]
        if rows.size % len(given) or not rows.size or (rows.ndim > 1 and rows.shape[0] != len(given)):
            raise InputError(f"output '{self.output.name}' {list(rows.shape)} has no row a sample", self.name)
        return list(rows.reshape(len(given), -1)[: len(tensors)])


@dataclass(frozen=True)
class Plan:
    """A network that is not opened: what another process needs to open it."""

    path: str
    preprocess: Preprocess
    options: RunnerOptions
    output: str = ""
    batch: int = 0

    def open(self) -> Network:
        """Open the model; see `make_network`."""
        runner = open_runner(self.path, self.options)
        try:
            return make_network(runner, self.path, self.preprocess, self.output, self.batch)
        except InputError:
            runner.close()
            raise

    def as_plain(self) -> dict[str, Any]:
        """Return the plan as JSON can hold it."""
        preprocess = {**self.preprocess.to_attributes(), "shape": list(self.preprocess.input_shape)}
        return {**vars(self), "preprocess": preprocess, "options": asdict(self.options)}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any], place: Callable[[str], str]) -> "Plan":
        """Return what `as_plain` was made of, with the model at another place."""
        preprocess, options = Preprocess.from_attributes(plain["preprocess"]), RunnerOptions(**plain["options"])
        return cls(place(plain["path"]), preprocess, options, plain["output"], plain["batch"])


@dataclass(frozen=True)
class Facts:
    """What a network is, and what computes it."""

    file: str
    sha256: str
    engine: str
    input: str
    output: str
    batch: int
    classes: int
    preprocess: Preprocess

    def as_plain(self) -> dict[str, Any]:
        """Return the facts as JSON can hold them."""
        return {**vars(self), "preprocess": self.preprocess.to_attributes()}


def facts_of(network: Network) -> Facts:
    """Return the facts of an opened network."""
    sha256 = network.runner.metadata.model_sha256
    return Facts(
        network.name, sha256, _engine(network), network.input.name, network.output.name, network.batch,
        network.classes, network.preprocess,
    )  # fmt: skip


def _engine(network: Network) -> str:
    """Return what computes the network, with the kernels and the version that decide its numbers."""
    kernels = getattr(network.runner, "kernels", "")
    if kernels:
        return f"LiteRT {metadata.version('ai-edge-litert')}, kernels {kernels}"
    if network.name.endswith(".onnx"):
        return f"onnxruntime {metadata.version('onnxruntime')} without graph optimisation"
    own = {"mlir": ", reference interpreter", "bmodel": ", simulator"}
    return f"stepdown {__version__}" + own.get(network.name.rpartition(".")[2], "")


def make_network(runner: Runner, name: str, preprocess: Preprocess, output: str = "", batch: int = 0) -> Network:
    """Return the network of an opened model.

    `output` names the scores where the model has several outputs; `batch` (0: the model's own, else 1) is for models
    that leave it open.

    Raises:
        InputError: several inputs, several outputs and no name, an output that is no row of scores, another batch.
    """
    given, scores = only_input(runner, name), _scores(runner.outputs(), output, name)
    size = given.shape[0] if given.shape else None
    if batch and size not in (None, batch):
        raise InputError(f"the model's batch is fixed at {size}, not {batch}", name, "leave out --batch")
    return Network(runner, name, given, scores, preprocess, batch or size or 1, size is not None)


def only_input(runner: Runner, name: str) -> TensorSpec:
    """Return the spec of the model's one input; raises InputError."""
    specs = runner.inputs()
    if len(specs) != 1:
        raise InputError(f"has {len(specs)} inputs, {', '.join(s.name for s in specs)}; one is fed", name)
    return specs[0]


def input_shape(spec: TensorSpec, name: str) -> tuple[int, ...]:
    """Return the shape of one sample as a batch of 1.

    Raises:
        InputError: a size other than the batch is open.
    """
    sizes = [size for size in spec.shape[1:] if size is not None]
    if not spec.shape or len(sizes) < len(spec.shape) - 1:
        raise InputError(f"input '{spec.name}' {_shape(spec)} has no fixed size", name, "import it with --input_shapes")
    return (1, *sizes)


def relaid(preprocess: Preprocess, shape: tuple[int, ...], layout: str) -> Preprocess:
    """Return the preprocessing of another model for an input of this shape and layout (see `Preprocess`)."""
    same_size = replace(preprocess, input_shape=shape, channel_format=layout)
    if same_size.input_size != preprocess.input_size:
        raise InputError(
            f"is for {'×'.join(map(str, preprocess.input_size))} pixels, the input takes "
            f"{'×'.join(map(str, same_size.input_size))}", "--preprocess_from",
        )  # fmt: skip
    return same_size


def _scores(specs: list[TensorSpec], wanted: str, name: str) -> TensorSpec:
    names = ", ".join(spec.name for spec in specs)
    found = [spec for spec in specs if wanted in ("", spec.name)]
    if len(found) != 1:
        what = f"has no output '{wanted}', only {names}" if wanted else f"has {len(specs)} outputs: {names}"
        raise InputError(what, name, "name the scores by --scores")
    sizes = [size for size in found[0].shape[1:] if size != 1]
    if found[0].shape and len(sizes) != 1 and None not in found[0].shape:
        raise InputError(
            f"output '{found[0].name}' {_shape(found[0])} is not one score a class",
            name,
            "this tool is for classifiers",
        )
    return found[0]


def _shaped(sample: np.ndarray, spec: TensorSpec, name: str) -> np.ndarray:
    """Return a float sample with the batch dimension and, if it has one colour plane, the channel that it lacks."""
    wanted = spec.shape[1:]
    if None in wanted or sample.shape == wanted:
        return sample[None]
    if [size for size in sample.shape if size != 1] == [size for size in wanted if size != 1]:
        return sample.reshape(1, *(size or 1 for size in wanted))
    raise InputError(f"a sample has shape {list(sample.shape)}, the input {_shape(spec)}", name)


def _pixels(sample: np.ndarray) -> np.ndarray:
    """Return uint8[h, w] or uint8[h, w, 3] of any layout that an array may have."""
    if sample.ndim == 2 or (sample.ndim == 3 and sample.shape[2] == 3):  # also a photo of a single row
        return sample
    if sample.ndim == 3 and 1 in (sample.shape[0], sample.shape[2]):
        return sample[..., 0] if sample.shape[2] == 1 else sample[0]
    if sample.ndim == 3 and sample.shape[0] == 3:
        return np.ascontiguousarray(sample.transpose(1, 2, 0))
    raise InputError(f"a sample has shape {list(sample.shape)}", fix="pixels are [h, w], [h, w, 3] or [3, h, w]")


def _shape(spec: TensorSpec) -> str:
    return f"[{','.join('?' if size is None else str(size) for size in spec.shape)}]"
