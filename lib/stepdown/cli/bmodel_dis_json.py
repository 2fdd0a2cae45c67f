"""bmodel_dis.py: commands as JSON."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from stepdown.cli.bmodel_dis_read import Disassembly, ListedStage
from stepdown.cli.bmodel_dis_text import command_line
from stepdown.model import ModelFile
from stepdown.model.schema import HOST
from stepdown.npu.isa import Command, Tensor
from stepdown.npu.isa.fields import items
from stepdown.sim.listing import Entry


def lines(made: Disassembly, cycles: bool) -> Iterator[str]:
    """Yield the lines of the JSON text."""
    stages = [_stage(made.model, stage, cycles) for stage in made.stages]
    yield json.dumps({"chip": made.chip, "sha256": made.model.sha256, "stages": stages}, indent=1, ensure_ascii=False)


def _stage(model: ModelFile, stage: ListedStage, cycles: bool) -> dict[str, Any]:
    subnets = [
        {
            "number": number, "kind": subnet.kind, "inputs": subnet.inputs, "outputs": subnet.outputs,
            "commands": [_entry(entry, cycles) for entry in entries],
            **({"text": model.text(subnet.text)} if subnet.kind == HOST else {}),
        }
        for number, subnet, entries in stage.subnets()
    ]  # fmt: skip
    problem = {"problem": stage.listing.problem} if stage.listing.problem else {}
    return {"network": stage.network.name, "stage": stage.number, **problem, "subnets": subnets}


def _entry(entry: Entry, cycles: bool) -> dict[str, Any]:
    row: dict[str, Any] = {
        "engine": entry.engine, "index": entry.index, "command": entry.command.mnemonic, "step": entry.step,
        "op": entry.op, "name": entry.name, "labels": dict(entry.labels), "fields": _fields(entry.command),
        "text": command_line(entry),
    }  # fmt: skip
    if cycles:
        row |= {"start": entry.start, "cycles": entry.cost.cycles, "parts": dict(entry.cost.parts)}
        row |= {"bytes": entry.cost.bytes, "macs": entry.cost.macs}
    return row


def _fields(command: Command) -> dict[str, Any]:
    found = {item.name: getattr(command, item.name) for item in items(type(command))}
    return {name: asdict(value) if isinstance(value, Tensor) else _finite(value) for name, value in found.items()}


def _finite(value: Any) -> Any:
    """Return a number as JSON can hold it: infinities as texts."""
    return str(value) if isinstance(value, float) and value in (float("inf"), float("-inf")) else value
