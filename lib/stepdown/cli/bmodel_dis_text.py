"""bmodel_dis.py: commands as text, which isa.text reads back; all else is in comments."""

from collections.abc import Iterator

from stepdown.cli.bmodel_dis_read import Disassembly, ListedStage
from stepdown.model import ModelFile, Subnet
from stepdown.model.schema import HOST
from stepdown.npu.isa import disassemble
from stepdown.sim.assembly import stage_line
from stepdown.sim.listing import Entry


def lines(made: Disassembly, cycles: bool) -> Iterator[str]:
    """Yield the lines of a disassembly."""
    yield f"# for chip {shown(made.chip)}; contents SHA-256 {made.model.sha256}"
    for stage in made.stages:
        yield from _stage(made.model, stage, cycles)


def shown(name: str) -> str:
    """Return a name as it may stand in a line."""
    return name if name.isprintable() else ascii(name)


def command_line(entry: Entry) -> str:
    """Return a command without its place: `conv wait=0,2,0 …`."""
    return disassemble([entry.command]).rstrip("\n")


def _stage(model: ModelFile, stage: ListedStage, cycles: bool) -> Iterator[str]:
    yield ""
    yield stage_line(stage.network.name, stage.number)
    yield f"# mode {shown(stage.network.mode)}, profile {shown(stage.network.profile)}"
    if stage.listing.problem:
        yield f"# cannot run: {shown(stage.listing.problem)}; engine by engine:"
    for number, subnet, entries in stage.subnets():
        sides = " -> ".join(", ".join(map(shown, names)) for names in (subnet.inputs, subnet.outputs))
        yield f"# subnet {number}, {subnet.kind}: {sides}"
        yield from _host(model, subnet)
        for entry in entries:
            yield f"{entry.engine} {entry.index}: {command_line(entry)}"
            yield from (f"    # {line}" for line in comments(entry, cycles))


def _host(model: ModelFile, subnet: Subnet) -> Iterator[str]:
    if subnet.kind == HOST:
        yield from (f"#     {shown(line)}" for line in model.text(subnet.text).splitlines())


def comments(entry: Entry, cycles: bool) -> Iterator[str]:
    """Yield what is known of a command: its op, its operands, its cycles."""
    operands = _moved(entry) or ", ".join(f"{operand} {shown(label)}" for operand, label in entry.labels.items())
    origin = f"step {entry.step}: {shown(entry.op)} {shown(entry.name)}" if entry.step >= 0 else ""
    if said := "; ".join(filter(None, (origin, operands))):
        yield said
    if cycles:
        span = "" if entry.start is None else f" {entry.start}..{entry.start + entry.cost.cycles}:"
        yield f"cycles{span} {entry.cost.cycles} = " + " + ".join(f"{part} {n}" for part, n in entry.cost.parts.items())


def _moved(entry: Entry) -> str:
    """Return what a transfer brings or stores where both sides are called the same, else nothing."""
    source, target = (entry.labels.get(side, "") for side in ("source", "target"))
    if not source or source != target:
        return ""
    spaces = [tensor.space for tensor in entry.command.tensors().values()]
    verb = {"global local": "loads", "local global": "stores"}.get(" ".join(spaces), "moves")
    return f"{verb} {shown(source)}"
