"""bmodel_dis.py: commands as MLIR's generic form, for readers that allow unregistered dialects.

A command gives a token, and reads those of the commands that it waits for: of the one before it on its engine, and of
others as its `wait` says. Its tensors are types of memory: `memref<1x8x4x4xi8, strided<[128, 16, 4, 1], offset: 64>,
"local">`, strides and offset in elements, as fields. Host subnets stand between, as they are.
"""

import json
import math
import struct
from collections.abc import Iterator, Mapping
from typing import Any

from stepdown.cli.bmodel_dis_read import Disassembly, ListedStage
from stepdown.model import ModelFile
from stepdown.model.schema import HOST
from stepdown.npu.isa import ENGINES, Tensor
from stepdown.npu.isa.fields import Field, items
from stepdown.sim.listing import Entry

TOKEN = "!npu.token"
Tokens = Mapping[tuple[str, int], str]


def lines(made: Disassembly, cycles: bool) -> Iterator[str]:
    """Yield the lines of a module with a module for each stage."""
    yield f"builtin.module attributes {{npu.chip = {quoted(made.chip)}, npu.sha256 = {quoted(made.model.sha256)}}} {{"
    for stage in made.stages:
        facts = {"network": stage.network.name, "mode": stage.network.mode, "profile": stage.network.profile}
        said = ", ".join(f"npu.{name} = {quoted(value)}" for name, value in facts.items())
        yield f"  builtin.module attributes {{{said}, npu.stage = {stage.number} : i64}} {{"
        yield from (f"    {line}" for line in _stage(made.model, stage, cycles))
        yield "  }"
    yield "}"


def quoted(text: str) -> str:
    """Return a text as MLIR quotes it: bytes that do not print as two hexadecimal digits."""
    plain = (chr(b) if 32 <= b < 127 and b not in b'"\\' else f"\\{b:02X}" for b in text.encode())
    return f'"{"".join(plain)}"'


def _stage(model: ModelFile, stage: ListedStage, cycles: bool) -> Iterator[str]:
    tokens: dict[tuple[str, int], str] = {}
    for number, subnet, entries in stage.subnets():
        yield f"// subnet {number}, {subnet.kind}: {json.dumps(subnet.inputs)} -> {json.dumps(subnet.outputs)}"
        if subnet.kind == HOST:
            yield from model.text(subnet.text).splitlines()
        for entry in entries:
            yield _command(entry, number, tokens, cycles)
            tokens[entry.engine, entry.index] = f"%{entry.engine}_{entry.index}"


def _command(entry: Entry, subnet: int, tokens: Tokens, cycles: bool) -> str:
    after = _after(entry, tokens)
    types = ", ".join([TOKEN] * len(after))
    shown = ", ".join(f"{name} = {value}" for name, value in sorted(_attributes(entry, subnet, cycles).items()))
    made, name = f"%{entry.engine}_{entry.index}", quoted(f"npu.{entry.command.mnemonic}")
    place = f"loc({quoted(entry.name)})" if entry.name else "loc(unknown)"
    return f"{made} = {name}({', '.join(after)}) {{{shown}}} : ({types}) -> {TOKEN} {place}"


def _after(entry: Entry, tokens: Tokens) -> list[str]:
    """Return the tokens of the commands that must have ended; those that are not shown are left out."""
    waits = dict(zip(ENGINES, entry.command.wait, strict=True)) | {entry.engine: entry.index}
    keys = [(engine, count - 1) for engine, count in waits.items() if count]
    return [tokens[key] for key in keys if key in tokens]


def _attributes(entry: Entry, subnet: int, cycles: bool) -> dict[str, str]:
    found = {"subnet": f"{subnet} : i64", "step": f"{entry.step} : i64", "op": quoted(entry.op)}
    for item in items(type(entry.command)):
        value = getattr(entry.command, item.name)
        if isinstance(value, Tensor):
            found[item.name] = _memory(value)
            if value.lane:
                found[f"{item.name}_lane"] = f"{value.lane} : i64"
        elif isinstance(item, Field) and value != item.default:
            found[item.name] = _value(value)
    if entry.labels:
        found["tensors"] = "{" + ", ".join(f"{k} = {quoted(v)}" for k, v in sorted(entry.labels.items())) + "}"
    if cycles:
        found["cycles"] = f"{entry.cost.cycles} : i64"
        found |= {} if entry.start is None else {"start": f"{entry.start} : i64"}
    return found


def _memory(tensor: Tensor) -> str:
    size = tensor.element_bytes
    shape, element = "x".join(map(str, tensor.shape)), tensor.type.replace("u", "ui")
    strides = ", ".join(str(stride // size) for stride in tensor.strides)
    return f'memref<{shape}x{element}, strided<[{strides}], offset: {tensor.address // size}>, "{tensor.space}">'


def _value(value: Any) -> str:
    """Return a number, words or numbers as an attribute."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return f"array<i64: {', '.join(map(str, value))}>"
    if isinstance(value, str):
        return quoted(value)
    return _float(value) if isinstance(value, float) else f"{value} : i64"


def _float(value: float) -> str:
    """Return a float as MLIR reads it: by its bits where Python would spell it otherwise."""
    text = repr(value)
    plain = math.isfinite(value) and "e" not in text
    return f"{text} : f64" if plain else f"0x{struct.unpack('<Q', struct.pack('<d', value))[0]:016X} : f64"
