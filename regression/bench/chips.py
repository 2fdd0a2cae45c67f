"""docs/chips.md: what the machines are that come with the package, from their TOMLs, and how to describe another one.

python regression/bench/chips.py
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from stepdown.chips import Chip, chip_names, load_chip
from stepdown.chips.facts import FACTS, LANES, MODES, SYSTOLIC, Flag, Modes, Number, Rates

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "chips.md"
COMMAND = "python regression/bench/chips.py"
INTRODUCTION = f"""# Chips

Written by `{COMMAND}` from `lib/stepdown/chips/`; the tests compare it with the TOMLs.

A chip is data: one TOML says what the machine has, and code asks for facts, never for a name. Stepdown drives no
vendor's silicon: a description here is a machine *of that class*, and its model files run on the simulator alone.
Numbers in *italics* are assumptions, with their reasons below; the others are published.
"""
OWN = """## Your own chip

Copy the description that is nearest, change it, and give its path wherever a chip is asked for: `--chip mine.toml`, or
`chip=mine.toml` among the options of a pass. Nothing is registered, and the package is not touched.

```bash
bash ../build.sh
source ../envsetup.sh
mkdir -p chips && cd chips
sed -e 's/^name = .*/name = "mine"/' \\
    -e 's/^lanes = 64/lanes = 32/; s/^INT8 = 16384/INT8 = 8192/; s/16 = 8192/16 = 4096/; s/^F32 = 1024/F32 = 512/' \\
    -e 's/^lanes = "tpu.*/lanes = "assumption: half as many, for a smaller machine"/' \\
    $STEPDOWN_ROOT/lib/stepdown/chips/bm1684x.toml >mine.toml
model_transform.py --model_name digits --model_def $REGRESSION_PATH/model/mnist_cnn.onnx --mlir digits.mlir
tpuc-opt digits.mlir --convert-top-to-tpu="mode=BF16 chip=mine.toml" -o digits_bf16.mlir
```

All facts of its engine must be there, and no other; a wrong one is refused with its name and what it should be. Every
fact has a line in `[sources]`: where it is published, or `assumption: ` and why you take it for true. A number that
nobody can check is no number:

```bash
sed -e '/^banks = "/d' mine.toml >unsourced.toml
tpuc-opt digits.mlir --convert-top-to-tpu="mode=F16 chip=unsourced.toml" -o digits_f16.mlir 2>&1 || true
```
<!-- output -->
```
tpuc-opt: error: unsourced.toml: banks has no source: say in [sources] where it is published, ...
```

Three facts decide what a lowered network computes ([arithmetic.md](arithmetic.md)): `profile`, `asymmetric` with
`unsigned_activations`, and `channels_per_scale`. The others decide where its tensors lie and how long it takes.
"""
_UNITS = {"_bytes": "bytes", "_cycles": "cycles", "_hz": "Hz"}


def document() -> str:
    """Return the whole text."""
    chips = [load_chip(name) for name in chip_names()]
    return "\n".join([INTRODUCTION, facts_table(chips), rates_table(chips), OWN, *map(sources_section, chips)])


def facts_table(chips: Sequence[Chip]) -> str:
    """Return the table of the facts, a column a chip; the rates by mode have a table of their own."""
    names = [chip.name for chip in chips]
    lines = ["## What they have", "", row("fact", "what it means", *names), row(*["---"] * (2 + len(chips)))]
    for name, fact in FACTS.items():
        if name != "name" and not isinstance(fact, Rates):
            lines.append(row(f"`{name}`", fact.meaning, *(value_of(chip, name) for chip in chips)))
    return "\n".join([*lines, ""])


def rates_table(chips: Sequence[Chip]) -> str:
    """Return what follows from the facts: peak rates."""
    accelerators = [chip for chip in chips if chip.engine in (LANES, SYSTOLIC)]
    lines = ["What follows from these:", "", row("", *(chip.name for chip in accelerators)),
             row(*["---"] * (1 + len(accelerators)))]  # fmt: skip
    modes = [mode for mode in MODES if any(mode in chip.modes for chip in accelerators)]
    for mode in modes:
        cells = [rate(chip.macs_per_cycle.get(mode, 0), chip.clock_hz) for chip in accelerators]
        lines.append(row(f"multiply-accumulates in {mode}, `macs_per_cycle`", *cells))
    bandwidths = [f"{chip.dma_bytes_per_cycle * chip.clock_hz / 1e9:g} GB/s" for chip in accelerators]
    memories = [f"{memory_bytes(chip) >> 10:,} KiB" for chip in accelerators]
    return "\n".join([*lines, row("bandwidth of global memory", *bandwidths), row("memory inside", *memories), ""])


def memory_bytes(chip: Chip) -> int:
    """Return the bytes of all memories of the engine."""
    return chip.lanes * chip.local_bytes + chip.scratchpad_bytes + chip.accumulator_bytes


def rate(macs_per_cycle: int, clock_hz: int) -> str:
    """Return a rate as MACs a cycle and tera-operations a second, «–» where the engine has none."""
    if not macs_per_cycle:
        return "–"
    return f"{macs_per_cycle:,} a cycle, {2 * macs_per_cycle * clock_hz / 1e12:.3g} TOPS"


def value_of(chip: Chip, name: str) -> str:
    """Return a fact of a chip as the table shows it: with its unit, in italics where it is assumed."""
    fact = FACTS[name]
    if chip.engine not in fact.engines:
        return "–"
    text = _shown(fact, name, getattr(chip, name))
    return f"*{text}*" if chip.sources[name].startswith("assumption") else text


def _shown(fact: object, name: str, value: Any) -> str:
    if isinstance(fact, Flag):
        return "yes" if value else "no"
    if isinstance(fact, Modes):
        return ", ".join(value) or "none"
    if isinstance(fact, Number):
        unit = next((unit for end, unit in _UNITS.items() if name.endswith(end)), "")
        return f"{value:,} {unit}".rstrip()
    return str(value)


def sources_section(chip: Chip) -> str:
    """Return where each fact of a chip comes from."""
    table: Mapping[str, str] = chip.sources
    lines = [f"## Sources of {chip.name}", "", row("fact", "source"), row("---", "---")]
    names = [name for name in FACTS if name in table]
    return "\n".join([*lines, *(row(f"`{name}`", table[name].replace("|", "\\|")) for name in names), ""])


def row(*cells: str) -> str:
    """Return a row of a Markdown table."""
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    DOCUMENT.write_text(document(), encoding="utf-8")
    print(f"wrote {DOCUMENT}")
