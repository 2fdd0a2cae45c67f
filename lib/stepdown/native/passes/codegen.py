"""codegen: from a lowered module to what its chip runs: a model file of an NPU, or a library for a CPU."""

import re
import sys
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from stepdown.chips import Chip, load_chip
from stepdown.dialects.program import Program, State
from stepdown.errors import InputError
from stepdown.native.target import check_lowered
from stepdown.transforms.base import Pass

if TYPE_CHECKING:
    from stepdown.native.code import Code
    from stepdown.native.machine import Machine


_OF_ALL_CHIPS = ("model_file", "chip")


@dataclass(frozen=True)
class Codegen(Pass):
    """Write what the chip runs: X.bmodel for an NPU; for a CPU X.so, or X.o (chip c: X.c) of a bundle for C programs.

    processor=… and features=+…,-… are those of a compiler; debug=true keeps all tensors readable. chip=NAME or
    chip=X.toml where the module names none, or its chip does not come with Stepdown. level=0…4 says how much is done
    for speed, layout=nhwc|nchw|blocked how tensors lie; notes=true tells what that costs. tune=N tries N schedules a
    kernel on this computer, and keeps the best for this run and for later ones with level=4. Bytes of integers are the
    same at all. sums=f64 sums f16 and bf16 in f64, with the bits of the reference; f32 is within a bound, and faster.
    """

    model_file: str = ""
    chip: str = ""
    processor: str = ""
    features: str = ""
    debug: bool = False
    level: int = 3
    layout: str = ""
    notes: bool = False
    tune: int = 0
    sums: str = "f32"

    required: ClassVar[tuple[str, ...]] = ("model_file",)

    def run(self, program: Program) -> None:
        """Write the file; the program stays as it is.

        Raises:
            InputError: the module is not lowered, the file cannot be written, or an NPU is given what is for CPUs.
            UnsupportedModel: ops have no code for the chip; names them all.
            ResourceError: the network does not fit the chip, or a compiler fails.
        """
        chip = load_chip(self.chip or program["chip"] or _none_named(program))
        if chip.kind == "npu":
            from stepdown.npu.passes.codegen import Codegen as NpuCodegen

            self._refuse_options(chip)
            NpuCodegen(self.model_file, self.chip).run(program)
        else:
            self._for_cpu(program, chip)

    def _refuse_options(self, chip: Chip) -> None:
        given = [f.name for f in fields(self) if f.name not in _OF_ALL_CHIPS and getattr(self, f.name) != f.default]
        if given:
            what = f"{', '.join(f'{name}=…' for name in given)}: for CPUs only, and chip {chip.name} is an NPU"
            raise InputError(what, "--codegen", "leave it away" if len(given) == 1 else "leave them away")

    def _for_cpu(self, program: Program, chip: Chip) -> None:
        path = Path(self.model_file)
        bundle = ".c" if chip.kind == "c" else ".o"
        if path.suffix == ".so" and "-none-" in chip.triple:
            fix = "make a bundle, which a program links: end the name in .o"
            raise InputError(f"chip {chip.name} has no system that loads a library", "--codegen", fix)
        if path.suffix not in (".so", bundle):
            fix = f"end it in .so for a library, in {bundle} for a bundle"
            raise InputError(f"'{path}' is no name of what is made for chip {chip.name}", "--codegen", fix)
        check_lowered(program, chip)
        machine = self._machine(program, chip)
        if path.suffix == ".so":
            self._library(program, machine, path)
        else:
            self._bundle(program, machine, path)

    def _machine(self, program: Program, chip: Chip) -> "Machine":
        """Return the processor, with what was measured on this computer where that is asked for."""
        from stepdown.native.effort import FROM_FUSIONS, effort_of
        from stepdown.native.machine import machine_of
        from stepdown.native.schedules import Cache
        from stepdown.native.tuning import tune

        if self.tune < 0 or (self.tune and self.level not in FROM_FUSIONS):
            fix = f"tune=N with N from 1 on, and level={FROM_FUSIONS[0]} or {FROM_FUSIONS[-1]}"
            raise InputError(f"tune={self.tune} does not go with level={self.level}", "--codegen", fix)
        level = FROM_FUSIONS[-1] if self.tune else self.level
        machine = machine_of(chip, self.processor, self.features, effort_of(level, self.layout), self.sums)
        if not machine.effort.is_tuned:
            return machine
        cache = Cache(machine)
        if self.tune:
            tune(program, machine, self.tune, cache)
        return replace(machine, schedules=cache)

    def _library(self, program: Program, machine: "Machine", path: Path) -> None:
        from stepdown.native.code import Code
        from stepdown.native.library import write_library

        code = Code(program, machine, _c_name(program.name), self.debug)
        write_library(code, path, self.debug)
        self._tell(code)

    def _bundle(self, program: Program, machine: "Machine", path: Path) -> None:
        from stepdown.native.bundle import bundle_name, write_bundle
        from stepdown.native.code import Code

        code = Code(program, machine, bundle_name(path), self.debug, bundle=True)
        write_bundle(code, path, self.debug)
        self._tell(code)
        print(f"arena {code.mutable_bytes:,} bytes, weights {len(code.weights):,} bytes", file=sys.stderr)

    def _tell(self, code: "Code") -> None:
        if self.notes:
            from stepdown.native.layout_notes import layout_notes

            print("\n".join(layout_notes(code.network, code.machine.effort).lines()), file=sys.stderr)


def _c_name(name: str) -> str:
    """Return a network's name as C can spell it."""
    return "net_" + re.sub(r"\W", "_", name, flags=re.ASCII)


def _none_named(program: Program) -> str:
    if program["state"].startswith("TOP"):
        fix = "lower it with --convert-top-to-tpu=…"
        raise InputError(f"is in state {program['state']}, want {State.TPU_LOWERED}", program.path, fix)
    raise InputError("names no chip", program.path, 'give one: --codegen="model_file=… chip=…"')
