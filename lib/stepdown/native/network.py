"""A lowered network as calls of kernels: which, on which tensors, in which order; aliases cost nothing."""

from typing import Any

import numpy as np
from xdsl.ir import SSAValue

from stepdown.dialects.op import TensorOp, value_name
from stepdown.dialects.program import Program
from stepdown.dialects.types import is_none, shape_of
from stepdown.errors import UnsupportedModel
from stepdown.native.calls import Addition, Call, Held, Network, Place
from stepdown.native.effort import BLOCKED
from stepdown.native.joining import ALONE, JOINED, Use, join, overwrite, use_of
from stepdown.native.kernels.base import Kernel, kernel_of, tensor_of
from stepdown.native.kernels.reorder import Reordering
from stepdown.native.machine import Machine
from stepdown.native.tensors import Order, is_blocked, logical, same_bytes, transposed
from stepdown.npu.weights import held_weight

_VIEWS = ("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity")
FREE = (*_VIEWS, "Transpose")
"""Ops that need no code: their result lies where the operand does."""


def network_of(program: Program, machine: Machine, readable: bool = False) -> Network:
    """Return a lowered program as calls; where all is to be `readable`, every tensor lies as some permutation.

    Raises:
        UnsupportedModel: ops have no code; names them all.
    """
    maker = _Maker(program, machine, readable)
    for op in program.ops:
        maker.add(op)
    return maker.finish()


