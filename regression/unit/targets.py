"""Modes × chips: a test over the modes runs on every chip of the package that has the mode."""

from collections.abc import Iterable

from stepdown.chips import Chip, chip_names, load_chip
from stepdown.transforms.convert_top_to_tpu import ConvertTopToTpu

MODES = ("F32", "F16", "BF16", "INT8", "INT8 asymmetric")


def targets(modes: Iterable[str] = MODES, kind: str = "") -> list[tuple[str, str]]:
    """Return (mode, chip) for each of `modes` and each chip that has it; of a kind of chips (default: all).

    Of chips to which networks are lowered alike, as to all processors, there is one.
    """
    chips = [chip for chip in map(load_chip, chip_names()) if kind in ("", chip.kind)]
    chips = list({_lowering_facts(chip): chip for chip in sorted(chips, key=lambda chip: chip.kind)}.values())
    return [
        (mode, chip.name)
        for chip in chips
        for mode in modes
        if mode.split()[0] in chip.modes and (chip.asymmetric or "asymmetric" not in mode)
    ]


def _lowering_facts(chip: Chip) -> tuple[object, ...]:
    facts = ("profile", "modes", "host_modes", "asymmetric", "unsigned_activations", "channels_per_scale")
    return tuple(getattr(chip, fact) for fact in facts)


def lowering(mode: str, chip: str) -> ConvertTopToTpu:
    """Return the pass that lowers to `F16`, `INT8`, `INT8 asymmetric`, … for a chip."""
    return ConvertTopToTpu(mode=mode.split()[0], chip=chip, asymmetric="asymmetric" in mode)
