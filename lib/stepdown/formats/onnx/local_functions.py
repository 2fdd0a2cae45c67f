"""Functions that a model brings along: each call is replaced by the function's nodes."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from stepdown.errors import InputError, UnsupportedModel

if TYPE_CHECKING:
    import onnx

MAX_NODES = 200_000
MAX_DEPTH = 64
"""How many nodes, and how deep, calls may come to: a function that calls another one twice doubles it."""
Key = tuple[str, str, str]


def inlined(model: "onnx.ModelProto") -> "onnx.ModelProto":
    """Return the model without functions of its own.

    Raises:
        InputError: a function calls itself, or its nodes cannot be put in the place of a call.
        UnsupportedModel: the calls come to more nodes, or are deeper, than we import.
    """
    if not model.functions:
        return model
    functions = {(f.domain, f.name, f.overload): f for f in model.functions}
    if _Counter(functions).nodes(model.graph.node) > MAX_NODES:
        raise UnsupportedModel(f"its functions come to more than {MAX_NODES} nodes")
    from onnx import inliner

    try:
        return inliner.inline_local_functions(model)
    except Exception as error:  # C++ has its own
        raise InputError(f"its functions cannot be inlined ({' '.join(str(error).split())[:200]})") from error


class _Counter:
    """Counts the nodes that calls come to, each function once."""

    def __init__(self, functions: "dict[Key, onnx.FunctionProto]") -> None:
        self._functions = functions
        self._known: dict[Key, int] = {}
        self._open: list[Key] = []

    def nodes(self, nodes: "Iterable[onnx.NodeProto]") -> int:
        """Return how many nodes some nodes come to."""
        keys = ((node.domain, node.op_type, node.overload) for node in _all_nodes(nodes))
        return sum(self._of(key) if key in self._functions else 1 for key in keys)

    def _of(self, key: Key) -> int:
        if key in self._open:
            raise InputError(f"the function '{key[1]}' calls itself")
        if len(self._open) >= MAX_DEPTH:
            raise UnsupportedModel(f"functions call each other more than {MAX_DEPTH} deep")
        if key not in self._known:
            self._open.append(key)
            self._known[key] = self.nodes(self._functions[key].node)
            self._open.pop()
        return self._known[key]


def _all_nodes(nodes: "Iterable[onnx.NodeProto]") -> "Iterator[onnx.NodeProto]":
    """Yield nodes and those of the graphs inside them."""
    for node in nodes:
        yield node
        for attribute in node.attribute:
            for graph in (attribute.g, *attribute.graphs):
                yield from _all_nodes(graph.node)