class _Maker:
    def __init__(self, program: Program, machine: Machine, readable: bool) -> None:
        self._program, self._machine, self._readable = program, machine, readable
        self._network = Network()
        self._weights: dict[SSAValue, np.ndarray] = {}
        self._held: dict[SSAValue, Held] = {}
        self._copies: dict[tuple[SSAValue, Order], Held] = {}
        self._refused: list[str] = []
        self._joined: dict[SSAValue, str] = {}
        """Results of additions that an operand could be made with, and why they were not; "" where they were."""

    def add(self, op: TensorOp) -> None:
        """Append the calls of an op, or note why there are none."""
        name = op.name.split(".")[1]
        if name == "Weight":
            self._weights[op.results[0]] = self._weight(op)
        elif name == "Input":
            self._input(op)
        elif op.operands and all(v in self._weights or is_none(v) for v in op.operands):
            self._fold(op)
        elif name == "Transpose":
            self._transpose(op)
        elif name in _VIEWS:
            self._view(op)
        elif name != "None" and self._is_left(op):
            self._computed(op)

    def finish(self) -> Network:
        """Return the network, its outputs in the order of the program."""
        if self._refused:
            raise UnsupportedModel("; ".join(self._refused), self._program.path)
        for value in self._program.results:
            self._network.outputs.append(self._output(value))
        overwrite(self._network)
        return self._network

    def _weight(self, op: TensorOp) -> np.ndarray:
        return held_weight(self._program, op)

    def _fold(self, op: TensorOp) -> None:
        """Compute once what depends on constants alone."""
        made = op.run(*(self._weights.get(v) for v in op.operands))
        self._weights.update(zip(op.results, made, strict=True))

    def _input(self, op: TensorOp) -> None:
        value = op.results[0]
        tensor = tensor_of(value, logical(len(shape_of(value))))
        self._hold(value, Held(tensor, Place(tensor.bytes, "input")))
        self._network.inputs.append(self._held[value].place)

    def _transpose(self, op: TensorOp) -> None:
        """Let the result lie where the operand does: only the names of its dimensions change."""
        value, held = op.results[0], self._operand(op.operands[0])
        if is_blocked(held.tensor.order):
            held = self._in_order(op.operands[0], logical(len(held.tensor.shape)))
        order = transposed(held.tensor.order, op.order)  # type: ignore[attr-defined]
        self._hold(value, Held(tensor_of(value, order), held.place))

    def _view(self, op: TensorOp) -> None:
        """Let the result lie where the operand does, in its order of the program."""
        value, source = op.results[0], op.operands[0]
        held = self._in_order(source, logical(len(shape_of(source))))
        self._hold(value, Held(tensor_of(value, logical(len(shape_of(value)))), held.place))

    def _computed(self, op: TensorOp) -> None:
        try:
            kernel = kernel_of(op, self._weights, self._machine)
        except UnsupportedModel as error:
            self._refuse(op, error)
            return
        found = [self._operand(v).tensor.order for v in kernel.inputs]
        if kernel.order != BLOCKED:
            found = [logical(len(o) - 1) if is_blocked(o) else o for o in found]
        wanted, results = kernel.wanted(found)
        inputs = [self._in_order(v, order) for v, order in zip(kernel.inputs, wanted, strict=True)]
        kernel.place([held.tensor.order for held in inputs], results)
        made, other = op, None
        if use := use_of(op):
            made, other = self._joined_with(op, kernel, use)
        inputs += [other] if other else []
        places = []
        for value, tensor in zip(made.results, kernel.results, strict=True):
            self._hold(value, Held(tensor, Place(tensor.bytes)))
            places.append(self._held[value].place)
        self._call(kernel, [held.place for held in inputs], places, made.tensor_name, op.cost())
        self._keep_readable(made)

    def _refuse(self, op: TensorOp, error: UnsupportedModel) -> None:
        self._refused.append(str(error))
        for value in op.results:
            tensor = tensor_of(value, logical(len(shape_of(value))))
            self._hold(value, Held(tensor, Place(tensor.bytes)))

    def _joined_with(self, op: TensorOp, kernel: Kernel, use: Use) -> tuple[TensorOp, Held | None]:
        """Make an addition in the kernel of its operand; return it with the other operand, or the op itself."""
        if not self._joins:
            return op, None
        copy = self._copies.get((use.other, kernel.results[0].order))
        other = copy or self._held.get(use.other)
        why = self._joined[use.op.results[0]] = join(kernel, use, other.tensor if other else None, self._weights)
        if why:
            return op, None
        self._network.additions.append(Addition(use.op.tensor_name, op.tensor_name))
        return use.op, other

    def _is_left(self, op: TensorOp) -> bool:
        """Tell whether an op is still to be computed; note why it is, of an addition that could have been joined."""
        if op.name != JOINED or not self._machine.effort.fuses:
            return True
        why = self._joined.get(op.results[0], ALONE if self._joins else "all tensors are kept")
        if why:
            self._network.additions.append(Addition(op.tensor_name, why=why))
        return bool(why)

    @property
    def _joins(self) -> bool:
        """Whether ops are made in others: not where all tensors are to be read."""
        return self._machine.effort.fuses and not self._readable

    def _keep_readable(self, op: TensorOp) -> None:
        """Where all tensors are to be read, make a copy of those that lie in blocks, which readers do not know."""
        for value in op.results if self._readable else ():
            if is_blocked(self._held[value].tensor.order):
                plain = self._in_order(value, logical(len(shape_of(value))))
                self._network.tensors[value_name(value)] = value, plain

    def _call(self, kernel: Any, inputs: list[Place], results: list[Place], name: str, macs: int = 0) -> None:
        self._network.calls.append(Call(kernel, tuple(inputs), tuple(results), name, macs))

    def _hold(self, value: SSAValue, held: Held) -> None:
        self._held[value] = held
        self._network.tensors[value_name(value)] = value, held

    def _operand(self, value: SSAValue) -> Held:
        """Return where a value lies; a constant that is read as a tensor has no place."""
        if value not in self._held:
            raise UnsupportedModel(f"constant '{value_name(value)}' is moved at run time", self._program.path)
        return self._held[value]

    def _in_order(self, value: SSAValue, order: Order) -> Held:
        """Return a value in an order, reordered once where it lies otherwise."""
        held = self._operand(value)
        if same_bytes(held.tensor.shape, held.tensor.order, order):
            return Held(tensor_of(value, order), held.place)
        if (value, order) not in self._copies:
            self._copies[value, order] = self._reordered(value, held, order, "inner")
        return self._copies[value, order]

    def _reordered(self, value: SSAValue, held: Held, order: Order, role: str) -> Held:
        tensor = tensor_of(value, order)
        made = Held(tensor, Place(tensor.bytes, role))
        self._call(Reordering(held.tensor, made.tensor, self._machine), [held.place], [made.place], value_name(value))
        return made

    def _output(self, value: SSAValue) -> Place:
        """Return the caller's memory for an output: that of the value itself, or of a copy in the program's order."""
        held, order = self._operand(value), logical(len(shape_of(value)))
        in_order = same_bytes(held.tensor.shape, held.tensor.order, order)
        if not in_order or held.place.role == "input":
            return self._reordered(value, held, order, "output").place
        held.place.role = "output"
        return held.place
