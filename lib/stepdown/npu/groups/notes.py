"""Groups as notes on the ops of a program: `layer_group`, a number, and `layer_tile`, parts of [n, channels, rows].

Groups have numbers in the order of running. Part k of P of S rows are the rows ⌊S·k / P⌋ … ⌊S·(k + 1) / P⌋ − 1 of every
result that leaves the group; what lies between is cut as these need it, with its halo. Of an n that is cut each part is
one; channels are cut between rounds of the lanes, of an op alone. What only the DMA engine does is a group alone.
"""

from collections.abc import Iterator

import numpy as np
from xdsl.ir import SSAValue

from stepdown.chips import Chip
from stepdown.dialects.op import TensorOp
from stepdown.dialects.program import Program
from stepdown.dialects.text import describe
from stepdown.errors import StepError, UnsupportedModel
from stepdown.npu.cost import local_memory
from stepdown.npu.groups.choose import LONGEST, choose
from stepdown.npu.groups.layers import Layer, is_alias
from stepdown.npu.groups.tiles import Parts
from stepdown.npu.images import constants_of
from stepdown.npu.kernels import kernel_of
from stepdown.npu.moves import is_move
from stepdown.npu.subnets import is_source, on_host, subnet_kinds
from stepdown.npu.weights import held_weight


def note_groups(program: Program, chip: Chip, longest: int = LONGEST) -> None:
    """Choose groups and note them on the ops; ops without commands stay without.

    Raises:
        ResourceError: an op alone does not fit local memory.
    """
    for op in program.ops:
        op.set_note("layer_group", None)
        op.set_note("layer_tile", None)
    number = 0
    for run in list(runs(program, chip)):
        for ops, parts in _chosen(run, chip, longest):
            for op in ops:
                op.set_note("layer_group", number)
                op.set_note("layer_tile", [parts.n, parts.channels, parts.rows])
            number += 1


def check_notes(program: Program) -> None:
    """Check the notes: ops with commands have both, and those of a group follow each other in one subnet.

    Raises:
        StepError: they do not; a bug of whoever wrote them.
    """
    kinds, last = subnet_kinds(program), (-1, None)
    for op in program.ops:
        number, subnet = op.note("layer_group"), op.note("subnet")
        if (number is None) != (op.note("layer_tile") is None) or (number is not None and on_host(op, kinds)):
            raise StepError("has a part of the notes of a group", describe(op))
        if number is not None:
            if not (number == last[0] + 1 or (number, subnet) == last):
                raise StepError(f"is of group {number} after group {last[0]} of subnet {last[1]}", describe(op))
            last = number, subnet


def _chosen(run: TensorOp | list[Layer], chip: Chip, longest: int) -> Iterator[tuple[list[TensorOp], Parts]]:
    if isinstance(run, TensorOp):
        yield [run], Parts()
        return
    for chosen in choose(run, chip, longest):
        yield [layer.op for layer in chosen.group.layers], chosen.parts


def runs(program: Program, chip: Chip) -> Iterator[TensorOp | list[Layer]]:
    """Yield the ops that move alone, and between them runs of ops that compute in one subnet."""
    kinds, lanes = subnet_kinds(program), local_memory(chip).lanes
    weights: dict[SSAValue, np.ndarray] = {}
    waiting: list[Layer] = []
    for op in program.ops:
        if op.name.endswith(".Weight"):
            weights[op.results[0]] = held_weight(program, op)
        if is_source(op) or is_alias(op, kinds):
            continue
        layer = None if on_host(op, kinds) or is_move(op) else _layer(op, weights, program, lanes, kinds)
        if waiting and (layer is None or waiting[-1].op.note("subnet") != op.note("subnet")):
            yield waiting
            waiting = []
        if layer is not None:
            waiting.append(layer)
        elif is_move(op) and not on_host(op, kinds):
            yield op
    if waiting:
        yield waiting


def _layer(
    op: TensorOp, weights: dict[SSAValue, np.ndarray], program: Program, lanes: int, kinds: list[str]
) -> Layer | None:
    """Return an op with its kernel, None where it has none."""
    try:
        kernel = kernel_of(op, weights)
        return Layer(kernel, constants_of(kernel, program, lanes), kinds)
    except UnsupportedModel:
        return None
