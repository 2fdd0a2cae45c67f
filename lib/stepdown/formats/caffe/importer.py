"""Caffe network → TOP program."""

from collections.abc import Mapping
from typing import Any

from stepdown.dialects.program import Program
from stepdown.dialects.top.source import Input
from stepdown.dialects.types import tensor
from stepdown.errors import InputError
from stepdown.formats.assemble import import_node, network_outputs
from stepdown.formats.caffe.loader import Blobs
from stepdown.formats.caffe.network import Network
from stepdown.formats.caffe.node import Graph, Node
from stepdown.formats.caffe.rules import REGISTRY, RULES
from stepdown.transforms.rewrite import drop_unused


def import_network(
    network: Network, blobs: Blobs | None, name: str, preprocessing: Mapping[str, Mapping[str, Any]] | None = None
) -> Program:
    """Import a network whose input shapes are fixed; `blobs` are its weights, None where it needs none.

    `preprocessing` holds, by input name, the attributes of `top.Input`.

    Raises:
        UnsupportedModel: names **all** layers we cannot import, with counts, or the layer that breaks a constraint.
        InputError: an input shape is not fixed, weights are missing or do not fit, or the net is malformed.
    """
    refuse_unsupported(network)
    inputs = {tensor_name: _input_type(tensor_name, shape) for tensor_name, shape in network.input_shapes.items()}
    program = Program.empty(name, inputs, "CAFFE")
    state = Graph(program, blobs)
    for argument, tensor_name in zip(program.block.args, inputs, strict=True):
        attributes = (preprocessing or {}).get(tensor_name, {})
        state.values[tensor_name] = program.add(Input.build(tensor_name, [argument], **attributes))
    for layer in network.layers:
        import_node(Node(state, layer), RULES, layer.where)
    program.finish(network_outputs(state, [output.name for output in network.outputs]))
    drop_unused(program)
    return program


def refuse_unsupported(network: Network) -> None:
    """Raise UnsupportedModel naming every layer type that has no import rule, with how often it occurs."""
    REGISTRY.refuse_unknown(layer.type for layer in network.layers)


def _input_type(name: str, shape: tuple[int, ...] | None) -> Any:
    if shape is None:
        raise InputError(f"input '{name}' has no fixed shape", fix="give --input_shapes [[1,3,224,224]]")
    return tensor(shape, "f32")
