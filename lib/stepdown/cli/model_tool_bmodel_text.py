"""The networks of a model file as text."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from stepdown.cli.model_tool_text import fact_text, grouped, preprocessing_lines, tensor_text

Report = Mapping[str, Any]


def networks_lines(networks: Sequence[Report]) -> Iterator[str]:
    """Yield the lines that tell of all networks and their stages."""
    yield f"networks: {len(networks)}"
    for network in networks:
        yield f"network {network['name']}: mode {network['mode']}, profile {network['profile']}"
        several = len(network["stages"]) > 1
        for index, stage in enumerate(network["stages"]):
            if several:
                yield f"  stage {index}:"
            yield from (f"{'    ' if several else '  '}{line}" for line in _stage(stage))


def _stage(stage: Report) -> Iterator[str]:
    for title in ("inputs", "outputs"):
        yield f"{title}: {len(stage[title])}"
        yield from (f"  {_tensor(row)}" for row in stage[title])
    yield from preprocessing_lines(stage["preprocessing"])
    yield f"subnets: {len(stage['subnets'])}"
    yield from (f"  {index} {_subnet(row)}" for index, row in enumerate(stage["subnets"]))
    for row in stage["streams"]:
        yield f"stream {row['engine']}: {grouped(row['commands'])} commands, {grouped(row['bytes'])} bytes"
    yield f"weights: {stage['weights']}, {grouped(stage['weight_bytes'])} bytes"
    for name, size in stage["memory_bytes"].items():
        yield f"memory {name}: {grouped(size)} bytes"
    yield f"tensors: {stage['tensors']}, steps: {stage['steps']}"
    yield from (f"  {count:5} {op}" for op, count in stage["ops"].items())
    yield from _provenance(stage["provenance"])
    yield from _details(stage)


def _tensor(row: Report) -> str:
    return f"{row['name']} {tensor_text(row)}" + (f" layout {row['layout']}" if "layout" in row else "")


def _subnet(row: Report) -> str:
    commands = ", ".join(f"{count} {engine}" for engine, count in row["commands"].items())
    return f"{row['kind']}: {', '.join(row['inputs'])} -> {', '.join(row['outputs'])} ({commands or row['text']})"


def _provenance(made: Report) -> Iterator[str]:
    if not any(made.values()):
        yield "provenance: none stored"
        return
    yield "provenance:"
    yield from (f"  input {name}: SHA-256 {digits}" for name, digits in made["inputs"].items())
    yield from (f"  {tool} {version}" for tool, version in made["tools"].items())
    if made["flags"]:
        yield f"  flags: {' '.join(made['flags'])}"


def _details(stage: Report) -> Iterator[str]:
    """Yield what only a verbose report has."""
    for key, title, text in _TABLES:
        if key in stage:
            yield f"{title}:"
            yield from (f"  {text(row)}" for row in stage[key])


def _weight(row: Report) -> str:
    place = "host" if row["address"] is None else f"at {row['address']}"
    return f"{row['name']} {tensor_text(row)} {place} in section {row['section']}"


def _region(row: Report) -> str:
    first, ready, last = row["steps"]
    part = f" part {fact_text(row['origin'])} size {fact_text(row['shape'])}" if "shape" in row else ""
    where = f"{row['memory']} {row['address']}..{row['address'] + row['bytes']}"
    return f"{where}: {row['name'] or 'scratch'}{part}, steps {first}..{last}, whole after {ready}"


def _step(row: Report) -> str:
    parts = ", ".join(f"{p['engine']} {p['first']}..{p['first'] + p['count'] - 1}" for p in row["commands"])
    return f"{row['op']} {row['name']}: {parts}"


_TABLES = (
    ("tensor_rows", "tensors", _tensor),
    ("weight_rows", "weights", _weight),
    ("memory_map", "memory map", _region),
    ("step_rows", "steps", _step),
)
