"""A model file without what running it does not need."""

from dataclasses import replace

from stepdown.model.file import ModelFile
from stepdown.model.schema import Network, Provenance, Region, Stage, Tensor


def strip(model: ModelFile) -> ModelFile:
    """Return a model file without source locations, inner tensors and provenance.

    Tensors that go into or come out of a subnet keep their names: they are how its parts find each other.
    """
    return replace(model, networks=tuple(map(_stripped_network, model.networks)))


def _stripped_network(network: Network) -> Network:
    return replace(network, stages=tuple(map(_stripped, network.stages)))


def _stripped(stage: Stage) -> Stage:
    kept = {*stage.inputs, *stage.outputs, *(n for net in stage.subnets for n in (*net.inputs, *net.outputs))}
    tensors = [_nameless(tensor, stage) for tensor in stage.tensors if tensor.name in kept]
    memory = [_without_time(region) for region in stage.memory if region.name in kept and not region.shape]
    return replace(stage, tensors=tuple(tensors), memory=tuple(memory), steps=(), provenance=Provenance())


def _nameless(tensor: Tensor, stage: Stage) -> Tensor:
    """Return a tensor without names of others; an input keeps the one by which a caller gives it."""
    return replace(tensor, fused=(), view_of=tensor.view_of if tensor.name in stage.inputs else "")


def _without_time(region: Region) -> Region:
    """Return a region whose steps, which are gone, are all the first."""
    return replace(region, first=0, ready=0, last=0)
