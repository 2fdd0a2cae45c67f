"""Runs `.bmodel` files on the simulator of the chip that they hold; nothing but the file is read."""

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from stepdown.chips import Chip, parse_chip
from stepdown.dialects.types import DTYPES
from stepdown.errors import InputError
from stepdown.files.npz import NpzMetadata, TensorInfo
from stepdown.model import ModelFile, Tensor, read_model_file
from stepdown.model.arrays import stored_values
from stepdown.numerics.floats import ROUND, from_bf16_bits
from stepdown.numerics.quantize import QuantParams, dequantize
from stepdown.runtimes.bmodel_stage import StageRunner
from stepdown.runtimes.mlir import as_input
from stepdown.runtimes.runner import RunnerOptions, Tensors, TensorSpec, match_inputs


class BmodelRunner:
    """A network of a model file on the machine."""

    def __init__(self, model: str | os.PathLike[str], options: RunnerOptions | None = None) -> None:
        self.path, asked = str(model), options or RunnerOptions()
        self.model = read_model_file(model)
        self.chip = _chip(self.model)
        stages = self.model.network(asked.network).stages
        self._stages = [StageRunner(self.model, stage, self.chip, asked.shuffle) for stage in stages]
        self._native = asked.output_type == "native"
        self._use(self._stages[0])

    def _use(self, runner: StageRunner) -> None:
        """Let a stage be the one that all is told of."""
        self._runner, self.stage, self._tensors = runner, runner.stage, runner.tensors
        self._outputs = [self._output(name) for name in self.stage.outputs]

    @property
    def preprocessing(self) -> dict[str, dict[str, Any]]:
        """By input name, the preprocessing stored in the file."""
        return {self._given_as(name): dict(values) for name, values in self.stage.preprocessing.items()}

    @property
    def metadata(self) -> NpzMetadata:
        """What every tensor of the network means."""
        dumped: dict[str, TensorInfo] = {name: dumped_info(self._tensors[name]) for name in self._runner.names}
        return NpzMetadata(dumped, tuple(self._outputs), os.path.basename(self.path), self.model.sha256)

    def inputs(self) -> list[TensorSpec]:
        """The network's inputs: under the names that a caller knows; quantised where integers may be given.

        A size that differs among the stages is not fixed.
        """
        found = [self._input(name) for name in self.stage.inputs]
        others = [[runner.tensors[name].shape for runner in self._stages] for name in self.stage.inputs]
        return [replace(spec, shape=_common(shapes)) for spec, shapes in zip(found, others, strict=True)]

    def outputs(self) -> list[TensorSpec]:
        """The network's outputs, of the stage of the last run."""
        given = {name: self._tensors[name] for name in self._outputs}
        return [TensorSpec(name, _source_shape(tensor), dumped_info(tensor)) for name, tensor in given.items()]

    def run(self, tensors: Mapping[str, np.ndarray], wanted: str = "outputs") -> Tensors:
        """Run once; every tensor in its own type where `wanted` is "all", else the outputs.

        The stage is the one for these shapes.

        Raises:
            InputError: an input does not fit, or a command met a value that it cannot work with.
        """
        matched = match_inputs(tensors, self.inputs(), self.path)
        self._use(self._stage_for(matched))
        given = {name: matched[self._given_as(name)] for name in self.stage.inputs}
        shown = [n for n in self._runner.names if not (n in given and self._stands_in(n, given[n]))]
        names = shown if wanted == "all" else self._outputs
        found = self._runner.run({name: self._converted(name, array) for name, array in given.items()}, names)
        return {name: self._dumped(name, found[name]) for name in names}

    @property
    def seconds(self) -> dict[tuple[str, str], float]:
        """How long the simulator took for each op of the last run, by its name and that of its tensor."""
        return self._runner.seconds

    def close(self) -> None:
        """Nothing to release."""

    def _stage_for(self, matched: Tensors) -> StageRunner:
        """Return the stage for the shapes of these inputs."""
        asked = [array.shape for array in matched.values()]
        shapes = [[runner.tensors[name].shape for name in runner.stage.inputs] for runner in self._stages]
        if asked not in shapes:
            listed = "; ".join(", ".join(map(str, each)) for each in shapes)
            raise InputError(f"has no stage for inputs of {', '.join(map(str, asked))}", self.path, f"it has {listed}")
        return self._stages[shapes.index(asked)]

    def _given_as(self, name: str) -> str:
        """Return the name by which a caller gives an input."""
        return self._tensors[name].view_of or name

    def _input(self, name: str) -> TensorSpec:
        tensor = self._tensors[name]
        meant = self._quantised(name) or tensor
        return TensorSpec(self._given_as(name), tensor.shape, dumped_info(meant))

    def _quantised(self, name: str) -> Tensor | None:
        """Return the quantised tensor that a float input is a view of, None where there is none."""
        meant = self._tensors.get(self._tensors[name].view_of)
        return meant if meant is not None and meant.scale is not None else None

    def _output(self, name: str) -> str:
        """Return the tensor that is given as an output: with the option, the one that its float copy is a view of."""
        native = self._tensors[name].view_of
        return native if self._native and native in self._runner.names else name

    def _stands_in(self, name: str, array: np.ndarray) -> bool:
        """Tell whether integers are given in the place of a float input."""
        quantised = self._quantised(name)
        return quantised is not None and array.dtype == DTYPES[quantised.type]

    def _converted(self, name: str, array: np.ndarray) -> np.ndarray:
        """Return an input as it is stored; integers for a float input are made real, exactly.

        The network quantises them again.
        """
        tensor, quantised = self._tensors[name], self._quantised(name)
        if quantised is not None and self._stands_in(name, array):
            params = _params(quantised)
            assert params is not None
            array = dequantize(array, params)
        held = as_input(array, self._given_as(name), tensor.type, _params(tensor), self.path)
        return stored_values(ROUND[tensor.type](held) if tensor.type in ROUND else held, tensor.type)

    def _dumped(self, name: str, stored: np.ndarray) -> np.ndarray:
        """Return a tensor as it is dumped: in its storage type (bf16 as float32), in the source's layout."""
        tensor = self._tensors[name]
        placed = np.ascontiguousarray(stored.transpose(tensor.order) if tensor.order else stored)
        return from_bf16_bits(placed) if tensor.type == "bf16" else placed


def dumped_info(tensor: Tensor) -> TensorInfo:
    """Return what a dump says of a tensor: its axis of channels is that of the source's layout."""
    moved = tensor.axis is not None and tensor.order
    return replace(tensor.info, axis=tensor.order.index(tensor.axis)) if moved else tensor.info


def _source_shape(tensor: Tensor) -> tuple[int, ...]:
    return tuple(tensor.shape[at] for at in tensor.order) or tensor.shape


def _params(tensor: Tensor) -> QuantParams | None:
    if tensor.scale is None:
        return None
    zero_point = tensor.zero_point if isinstance(tensor.zero_point, int) else tensor.zero_point[0]
    return QuantParams(tensor.scale, zero_point, tensor.type, tensor.axis)


def _chip(model: ModelFile) -> Chip:
    chip = parse_chip(model.chip, f"{model.path}, section 'chip.toml'")
    if chip.kind != "npu":
        raise InputError(f"is for chip {chip.name}, which is no NPU", model.path)
    return chip


def _common(shapes: list[tuple[int, ...]]) -> tuple[int | None, ...]:
    """Return the sizes that are the same in all shapes, None for others."""
    return tuple(sizes[0] if len(set(sizes)) == 1 else None for sizes in zip(*shapes, strict=True))
