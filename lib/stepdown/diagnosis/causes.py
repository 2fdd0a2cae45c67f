"""Why a unit is wrong: its lowering is imitated in floats, and one thing after the other is turned off.

What each is turned off by: a weight or bias by the reference's own; clipping by a range without ends; resolution by no
rounding; the integer rescale, or the table, by real numbers.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from xdsl.ir import SSAValue

from stepdown.diagnosis.reference import Tensors, real, stored
from stepdown.diagnosis.units import Local, Unit, Units
from stepdown.dialects.op import Kind, TensorOp, layout_of, value_name
from stepdown.dialects.types import is_none, is_real, quant_of, storage_of
from stepdown.numerics.floats import ROUND
from stepdown.numerics.quantize import QuantParams, dequantize
from stepdown.runtimes.interpreter import run_op

CLIPPING, RESOLUTION, WEIGHT, BIAS, TABLE, RESCALE = (
    "clipping", "resolution", "weight rounding", "bias", "table", "rescale",
)  # fmt: skip
CAUSES = (CLIPPING, RESOLUTION, WEIGHT, BIAS, TABLE, RESCALE)
_FLOAT_LIMIT = {"f16": 65504.0}


@dataclass(frozen=True)
class Off:
    """What an imitation leaves out."""

    weight: bool = False
    bias: bool = False
    clip: bool = False
    rounding: bool = False


def shares(units: Units, unit: Unit, local: Local, meant: np.ndarray, tensors: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return, a cause each as in `CAUSES`, by how much the noise power falls when it alone is turned off.

    `local` and `meant` are the unit's result and meaning on the same operands.
    """
    whole = _power(local.result, meant)
    imitation = Imitation(units, unit, local.operands, tensors)
    if not imitation.possible:
        return _plain(unit, local.result, meant, whole)
    base = _power(imitation.run(Off()), meant)
    gains = {
        CLIPPING: base - _power(imitation.run(Off(clip=True)), meant),
        RESOLUTION: base - _power(imitation.run(Off(rounding=True)), meant),
        WEIGHT: base - _power(imitation.run(Off(weight=True)), meant) if imitation.has_weight else 0.0,
        BIAS: base - _power(imitation.run(Off(bias=True)), meant) if imitation.has_bias else 0.0,
        TABLE if unit.op.name == "tpu.Lut" else RESCALE: whole - base,
    }
    return np.array([max(0.0, gains.get(cause, 0.0)) for cause in CAUSES])


def _plain(unit: Unit, result: np.ndarray, meant: np.ndarray, whole: float) -> np.ndarray:
    """Tell clipping from resolution where an op cannot be imitated: by whether the meaning leaves the range."""
    low, high = limits(unit.value)
    outside = (meant < low) | (meant > high)
    error = np.square(np.nan_to_num(np.asarray(result, np.float64) - meant))
    clipped = float(error[outside].sum()) if outside.any() else 0.0
    return np.array([clipped, max(0.0, whole - clipped), 0.0, 0.0, 0.0, 0.0])


