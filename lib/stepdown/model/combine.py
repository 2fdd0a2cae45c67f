"""Several model files in one: their networks side by side, or as stages of one network; equal sections once."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import chain

from stepdown.errors import InputError
from stepdown.model.file import ModelFile
from stepdown.model.schema import Network, Stage, Subnet, Tensor, Weight
from stepdown.model.sections import SectionStore


def combine(models: Sequence[ModelFile]) -> ModelFile:
    """Return a model file with the networks of all; those of one name become stages of one network.

    Raises:
        InputError: the chips differ, or stages of one name are not the same network for other shapes.
    """
    first, store = models[0], SectionStore()
    networks: dict[str, Network] = {}
    for model in models:
        if model.chip != first.chip:
            raise InputError(f"is for another chip than {first.path}", model.path, "combine files of one chip")
        for network in model.networks:
            moved = replace(network, stages=tuple(_moved(stage, model, store) for stage in network.stages))
            before = networks.get(network.name)
            networks[network.name] = moved if before is None else _joined(before, moved, model.path)
    return ModelFile(first.chip, tuple(networks.values()), store)


def _moved(stage: Stage, model: ModelFile, store: SectionStore) -> Stage:
    """Put the sections of a stage into `store` and return the stage with their names there."""

    def put(section: str) -> str:
        return store.put(section, model.sections[section]) if section else ""

    def weights(held: tuple[Weight, ...]) -> tuple[Weight, ...]:
        return tuple(replace(weight, section=put(weight.section)) for weight in held)

    def subnet(held: Subnet) -> Subnet:
        return replace(held, text=put(held.text), weights=weights(held.weights))

    return replace(
        stage, weights=weights(stage.weights), subnets=tuple(map(subnet, stage.subnets)),
        streams=tuple(replace(stream, section=put(stream.section)) for stream in stage.streams),
    )  # fmt: skip


def _joined(a: Network, b: Network, where: str) -> Network:
    """Return a network with the stages of both."""
    if (a.mode, a.profile) != (b.mode, b.profile):
        raise InputError(f"its network '{a.name}' has another mode", where, "generate it under another name")
    ends = {_ends(stage) for stage in chain(a.stages, b.stages)}
    if len(ends) > 1:
        raise InputError(f"its network '{a.name}' has other inputs or outputs", where, "generate it under another name")
    shapes = [_input_shapes(stage) for stage in chain(a.stages, b.stages)]
    if len(set(shapes)) < len(shapes):
        raise InputError(f"its network '{a.name}' is there already for these input shapes", where, "leave one out")
    return replace(a, stages=a.stages + b.stages)


def _ends(stage: Stage) -> tuple[tuple[tuple[str, str, int], ...], ...]:
    """Return name, type and rank of the inputs and outputs: what the stages of a network have in common."""
    ends = stage.inputs, stage.outputs
    return tuple(tuple((t.name, t.type, len(t.shape)) for t in map(stage.tensor, names)) for names in ends)


def _input_shapes(stage: Stage) -> tuple[tuple[int, ...], ...]:
    tensors: dict[str, Tensor] = {tensor.name: tensor for tensor in stage.tensors}
    return tuple(tensors[name].shape for name in stage.inputs)
