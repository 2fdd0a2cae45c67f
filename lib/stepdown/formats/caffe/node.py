"""One Caffe layer, as import rules see it."""

from collections.abc import Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from xdsl.ir import SSAValue

from stepdown.dialects.program import Program
from stepdown.dialects.top.base import TopOp
from stepdown.dialects.top.move import Reshape
from stepdown.dialects.types import shape_of
from stepdown.errors import InputError, UnsupportedModel
from stepdown.formats import graph, node
from stepdown.formats.caffe.loader import Blobs
from stepdown.formats.caffe.network import Layer


class Graph(graph.Graph):
    """The state of one Caffe import; `blobs` are the trained weights, None where no file was given."""

    def __init__(self, program: Program, blobs: Blobs | None) -> None:
        super().__init__(program)
        self.blobs = blobs


class Step(NamedTuple):
    """One op of several that make up a layer: a word for its tensor, the op, what it takes beside the tensor before."""

    label: str
    op: type[TopOp]
    others: Sequence[SSAValue] = ()
    attributes: Any = MappingProxyType({})


class Node(node.Node):
    """One Caffe layer: its tensors have names of their own already (`network.py`)."""

    graph: Graph

    def __init__(self, state: Graph, layer: Layer) -> None:
        reads, makes = ([tensor.name for tensor in side] for side in (layer.reads, layer.makes))
        super().__init__(state, layer.type, reads, makes, {})
        self.layer = layer

    @property
    def message(self) -> Any:
        """The layer's parameters, as the prototxt gives them."""
        return self.layer.message

    def refuse(self, reason: str) -> UnsupportedModel:
        """Return the error that says why this layer cannot be imported."""
        return UnsupportedModel(reason, self.layer.where)

    def axis(self, axis: int, index: int = 0, extra: int = 0) -> int:
        """Return `axis` of operand `index` counted from the front; `extra` allows it that far behind the last.

        Raises:
            InputError: the operand has no such dimension.
        """
        rank = len(self.shape(index))
        if not -rank <= axis < rank + extra:
            raise InputError(f"axis {axis} of a blob of shape {self.shape(index)}", self.layer.where)
        return axis + rank if axis < 0 else axis

    # --- weights

    def expect_blobs(self, count: int) -> None:
        """Check that the trained layer has `count` blobs.

        Raises:
            InputError: it has more or fewer, is not in the file, or there is no file.
        """
        name, fix = self.layer.name, "give the .caffemodel that was trained with this net"
        if self.graph.blobs is None:
            raise InputError("has weights", self.layer.where, "give --model_data X.caffemodel")
        if name not in self.graph.blobs:
            raise InputError("has no weights in the caffemodel", self.layer.where, fix)
        if (held := len(self.graph.blobs[name])) != count:
            raise InputError(f"has {held} blobs in the caffemodel, wants {count}", self.layer.where, fix)

    def array(self, index: int, shape: Sequence[int]) -> np.ndarray:
        """Return blob `index` of the layer in `shape`, float32.

        Raises:
            InputError: it is missing or has another shape.
        """
        assert self.graph.blobs is not None
        return self.graph.blobs[self.layer.name][index].array(tuple(shape))

    def stored(self, array: np.ndarray, label: str) -> SSAValue:
        """Add a weight under the key `<layer>.<label>`."""
        return self.graph.weight(np.asarray(array, order="C"), f"{self.layer.name}.{label}")

    def scalar(self, value: float, label: str) -> SSAValue:
        """Add a constant of this layer that holds one float32."""
        return self.weight(np.array(value, np.float32), label)

    # --- emitting

    def parts(self, labels: Sequence[str], op: type[TopOp], *operands: SSAValue, **attributes: Any) -> list[SSAValue]:
        """Emit an op of several results that the source has no names for."""
        names = [f"{self.name}/{label}" for label in labels]
        return self._emit(op, names, operands, True, attributes)

    def chain(self, value: SSAValue, steps: Sequence[Step]) -> SSAValue:
        """Apply steps one after the other; the last makes the layer's output, no step at all is the value itself."""
        if not steps:
            return self.alias(value)
        for step in steps[:-1]:
            value = self.part(step.label, step.op, value, *step.others, **step.attributes)
        last = steps[-1]
        return self.emit(last.op, value, *last.others, **last.attributes)

    def reshaped(self, value: SSAValue, shape: Sequence[int], label: str) -> SSAValue:
        """Return `value` under another shape, itself where it has that."""
        return value if shape_of(value) == tuple(shape) else self.part(label, Reshape, value, shape=shape)
