"""The description of a machine, read from its TOML. What each fact means is said once, in `facts`."""

import json
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from stepdown.chips.facts import MODES, facts_of, problem_of
from stepdown.errors import InputError
from stepdown.files.npz import closest

_FOLDER = Path(__file__).parent

__all__ = ["MODES", "Chip", "chip_names", "load_chip", "parse_chip"]


@dataclass(frozen=True, kw_only=True)
class Chip:
    """A machine as data.

    `facts.FACTS` says what each fact means and which engines have it; one that the engine has not is 0, or empty.
    sources: where each fact is published, or «assumption: » and the reason.
    """

    name: str
    kind: str
    engine: str
    profile: str
    modes: tuple[str, ...]
    host_modes: tuple[str, ...]
    asymmetric: bool
    unsigned_activations: bool
    channels_per_scale: int
    lanes: int = 0
    vector_bytes: int = 0
    local_bytes: int = 0
    banks: int = 0
    array_rows: int = 0
    array_columns: int = 0
    scratchpad_bytes: int = 0
    scratchpad_banks: int = 0
    accumulator_bytes: int = 0
    accumulator_banks: int = 0
    requantized_per_cycle: int = 0
    macs_per_cycle: Mapping[str, int] = field(default_factory=dict)
    packs_kernel: bool = False
    sustained_percent: int = 0
    clock_hz: int = 0
    bank_ports: int = 0
    compute_overhead_cycles: int = 0
    dma_engines: int = 0
    dma_bytes_per_cycle: int = 0
    dma_burst_bytes: int = 0
    dma_latency_cycles: int = 0
    dma_overhead_cycles: int = 0
    synchronize_cycles: int = 0
    alignment_bytes: int = 0
    local_alignment_bytes: int = 0
    global_memory_bytes: int = 0
    host_operations_per_cycle: int = 0
    triple: str = ""
    processor: str = ""
    features: tuple[str, ...] = ()
    float_abi: str = ""
    scratch_bytes: int = 0
    sources: Mapping[str, str] = field(default_factory=dict)

    @property
    def op_modes(self) -> tuple[str, ...]:
        """The modes that a single op may have: those of the engine and those of the processor beside it."""
        return tuple(mode for mode in MODES if mode in self.modes or mode in self.host_modes)

    @property
    def bank_bytes(self) -> int:
        """Bytes of one bank of a lane's local memory, or of the scratchpad."""
        memory, banks = (self.local_bytes, self.banks) if self.lanes else (self.scratchpad_bytes, self.scratchpad_banks)
        return memory // banks if banks else 0

    @property
    def seconds_per_cycle(self) -> float:
        """The length of a cycle in seconds."""
        return 1.0 / self.clock_hz

    def to_toml(self) -> str:
        """Return the description as TOML: the same chip, the same bytes; `parse_chip` reads it."""
        facts = facts_of(self.engine)
        plain = {name: getattr(self, name) for name in facts if name != "macs_per_cycle"}
        lines = [f"{name} = {_toml(value)}" for name, value in plain.items()]
        for title in ("macs_per_cycle", "sources"):
            if title in facts or title == "sources":
                table = getattr(self, title)
                lines += ["", f"[{title}]", *(f"{name} = {_toml(value)}" for name, value in table.items())]
        return "\n".join(lines) + "\n"


def chip_names() -> list[str]:
    """Return the names of the chips that come with the package."""
    return sorted(path.stem for path in _FOLDER.glob("*.toml"))


def load_chip(name: str | os.PathLike[str]) -> Chip:
    """Return a chip of the package by name, or any chip by the path of its TOML.

    Raises:
        InputError: no such chip; the file is malformed, lacks a fact, or has one without a source.
    """
    path = Path(name) if str(name).endswith(".toml") else _FOLDER / f"{name}.toml"
    if not path.is_file():
        raise InputError(f"no chip '{name}'", fix=f"{closest(str(name), chip_names())}, or give the path of a .toml")
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"not a chip description ({error})", str(path)) from None
    return parse_chip(text, str(path))


def parse_chip(text: str, where: str = "") -> Chip:
    """Return the chip that a TOML describes; `where` says in messages where the text is from.

    Raises:
        InputError: it is malformed, lacks a fact, has an unknown one, or one without a source.
    """
    try:
        table: dict[str, Any] = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError, ValueError) as error:
        raise InputError(f"not a chip description ({error})", where) from None
    if problem := problem_of(table):
        raise InputError(problem, where, "docs/chips.md says what each fact means")
    lists: dict[str, Any] = {name: tuple(table[name]) for name in ("modes", "host_modes", "features") if name in table}
    return Chip(**{field.name: table[field.name] for field in fields(Chip) if field.name in table} | lists)


def _toml(value: Any) -> str:
    """Return a text, number, truth value or list as TOML; the escapes of JSON are TOML's."""
    return json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False)
