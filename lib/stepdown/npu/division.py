"""Divides a program into subnets: what the engines have commands for, and what the host must run."""

from collections.abc import Collection, Mapping, Sequence

import numpy as np
from xdsl.ir import SSAValue

from stepdown.chips import Chip
from stepdown.dialects.op import TensorOp, value_name
from stepdown.dialects.program import Program
from stepdown.dialects.types import is_none, quant_of, shape_of, storage_of
from stepdown.errors import ResourceError, StepError, UnsupportedModel
from stepdown.model.schema import HOST, NPU
from stepdown.npu.cost import local_memory
from stepdown.npu.groups.fit import plainest
from stepdown.npu.groups.layers import Group, Layer
from stepdown.npu.isa import Tensor, packed
from stepdown.npu.isa.tensor import Four
from stepdown.npu.kernels import kernel_of
from stepdown.npu.kernels.base import element_type
from stepdown.npu.moves import is_move, moves
from stepdown.npu.subnets import is_constant, is_source, parts_of, set_subnet_kinds
from stepdown.npu.weights import held_weight

Weights = Mapping[SSAValue, np.ndarray]
_MODES = {"f32": "F32", "f16": "F16", "bf16": "BF16"}


def divide(program: Program, chip: Chip) -> None:
    """Give every op its subnet, and bring the ops into the order of subnets.

    The kinds take turns, and each runs all that it can before the other goes on. Whatever another order has done after
    as many turns, this one has done too, by induction: so no order needs fewer turns, of the two that begin with either
    kind the shorter one is taken.

    Raises:
        UnsupportedModel: an output of the network is a constant.
    """
    if constant := next(filter(is_constant, program.results), None):
        raise UnsupportedModel(f"the output '{value_name(constant)}' is a constant", program.path)
    weights: Weights = {op.results[0]: held_weight(program, op) for op in program.ops if op.name.endswith(".Weight")}
    ops = [op for op in program.ops if not is_source(op)]
    allowed = {op: kinds_of(op, weights, chip) for op in ops}
    turns = min((_turns(ops, allowed, order) for order in ((NPU, HOST), (HOST, NPU))), key=len)
    _write(program, [taken for _, taken in turns], [kind for kind, _ in turns] or [NPU])
    parts_of(program)


def kinds_of(op: TensorOp, weights: Weights, chip: Chip) -> tuple[str, ...]:
    """Return which kinds of subnets may have an op.

    The host runs what has no commands, or does not fit local memory even in its smallest tiles, and what computes in a
    mode that only it has. What moves or converts values, and computes nothing, stays with whoever has them.
    """
    if refusal(op, weights, chip) is not None:
        return (HOST,)
    if is_move(op) or op.name == "tpu.Convert":
        return (NPU, HOST)
    return (HOST,) if _mode(op) in chip.host_modes else (NPU,)


def refusal(op: TensorOp, weights: Weights, chip: Chip) -> StepError | None:
    """Return why the engines of a chip have no commands for an op, None where they have."""
    try:
        held = set() if is_move(op) else set(weights)
        values = [value for value in (*op.operands, *op.results) if not is_none(value) and value not in held]
        places = {value: packed(element_type(value), (1, 1, 1, int(np.prod(shape_of(value)))), 0) for value in values}
        if not all(place.elements for place in places.values()):
            raise UnsupportedModel("a tensor has no elements")
        if is_move(op):
            moves(op, [places[v] for v in op.operands], [places[v] for v in op.results], _anywhere)
        else:
            kernel = kernel_of(op, weights)
            plainest(Group([Layer(kernel, kernel.constants(local_memory(chip).lanes), ())]), chip)
    except (UnsupportedModel, ResourceError) as error:
        return error
    return None


def _anywhere(type: str, shape: Four, values: np.ndarray | None) -> Tensor:
    return packed(type, shape, 0)


def _mode(op: TensorOp) -> str:
    """Return the mode in which an op computes: that of its first result."""
    return "INT8" if quant_of(op.results[0]) else _MODES.get(storage_of(op.results[0]), "")


def _turns(
    ops: Sequence[TensorOp], allowed: Mapping[TensorOp, Collection[str]], order: Sequence[str]
) -> list[tuple[str, list[TensorOp]]]:
    """Return what runs in each turn when the kinds alternate in this order; ops keep their order within one."""
    done: set[TensorOp] = set()
    computed, turns = set(ops), list[tuple[str, list[TensorOp]]]()
    while len(done) < len(ops):
        kind, taken = order[len(turns) % 2], list[TensorOp]()
        for op in ops:
            needed = (value.owner for value in op.operands if value.owner in computed)
            if op not in done and kind in allowed[op] and all(owner in done for owner in needed):
                done.add(op)
                taken.append(op)
        turns.append((kind, taken))
        if not taken and len(turns) > 1:
            raise AssertionError("an op reads what is made after it")
    return [turn for turn in turns if turn[1]]


def _write(program: Program, turns: Sequence[Sequence[TensorOp]], kinds: Sequence[str]) -> None:
    """Number the ops and put them in order; a constant is of the first subnet that reads it, an input of the first."""
    numbers: dict[object, int] = {op: at for at, taken in enumerate(turns) for op in taken}
    places = {op: at for at, op in enumerate(program.ops)}
    for op in program.ops:
        if is_source(op):
            users = [] if op.name.endswith(".Input") else [numbers.get(use.operation, 0) for use in op.results[0].uses]
            numbers[op] = min(users, default=0)
    end = program.block.last_op
    assert end is not None
    for op in sorted(places, key=lambda op: (numbers[op], places[op])):
        op.detach()  # type: ignore[no-untyped-call]
        program.block.insert_op_before(op, end)
        op.set_note("subnet", numbers[op])
    set_subnet_kinds(program, kinds)
