"""Ops that only the TPU dialect has: changes of type and scale, and tables."""

import numpy as np
from xdsl.utils.exceptions import VerifyException

from stepdown.dialects.fields import Float, Int, Str
from stepdown.dialects.op import Arrays, Kind
from stepdown.dialects.tpu.base import TpuOp, centred, rounded
from stepdown.dialects.types import Shape, quant_of
from stepdown.numerics.float_scale import rescale_by_float
from stepdown.numerics.quantize import dequantize, quantize
from stepdown.numerics.rescale import rescale
from stepdown.numerics.tflite.tables import quantize_away


class OneToOne(TpuOp):
    """An op of one tensor that keeps its shape."""

    kind = Kind.MOVE

    def shapes(self, input: Shape, *_: Shape) -> list[Shape]:
        """Return the shape of the operand."""
        return [input]


class Convert(OneToOne):
    """Another storage type for the same values: quantises, dequantises, or rounds to a float format.

    `ties` says where values halfway between two stored ones go: to the even one, or away from zero as in TFLite.
    """

    name = "tpu.Convert"
    ties = Str("even", choices=("even", "away"))

    def run(self, input: np.ndarray) -> Arrays:
        """Return the operand in the result's type."""
        source, target = quant_of(self.operands[0]), quant_of(self.results[0])
        values = dequantize(input, source) if source else input
        if target is None:
            return [rounded(values, self.results[0])]
        return [quantize(values, target) if self.ties == "even" else quantize_away(values, target)]


class Rescale(OneToOne):
    """Another scale and zero point for the same values: by integers, or a float32 `scale` where `rounding` is float."""

    name = "tpu.Rescale"
    multiplier = Int(0)
    shift = Int(0)
    scale = Float(0.0)
    rounding = Str("single", choices=("single", "double", "float"))

    def check_fields(self) -> None:
        """Check the attributes, and that those are there by which it rescales."""
        super().check_fields()
        for name in ("scale",) if self.rounding == "float" else ("multiplier", "shift"):
            if name not in self.attributes:
                raise VerifyException(f"attribute {name} is missing, want {self.fields[name].expected}")

    def run(self, input: np.ndarray) -> Arrays:
        """Return saturate(rescale(x − zp))."""
        x = centred(input, self.params(0), np.int32)
        zero_point, bounds, dtype = self.result_params.zero_point, self.bounds(), self.result_dtype
        if self.rounding == "float":
            return [rescale_by_float(x, self.scale, zero_point, bounds, dtype)]
        return [rescale(x, self.multiplier, self.shift, zero_point, bounds, dtype, self.rounding)]


class Lut(OneToOne):
    """A function of one 8-bit tensor, by a table of its 256 values (table[q − least q])."""

    name = "tpu.Lut"
    kind = Kind.LUT
    inputs = ("input", "table")

    def run(self, input: np.ndarray, table: np.ndarray) -> Arrays:
        """Look every element up."""
        return [table[input.astype(np.int16) - self.params(0).bounds[0]]]
