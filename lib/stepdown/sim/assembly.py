"""A printed text of commands back into the streams of a model file."""

import json
import re
from collections.abc import Iterator
from dataclasses import replace

from stepdown.errors import InputError
from stepdown.files.names import free_name
from stepdown.model import ModelFile, Network, Stage, Stream
from stepdown.model.container import Content
from stepdown.npu.isa import ENGINES, Command, encode, parse
from stepdown.npu.isa.command import runs_on

_COMMAND = re.compile(r"(\w+) (\d{1,9}): (.*)")
_STAGE = re.compile(r'network (".*") stage (\d{1,9})')
Commands = dict[str, dict[int, tuple[int, str]]]
"""By engine and number of a command, the line that it stands in and its text."""


def stage_line(network: str, number: int) -> str:
    """Return the line with which the commands of a stage begin."""
    return f"network {json.dumps(network)} stage {number}"


def assembled(model: ModelFile, text: str, source: str) -> ModelFile:
    """Return a model with the commands of a text, which `source` names; stages that are not in it stay as they are.

    Raises:
        InputError: a line is no command, one is missing or there twice, or a stage is not in the model; names the line.
    """
    found = _stages(text, source)
    known = {(network.name, number) for network in model.networks for number in range(len(network.stages))}
    if unknown := [key for key in found if key not in known]:
        raise InputError(f"has no network '{unknown[0][0]}' with a stage {unknown[0][1]}", model.path)
    sections, networks = dict(model.sections), []
    for network in model.networks:
        stages = list(network.stages)
        for number, stage in enumerate(stages):
            if commands := found.get((network.name, number)):
                stages[number] = _stage(network, stage, commands, sections, source)
        networks.append(replace(network, stages=tuple(stages)))
    return replace(model, networks=tuple(networks), sections=sections)


def _stages(text: str, source: str) -> dict[tuple[str, int], Commands]:
    stages: dict[tuple[str, int], Commands] = {}
    commands: Commands | None = None
    for number, line in _said(text):
        if match := _STAGE.fullmatch(line):
            commands = stages.setdefault((_name(match[1], f"{source}, line {number}"), int(match[2])), {})
        elif (match := _COMMAND.fullmatch(line)) and match[1] in ENGINES and commands is not None:
            held = commands.setdefault(match[1], {})
            if int(match[2]) in held:
                raise InputError(f"command {match[2]} of {match[1]} is there twice", f"{source}, line {number}")
            held[int(match[2])] = number, match[3]
        else:
            what = f"'{line[:60]}' is no command of a stage"
            raise InputError(what, f"{source}, line {number}", 'write `dma 3: move …` after `network "x" stage 0`')
    return stages


def _said(text: str) -> Iterator[tuple[int, str]]:
    """Yield the lines that say something, with their numbers."""
    for number, line in enumerate(text.splitlines(), 1):
        if said := line.strip() if line.startswith("network ") else line.split("#")[0].strip():
            yield number, said


def _name(text: str, where: str) -> str:
    try:
        return str(json.loads(text))
    except ValueError:
        raise InputError(f"{text[:60]} is no name in quotes", where) from None


def _stage(network: Network, stage: Stage, commands: Commands, sections: dict[str, Content], source: str) -> Stage:
    """Return a stage with the streams of these commands; a changed one becomes a new section."""
    old, streams = {stream.engine: stream.section for stream in stage.streams}, []
    for engine in (engine for engine in ENGINES if engine in commands):
        content = _stream(commands[engine], engine, source)
        section = old.get(engine, "")
        if not section or bytes(sections[section]) != content:
            section = free_name(f"stream/{network.name}.{engine}", sections)
            sections[section] = content
        streams.append(Stream(engine, section, len(commands[engine])))
    return replace(stage, streams=tuple(streams))


def _stream(commands: dict[int, tuple[int, str]], engine: str, source: str) -> bytes:
    for wanted, index in enumerate(sorted(commands)):
        if index != wanted:
            where = f"{source}, line {commands[index][0]}"
            raise InputError(f"command {wanted} of {engine} is missing", where, "give all commands of a stage")
    return encode(_command(*commands[index], engine, source) for index in sorted(commands))


def _command(line: int, text: str, engine: str, source: str) -> Command:
    try:
        found = parse(text)
    except InputError as error:
        raise InputError(error.what, f"{source}, line {line}", error.fix) from None
    if len(found) != 1 or not runs_on(type(found[0]), engine):
        raise InputError(f"'{text[:60]}' is no command of {engine}", f"{source}, line {line}")
    return found[0]
