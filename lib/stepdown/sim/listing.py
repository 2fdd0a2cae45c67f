"""The commands of a model file one by one, each with where it comes from, what it touches and what it costs."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from stepdown.chips import Chip
from stepdown.errors import InputError
from stepdown.model import CommandRange, ModelFile, Stage, Stream
from stepdown.npu.cost import Cost, cost, local_memory
from stepdown.npu.isa import Command, Move, decode
from stepdown.sim.labels import Labels
from stepdown.sim.program import Program, check_count
from stepdown.sim.timeline import timeline


@dataclass(frozen=True)
class Entry:
    """A command: the `index`-th of `engine`, of the subnet and step of these numbers (−1: of none).

    `op` makes tensor `name`; `labels` say by operand which tensor, or part of one, it is. `start` is its cycle on the
    time line, None where the program cannot run.
    """

    engine: str
    index: int
    command: Command
    subnet: int
    step: int
    op: str
    name: str
    labels: Mapping[str, str]
    cost: Cost
    start: int | None


@dataclass(frozen=True)
class Listing:
    """The commands of a stage in the order in which they start; `problem` says why they cannot run."""

    stage: Stage
    entries: tuple[Entry, ...]
    problem: str = ""


def listing(model: ModelFile, stage: Stage, chip: Chip) -> Listing:
    """Return the commands of a stage; where they cannot run, engine by engine.

    Raises:
        InputError: a stream is damaged; names the section and the command.
    """
    program = Program({stream.engine: _decoded(model, stream) for stream in stage.streams}, stage.ends[:-1])
    timed, problem = _timed(program, chip)
    subnets = _owners(subnet.commands for subnet in stage.subnets)
    steps = _owners(step.commands for step in stage.steps)
    labels, entries = Labels(stage, local_memory(chip).lanes), []
    for engine, index, price, start in timed:
        command, step = program.commands[engine][index], steps.get((engine, index), -1)
        op, name = (stage.steps[step].op, stage.steps[step].name) if step >= 0 else ("", "")
        found = labels.of(command, step, name)
        subnet = subnets.get((engine, index), -1)
        entries.append(Entry(engine, index, command, subnet, step, op, name, found, price, start))
    return Listing(stage, tuple(_with_tiles(entries)), problem)


def _decoded(model: ModelFile, stream: Stream) -> list[Command]:
    section = f"section '{stream.section}'"
    try:
        commands = decode(bytes(model.sections[stream.section]), stream.engine)
        check_count(stream, commands)
        return commands
    except InputError as error:
        where = ": ".join(filter(None, (section, error.where.removeprefix(section))))
        raise InputError(error.what, f"{model.path}, {where}", error.fix) from None


def _timed(program: Program, chip: Chip) -> tuple[list[tuple[str, int, Cost, int | None]], str]:
    """Return engine, number, cost and start of every command, and why there is no start."""
    try:
        return [(e.engine, e.index, e.cost, e.start) for e in timeline(program, chip)], ""
    except InputError as error:
        return [(engine, index, cost(command, chip), None) for engine, index, command in program], str(error)


def _with_tiles(entries: Sequence[Entry]) -> list[Entry]:
    """Return entries in which a tile that is stored later has the label of the place that it is stored to."""
    stored: dict[tuple[int, int], str] = {}
    found = []
    for entry in reversed(entries):
        writes, labels = entry.command.writes(), dict(entry.labels)
        for name, tensor in writes.items():
            place, label = (tensor.address, tensor.lane), labels.get(name, "")
            if tensor.space == "local" and place in stored:
                tile = stored.pop(place)
                labels[name] = tile if tile.startswith(f"{label}[") else label
        if isinstance(entry.command, Move) and entry.command.target.space != "local":
            source = entry.command.source
            if source.space == "local" and labels.get("target", "").startswith(f"{labels.get('source', '')}["):
                stored[source.address, source.lane] = labels["source"] = labels["target"]
        found.append(replace(entry, labels={name: label for name, label in labels.items() if label}))
    return found[::-1]


def _owners(groups: Iterator[tuple[CommandRange, ...]]) -> dict[tuple[str, int], int]:
    """Return by engine and number of a command the number of the group that it is in."""
    return {
        (part.engine, index): number
        for number, parts in enumerate(groups)
        for part in parts
        for index in range(part.first, part.first + part.count)
    }
