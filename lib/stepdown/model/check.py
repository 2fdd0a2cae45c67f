"""What must hold of a model file beyond the types of its fields. Each rule yields its problems, the first is told."""

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

from stepdown.model.arrays import MAX_ELEMENTS, MAX_RANK, STORED, stored_bytes
from stepdown.model.check_memory import memory_problems
from stepdown.model.container import Sections
from stepdown.model.schema import HOST, NPU, CommandRange, Network, Provenance, Stage, Tensor, Weight

_FOLDER_MARKS = "/\\"


def problems(networks: Collection[Network], sections: Sections, others: Collection[str]) -> Iterator[str]:
    """Yield what is wrong; `others` are the sections that no network uses."""
    if not networks:
        yield "it has no network"
    yield from _twice("network", (network.name for network in networks))
    used, sizes = set(others), {name: len(content) for name, content in sections.items()}
    for network in networks:
        if not network.stages:
            yield f"network '{network.name}' has no stage"
        for index, stage in enumerate(network.stages):
            used.update(stage.sections)
            where = f"network '{network.name}'" + (f", stage {index}" if len(network.stages) > 1 else "")
            yield from (f"{where}: {problem}" for problem in stage_problems(stage, sizes))
    yield from (f"section '{name}' belongs to nothing" for name in sections if name not in used)


def stage_problems(stage: Stage, section_bytes: Mapping[str, int]) -> Iterator[str]:
    """Yield what is wrong with a stage; `section_bytes` has the size of every section.

    Later rules rely on those before them: only the first problem counts.
    """
    yield from (f"there is no section '{name}'" for name in stage.sections if name not in section_bytes)
    for rule in _RULES:
        yield from rule(stage)
    for weight in stage.all_weights:
        yield from _weight_problems(weight, section_bytes[weight.section])
    yield from memory_problems(stage, section_bytes)


def _twice(what: str, names: Iterable[str]) -> Iterator[str]:
    seen: set[str] = set()
    for name in names:
        if not name:
            yield f"a {what} has no name"
        if name in seen:
            yield f"there are two {what}s '{name}'"
        seen.add(name)


def _names(stage: Stage) -> Iterator[str]:
    yield from _twice("tensor", (tensor.name for tensor in stage.tensors))
    yield from _twice("input", stage.inputs)
    yield from _twice("output", stage.outputs)
    yield from _twice("stream", (stream.engine for stream in stage.streams))
    yield from _twice("weight", (weight.name for weight in stage.weights))
    for subnet in stage.subnets:
        yield from _twice("weight", (weight.name for weight in subnet.weights))


def _tensors(stage: Stage) -> Iterator[str]:
    if not stage.outputs:
        yield "it has no output"
    for tensor in stage.tensors:
        yield from (f"tensor '{tensor.name}' {problem}" for problem in _tensor_problems(tensor))


def _tensor_problems(tensor: Tensor) -> Iterator[str]:
    yield from _array_problems(tensor.shape, tensor.type)
    if tensor.order and sorted(tensor.order) != list(range(len(tensor.shape))):
        yield f"has the order {tensor.order[:MAX_RANK]}, which is none of its dimensions"
    scales = tensor.scale if isinstance(tensor.scale, tuple) else (tensor.scale,)
    if not all(scale is None or scale > 0 for scale in scales):
        yield "has a scale that is not positive"
    yield from _channel_problems(tensor)


def _channel_problems(tensor: Tensor) -> Iterator[str]:
    """Yield what is wrong with the parameters of channels: one a channel, along an axis that is there."""
    lists = [value for value in (tensor.scale, tensor.zero_point) if isinstance(value, tuple)]
    if tensor.axis is None:
        yield from ("has parameters by channel and no axis" for _ in lists)
    elif not 0 <= tensor.axis < len(tensor.shape):
        yield f"has no axis {tensor.axis}"
    else:
        size = tensor.shape[tensor.axis]
        yield from (f"has {len(items)} parameters for {size} channels" for items in lists if len(items) != size)


