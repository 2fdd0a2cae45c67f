"""codegen: from a lowered module to what its chip runs: a model file of an NPU, or a library for a CPU."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from stepdown.chips import Chip, load_chip
from stepdown.dialects.program import Program, State
from stepdown.errors import InputError, UnsupportedModel
from stepdown.transforms.base import Pass


@dataclass(frozen=True)
class Codegen(Pass):
    """Write what the chip runs: X.bmodel for an NPU, X.so for a CPU (processor=…, features=…, debug: keep all tensors).

    chip=NAME or chip=X.toml where the module names none, or its chip does not come with Stepdown.
    """

    model_file: str = ""
    chip: str = ""
    processor: str = ""
    features: str = ""
    debug: bool = False

    required: ClassVar[tuple[str, ...]] = ("model_file",)

    def run(self, program: Program) -> None:
        """Write the file; the program stays as it is.

        Raises:
            InputError: the module is not lowered, or the file cannot be written.
            UnsupportedModel: ops have no code for the chip; names them all.
            ResourceError: the network does not fit the chip, or a compiler fails.
        """
        chip = load_chip(self.chip or program["chip"] or _none_named(program))
        if chip.kind == "npu":
            from stepdown.npu.passes.codegen import Codegen as NpuCodegen

            NpuCodegen(self.model_file, self.chip).run(program)
        else:
            self._library(program, chip)

    def _library(self, program: Program, chip: Chip) -> None:
        from stepdown.native.code import Code
        from stepdown.native.library import write_library
        from stepdown.native.machine import machine_of

        if not self.model_file.endswith(".so"):
            raise InputError(f"'{self.model_file}' is no name of a library", "--codegen", "end it in .so")
        if program["state"] != State.TPU_LOWERED:
            fix = "lower it with --convert-top-to-tpu=…"
            raise InputError(f"is in state {program['state']}, want {State.TPU_LOWERED}", program.path, fix)
        if program["profile"] not in (chip.profile, "tflite"):
            raise UnsupportedModel(
                f"has the arithmetic of profile {program['profile']}, not {chip.profile}", program.path
            )
        code = Code(program, machine_of(chip, self.processor, self.features), _c_name(program.name), self.debug)
        write_library(code, Path(self.model_file), self.debug)


def _c_name(name: str) -> str:
    """Return a network's name as C can spell it."""
    return "net_" + re.sub(r"\W", "_", name, flags=re.ASCII)


def _none_named(program: Program) -> str:
    if program["state"].startswith("TOP"):
        fix = "lower it with --convert-top-to-tpu=…"
        raise InputError(f"is in state {program['state']}, want {State.TPU_LOWERED}", program.path, fix)
    raise InputError("names no chip", program.path, 'give one: --codegen="model_file=… chip=…"')
