"""Which programs can be code for a chip, and which chips load it."""

from stepdown.chips import Chip
from stepdown.dialects.program import Program, State
from stepdown.errors import InputError, UnsupportedModel


def check_lowered(program: Program, chip: Chip) -> None:
    """Check that a program is lowered to the arithmetic of a chip.

    Raises:
        InputError: it is in another state.
        UnsupportedModel: it has the arithmetic of another profile.
    """
    if program["state"] != State.TPU_LOWERED:
        fix = "lower it with --convert-top-to-tpu=…"
        raise InputError(f"is in state {program['state']}, want {State.TPU_LOWERED}", program.path, fix)
    if program["profile"] not in (chip.profile, "tflite"):
        raise UnsupportedModel(f"has the arithmetic of profile {program['profile']}, not {chip.profile}", program.path)


def check_library(chip: Chip) -> None:
    """Raise UnsupportedModel for a chip that loads no library: an NPU, or a CPU without a system."""
    if chip.kind == "npu" or "-none-" in chip.triple:
        what = "is an NPU" if chip.kind == "npu" else "has no system"
        raise UnsupportedModel(f"chip {chip.name} {what}, and loads no library")
