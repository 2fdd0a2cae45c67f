"""The stage of a model file that says all of a network's code: streams, memory map, tensors, sources of commands."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from xdsl.ir import SSAValue

from stepdown.dialects.meaning import tensor_info
from stepdown.dialects.op import TensorOp, layout_of, value_name
from stepdown.dialects.program import Program, argument_name
from stepdown.dialects.types import quant_of, shape_of
from stepdown.model import CommandRange, Provenance, Region, SectionStore, Stage, Step, Stream, Subnet, Tensor, Weight
from stepdown.model.schema import GLOBAL, HOST, NPU, Preprocessing
from stepdown.npu.codegen import Code
from stepdown.npu.host_module import host_subnet
from stepdown.npu.isa import BYTES, Command, decode
from stepdown.npu.subnets import parts_of


def make_stage(program: Program, code: Code, store: SectionStore, made_of: Provenance) -> Stage:
    """Return the stage of a network; its sections are put into `store`."""
    commands = {engine: decode(stream, engine) for engine, stream in code.streams.items()}
    used = {engine: each for engine, each in commands.items() if each}
    inputs = {argument_name(op): op.tensor_name for op in program.input_ops}
    outputs = tuple(dict.fromkeys(program.output_names))
    streams = (
        Stream(engine, store.put(f"stream/{program.name}.{engine}", code.streams[engine]), len(each))
        for engine, each in used.items()
    )
    return Stage(
        inputs=tuple(inputs.values()),
        outputs=outputs,
        tensors=tuple(_tensors(program)),
        subnets=tuple(_subnets(program, code, {engine: len(each) for engine, each in used.items()}, store)),
        weights=tuple(_weights(code, store)),
        streams=tuple(streams),
        memory_bytes={GLOBAL: code.global_bytes},
        memory=tuple(_memory(program, code, used)),
        steps=tuple(_steps(program, code, used)),
        preprocessing={inputs[name]: _plain(values) for name, values in program.preprocessing.items()},
        provenance=made_of,
    )


def _subnets(program: Program, code: Code, commands: Mapping[str, int], store: SectionStore) -> Iterator[Subnet]:
    """Yield the subnets; the commands of one begin where those before end, and end where the host begins."""
    begin = {step.op: step.after for step in code.host}
    parts = parts_of(program)
    reached = dict.fromkeys(commands, 0)
    for part, following in zip(parts, [*parts[1:], None], strict=True):
        if part.kind == HOST:
            yield host_subnet(program, part, store)
            continue
        ends = begin[following.ops[0]] if following and following.kind == HOST else commands
        made = ((engine, reached[engine], ends[engine] - reached[engine]) for engine in commands)
        yield Subnet(
            NPU, _names(part.reads), _names(part.makes(program)),
            tuple(CommandRange(engine, first, count) for engine, first, count in made if count),
        )  # fmt: skip
        reached = {engine: ends[engine] for engine in commands}


def _names(values: Iterable[SSAValue]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(value_name(value) for value in values))


def _plain(values: dict[str, Any]) -> Preprocessing:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}


def _weights(code: Code, store: SectionStore) -> Iterator[Weight]:
    for name, place in code.constants.items():
        section = store.put(f"weight/{name}", code.image[place.address].tobytes())
        yield Weight(name, section, place.shape, place.type, place.address)


def _tensors(program: Program) -> Iterator[Tensor]:
    for op in program.ops:
        for value in op.results if not op.name.endswith((".Weight", ".None")) else ():
            yield _tensor(op, value)


def _tensor(op: TensorOp, value: SSAValue) -> Tensor:
    """Return what a file says of a tensor; an input that the caller knows by another name is a view of that."""
    info, params, name = tensor_info(value), quant_of(value), value_name(value)
    given_as = argument_name(op) if op.name.endswith(".Input") else name
    scale = tuple(info.scale) if isinstance(info.scale, list) else info.scale
    zero_point = tuple(info.zero_point) if isinstance(info.zero_point, list) else info.zero_point
    return Tensor(
        name, shape_of(value), info.type, scale, zero_point, params.axis if params else None, info.layout,
        tuple(layout_of(value)), info.fused, given_as if given_as != name else info.view_of, info.internal,
    )  # fmt: skip


@dataclass(frozen=True)
class _Run:
    """The commands of one op."""

    op: TensorOp
    parts: tuple[CommandRange, ...]


def _runs(program: Program, code: Code, commands: dict[str, list[Command]]) -> list[_Run]:
    """Return the ops with commands in order, with what of each stream is theirs: streams go op by op."""
    ops = {op.tensor_name: op for op in program.ops}
    ranges: dict[int, list[CommandRange]] = {}
    for engine, each in commands.items():
        layers = np.array([command.layer for command in each])
        for layer, first, count in zip(*np.unique(layers, return_index=True, return_counts=True), strict=True):
            ranges.setdefault(int(layer), []).append(CommandRange(engine, int(first), int(count)))
    return [_Run(ops[code.layers[layer]], tuple(ranges[layer])) for layer in sorted(ranges)]


def _steps(program: Program, code: Code, commands: dict[str, list[Command]]) -> Iterator[Step]:
    for run in _runs(program, code, commands):
        yield Step(run.op.tensor_name, run.op.name, run.parts)


def _memory(program: Program, code: Code, commands: dict[str, list[Command]]) -> Iterator[Region]:
    """Yield where tensors lie and from which step to which; those that share a place share its time."""
    first: dict[int, int] = {}
    last: dict[int, int] = {}
    runs = _runs(program, code, commands)
    for op, before, after in _working(runs, code):
        for value in op.results:
            if value_name(value) in code.tensors:
                first.setdefault(code.tensors[value_name(value)][0].address, after)
        for operand in op.operands:
            if value_name(operand) in code.tensors:
                last[code.tensors[value_name(operand)][0].address] = before
    for name in (name for name in program.output_names if name in code.tensors):
        last[code.tensors[name][0].address] = max(len(runs) - 1, 0)
    for name, (place, _) in code.tensors.items():
        start, size = first.get(place.address, 0), place.elements * BYTES[place.type]
        yield Region(name, GLOBAL, place.address, size, start, start, max(start, last.get(place.address, start)))


def _working(runs: Sequence[_Run], code: Code) -> Iterator[tuple[TensorOp, int, int]]:
    """Yield every op that runs, with the last step until which it reads and the first in which it has results."""
    host = list(code.host)
    for step, run in enumerate(runs):
        while host and all(part.first >= host[0].after[part.engine] for part in run.parts):
            yield host.pop(0).op, max(step - 1, 0), step
        yield run.op, step, step
    for left in host:
        yield left.op, max(len(runs) - 1, 0), max(len(runs) - 1, 0)
