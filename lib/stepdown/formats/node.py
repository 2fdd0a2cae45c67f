"""What an import rule sees of one node of the source model, in every format: operands, and how to emit TOP ops."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from xdsl.ir import SSAValue
from xdsl.utils.exceptions import VerifyException

from stepdown.dialects.op import Kind, TensorOp
from stepdown.dialects.top.move import Transpose
from stepdown.dialects.top.source import Input, Weight
from stepdown.dialects.types import DTYPES, is_none, quant_of, shape_of, storage_of
from stepdown.errors import UnsupportedModel
from stepdown.formats.graph import Graph, numpy_type
from stepdown.numerics.quantize import QuantParams

MAX_FOLDED_BYTES = 64 << 20
"""A constant op whose result would be larger stays an op: folding must not blow a model up."""


class BrokenConstraint(UnsupportedModel):
    """Operands or attributes do not fit the op that a node becomes: the model, or its input shapes, are wrong."""


class Node:
    """One node of a source model, for the rule that imports it."""

    def __init__(
        self, graph: Graph, op_type: str, inputs: Sequence[str], outputs: Sequence[str], attributes: Mapping[str, Any]
    ) -> None:
        self.graph, self.op_type = graph, op_type
        self.inputs, self.outputs, self.attributes = list(inputs), list(outputs), attributes

    def tensor_name(self, output: str) -> str:
        """Return what the program calls the node's output `output`: the same, unless a format has its own way."""
        return output

    @property
    def names(self) -> list[str]:
        """The tensor names of the node's outputs."""
        return [self.tensor_name(name) for name in self.outputs if name]

    @property
    def name(self) -> str:
        """The tensor name of the node's first output."""
        return self.names[0]

    # --- reading

    def has(self, index: int) -> bool:
        """Tell whether the optional operand `index` is given."""
        return index < len(self.inputs) and self.inputs[index] != "" and not is_none(self.value(index))

    def value(self, index: int) -> SSAValue:
        """Return an operand; `none` where it is absent."""
        if index >= len(self.inputs) or not self.inputs[index]:
            return self.graph.none
        return self.graph.values[self.inputs[index]]

    def given(self, index: int) -> SSAValue:
        """Return an operand that must not be absent.

        Raises:
            UnsupportedModel: it is.
        """
        if not self.has(index):
            raise self.refuse(f"operand {index} is missing")
        return self.value(index)

    def values(self) -> list[SSAValue]:
        """Return all operands."""
        return [self.value(i) for i in range(len(self.inputs))]

    def shape(self, index: int) -> tuple[int, ...]:
        """Return an operand's shape."""
        return shape_of(self.given(index))

    def storage(self, index: int) -> str:
        """Return an operand's storage name."""
        return storage_of(self.given(index))

    def constant(self, index: int) -> np.ndarray:
        """Return an operand that must be constant.

        Raises:
            UnsupportedModel: it is computed from the network's inputs.
        """
        self.given(index)
        found = self.constant_or_none(index)
        if found is None:
            raise self.refuse(f"operand {index} ('{self.inputs[index]}') is not constant")
        return found

    def constant_or_none(self, index: int) -> np.ndarray | None:
        """Return an operand's array where it is given and constant, else None."""
        return self.graph.constant(self.value(index)) if self.has(index) else None

    def ints(self, index: int, name: str = "") -> list[int] | None:
        """Return the integers of constant operand `index` or else of attribute `name`; None if both are absent."""
        if self.has(index):
            return [int(v) for v in self.constant(index).reshape(-1)]
        return None if self.attributes.get(name) is None else [int(v) for v in np.ravel(self.attributes[name])]

    def attribute(self, name: str, default: Any = None) -> Any:
        """Return an attribute as a Python value: int, float, str, list or numpy array."""
        return self.attributes.get(name, default)

    def refuse(self, reason: str) -> UnsupportedModel:
        """Return the error that says why this node cannot be imported."""
        return UnsupportedModel(f"{self.op_type}: {reason}", f"node of '{(self.outputs or ['?'])[0]}'")

    # --- emitting

    def emit(self, op: type[TensorOp], *operands: SSAValue, **attributes: Any) -> SSAValue:
        """Emit the op that makes the node's output and return its (first) value; constants are folded.

        Raises:
            UnsupportedModel: the op's constraints do not hold.
        """
        return self.emit_all(op, *operands, **attributes)[0]

    def output(self, index: int, op: type[TensorOp], *operands: SSAValue, **attributes: Any) -> SSAValue:
        """Emit the op that makes the node's output `index`."""
        return self._emit(op, [self.tensor_name(self.outputs[index])], operands, False, attributes, index)[0]

    def emit_all(self, op: type[TensorOp], *operands: SSAValue, **attributes: Any) -> list[SSAValue]:
        """Emit an op with all its results; one that the node has no name for is internal, `<output>/<number>`."""
        names = [self.tensor_name(name) if name else f"{self.name}/{i}" for i, name in enumerate(self.outputs)]
        names += [f"{self.name}/{i}" for i in range(len(names), op.results_count)]
        unnamed = [not name for name in self.outputs] + [True] * (len(names) - len(self.outputs))
        return self._emit(op, names, operands, unnamed, attributes)

    def part(self, label: str, op: type[TensorOp], *operands: SSAValue, **attributes: Any) -> SSAValue:
        """Emit an intermediate that the source has no name for; it is called `<output>/<label>` and marked internal."""
        return self._emit(op, [f"{self.name}/{label}"], operands, True, attributes)[0]

    def weight(self, array: np.ndarray, label: str) -> SSAValue:
        """Add a constant that belongs to this node, under the key `<output>/<label>`."""
        return self.graph.weight(array, f"{self.name}/{label}")

    def room_for(self, shape: Sequence[int]) -> tuple[int, ...]:
        """Return the shape of a constant that is going to be made.

        Raises:
            UnsupportedModel: it would take too much memory, or a size is negative.
        """
        wanted = 8 * math.prod(shape)
        if min(shape, default=0) < 0 or wanted > MAX_FOLDED_BYTES or not self.graph.program.weights.may_grow(wanted):
            raise self.refuse(f"a constant of shape {list(shape)} takes too much memory")
        return tuple(shape)

    def alias(self, value: SSAValue, index: int = 0) -> SSAValue:
        """Let the node's output `index` be `value` itself (Identity, Dropout): its op notes the name as fused."""
        name = self.tensor_name(self.outputs[index])
        self.graph.aliases[self.outputs[index]] = name
        if isinstance(value.owner, TensorOp) and not isinstance(value.owner, Weight):
            self.graph.fuse(value.owner, [name])
        return value

    def _emit(
        self,
        op: type[TensorOp],
        names: list[str],
        operands: Sequence[SSAValue],
        internal: bool | Sequence[bool],
        attributes: Mapping[str, Any],
        first: int = 0,
    ) -> list[SSAValue]:
        try:
            made = op.build(names, list(operands), internal, **attributes)
        except VerifyException as error:
            refused = self.refuse(str(error))
            raise BrokenConstraint(refused.what, refused.where) from None
        stored = self._quantised(made, internal is True, first)
        folded = self._fold(made)
        if folded is not None:
            made.drop_all_references()
            return [self.graph.weight(a, n, p) for a, n, p in zip(folded, names, stored, strict=False)]
        self.graph.program.add(made)
        return [self.graph.retyped(r, p) for r, p in zip(list(made.results), stored, strict=True)]

    def _quantised(self, op: TensorOp, internal: bool, first: int) -> list[QuantParams | None]:
        """Return how each result is stored: as the source says of outputs from `first` on; a moved one as it was."""
        if internal and op.kind is Kind.MOVE:
            return [_moved(op)] * len(op.results)
        outputs = [*self.outputs[first:], *[""] * len(op.results)]
        return [self.graph.quantised.get(name) for name in outputs[: len(op.results)]]

    def _fold(self, op: TensorOp) -> list[np.ndarray] | None:
        """Return the results of an op whose operands are all constant, None for any other or for a large one."""
        arrays = [None if is_none(v) else self.graph.constant(v) for v in op.operands]
        if op.kind is not Kind.MOVE and any(quant_of(v) for v in op.operands):
            return None  # stored integers mean something only to integer code
        if isinstance(op, Input) or any(a is None and not is_none(v) for a, v in zip(arrays, op.operands, strict=True)):
            return None
        grown = sum(DTYPES[storage_of(r)].itemsize * math.prod(shape_of(r)) for r in op.results)
        read = dict(zip(op.operands, arrays, strict=True))  # one that is read twice counts once
        grown -= sum(a.nbytes for a in read.values() if a is not None)
        if grown > MAX_FOLDED_BYTES or not self.graph.program.weights.may_grow(grown):
            return None
        try:
            with np.errstate(all="ignore"):
                results = op.compute(*(_held(a) for a in arrays))
        except (IndexError, ValueError, ZeroDivisionError, OverflowError) as error:
            raise self.refuse(f"cannot be computed on these constants ({error})") from None
        return [
            np.asarray(a).astype(numpy_type(storage_of(r), a.dtype), copy=False)
            for a, r in zip(results, op.results, strict=True)
        ]


def _held(array: np.ndarray | None) -> np.ndarray | None:
    """Return a constant as ops compute on it: the 16-bit floats as float32."""
    return array.astype(np.float32) if array is not None and array.dtype.name in ("float16", "bfloat16") else array


def _moved(op: TensorOp) -> QuantParams | None:
    """Return the parameters of what `op` moves, its channel axis where the op puts it."""
    params = quant_of(op.operands[0])
    if params is None or params.axis is None:
        return params
    shape = shape_of(op.operands[0])
    if isinstance(op, Transpose):
        return replace(params, axis=op.order.index(params.axis))
    new = shape_of(op.results[0])
    before = math.prod(shape[: params.axis])
    found = [i for i, n in enumerate(new) if n == shape[params.axis] and math.prod(new[:i]) == before]
    if not found:
        raise UnsupportedModel("moves a tensor that is quantised by channel", f"tensor '{op.tensor_name}'")
    return replace(params, axis=found[-1])
