"""codegen: from a lowered module to a model file."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from stepdown.chips import Chip
from stepdown.dialects.program import Program, State
from stepdown.errors import InputError, ResourceError
from stepdown.model import ModelFile, Network, SectionStore, write_model_file
from stepdown.model.provenance import provenance
from stepdown.npu.codegen import generate
from stepdown.npu.division import divide
from stepdown.npu.stage import make_stage
from stepdown.npu.subnets import subnet_kinds
from stepdown.npu.target import npu_of
from stepdown.transforms.base import Pass


@dataclass(frozen=True)
class Codegen(Pass):
    """Write the model file of a lowered module; chip=X.toml where the chip does not come with Stepdown."""

    model_file: str = ""
    chip: str = ""

    required: ClassVar[tuple[str, ...]] = ("model_file",)

    def run(self, program: Program) -> None:
        """Write the model file; the program stays as it is.

        Raises:
            InputError: the module is not lowered, for another chip, or the file cannot be written.
            UnsupportedModel: the chip is no NPU, or ops have no commands; names them all.
            ResourceError: a tile does not fit local memory, or the network global memory.
        """
        if not self.model_file.endswith(".bmodel"):
            raise InputError(f"'{self.model_file}' is no name of a model file", "--codegen", "end it in .bmodel")
        chip = npu_of(program, self.chip, (State.TPU_LOWERED, State.TPU_ADDRESSED))
        made = model_of(program, chip)
        write_model_file(self.model_file, made)
        print(
            f"{_summary(made)}: wrote {self.model_file}; next: model_runner.py --model {self.model_file} …",
            file=sys.stderr,
        )


def _summary(model: ModelFile) -> str:
    """Return how many commands and subnets a file has."""
    (stage,) = model.networks[0].stages
    counts = ", ".join(f"{stream.commands} {stream.engine}" for stream in stage.streams)
    return f"{counts or 'no'} commands in {len(stage.subnets)} subnet{'s' * (len(stage.subnets) != 1)}"


def model_of(program: Program, chip: Chip) -> ModelFile:
    """Return the model file of a lowered program; one that is not divided into subnets is, on a copy.

    Raises:
        UnsupportedModel: some ops have no command; names them all.
        ResourceError: a tile does not fit local memory, or the network global memory.
    """
    flags = [*_passes_before(program), "--codegen"]
    if not subnet_kinds(program):
        program = Program(program.module.clone(), program.weights, program.path)
        divide(program, chip)
    code = generate(program, chip)
    if code.global_bytes > chip.global_memory_bytes:
        what = f"takes {code.global_bytes} bytes of memory, and chip {chip.name} has {chip.global_memory_bytes}"
        raise ResourceError(what, program.path)
    store, source = SectionStore(), Path(program.path)
    files = [source, source.with_name(Path(program["weight_file"]).name)] if program["weight_file"] else [source]
    made_of = provenance([file for file in files if file.is_file()], flags)
    stage = make_stage(program, code, chip, store, made_of)
    return ModelFile(chip.to_toml(), (Network(program.name, program["mode"], program["profile"], (stage,)),), store)


def _passes_before(program: Program) -> list[str]:
    """Return the passes of the NPU that have left notes; files are the same with and without --weight-reorder."""
    by_note = {"subnet": "--subnet-divide", "layer_group": "--layer-group", "address": "--address-assign"}
    noted = {name for op in program.ops for name in op.attributes}
    return [flag for note, flag in by_note.items() if note in noted]
