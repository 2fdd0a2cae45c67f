"""TFLite graph → TOP program: in floats, or with the integers and the parameters that the model stores."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from xdsl.ir import SSAValue

from stepdown.dialects.program import Program, State
from stepdown.dialects.top.source import Input
from stepdown.dialects.types import tensor
from stepdown.errors import InputError, UnsupportedModel
from stepdown.files.npz import closest
from stepdown.formats.assemble import import_node, network_outputs
from stepdown.formats.tflite.loader import stored_dtypes
from stepdown.formats.tflite.model import Model, Operator, Subgraph, Tensor
from stepdown.formats.tflite.node import Graph, Node
from stepdown.formats.tflite.rules import REGISTRY, RULES
from stepdown.numerics.quantize import QuantParams, dequantize
from stepdown.transforms.rewrite import drop_unused

Shape = Sequence[int]


def import_tflite(
    model: Model,
    name: str,
    preprocessing: Mapping[str, Mapping[str, Any]] | None = None,
    shapes: Mapping[str, Shape] | None = None,
    outputs: Sequence[str] = (),
    requantize: bool = False,
) -> Program:
    """Import a model.

    A model that stores its activations as integers becomes a program in state TOP_QUANTIZED, whose values have the
    types of the file, unless `requantize` asks for its real numbers. `preprocessing` holds, by input name, the
    attributes of `top.Input`; `shapes` replace the stated shapes of inputs; `outputs` end the network elsewhere.

    Raises:
        UnsupportedModel: names **all** operators we cannot import, with counts, or the one that breaks a constraint.
        InputError: the graph is malformed, or has no such output.
    """
    graph = model.main
    ends = [_tensor_index(graph, n) for n in outputs] if outputs else graph.outputs
    operators = reached(graph, ends)
    refuse_unsupported(operators)
    refuse_state(graph, operators)
    keep = model.is_quantised and not requantize
    sources = {i: _with_shape(graph.tensors[i], shapes or {}) for i in graph.inputs}
    if len(sources) != len(graph.inputs):
        raise InputError("lists an input twice", model.path)
    program = Program.empty(name, {t.name: _type(t, keep) for t in sources.values()}, "TFLITE")
    state = Graph(program)
    state.stated = {t.name: t.params for t in graph.tensors if t.params is not None}
    for argument, source in zip(program.block.args, sources.values(), strict=True):
        made = Input.build(source.name, [argument], **(preprocessing or {}).get(source.name, {}))
        state.values[source.name] = state.retyped(program.add(made), source.params if keep else None)
    _add_constants(state, graph, keep, sources)
    for operator in operators:
        _import_operator(state, graph, operator)
    program.finish(network_outputs(state, [graph.tensors[i].name for i in ends]))
    drop_unused(program)
    if keep:
        program["state"] = State.TOP_QUANTIZED
    return program


def reached(graph: Subgraph, ends: Sequence[int]) -> list[Operator]:
    """Return the operators that the tensors `ends` need, in order."""
    needed, kept = set(ends), []
    for operator in reversed(graph.operators):
        if needed.intersection(operator.outputs):
            kept.append(operator)
            needed.update(operator.inputs)
    return kept[::-1]


def refuse_unsupported(operators: Sequence[Operator]) -> None:
    """Raise UnsupportedModel naming every operator that has no import rule, with how often it occurs."""
    REGISTRY.refuse_unknown(operator.op_type for operator in operators)


def refuse_state(graph: Subgraph, operators: Sequence[Operator]) -> None:
    """Raise UnsupportedModel naming the variables that the operators keep from one run to the next."""
    hidden = [graph.tensors[i].name for o in operators for i in o.inputs if i >= 0 and graph.tensors[i].is_variable]
    if hidden:
        raise UnsupportedModel(
            f"keeps hidden state between runs in {', '.join(repr(n) for n in dict.fromkeys(hidden))}",
            fix="export the model with its state as inputs and outputs",
        )


def _tensor_index(graph: Subgraph, name: str) -> int:
    names = [t.name for t in graph.tensors]
    made = {i for o in graph.operators for i in o.outputs}
    if name not in names or names.index(name) not in made:
        raise InputError(f"no operator makes the tensor '{name}'", "--output_names", closest(name, names))
    return names.index(name)


def _with_shape(source: Tensor, shapes: Mapping[str, Shape]) -> Tensor:
    if source.name not in shapes:
        return source
    wanted = tuple(shapes[source.name])
    if len(wanted) != len(source.shape):
        stated = f"input '{source.name}' has {len(source.shape)} dimensions {list(source.shape)}, not {len(wanted)}"
        raise InputError(stated, "--input_shapes")
    return replace(source, shape=wanted)


def _type(source: Tensor, keep: bool) -> Any:
    """Return the type of a network input.

    Raises:
        UnsupportedModel: its elements are no numbers.
    """
    if source.type not in stored_dtypes():
        raise UnsupportedModel(f"input '{source.name}' holds {source.type}")
    if source.params is None:
        return tensor(source.shape, source.type)
    return tensor(source.shape, source.params if keep else "f32")


def _add_constants(state: Graph, graph: Subgraph, keep: bool, sources: Mapping[int, Tensor]) -> None:
    """Make a value of every constant, and note how the tensors that operators make are quantised."""
    made = {i for operator in graph.operators for i in operator.outputs}
    for index, source in enumerate(graph.tensors):
        if index in sources:
            continue
        if source.array is not None:
            state.values[source.name] = _constant(state, source, source.array, keep)
        elif index not in made and 0 in source.shape and source.type in stored_dtypes():  # no buffer holds no elements
            state.values[source.name] = state.weight(np.zeros(source.shape, stored_dtypes()[source.type]), source.name)
        elif source.params is not None and keep:
            state.quantised[source.name] = _one_scale(source, source.params)


def _constant(state: Graph, source: Tensor, array: np.ndarray, keep: bool) -> SSAValue:
    if source.params is not None and not keep:
        return state.weight(dequantize(array, source.params), source.name)
    return state.weight(array, source.name, source.params)


def _one_scale(source: Tensor, params: QuantParams) -> QuantParams:
    if params.axis is not None:
        raise UnsupportedModel("is computed, and quantised by channel", f"tensor '{source.name}'")
    return params


def _import_operator(state: Graph, graph: Subgraph, operator: Operator) -> None:
    names = [graph.tensors[i].name if i >= 0 else "" for i in operator.inputs]
    made = [graph.tensors[i].name for i in operator.outputs]
    where = f"{operator.op_type} of '{(made or ['?'])[0]}'"
    if not made:
        raise InputError("makes nothing", where)
    import_node(Node(state, operator.op_type, names, made, operator.options), RULES, where)
