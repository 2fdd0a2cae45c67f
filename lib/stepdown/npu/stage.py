"""The stage of a model file that says all of a network's code: streams, memory map, tensors, sources of commands."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from xdsl.ir import SSAValue

from stepdown.chips import Chip
from stepdown.dialects.meaning import tensor_info
from stepdown.dialects.op import TensorOp, layout_of, value_name
from stepdown.dialects.program import Program, argument_name
from stepdown.dialects.types import quant_of, shape_of
from stepdown.model import CommandRange, Provenance, SectionStore, Stage, Step, Stream, Subnet, Tensor, Weight
from stepdown.model.schema import GLOBAL, HOST, LOCAL, NPU, Preprocessing
from stepdown.npu.code import Code
from stepdown.npu.cost import local_memory
from stepdown.npu.host_module import host_subnet
from stepdown.npu.isa import decode
from stepdown.npu.regions import regions
from stepdown.npu.subnets import parts_of


def make_stage(program: Program, code: Code, chip: Chip, store: SectionStore, made_of: Provenance) -> Stage:
    """Return the stage of a network; its sections are put into `store`."""
    used = {engine: count for engine, stream in code.streams.items() if (count := len(decode(stream, engine)))}
    local = local_memory(chip)
    inputs = {argument_name(op): op.tensor_name for op in program.input_ops}
    outputs = tuple(dict.fromkeys(program.output_names))
    streams = (
        Stream(engine, store.put(f"stream/{program.name}.{engine}", code.streams[engine]), count)
        for engine, count in used.items()
    )
    return Stage(
        inputs=tuple(inputs.values()),
        outputs=outputs,
        tensors=tuple(_tensors(program)),
        subnets=tuple(_subnets(program, code, used, store)),
        weights=tuple(_weights(code, store)),
        streams=tuple(streams),
        memory_bytes={GLOBAL: code.global_bytes, LOCAL: local.lane_bytes},
        memory=tuple(regions(program, code, local)),
        steps=tuple(_steps(program, code)),
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
    """Return what a file says of a tensor; an input is a view of the name by which the caller knows it, of no other."""
    info, params, name = tensor_info(value), quant_of(value), value_name(value)
    view_of = info.view_of
    if op.name.endswith(".Input"):
        view_of = argument_name(op) if argument_name(op) != name else ""
    scale = tuple(info.scale) if isinstance(info.scale, list) else info.scale
    zero_point = tuple(info.zero_point) if isinstance(info.zero_point, list) else info.zero_point
    return Tensor(
        name, shape_of(value), info.type, scale, zero_point, params.axis if params else None, info.layout,
        tuple(layout_of(value)), info.fused, view_of, info.internal,
    )  # fmt: skip


def _steps(program: Program, code: Code) -> Iterator[Step]:
    ops = {op.tensor_name: op for op in program.ops}
    for step in code.steps:
        op = ops[code.layers[step.layer]]
        yield Step(op.tensor_name, op.name, tuple(CommandRange(*part) for part in step.ranges))
