"""The chip that a lowered program is for."""

from stepdown.chips import Chip, load_chip
from stepdown.dialects.program import Program, State
from stepdown.errors import InputError, UnsupportedModel


def npu_of(program: Program, chip: str = "", states: tuple[str, ...] = (State.TPU_LOWERED,)) -> Chip:
    """Return the NPU that a program is lowered for: that of its name, or `chip` (a name, or the path of a TOML).

    Raises:
        InputError: the program is in none of `states`, or lowered for another chip.
        UnsupportedModel: the chip is no NPU.
    """
    if program["state"] not in states:
        fix = "lower it with --convert-top-to-tpu=…" if program["state"].startswith("TOP") else ""
        raise InputError(f"is in state {program['state']}, want {' or '.join(states)}", program.path, fix)
    found = load_chip(chip or program["chip"])
    if found.name != program["chip"]:
        raise InputError(f"is lowered for chip {program['chip']}, not {found.name}", program.path)
    if found.kind != "npu":
        raise UnsupportedModel(f"chip {found.name} is no NPU and has no model file", program.path)
    return found
