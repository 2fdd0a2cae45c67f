"""One lowered network as a model file, run by the simulator from the file alone, beside the reference interpreter."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
from xdsl.ir import SSAValue

from stepdown.chips import Chip
from stepdown.dialects.op import TensorOp, layout_of, value_name
from stepdown.dialects.program import Program, read_program
from stepdown.model.schema import HOST
from stepdown.opt_main import make_passes, pass_table
from stepdown.perf.account import account_of
from stepdown.runtimes.bmodel import BmodelRunner
from stepdown.runtimes.interpreter import load_weight, run_op
from stepdown.runtimes.mlir import MlirRunner

PASSES = tuple(
    name for name in ("weight-reorder", "subnet-divide", "layer-group", "address-assign") if name in pass_table()
)


@dataclass(frozen=True)
class Result:
    """Every tensor of the machine and of the reference by name, as they are dumped, and what it took."""

    program: Program
    tensors: Mapping[str, np.ndarray]
    reference: Mapping[str, np.ndarray]
    host: int
    predicted_ms: float
    code_s: float
    load_s: float
    run_s: float
    global_bytes: int

    def by_op(self) -> Iterator[tuple[TensorOp, list[Any], np.ndarray, np.ndarray]]:
        """Yield every op with its operands on the machine, its first result there, and the reference's from these."""
        for op in self.program.ops:
            if op.operands and not op.name.endswith(".Input"):
                operands = [self._held(value) for value in op.operands]
                yield op, operands, self._held(op.results[0]), run_op(op, operands)[0]

    def _held(self, value: SSAValue) -> Any:
        owner = value.owner
        assert isinstance(owner, TensorOp)
        if owner.name.endswith(".Weight"):
            return load_weight(self.program, owner)
        if owner.name.endswith(".None"):
            return None
        order = layout_of(value)
        dumped = self.tensors[value_name(value)]
        return dumped.transpose(np.argsort(order)) if order else dumped


def write_code(lowered: Path, chip: Chip, passes: Sequence[str], folder: Path) -> tuple[Program, Path]:
    """Write the model file of a lowered module for a chip, given as a TOML; returns the program after the passes.

    A pass may have options behind its name: `layer-group longest=1`.

    Raises:
        ResourceError: a tile does not fit local memory.
    """
    toml, made = folder / "chip.toml", folder / "code.bmodel"
    toml.write_text(chip.to_toml(), encoding="utf-8")
    program = read_program(lowered)
    asked = [(name, f"{options} chip={toml}") for name, _, options in (each.partition(" ") for each in passes)]
    with redirect_stdout(StringIO()):
        for each in make_passes([*asked, ("codegen", f"model_file={made} chip={toml}")]):
            each.run(program)
    return program, made


def run(lowered: Path, chip: Chip, passes: Sequence[str], folder: Path, given: Mapping[str, np.ndarray]) -> Result:
    """Return what machine and reference make of an input.

    Raises:
        StepError: there is no code for the network on this chip, or it cannot run.
    """
    start = time.perf_counter()
    program, made = write_code(lowered, chip, passes, folder)
    coded = time.perf_counter()
    runner = BmodelRunner(made)
    loaded = time.perf_counter()
    tensors = runner.run(given, "all")
    ended = time.perf_counter()
    account = account_of(made)
    return Result(
        program, tensors, MlirRunner(lowered).run(given, "all"), sum(work.engine == HOST for work in account.works),
        account.ms(max((work.end for work in account.works), default=0)),
        coded - start, loaded - coded, ended - loaded, sum(runner.stage.memory_bytes.values()),
    )  # fmt: skip
