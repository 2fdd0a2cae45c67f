"""Putting a program together: nodes imported one by one, and the network's outputs."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from xdsl.ir import SSAValue

from stepdown.dialects.op import TensorOp, rename
from stepdown.dialects.top.source import Input, Weight
from stepdown.errors import InputError, ResourceError
from stepdown.formats.graph import Folded, Graph, claim
from stepdown.formats.node import Node
from stepdown.formats.registry import Rule

# What a rule raises on attributes of a wrong type or length, or on operands that the operator cannot have.
_MALFORMED = (
    TypeError, ValueError, IndexError, KeyError, AttributeError, AssertionError, ArithmeticError, RuntimeError,
)  # fmt: skip


@contextmanager
def malformed(where: str) -> Iterator[None]:
    """Turn what reading a malformed node raises into an InputError, and memory that runs out into a ResourceError."""
    try:
        yield
    except MemoryError as error:
        raise ResourceError(f"its constants take too much memory ({error})", where) from error
    except _MALFORMED as error:
        raise InputError(f"is malformed ({str(error) or type(error).__name__})", where) from error


def import_node(node: Node, rules: Mapping[str, Rule], where: str) -> None:
    """Run the node's rule and note which values its outputs are.

    Raises:
        InputError: it reads what nothing before it makes, makes a tensor twice, or is malformed.
        UnsupportedModel: the rule refuses it.
    """
    state = node.graph
    if missing := [name for name in node.inputs if name and name not in state.values]:
        raise InputError(f"reads the tensor '{missing[0]}' that nothing before it makes", where)
    with malformed(where):
        results = rules[node.op_type](node)
    results = [results] if isinstance(results, SSAValue) else list(results)
    for name, value in zip(node.outputs, results, strict=False):
        if name in state.values:
            raise InputError(f"the tensor '{name}' is made twice", where)
        if name:
            state.values[name] = value
            _note_folded(node, name, value)


def _note_folded(node: Node, output: str, value: SSAValue) -> None:
    """Keep the names of tensors that became constants: the first op that uses one notes it as fused."""
    state = node.graph
    sources = [state.folded[name] for name in dict.fromkeys(node.inputs) if name in state.folded]
    if isinstance(value.owner, Weight):
        state.folded[output] = Folded(node.tensor_name(output), sources)
    elif isinstance(value.owner, TensorOp):
        state.fuse(value.owner, claim(sources))


def network_outputs(state: Graph, names: Sequence[str]) -> list[SSAValue]:
    """Return the network's results, each a tensor of its own that carries the output's name.

    Raises:
        InputError: nothing makes one.
    """
    state.note_fused()
    taken: set[SSAValue] = set()
    results = []
    for name in names:
        if name not in state.values:
            raise InputError(f"nothing makes the output '{name}'")
        value = _named_output(state, name, taken)
        taken.add(value)
        results.append(value)
    return results


def _named_output(state: Graph, name: str, taken: set[SSAValue]) -> SSAValue:
    """Return the value of an output; an input, a constant or a value that is an output already is copied."""
    value, alias = state.values[name], state.aliases.get(name)
    owner = value.owner
    if isinstance(owner, Weight | Input) or value in taken:
        return state.copy(value, alias or state.copy_name(name, value))
    if alias and isinstance(owner, TensorOp) and len(owner.results) == 1:
        rename(owner, [alias])
    return value
