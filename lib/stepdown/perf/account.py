"""What every engine does when, of a model file that is not run: the time line with the op that each command is for."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from stepdown.chips import Chip, parse_chip
from stepdown.errors import InputError
from stepdown.model import ModelFile, Network, Stage, read_model_file
from stepdown.model.schema import HOST, Step
from stepdown.npu.cost import peak_macs
from stepdown.npu.isa import COMPUTE, ENGINES, Command
from stepdown.npu.isa.tensor import shaped
from stepdown.perf.host import HOST_WORK, HostOp, host_ops
from stepdown.sim import Event, load_stage, timeline
from stepdown.sim.timeline import part_starts

TRANSFERS = tuple(engine for engine in ENGINES if engine != COMPUTE)
WAITS = ("synchronize", "start", "latency", "bank_conflict", "bus")
"""The parts of a command in which its engine waits, instead of computing or moving."""


@dataclass(frozen=True)
class Work:
    """A command on its engine, or an op on the host: from `start` on, `parts` one after the other, in cycles.

    `step` is its place in the stage's steps (−1: there are none, or the host works). `op` is what the op is called
    (`Conv`), `name` the tensor that it makes, `what` the instruction. `per_cycle` is what the engine could do at most,
    in MACs or, for a transfer, bytes; 0 where that is not told. `idle` are the cycles for which the engine stood still
    before; `wait` says for how many commands of which engine it waited.
    """

    engine: str
    index: int
    step: int
    name: str
    op: str
    what: str
    start: int
    parts: Mapping[str, int]
    bytes: int = 0
    macs: int = 0
    per_cycle: int = 0
    idle: int = 0
    wait: Mapping[str, int] = field(default_factory=dict)
    reads: Mapping[str, str] = field(default_factory=dict)
    writes: Mapping[str, str] = field(default_factory=dict)
    command: Command | None = None

    @property
    def cycles(self) -> int:
        """The cycles from start to end."""
        return sum(self.parts.values())

    @property
    def end(self) -> int:
        """The cycle in which it has ended."""
        return self.start + self.cycles

    @property
    def utilisation(self) -> float | None:
        """The share of what the engine could have done in these cycles; None where that is not told."""
        most = self.per_cycle * self.cycles
        return (self.bytes if self.engine in TRANSFERS else self.macs) / most if most else None


@dataclass(frozen=True)
class Account:
    """A stage of a network on its chip, and all work in the order of starting.

    `weight_bytes` has the sizes of the sections of its constants.
    """

    path: str
    network: Network
    stage: Stage
    chip: Chip
    works: Sequence[Work]
    weight_bytes: Mapping[str, int] = field(default_factory=dict)

    @property
    def cycles(self) -> int:
        """The cycles until all has ended."""
        return max((work.end for work in self.works), default=0)

    @property
    def engines(self) -> list[str]:
        """The engines that the chip has, and the host where it works."""
        used = [HOST] if any(work.engine == HOST for work in self.works) else []
        return [*ENGINES[: 1 + self.chip.dma_engines], *used]

    def ms(self, cycles: float) -> float:
        """Return cycles as milliseconds."""
        return cycles * 1e3 / self.chip.clock_hz

    @property
    def title(self) -> str:
        """What pictures and tables are headed with: network, mode, chip, milliseconds."""
        network = self.network
        shapes = (shaped(self.stage.tensor(name).shape) for name in self.stage.inputs)
        given = f", inputs {', '.join(shapes)}" if len(network.stages) > 1 else ""
        return f"{network.name} {network.mode} on {self.chip.name}{given}: {self.ms(self.cycles):.4g} ms predicted"


def account_of(path: str | os.PathLike[str], name: str = "", stage: Stage | None = None) -> Account:
    """Return what the network `name` of a model file takes ('' for the only one); nothing is executed.

    Of a network with several stages, `stage` says which one.

    Raises:
        InputError: no model file, damaged, with commands that the machine refuses, or for a chip that is no NPU; the
            network has several stages, and none is given.
    """
    model = read_model_file(path)
    chip = parse_chip(model.chip, f"{model.path}, section 'chip.toml'")
    if chip.kind != "npu":
        raise InputError(f"is for chip {chip.name}, which is no NPU", model.path)
    network = model.network(name)
    if stage is None and len(network.stages) > 1:
        what = f"network '{network.name}' has {len(network.stages)} stages"
        raise InputError(what, model.path, "give --input, whose shapes choose one")
    stage = stage or network.stages[0]
    sizes = {weight.section: len(model.sections[weight.section]) for weight in stage.weights}
    return Account(model.path, network, stage, chip, _works(model, stage, chip), sizes)


def _works(model: ModelFile, stage: Stage, chip: Chip) -> list[Work]:
    program = load_stage(model, stage, chip, hazards=False)  # whether they are in order is for whoever runs them
    host = [host_ops(model, subnet, chip) for subnet in stage.subnets]
    cycles = [sum(op.cycles for op in ops) for ops in host]
    events = timeline(program, chip, cycles)
    starts = part_starts(program, events, cycles)
    works = [*_of_commands(events, stage, chip), *_of_host(starts, host)]
    order = (*ENGINES, HOST)
    return sorted(works, key=lambda work: (work.start, order.index(work.engine), work.index))


def _of_commands(events: Sequence[Event], stage: Stage, chip: Chip) -> Iterator[Work]:
    steps = dict(_step_of_commands(stage.steps))
    ended = dict.fromkeys(ENGINES, 0)
    for event in events:
        yield _of_command(event, steps, stage, chip, event.start - ended[event.engine])
        ended[event.engine] = event.end


def _of_command(
    event: Event, steps: Mapping[tuple[str, int], int], stage: Stage, chip: Chip, idle: int
) -> Work:  # fmt: skip
    command = event.command
    at = steps.get((event.engine, event.index), -1)
    step = stage.steps[at] if at >= 0 else Step(command.mnemonic, command.mnemonic, ())
    return Work(
        event.engine, event.index, at, step.name, step.op.split(".")[-1], command.mnemonic,
        event.start, event.cost.parts, event.cost.bytes, event.cost.macs,
        peak_macs(command, chip) if event.engine == COMPUTE else chip.dma_bytes_per_cycle, idle,
        {engine: count for engine, count in zip(ENGINES, command.wait, strict=True) if count},
        {name: f"{t.type}{list(t.shape)} {t.space}" for name, t in command.reads().items()},
        {name: f"{t.type}{list(t.shape)} {t.space}" for name, t in command.writes().items()},
        command,
    )  # fmt: skip


def _step_of_commands(steps: Sequence[Step]) -> Iterator[tuple[tuple[str, int], int]]:
    for number, step in enumerate(steps):
        for part in step.commands:
            for index in range(part.first, part.first + part.count):
                yield (part.engine, index), number


def _of_host(starts: Sequence[int], subnets: Sequence[Sequence[HostOp]]) -> Iterator[Work]:
    """Yield the ops of the host, one after the other from the start of their part on."""
    ended, index = 0, 0
    for start, ops in zip(starts, subnets, strict=False):
        at = start
        for op in ops:
            yield Work(
                HOST, index, -1, op.name, op.op, "host", at, {HOST_WORK: op.cycles}, 0, op.macs, 0, at - ended, {},
                op.reads, op.writes,
            )  # fmt: skip
            at += op.cycles
            ended, index = at, index + 1
