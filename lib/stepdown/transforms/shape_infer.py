"""shape-infer: result shapes from operand shapes."""

from dataclasses import dataclass

from xdsl.dialects.builtin import TensorType
from xdsl.rewriter import Rewriter
from xdsl.utils.exceptions import VerifyException

from stepdown.dialects.op import TensorOp
from stepdown.dialects.program import Program
from stepdown.dialects.text import describe, verify
from stepdown.dialects.top.source import Absent, Weight
from stepdown.dialects.types import shape_of
from stepdown.errors import InputError
from stepdown.transforms.base import Pass


@dataclass(frozen=True)
class ShapeInfer(Pass):
    """Infer the shape of every result again from its operands; element types stay."""

    def run(self, program: Program) -> None:
        """Update result types in order and verify the result.

        Raises:
            InputError: an op cannot take its operands.
        """
        for op in program.ops:
            if not isinstance(op, Weight | Absent):
                _infer(op, program.path)
        program.main.update_function_type()  # type: ignore[no-untyped-call]
        verify(program.module, program.path)


def _infer(op: TensorOp, source: str) -> None:
    try:
        inferred = op.infer()
    except VerifyException as error:
        raise InputError(f"{describe(op)}: {error}", source) from None
    for result, wanted in zip(op.results, inferred, strict=True):
        if shape_of(result) != shape_of(wanted):
            assert isinstance(result.type, TensorType)
            Rewriter.replace_value_with_new_type(result, TensorType(result.type.element_type, shape_of(wanted)))
