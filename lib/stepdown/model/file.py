"""Reading and writing model files: the container, the schema and all checks together."""

import os
import tomllib
from dataclasses import dataclass, field

import numpy as np

from stepdown.errors import InputError
from stepdown.model.arrays import stored_array
from stepdown.model.check import problems
from stepdown.model.container import Sections, read_container, write_container
from stepdown.model.json_text import json_bytes, parse_json
from stepdown.model.records import plain, record
from stepdown.model.schema import Description, Network, Weight
from stepdown.model.sections import SectionStore

CHIP_SECTION, MODEL_SECTION = "chip.toml", "model.json"
MAX_TEXT_BYTES = 32 << 20


@dataclass(frozen=True)
class ModelFile:
    """A model file: networks for one chip.

    `chip` is the text of the chip's TOML; `sections` has the bytes that the networks name, and may have others;
    `sha256` is that of the file it was read from.
    """

    chip: str
    networks: tuple[Network, ...]
    sections: Sections = field(repr=False)
    path: str = field(default="", compare=False)
    sha256: str = field(default="", compare=False)

    def network(self, name: str = "") -> Network:
        """Return a network by name; '' for the only one.

        Raises:
            InputError: there is none of that name, or several.
        """
        found = [network for network in self.networks if name in ("", network.name)]
        if len(found) != 1:
            listed = ", ".join(network.name for network in self.networks)
            what = f"has no network '{name}'" if name else "has several networks"
            raise InputError(what, self.path, f"choose with --network: {listed}")
        return found[0]

    def array(self, weight: Weight) -> np.ndarray:
        """Return the values of a weight as they are stored (bf16 as bits): read-only, in the mapped file."""
        return stored_array(self.sections[weight.section], weight.shape, weight.type)

    def text(self, section: str) -> str:
        """Return the text of a host subnet."""
        return _text(self.sections, section)


def write_model_file(path: str | os.PathLike[str], model: ModelFile) -> str:
    """Check and write a model file, atomically; equal contents give equal bytes. Returns the hash of the file.

    Raises:
        InputError: the model breaks a rule of the schema, or `path` cannot be written.
    """
    sections = {name: model.sections[name] for name in _used(model.networks) if name in model.sections}
    try:
        sections[MODEL_SECTION] = description_text(model.networks).encode()
        sections[CHIP_SECTION] = model.chip.encode()
        _check(model.networks, sections)
    except (ValueError, RecursionError) as error:
        raise InputError(f"no model file: {error}", str(path)) from None
    return write_container(path, sections)


def description_text(networks: tuple[Network, ...]) -> str:
    """Return the text of the section `model.json`."""
    return json_bytes(plain(Description(networks))).decode()


def _used(networks: tuple[Network, ...]) -> dict[str, None]:
    return dict.fromkeys(name for network in networks for stage in network.stages for name in stage.sections)


def read_model_file(path: str | os.PathLike[str]) -> ModelFile:
    """Read a model file; the bytes of its sections stay in the file, which is mapped.

    Raises:
        InputError: no model file, damaged (the section is named), or it breaks a rule of the schema.
        UnsupportedModel: a later version of the format.
    """
    held = read_container(path)
    try:
        networks = _description(held.sections)
        _check(networks, held.sections)
    except (ValueError, RecursionError) as error:
        raise InputError(str(error), str(path)) from None
    sections = {name: held.sections[name] for name in _used(networks)}
    return ModelFile(_text(held.sections, CHIP_SECTION), networks, sections, str(path), held.sha256)


def _description(sections: Sections) -> tuple[Network, ...]:
    text = _text(sections, MODEL_SECTION)
    try:
        return record(Description, parse_json(text)).networks
    except ValueError as error:
        raise ValueError(f"section '{MODEL_SECTION}' is malformed: {error}") from None


def _text(sections: Sections, name: str) -> str:
    """Return a section that is text. Raises ValueError where there is none."""
    if name not in sections:
        raise ValueError(f"section '{name}' is missing")
    if len(sections[name]) > MAX_TEXT_BYTES:
        raise ValueError(f"section '{name}' has more than {MAX_TEXT_BYTES} bytes")
    try:
        return bytes(sections[name]).decode()
    except UnicodeDecodeError:
        raise ValueError(f"section '{name}' is no UTF-8 text") from None


def _check(networks: tuple[Network, ...], sections: Sections) -> None:
    """Raise ValueError with the first thing that is wrong."""
    for problem in problems(networks, sections, (MODEL_SECTION, CHIP_SECTION)):
        raise ValueError(problem)
    chip_name(_text(sections, CHIP_SECTION))
    for stage in (stage for network in networks for stage in network.stages):
        for text in filter(None, (subnet.text for subnet in stage.subnets)):
            _text(sections, text)


def chip_name(text: str) -> str:
    """Return the name of the chip that a TOML describes. Raises ValueError where it is no such text."""
    try:
        name = tomllib.loads(text).get("name")
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ValueError(f"section '{CHIP_SECTION}' is no TOML ({error})") from None
    if not isinstance(name, str) or not name:
        raise ValueError(f"section '{CHIP_SECTION}' names no chip")
    return name


__all__ = ["CHIP_SECTION", "MODEL_SECTION", "ModelFile", "SectionStore", "read_model_file", "write_model_file"]
