"""From what a network means to what a chip computes."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from stepdown.chips import Chip, load_chip
from stepdown.chips.chip import MODES
from stepdown.dialects.op import TensorOp
from stepdown.dialects.program import Program, State
from stepdown.dialects.types import is_float, storage_of
from stepdown.errors import InputError, UnsupportedModel
from stepdown.files.npz import closest
from stepdown.transforms.base import Pass
from stepdown.transforms.lowering.builder import Lowering
from stepdown.transforms.lowering.floating import lower_float
from stepdown.transforms.lowering.integer import can_lower, lower_integer

_ELEMENTS = {"F32": "f32", "F16": "f16", "BF16": "bf16"}


@dataclass(frozen=True)
class ConvertTopToTpu(Pass):
    """Lower TOP to TPU for a chip: mode=F32|F16|BF16|INT8, per-op modes from a qtable."""

    mode: str = ""
    chip: str = ""
    asymmetric: bool = False
    qtable: str = ""

    choices: ClassVar[dict[str, tuple[str, ...]]] = {"mode": MODES}
    required: ClassVar[tuple[str, ...]] = ("mode", "chip")

    def run(self, program: Program) -> None:
        """Replace the TOP program by the TPU program.

        Raises:
            InputError: the module is not TOP, INT8 without calibration, a qtable line that fits no op.
            UnsupportedModel: the chip lacks the mode.
        """
        chip = load_chip(self.chip)
        self._check(program, chip)
        modes = read_qtable(self.qtable, program, chip) if self.qtable else {}
        state = Lowering.start(program, chip, self.asymmetric)
        for op in program.ops:
            self.lower_op(state, op, modes)
        state.finish()
        for key, value in {"chip": chip.name, "mode": self.mode, "profile": chip.profile}.items():
            state.program[key] = value
        state.program["asymmetric"] = self.asymmetric
        state.program["state"] = State.TPU_LOWERED
        program.become(state.program)

    def _check(self, program: Program, chip: Chip) -> None:
        if program["state"] not in (State.TOP_F32, State.TOP_CALIBRATED):
            raise InputError(f"is in state {program['state']}, want a TOP module", program.path)
        if self.mode not in chip.modes:
            raise UnsupportedModel(f"chip {chip.name} has no mode {self.mode}", fix=f"choose {', '.join(chip.modes)}")
        if self.asymmetric and not chip.asymmetric:
            raise UnsupportedModel(f"chip {chip.name} has no zero points", fix="choose asymmetric=false")
        if self.mode == "INT8" and program["state"] != State.TOP_CALIBRATED:
            fix = "put --import-calibration-table='file=… asymmetric=…' before --convert-top-to-tpu"
            raise InputError("INT8 needs a calibrated module", program.path, fix)

    def lower_op(self, state: Lowering, op: TensorOp, modes: dict[str, str]) -> None:
        """Append what one op becomes in the mode that `modes` has for it, else in the pass's own."""
        mode = modes.get(op.tensor_name, self.mode)
        if op.name == "top.Input":
            state.lower_input(op, "f32" if is_float(op.results[0]) else storage_of(op.results[0]))
        elif op.name in ("top.Weight", "top.None"):
            return
        elif mode != "INT8":
            lower_float(state, op, _ELEMENTS[mode])
        elif can_lower(state, op):
            lower_integer(state, op)
        else:
            lower_float(state, op, "f32")


def read_qtable(path: str, program: Program, chip: Chip) -> dict[str, str]:
    """Read `op_name mode` lines; `#` starts a comment.

    Raises:
        InputError: a malformed line, an op the program has not, or a mode the chip has not; with the line's number.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise InputError(f"cannot read the qtable ({error})", path, "give a text file: op_name mode a line") from None
    known = [name for op in program.ops for name in op.names]
    modes = {}
    for number, line in enumerate(lines, 1):
        words = line.partition("#")[0].rsplit(None, 1)
        if not words:
            continue
        if len(words) != 2:
            raise InputError("want 'op_name mode'", f"{path}:{number}")
        name, mode = words[0].strip(), words[1]
        if name not in known:
            raise InputError(f"the model has no op '{name}'", f"{path}:{number}", closest(name, known))
        if mode not in chip.op_modes:
            raise InputError(f"mode is '{mode}', want one of {', '.join(chip.op_modes)}", f"{path}:{number}")
        modes[name] = mode
    return modes
