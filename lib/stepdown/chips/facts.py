"""The facts that describe a machine: what each means, its unit, and which values make sense. Units are in the names."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stepdown.files.npz import closest

MODES = ("F32", "F16", "BF16", "INT8")
LANES, SYSTOLIC, CPU = "lanes", "systolic", "cpu"
_ACCELERATORS = (LANES, SYSTOLIC)
_ALL = (*_ACCELERATORS, CPU)
_LARGEST = 1 << 53


@dataclass(frozen=True)
class Fact:
    """One fact: what it means, the engines that have it, and what its value must be."""

    meaning: str
    engines: tuple[str, ...] = _ALL

    @property
    def wanted(self) -> str:
        """What a value must be, for a message."""
        raise NotImplementedError

    def good(self, value: Any) -> bool:
        """Tell whether a value read from a TOML is one."""
        raise NotImplementedError


@dataclass(frozen=True)
class Text(Fact):
    """A text, one of `choices` where there are any."""

    choices: tuple[str, ...] = ()

    @property
    def wanted(self) -> str:
        """What a value must be."""
        return f"one of {', '.join(self.choices)}" if self.choices else "a text without spaces"

    def good(self, value: Any) -> bool:
        """Tell whether `value` is a word, and one of the choices."""
        return isinstance(value, str) and value.split() == [value] and (not self.choices or value in self.choices)


@dataclass(frozen=True)
class Words(Fact):
    """A list of words, without repeats."""

    wanted = "a list of different words"

    def good(self, value: Any) -> bool:
        """Tell whether `value` is such a list."""
        known = isinstance(value, list) and all(isinstance(word, str) and word.split() == [word] for word in value)
        return known and len(set(value)) == len(value)


@dataclass(frozen=True)
class Flag(Fact):
    """True or false."""

    wanted = "true or false"

    def good(self, value: Any) -> bool:
        """Tell whether `value` is a truth value."""
        return isinstance(value, bool)


@dataclass(frozen=True)
class Number(Fact):
    """An integer of at least `least`, a power of two where `power_of_two`."""

    least: int = 1
    power_of_two: bool = False

    @property
    def wanted(self) -> str:
        """What a value must be."""
        return "a power of two" if self.power_of_two else f"an integer of at least {self.least}"

    def good(self, value: Any) -> bool:
        """Tell whether `value` is such an integer."""
        if isinstance(value, bool) or not isinstance(value, int) or not self.least <= value <= _LARGEST:
            return False
        return not self.power_of_two or value & (value - 1) == 0


@dataclass(frozen=True)
class Modes(Fact):
    """A list of modes, without repeats."""

    wanted = f"a list of some of {', '.join(MODES)}"

    def good(self, value: Any) -> bool:
        """Tell whether `value` is such a list."""
        known = isinstance(value, list) and all(isinstance(mode, str) and mode in MODES for mode in value)
        return known and len(set(value)) == len(value)


@dataclass(frozen=True)
class Rates(Fact):
    """A positive integer for each of some modes."""

    wanted = "a table with an integer of at least 1 for each mode"

    def good(self, value: Any) -> bool:
        """Tell whether `value` is such a table."""
        return isinstance(value, dict) and set(value) <= set(MODES) and all(map(Number("").good, value.values()))


FACTS: dict[str, Fact] = {
    "name": Text("what messages and files call it"),
    "kind": Text("npu: gets a model file; cpu: gets machine code; c: gets C code", choices=("npu", "cpu", "c")),
    "engine": Text("how it multiplies: lanes of vectors, a systolic array, or a processor's own units", choices=_ALL),
    "profile": Text("its integer arithmetic (arithmetic.md)", choices=("tosa", "float_scale")),
    "modes": Modes("the modes in which its engine computes"),
    "host_modes": Modes("more modes, in which only the processor beside the engine computes; single ops may have them"),
    "asymmetric": Flag("whether activations may have a zero point"),
    "unsigned_activations": Flag("whether activations may be u8, as after a ReLU; else they are i8"),
    "channels_per_scale": Number(
        "output channels side by side that share one output scale: 1 where each has its own, 0 where all share one",
        least=0,
    ),
    "lanes": Number("lanes that work side by side on channels", (LANES,), power_of_two=True),
    "vector_bytes": Number("bytes of operands that a lane computes on in a cycle", (LANES,), power_of_two=True),
    "local_bytes": Number("local memory of a lane", (LANES,), power_of_two=True),
    "banks": Number("banks of a lane's local memory", (LANES,), power_of_two=True),
    "array_rows": Number("rows of the array: addends of a sum made in a cycle", (SYSTOLIC,), power_of_two=True),
    "array_columns": Number("columns of the array: sums made side by side", (SYSTOLIC,), power_of_two=True),
    "scratchpad_bytes": Number("memory of operands", (SYSTOLIC,), power_of_two=True),
    "scratchpad_banks": Number("banks of the scratchpad", (SYSTOLIC,), power_of_two=True),
    "accumulator_bytes": Number("memory of 32-bit sums", (SYSTOLIC,), power_of_two=True),
    "accumulator_banks": Number("banks of the accumulator", (SYSTOLIC,), power_of_two=True),
    "requantized_per_cycle": Number("sums brought to the output scale in a cycle", (SYSTOLIC,)),
    "macs_per_cycle": Rates("peak multiply-accumulates of the engine in a cycle, by mode", _ACCELERATORS),
    "packs_kernel": Flag(
        "whether elements of a convolution's kernel share a vector where its input channels do not fill one", (LANES,)
    ),
    "sustained_percent": Number(
        "share of the peak that the lanes keep up in convolutions, because operands are not always there", (LANES,)
    ),
    "clock_hz": Number("clock of the engines; every rate and latency in cycles is in its cycles", _ACCELERATORS),
    "bank_ports": Number("accesses that a bank serves in one cycle; more must wait", _ACCELERATORS),
    "compute_overhead_cycles": Number(
        "cycles of the engine to start one command, before its work", _ACCELERATORS, least=0
    ),
    "dma_engines": Number("transfers that run side by side", _ACCELERATORS),
    "dma_bytes_per_cycle": Number("bytes to and from global memory in a cycle, all engines together", _ACCELERATORS),
    "dma_burst_bytes": Number(
        "smallest run of neighbouring bytes at full rate; a shorter one takes as long", _ACCELERATORS, power_of_two=True
    ),
    "dma_latency_cycles": Number("cycles from the start of a transfer to its first byte", _ACCELERATORS, least=0),
    "dma_overhead_cycles": Number("cycles of a DMA engine to start one command", _ACCELERATORS, least=0),
    "synchronize_cycles": Number("cycles of an engine to see that another one has finished", _ACCELERATORS, least=0),
    "alignment_bytes": Number("alignment of tensors in global memory", _ACCELERATORS, power_of_two=True),
    "local_alignment_bytes": Number("alignment of tensors in local memory", _ACCELERATORS, power_of_two=True),
    "global_memory_bytes": Number("memory for weights, inputs, outputs and what does not fit inside", _ACCELERATORS),
    "host_operations_per_cycle": Number(
        "arithmetic operations of the processor beside the engine, in one cycle of the engines' clock", _ACCELERATORS
    ),
    "triple": Text("what LLVM calls the architecture, system and interface: x86_64-linux-gnu", (CPU,)),
    "processor": Text("what LLVM calls the processor that code is for, where no other is asked for (-mcpu)", (CPU,)),
    "features": Words("features that code may use beside the processor's, or not, as LLVM spells them: +v", (CPU,)),
    "float_abi": Text("how floats are passed to functions", (CPU,), choices=("hard", "soft")),
    "scratch_bytes": Number(
        "memory that a kernel may take beside its tensors, to keep what it works on near; 0 where it is scarce",
        (CPU,), least=0,
    ),
}  # fmt: skip
"""Every fact by name, in the order of the documents; `[sources]` says where each comes from, the name excepted."""


def facts_of(engine: str) -> dict[str, Fact]:
    """Return the facts that a machine with such an engine must have."""
    return {name: fact for name, fact in FACTS.items() if engine in fact.engines}


def problem_of(table: Mapping[str, Any]) -> str:
    """Return what is wrong with the description of a machine as read from its TOML, '' when nothing is."""
    engine = table.get("engine")
    if not FACTS["engine"].good(engine):
        return _wrong("engine", engine) if "engine" in table else "lacks engine"
    facts = facts_of(str(engine))
    return (
        _unknown_key([key for key in table if key not in facts and key != "sources"], facts, str(engine))
        or _missing([*facts, "sources"], table)
        or next((_wrong(name, table[name]) for name, fact in facts.items() if not fact.good(table[name])), "")
        or _unsourced(table["sources"], [name for name in facts if name != "name"])
        or _contradiction(table)
    )


def _unknown_key(unknown: Sequence[str], known: Mapping[str, Fact], engine: str) -> str:
    if not unknown:
        return ""
    if unknown[0] in FACTS:
        return f"has {unknown[0]}, which an engine '{engine}' has not"
    return f"has the unknown {unknown[0]} ({closest(unknown[0], list(known))})"


def _missing(wanted: Sequence[str], table: Mapping[str, Any]) -> str:
    missing = [name for name in wanted if name not in table]
    return f"lacks {', '.join(missing)}" if missing else ""


def _wrong(name: str, value: Any) -> str:
    shown = repr(value) if isinstance(value, str) else str(value)
    return f"{name} is {shown[:80]}, want {FACTS[name].wanted}"


def _unsourced(sources: Any, names: Sequence[str]) -> str:
    """Return what is wrong with `[sources]`: each fact has where it is published, or `assumption: its reason`."""
    if not isinstance(sources, dict) or not all(isinstance(text, str) for text in sources.values()):
        return "sources is not a table of texts"
    if stray := [name for name in sources if name not in names]:
        return f"sources has the unknown {stray[0]} ({closest(stray[0], list(names))})"
    for name in names:
        text = sources.get(name, "").strip()
        if not text:
            return f"{name} has no source: say in [sources] where it is published, or 'assumption: ' and why"
        if text.startswith("assumption") and not text.removeprefix("assumption").strip(" :"):
            return f"{name} is an assumption without its reason"
    return ""


def _contradiction(table: Mapping[str, Any]) -> str:
    """Return which facts cannot hold together, '' when all can."""
    if both := sorted(set(table["modes"]) & set(table["host_modes"])):
        return f"{both[0]} is in modes and in host_modes"
    if not table["modes"]:
        return "modes is empty"
    if "macs_per_cycle" in table and set(table["macs_per_cycle"]) != set(table["modes"]):
        return f"macs_per_cycle wants a rate for each of {', '.join(table['modes'])}, and no other"
    for memory, banks in (("local_bytes", "banks"), ("scratchpad_bytes", "scratchpad_banks"),
                          ("accumulator_bytes", "accumulator_banks")):  # fmt: skip
        if memory in table and table[memory] < table[banks] * table["local_alignment_bytes"]:
            return f"{memory} is {table[memory]}, too little for {table[banks]} banks"
    return ""
