"""model_tool.py --info of a model file `.bmodel`."""

from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stepdown.model import ModelFile, Region, Stage, Subnet, Tensor

Report = dict[str, Any]


def bmodel_report(path: str, verbose: bool) -> Report:
    """Return what is in a model file; steps, memory map, weights and sections one by one only with `verbose`.

    Raises:
        InputError: it is none, or damaged.
        UnsupportedModel: it is of a later version.
    """
    from stepdown.cli.model_tool_info import file_facts
    from stepdown.model import read_model_file
    from stepdown.model.container import VERSION
    from stepdown.model.file import chip_name

    model = read_model_file(path)
    report: Report = {
        **file_facts(path, "model file"),
        "version": VERSION,
        "contents_sha256": model.sha256,
        "chip": chip_name(model.chip),
        "networks": [
            {"name": network.name, "mode": network.mode, "profile": network.profile,
             "stages": [_stage(model, stage, verbose) for stage in network.stages]}
            for network in model.networks
        ],
    }  # fmt: skip
    if verbose:
        held = sorted(model.sections.items())
        report["sections"] = [{"name": name, "bytes": len(content)} for name, content in held]
    return report


def _stage(model: "ModelFile", stage: "Stage", verbose: bool) -> Report:
    report: Report = {
        "inputs": [tensor_row(stage.tensor(name)) for name in stage.inputs],
        "outputs": [tensor_row(stage.tensor(name)) for name in stage.outputs],
        "preprocessing": {name: dict(how) for name, how in stage.preprocessing.items()},
        "subnets": [_subnet(subnet) for subnet in stage.subnets],
        "streams": [
            {"engine": stream.engine, "commands": stream.commands, "bytes": len(model.sections[stream.section])}
            for stream in stage.streams
        ],
        "weights": len(stage.all_weights),
        "weight_bytes": sum(len(model.sections[name]) for name in {w.section for w in stage.all_weights}),
        "memory_bytes": dict(stage.memory_bytes),
        "tensors": len(stage.tensors),
        "steps": len(stage.steps),
        "ops": dict(Counter(op for op, _ in {(step.op, step.name): None for step in stage.steps}).most_common()),
        "provenance": asdict(stage.provenance),
    }
    return {**report, **_details(stage)} if verbose else report


def _details(stage: "Stage") -> Report:
    return {
        "tensor_rows": [tensor_row(tensor) for tensor in stage.tensors],
        "weight_rows": [asdict(weight) for weight in stage.all_weights],
        "memory_map": [_region(region) for region in sorted(stage.memory, key=lambda r: (r.memory, r.address))],
        "step_rows": [asdict(step) for step in stage.steps],
    }


def _subnet(subnet: "Subnet") -> Report:
    commands = {part.engine: 0 for part in subnet.commands}
    for part in subnet.commands:
        commands[part.engine] += part.count
    return {
        "kind": subnet.kind,
        "inputs": list(subnet.inputs),
        "outputs": list(subnet.outputs),
        "commands": commands,
        "text": subnet.text,
    }


def _region(region: "Region") -> Report:
    part = {"origin": list(region.origin), "shape": list(region.shape)} if region.shape else {}
    live = [region.first, region.ready, region.last]
    return {
        "name": region.name, "memory": region.memory, "address": region.address, "bytes": region.bytes, "steps": live,
        **part,
    }  # fmt: skip


def tensor_row(tensor: "Tensor") -> Report:
    """Return what a report says of a tensor."""
    row: Report = {"name": tensor.name, "shape": list(tensor.shape), "type": tensor.type}
    if tensor.scale is not None:
        row |= {"scale": _listed(tensor.scale), "zero_point": _listed(tensor.zero_point)}
    if tensor.axis is not None:
        row["axis"] = tensor.axis
    return row | ({"layout": tensor.layout} if tensor.layout else {})


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