def _array_problems(shape: tuple[int, ...], type_name: str) -> Iterator[str]:
    if type_name not in STORED:
        yield f"is of the unknown type '{type_name[:40]}'"
    if len(shape) > MAX_RANK or min(shape, default=0) < 0 or math.prod(shape) > MAX_ELEMENTS:
        yield f"has the impossible shape {shape[:MAX_RANK]}"


def _weight_problems(weight: Weight, held_bytes: int) -> Iterator[str]:
    for problem in _array_problems(weight.shape, weight.type):
        yield f"weight '{weight.name}' {problem}"
        return
    wanted = stored_bytes(weight.shape, weight.type)
    if wanted != held_bytes:
        yield f"weight '{weight.name}' takes {wanted} bytes, and its section '{weight.section}' has {held_bytes}"


def _inputs_and_outputs(stage: Stage) -> Iterator[str]:
    known, inputs = {tensor.name for tensor in stage.tensors}, set(stage.inputs)
    ends = [*stage.inputs, *stage.outputs, *(n for net in stage.subnets for n in (*net.inputs, *net.outputs))]
    yield from (f"there is no tensor '{name}'" for name in ends if name not in known)
    yield from (
        f"there is preprocessing for '{name}', which is no input" for name in stage.preprocessing
        if name not in inputs
    )  # fmt: skip


def _subnets(stage: Stage) -> Iterator[str]:
    made = set(stage.inputs)
    for index, subnet in enumerate(stage.subnets):
        for name in subnet.inputs:
            if name not in made:
                yield f"subnet {index} reads '{name}', which no subnet before it makes"
        made.update(subnet.outputs)
        if subnet.kind not in (NPU, HOST):
            yield f"subnet {index} is of the unknown kind '{subnet.kind[:40]}'"
        if bool(subnet.text) != (subnet.kind == HOST) or (subnet.weights and not subnet.text):
            yield f"subnet {index} must have a text if it is of kind '{HOST}', and no weights without one"
        if subnet.text and subnet.commands:
            yield f"subnet {index} has a text and commands"
    yield from (f"no subnet makes the output '{name}'" for name in stage.outputs if name not in made)


def _commands(stage: Stage) -> Iterator[str]:
    counts = {stream.engine: stream.commands for stream in stage.streams}
    yield from (f"engine '{name}' has {count} commands" for name, count in counts.items() if count < 0)
    in_subnets = [part for subnet in stage.subnets for part in subnet.commands]
    yield from _cover("subnet", in_subnets, counts)
    if stage.steps:
        in_steps = [part for step in stage.steps for part in step.commands]
        yield from _cover("step", sorted(in_steps, key=lambda part: (part.engine, part.first)), counts)


def _cover(what: str, parts: Collection[CommandRange], counts: dict[str, int]) -> Iterator[str]:
    """Yield what is wrong unless `parts` have every command of every engine once, in order."""
    reached = dict.fromkeys(counts, 0)
    for part in parts:
        if part.engine not in counts:
            yield f"a {what} has commands of the engine '{part.engine}', which has no stream"
            return
        if part.count < 1 or part.first != reached[part.engine]:
            yield f"command {reached[part.engine]} of engine '{part.engine}' is not in exactly one {what}, in order"
            return
        reached[part.engine] += part.count
    for engine, count in counts.items():
        if reached[engine] != count:
            yield f"{what}s have {reached[engine]} of the {count} commands of engine '{engine}'"


def _provenance(stage: Stage) -> Iterator[str]:
    yield from provenance_problems(stage.provenance)


def provenance_problems(provenance: Provenance) -> Iterator[str]:
    """Yield what would tell more than the files and flags: folders."""
    for name in (*provenance.inputs, *provenance.tools, *provenance.tools.values(), *provenance.flags):
        if any(mark in name for mark in _FOLDER_MARKS):
            yield f"its provenance names a folder: '{name[:80]}'"


_RULES: tuple[Callable[[Stage], Iterator[str]], ...] = (
    _names, _tensors, _inputs_and_outputs, _subnets, _commands, _provenance,
)  # fmt: skip
