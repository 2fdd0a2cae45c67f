"""Modes × chips: a test over the modes runs on every chip of the package that has the mode."""

from collections.abc import Iterable

from stepdown.chips import chip_names, load_chip
from stepdown.transforms.convert_top_to_tpu import ConvertTopToTpu

MODES = ("F32", "F16", "BF16", "INT8", "INT8 asymmetric")


def targets(modes: Iterable[str] = MODES, kind: str = "") -> list[tuple[str, str]]:
    """Return (mode, chip) for each of `modes` and each chip that has it; of a kind of chips (default: all)."""
    chips = [chip for chip in map(load_chip, chip_names()) if kind in ("", chip.kind)]
    return [
        (mode, chip.name)
        for chip in chips
        for mode in modes
        if mode.split()[0] in chip.modes and (chip.asymmetric or "asymmetric" not in mode)
    ]


def lowering(mode: str, chip: str) -> ConvertTopToTpu:
    """Return the pass that lowers to `F16`, `INT8`, `INT8 asymmetric`, … for a chip."""
    return ConvertTopToTpu(mode=mode.split()[0], chip=chip, asymmetric="asymmetric" in mode)
