"""convert-quantized-to-tpu: from a network whose types are quantised already to the integers that compute it."""

from dataclasses import dataclass
from typing import ClassVar

from stepdown.dialects.op import TensorOp
from stepdown.dialects.program import Program, State
from stepdown.dialects.text import verify
from stepdown.dialects.top.quantize import Dequantize, Quantize
from stepdown.dialects.top.source import Absent, Input, Weight
from stepdown.dialects.tpu import Convert, Rescale
from stepdown.dialects.types import is_none, quant_of, storage_of
from stepdown.errors import InputError, UnsupportedModel
from stepdown.numerics.quantize import QuantParams
from stepdown.numerics.rescale import multiplier_shift
from stepdown.transforms.base import Pass
from stepdown.transforms.lowering.builder import Lowering
from stepdown.transforms.lowering.floating import lower_float
from stepdown.transforms.lowering.integer import lower_integer
from stepdown.transforms.lowering.tflite import lower_tflite, refuse_unsupported


@dataclass(frozen=True)
class ConvertQuantizedToTpu(Pass):
    """Lower a network that is quantised already, with its own parameters: profile=tosa|tflite."""

    profile: str = "tosa"
    choices: ClassVar[dict[str, tuple[str, ...]]] = {"profile": ("tosa", "tflite")}

    def run(self, program: Program) -> None:
        """Replace the TOP program by the TPU program, which is for no chip yet.

        Raises:
            InputError: the module is in another state than TOP_QUANTIZED.
            UnsupportedModel: profile tflite has no integer code for some of its ops.
        """
        if program["state"] != State.TOP_QUANTIZED:
            raise InputError(f"is in state {program['state']}, want a quantised TOP module", program.path)
        _refuse_channels(program)
        state = Lowering.start(program, None, False)
        if self.profile == "tflite":
            refuse_unsupported(program.ops)
        for op in program.ops:
            try:
                _lower(state, op, self.profile)
            except (ArithmeticError, ValueError) as error:  # scales so far apart that no multiplier holds their ratio
                raise UnsupportedModel(f"has no integer form ({error})", f"tensor '{op.tensor_name}'") from error
        state.finish()
        for key, value in {"chip": "", "mode": "INT8", "profile": self.profile, "state": State.TPU_LOWERED}.items():
            state.program[key] = value
        state.program["asymmetric"] = any(_has_zero_point(op) for op in state.program.ops)
        verify(state.program.module, program.path)
        program.become(state.program)


def _refuse_channels(program: Program) -> None:
    """Raise UnsupportedModel where a tensor that is no weight is quantised by channel."""
    for op in program.ops:
        params = [quant_of(r) for r in op.results if not isinstance(op, Weight)]
        if any(p and p.axis is not None for p in params):
            raise UnsupportedModel("only weights may be quantised by channel", f"tensor '{op.tensor_name}'")


def _lower(state: Lowering, op: TensorOp, profile: str) -> None:
    if isinstance(op, Weight | Absent):
        return
    if isinstance(op, Input):
        state.lower_input(op, quant_of(op.results[0]) or storage_of(op.results[0]))
    elif profile == "tflite":
        lower_tflite(state, op)
    elif isinstance(op, Quantize | Dequantize) and len(op.operands) == 1:
        _lower_cast(state, op)
    elif quant_of(op.results[0]):
        lower_integer(state, op)
    else:
        lower_float(state, op, "f32")


def _lower_cast(state: Lowering, op: TensorOp) -> None:
    """Quantise, dequantise, or bring stored integers to another scale."""
    source, target = quant_of(op.operands[0]), quant_of(op.results[0])
    operand = state.get(op.operands[0], source or "f32")
    if source is None or target is None:
        state.append(Convert, op, [operand], [target or "f32"], {})
        return
    multiplier, shift = multiplier_shift(float(source.scale) / float(target.scale))  # type: ignore[arg-type]
    numbers = {"multiplier": multiplier, "shift": shift}
    encoded = {name: Rescale.fields[name].encode(value) for name, value in numbers.items()}
    state.append(Rescale, op, [operand], [target], encoded)


def _has_zero_point(op: TensorOp) -> bool:
    params = [quant_of(r) for r in op.results if not is_none(r)]
    return any(isinstance(p, QuantParams) and p.zero_point for p in params)