class Imitation:
    """The lowering of one op in real numbers, part by part."""

    def __init__(self, units: Units, unit: Unit, operands: Tensors, tensors: Mapping[str, np.ndarray]) -> None:
        self._units, self._unit, self._source = units, unit, unit.source
        same = type(unit.op).__name__ == type(self._source).__name__ or unit.op.name == "tpu.Lut"
        self.possible = same and is_real(unit.value) and len(self._source.results) == 1 and self._fits(operands)
        if not self.possible:
            return
        self._inputs = [self._operand(v, operands, tensors) for v in self._source.operands]
        constant = [_is_weight(v) for v in self._source.operands]
        self._bias_at = 2 if self._source.kind is Kind.MAC and len(constant) > 2 and constant[2] else None
        self._weights_at = [
            i for i, c in enumerate(constant) if c and i != self._bias_at and is_real(self._source.operands[i])
        ]
        self._weights_at = [] if unit.op.name == "tpu.Lut" else self._weights_at

    @property
    def has_weight(self) -> bool:
        """Whether the op has a constant beside its bias."""
        return bool(self._weights_at)

    @property
    def has_bias(self) -> bool:
        """Whether the op has a bias."""
        return self._bias_at is not None

    def run(self, off: Off) -> np.ndarray:
        """Return the result with some parts turned off, in real units and the source's layout."""
        inputs = list(self._inputs)
        for i in [] if off.weight else self._weights_at:
            inputs[i] = self.lowered_weight(i)
        if self._bias_at is not None and not off.bias:
            inputs[self._bias_at] = self.lowered_bias()
        y = run_op(self._source, inputs)[0]
        return stage(real(self._unit.meaning, y), self._unit.value, not off.clip, not off.rounding)

    def lowered_weight(self, index: int) -> np.ndarray:
        """Return the constant operand `index` as lowered, in real units and the reference's layout."""
        value, meaning = self._unit.op.operands[index], self._source.operands[index]
        array = self._units.target_weight(value)
        return stored(meaning, real(value, array))

    def lowered_bias(self) -> np.ndarray:
        """Return the lowered bias in real units; zeros where there is none."""
        assert self._bias_at is not None
        wanted = self._constant(self._bias_at)
        value = self._unit.op.operands[self._bias_at]
        if is_none(value):
            return np.zeros_like(wanted)
        array = self._units.target_weight(value)
        return (array * bias_scale(self._unit.op)).astype(np.float32).reshape(wanted.shape)

    def _constant(self, index: int) -> np.ndarray:
        """Return the reference's constant operand `index`."""
        return self._units.reference_weight(self._source.operands[index])

    def _fits(self, operands: Tensors) -> bool:
        """Tell whether the reference's op reads the same tensors as the lowered one."""
        read = [v for v in self._source.operands if not is_none(v) and not _is_weight(v) and is_real(v)]
        return all(value_name(v) in operands for v in read) and len(self._unit.op.operands) >= len(
            self._unit.source.operands if self._source.kind is Kind.MAC else []
        )

    def _operand(self, value: SSAValue, operands: Tensors, tensors: Mapping[str, np.ndarray]) -> np.ndarray | None:
        if is_none(value):
            return None
        if _is_weight(value):
            return self._units.reference_weight(value)
        name = value_name(value)
        return stored(value, operands[name] if name in operands else tensors[name])


def bias_scale(op: TensorOp) -> np.ndarray:
    """Return the real size of one step of an integer MAC's bias, a channel each; 1 where the op is of floats."""
    source, weight = quant_of(op.operands[0]), quant_of(op.operands[1])
    if source is None or weight is None or storage_of(op.operands[2]) != "i32":
        return np.ones(1)
    scales = np.atleast_1d(np.asarray(weight.scale, np.float64))
    groups = getattr(op, "group", 1) if weight.axis == 1 else 1
    return np.tile(scales, groups) * float(source.scale)  # type: ignore[arg-type]


def stage(y: np.ndarray, value: SSAValue, clip: bool, rounding: bool) -> np.ndarray:
    """Return real numbers as the type of `value` would hold them, with or without its ends and its steps."""
    params, storage = quant_of(value), storage_of(value)
    if params is None:
        return _float_stage(y, storage, clip, rounding)
    order = layout_of(value)
    placed = y.transpose(np.argsort(order)) if order else y
    scale = np.asarray(params.scale, np.float64)
    if params.axis is not None:
        scale = scale.reshape([-1 if i == params.axis else 1 for i in range(placed.ndim)])
    steps = placed / scale
    steps = np.rint(steps) if rounding else steps
    if clip:
        low, high = params.bounds
        steps = np.clip(steps, low - params.zero_point, high - params.zero_point)
    out = steps * scale
    return out.transpose(order) if order else out


def _float_stage(y: np.ndarray, storage: str, clip: bool, rounding: bool) -> np.ndarray:
    limit = _FLOAT_LIMIT.get(storage, np.inf)
    bounded = np.clip(y, -limit, limit) if clip else y
    if not rounding or storage not in ROUND:
        return bounded
    return np.where(np.abs(bounded) <= limit, ROUND[storage](np.clip(bounded, -limit, limit)), bounded)


def limits(value: SSAValue) -> tuple[float, float]:
    """Return the least and greatest real number that the type of a value holds."""
    params = quant_of(value)
    if params is None or params.axis is not None:
        limit = _FLOAT_LIMIT.get(storage_of(value), np.inf)
        return -limit, limit
    low, high = (dequantize(np.array(bound), params).item() for bound in params.bounds)
    return low, high


def step(params: QuantParams) -> float:
    """Return the largest step of a quantised type."""
    return float(np.max(params.scale))


def _is_weight(value: SSAValue) -> bool:
    return isinstance(value.owner, TensorOp) and value.owner.name.endswith(".Weight")


def _power(result: np.ndarray, meant: np.ndarray) -> float:
    error = np.asarray(result, np.float64) - meant
    return float(np.square(error, out=error).sum())
