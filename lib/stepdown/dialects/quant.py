"""MLIR's quantised types, spelled as MLIR spells them.

    !quant.uniform<i8:f32, 0.01:3>              one scale and zero point
    !quant.uniform<i8:f32:0, {0.1,0.2}>         one scale a channel along an axis; a zero point for all: {0.1:8,0.2:8}
    !quant.calibrated<f32<-0.9:1.2>>            a float tensor whose range is known

Source: https://mlir.llvm.org/docs/Dialects/QuantDialect/
"""

import re
from dataclasses import dataclass

import numpy as np
from xdsl.ir import Data, Dialect, TypeAttribute
from xdsl.irdl import irdl_attr_definition
from xdsl.parser import AttrParser
from xdsl.printer import Printer

from stepdown.numerics.quantize import RANGES, QuantParams

_NUMBER = r"[-+]?(?:\d+\.?\d*(?:[eE][-+]?\d+)?|inf|nan)"
_UNIFORM = re.compile(
    r"<\s*([iu])(\d+)(?:<-?\d+:-?\d+>)?\s*:\s*f32\s*"
    rf"(?:,\s*({_NUMBER})\s*(?::\s*(-?\d+))?|:\s*(\d+)\s*,\s*\{{([^}}]*)\}})\s*>"
)
_CALIBRATED = re.compile(rf"<\s*f32\s*<\s*({_NUMBER})\s*:\s*({_NUMBER})\s*>\s*>")


@dataclass(frozen=True)
class Range:
    """The calibrated range of a float tensor, real units."""

    minimum: float
    maximum: float


@irdl_attr_definition
class UniformType(Data[QuantParams], TypeAttribute):
    """A stored integer type with its scale and zero point."""

    name = "quant.uniform"

    @classmethod
    def parse_parameter(cls, parser: AttrParser) -> QuantParams:
        """Parse `<i8:f32, scale:zero_point>` or the per-axis form."""
        match = _take(parser, _UNIFORM, "<i8:f32, scale:zero_point> or <i8:f32:axis, {scale,…}>")
        kind, bits, scale, zero_point, axis, scales = match.groups()
        type_name = f"{'u' if kind == 'u' else 'i'}{bits}"
        if type_name not in RANGES:
            parser.raise_error(f"unknown storage type {type_name}, want one of {', '.join(RANGES)}")
        if axis is not None:
            pairs = [s.partition(":") for s in scales.split(",")]
            if len({zero or "0" for _, _, zero in pairs}) > 1:
                parser.raise_error("zero points that differ by channel")
            params = QuantParams(tuple(float(s) for s, _, _ in pairs), int(pairs[0][2] or 0), type_name, int(axis))
        else:
            params = QuantParams(float(scale), int(zero_point or 0), type_name)
        if not np.isfinite(params.scale).all():
            parser.raise_error("a scale that is not finite")
        return params

    def print_parameter(self, printer: Printer) -> None:
        """Print what `parse_parameter` reads, scales in their shortest exact form."""
        params = self.data
        zero_point = f":{params.zero_point}" if params.zero_point else ""
        if isinstance(params.scale, tuple):
            scales = ",".join(f"{scale!r}{zero_point}" for scale in params.scale)
            printer.print_string(f"<{params.type}:f32:{params.axis}, {{{scales}}}>")
        else:
            printer.print_string(f"<{params.type}:f32, {params.scale!r}{zero_point}>")


@irdl_attr_definition
class CalibratedType(Data[Range], TypeAttribute):
    """A float32 type whose range has been observed."""

    name = "quant.calibrated"

    @classmethod
    def parse_parameter(cls, parser: AttrParser) -> Range:
        """Parse `<f32<min:max>>`."""
        match = _take(parser, _CALIBRATED, "<f32<min:max>>")
        return Range(float(match[1]), float(match[2]))

    def print_parameter(self, printer: Printer) -> None:
        """Print what `parse_parameter` reads."""
        printer.print_string(f"<f32<{self.data.minimum!r}:{self.data.maximum!r}>>")


def _take(parser: AttrParser, pattern: re.Pattern[str], wanted: str) -> re.Match[str]:
    """Match `pattern` at the parser's place in the text (a lexer would need 30 ms for a thousand scales)."""
    start = parser.pos
    text = parser.lexer.input.content
    match = pattern.match(text, start)
    if match is None:
        parser.raise_error(f"expected {wanted}")
    parser._resume_from(match.end())
    return match


QUANT = Dialect("quant", [], [UniformType, CalibratedType])
