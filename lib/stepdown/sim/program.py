"""Command streams ready to run: decoded, and checked against the machine before anything is executed.

All addresses are known beforehand, so a tensor out of range, a wait that never ends and an unsynchronised access are
found without running: whatever the data, and whether or not the times of this run would have shown them.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from stepdown.chips import Chip
from stepdown.errors import InputError, StepError
from stepdown.model import ModelFile, Stage, Stream
from stepdown.model.schema import GLOBAL
from stepdown.npu.cost import local_memory
from stepdown.npu.isa import ENGINES, Command, Move, decode
from stepdown.npu.isa.code import place
from stepdown.sim.hazards import check_hazards
from stepdown.sim.memory import Bounds
from stepdown.sim.order import order
from stepdown.sim.overlap import overlap


@dataclass(frozen=True)
class Program:
    """The commands of every engine, by its name; `parts` is where all engines have ended before any goes on.

    Each part says by engine how many commands that is; the last one, all commands, is left out.
    """

    commands: Mapping[str, Sequence[Command]]
    parts: Sequence[Mapping[str, int]] = ()

    def __iter__(self) -> Iterator[tuple[str, int, Command]]:
        """Yield engine, number and command."""
        for engine, commands in self.commands.items():
            for index, command in enumerate(commands):
                yield engine, index, command


def load(
    streams: Mapping[str, bytes],
    chip: Chip,
    global_bytes: int,
    *,
    parts: Sequence[Mapping[str, int]] = (),
    hazards: bool = True,
) -> Program:
    """Return the program of some streams by engine, for a machine with so much global memory.

    Between its `parts` the host may work; they say by engine how many commands have ended by then (none: not named).

    Raises:
        InputError: a stream is damaged, or one of its commands cannot or must not run; names it.
    """
    engines = ENGINES[: 1 + chip.dma_engines]
    if unknown := sorted(set(streams) - set(engines)):
        raise InputError(f"a stream for the engine '{unknown[0]}'", fix=f"this machine has {', '.join(engines)}")
    program = Program({engine: decode(streams.get(engine, b""), engine) for engine in engines}, _met(parts, engines))
    _check_parts(program)
    _check_ranges(program, chip, global_bytes)
    steps = list(order(program.commands, program.parts))
    if hazards:
        check_hazards(program.commands, program.parts, steps, local_memory(chip).lanes)
    return program


def load_stage(model: ModelFile, stage: Stage, chip: Chip, *, hazards: bool = True) -> Program:
    """Return the program of a stage of a model file.

    Raises:
        InputError: as `load`, or a stream has not as many commands as the description says; names the file.
    """
    streams = {stream.engine: bytes(model.sections[stream.section]) for stream in stage.streams}
    size = stage.memory_bytes.get(GLOBAL, 0)
    try:
        program = load(streams, chip, size, parts=stage.ends[:-1], hazards=hazards)
        for stream in stage.streams:
            check_count(stream, program.commands[stream.engine])
    except StepError as error:
        raise type(error)(": ".join(filter(None, (error.where, error.what))), model.path, error.fix) from None
    return program


def check_count(stream: Stream, commands: Sequence[Command]) -> None:
    """Raise InputError where a stream has not as many commands as its description says."""
    if len(commands) != stream.commands:
        what = f"has {len(commands)} commands, and the description says {stream.commands}"
        raise InputError(what, f"section '{stream.section}'")


def _met(parts: Sequence[Mapping[str, int]], engines: Sequence[str]) -> list[dict[str, int]]:
    """Return parts that speak of every engine: one that is not named has ended nothing."""
    return [{engine: part.get(engine, 0) for engine in engines} for part in parts]


def _check_parts(program: Program) -> None:
    """Check that parts follow each other within the streams."""
    for engine, commands in program.commands.items():
        counts = [0, *(part[engine] for part in program.parts), len(commands)]
        if counts != sorted(counts):
            raise InputError(f"parts end after {counts[1:-1]} of the {len(commands)} commands of {engine}")


def _check_ranges(program: Program, chip: Chip, global_bytes: int) -> None:
    memory = Bounds(local_memory(chip), global_bytes)
    for engine, index, command in program:
        try:
            for name, tensor in (command.reads() | command.writes()).items():
                memory.check(tensor, name)
            if isinstance(command, Move) and overlap(command.source, command.target, memory.local.lanes):
                raise InputError("source and target overlap")
        except InputError as error:
            raise InputError(error.what, place(command, index, engine)) from None
