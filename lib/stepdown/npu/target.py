"""The chip that a lowered program is for."""

from stepdown.chips import Chip, load_chip
from stepdown.dialects.program import Program, State
from stepdown.errors import InputError, UnsupportedModel


def npu_of(program: Program, chip: str = "", states: tuple[str, ...] = (State.TPU_LOWERED,)) -> Chip:
    """Return the NPU that a program is lowered for: that of its name, or `chip` (a name, or the path of a TOML).

    A network that was imported with its integers is lowered for no chip in particular: `chip` is then needed.

    Raises:
        InputError: the program is in none of `states`, or lowered for another chip, or none is named.
        UnsupportedModel: the chip is no NPU, or has no zero points and the program has.
    """
    if program["state"] not in states:
        late = "put it before --address-assign" if program["state"] == State.TPU_ADDRESSED else ""
        fix = "lower it with --convert-top-to-tpu=…" if program["state"].startswith("TOP") else late
        raise InputError(f"is in state {program['state']}, want {' or '.join(states)}", program.path, fix)
    if not (chip or program["chip"]):
        raise InputError("is lowered for no chip in particular", program.path, "name one: chip=bm1684x")
    found = load_chip(chip or program["chip"])
    if program["chip"] not in ("", found.name):
        raise InputError(f"is lowered for chip {program['chip']}, not {found.name}", program.path)
    if found.kind != "npu":
        raise UnsupportedModel(f"chip {found.name} is no NPU and has no model file", program.path)
    if program["asymmetric"] == "true" and not found.asymmetric:
        raise UnsupportedModel(f"has zero points, and chip {found.name} has none", program.path)
    return found
