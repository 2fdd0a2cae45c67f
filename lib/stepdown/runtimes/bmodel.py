"""Runs `.bmodel` files on the simulator of the chip that they hold; nothing but the file is read."""

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from stepdown.chips import Chip, parse_chip
from stepdown.dialects.types import DTYPES
from stepdown.errors import InputError, StepError, UnsupportedModel
from stepdown.files.npz import NpzMetadata, TensorInfo
from stepdown.model import ModelFile, Network, Stage, Tensor, read_model_file
from stepdown.model.arrays import stored_bytes
from stepdown.model.schema import GLOBAL, NPU
from stepdown.npu.isa import BYTES, packed
from stepdown.npu.isa import Tensor as Place
from stepdown.numerics.quantize import QuantParams, dequantize
from stepdown.runtimes.mlir import as_input
from stepdown.runtimes.runner import RunnerOptions, Tensors, TensorSpec, match_inputs
from stepdown.sim import Machine, load


class BmodelRunner:
    """A network of a model file on the machine."""

    def __init__(self, model: str | os.PathLike[str], options: RunnerOptions | None = None) -> None:
        self.path = str(model)
        self.model = read_model_file(model)
        self.chip = _chip(self.model)
        self.stage = _stage(self.model.network(), self.path)
        self._tensors = {tensor.name: tensor for tensor in self.stage.tensors}
        self._places = _places(self.stage, self._tensors, self.path)
        self._outputs = [self._output(name, options) for name in self.stage.outputs]
        self._dumped: dict[str, TensorInfo] = {name: dumped_info(self._tensors[name]) for name in self._places}
        self._program = self._loaded()

    @property
    def preprocessing(self) -> dict[str, dict[str, Any]]:
        """By input name, the preprocessing stored in the file."""
        return {self._given_as(name): dict(values) for name, values in self.stage.preprocessing.items()}

    @property
    def metadata(self) -> NpzMetadata:
        """What every tensor of the network means."""
        return NpzMetadata(
            dict(self._dumped), tuple(self._outputs), os.path.basename(self.path), self.model.sha256
        )  # fmt: skip

    def inputs(self) -> list[TensorSpec]:
        """The network's inputs: under the names that a caller knows; quantised where integers may be given."""
        return [self._input(name) for name in self.stage.inputs]

    def outputs(self) -> list[TensorSpec]:
        """The network's outputs."""
        return [TensorSpec(name, _source_shape(self._tensors[name]), self._dumped[name]) for name in self._outputs]

    def run(self, tensors: Mapping[str, np.ndarray], wanted: str = "outputs") -> Tensors:
        """Run once; every tensor in its own type where `wanted` is "all", else the outputs.

        Raises:
            InputError: an input does not fit, or a command met a value that it cannot work with.
        """
        matched = match_inputs(tensors, self.inputs(), self.path)
        machine = Machine(self.chip, self.stage.memory_bytes.get(GLOBAL, 0))
        for weight in self.stage.weights:
            content = np.frombuffer(self.model.sections[weight.section], np.uint8)
            machine.memory.global_memory[weight.address : (weight.address or 0) + content.size] = content
        converted = [self._put(machine, name, matched[self._given_as(name)]) for name in self.stage.inputs]
        machine.run(self._program)
        shown = [name for name in self._places if name not in converted] if wanted == "all" else self._outputs
        return {name: self._read(machine, name) for name in shown}

    def close(self) -> None:
        """Nothing to release."""

    def _loaded(self) -> Any:
        streams = {stream.engine: bytes(self.model.sections[stream.section]) for stream in self.stage.streams}
        try:
            return load(streams, self.chip, self.stage.memory_bytes.get(GLOBAL, 0), parts=self.stage.ends[:-1])
        except StepError as error:
            raise type(error)(": ".join(filter(None, (error.where, error.what))), self.path, error.fix) from None

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

    def _output(self, name: str, options: RunnerOptions | None) -> str:
        """Return the tensor that is given as an output: with the option, the one that its float copy is a view of."""
        native = self._tensors[name].view_of
        return native if options and options.output_type == "native" and native in self._places else name

    def _put(self, machine: Machine, name: str, array: np.ndarray) -> str:
        """Store an input; integers for a float input are made real, exactly, and quantised again by the network.

        Returns the name of an input that the caller gave in its quantised form instead, else nothing.
        """
        tensor, quantised, stands_in = self._tensors[name], self._quantised(name), ""
        if quantised is not None and array.dtype == DTYPES[quantised.type]:
            params = _params(quantised)
            assert params is not None
            array, stands_in = dequantize(array, params), name
        values = as_input(array, self._given_as(name), tensor.type, _params(tensor), self.path)
        place = self._places[name]
        machine.memory.write(place, values.reshape(place.shape))
        return stands_in

    def _read(self, machine: Machine, name: str) -> np.ndarray:
        """Return a tensor as it is dumped: in its storage type (bf16 as float32), in the source's layout."""
        tensor = self._tensors[name]
        array = machine.memory.read(self._places[name]).reshape(tensor.shape)
        placed = array.transpose(tensor.order) if tensor.order else array
        return np.array(placed, np.float16 if tensor.type == "f16" else array.dtype, order="C")


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


def _stage(network: Network, path: str) -> Stage:
    """Return the one stage of a network. Raises UnsupportedModel where there are more, or parts for the host."""
    if len(network.stages) > 1:
        raise UnsupportedModel(f"network '{network.name}' has {len(network.stages)} stages", path, "run files of one")
    (stage,) = network.stages
    if host := [name for subnet in stage.subnets if subnet.kind != NPU for name in subnet.outputs]:
        raise UnsupportedModel(f"'{host[0]}' is made by the host, and only commands are run", path)
    return stage


def _places(stage: Stage, tensors: Mapping[str, Tensor], path: str) -> dict[str, Place]:
    """Return where the tensors with a place of their own in global memory lie, in the order of the network.

    Raises:
        InputError: one is larger than its place, or of a type that the machine has not.
    """
    regions = {region.name: region for region in stage.memory if region.memory == GLOBAL and not region.shape}
    places = {}
    for name, tensor in tensors.items():
        if region := regions.get(name):
            if tensor.type not in BYTES or stored_bytes(tensor.shape, tensor.type) > region.bytes:
                what = (
                    f"tensor '{name}' of type {tensor.type}, shape {tensor.shape} does not fit its {region.bytes} bytes"
                )
                raise InputError(what, path)
            size = stored_bytes(tensor.shape, tensor.type) // BYTES[tensor.type]
            places[name] = packed(tensor.type, (1, 1, 1, size), region.address)
    return places
