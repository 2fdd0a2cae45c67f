"""native-io: inputs and outputs in the types that the chip computes in."""

from dataclasses import dataclass

from xdsl.ir import BlockArgument, SSAValue
from xdsl.rewriter import Rewriter

from stepdown.dialects.op import TensorOp, layout_of, location
from stepdown.dialects.program import Program, State, argument_name
from stepdown.dialects.text import verify
from stepdown.dialects.types import quant_of, storage_of
from stepdown.errors import InputError
from stepdown.transforms.base import Pass
from stepdown.transforms.rewrite import drop_unused

_NARROW = ("f16", "bf16")


@dataclass(frozen=True)
class NativeIo(Pass):
    """Let a lowered network take (inputs) and give (outputs) its integers and 16-bit floats, without conversions."""

    inputs: bool = True
    outputs: bool = True

    def run(self, program: Program) -> None:
        """Take conversions away: from f32 behind inputs, to f32 before outputs. Names and preprocessing stay.

        Raises:
            InputError: the module is not lowered.
        """
        if program["state"] != State.TPU_LOWERED:
            raise InputError(f"is in state {program['state']}, want {State.TPU_LOWERED}", program.path)
        for op in program.input_ops if self.inputs else ():
            _narrow(op)
        if self.outputs:
            program.finish([_before_conversion(value) for value in program.results])
        drop_unused(program)
        program.main.update_function_type()  # type: ignore[no-untyped-call]
        verify(program.module, program.path)


def _narrow(op: TensorOp) -> None:
    """Let an input have the type that its one reader converts it to."""
    readers = [use.operation for use in op.results[0].uses]
    if len(readers) != 1 or not isinstance(readers[0], TensorOp) or not _narrows(readers[0]):
        return
    (converted,) = readers[0].results
    name, argument = argument_name(op), op.operands[0]
    assert isinstance(argument, BlockArgument)
    changed = Rewriter.replace_value_with_new_type(argument, converted.type)
    assert isinstance(changed, BlockArgument)
    changed.location = argument.location
    place = location([name], layouts=[layout_of(converted)])
    made = type(op).create(
        operands=[changed], result_types=[converted.type], attributes=dict(op.attributes), location=place
    )
    Rewriter.replace_op(readers[0], made)
    op.detach()  # type: ignore[no-untyped-call]
    op.erase()


def _narrows(op: TensorOp) -> bool:
    return op.name == "tpu.Convert" and _is_native(op.results[0]) and storage_of(op.operands[0]) == "f32"


def _is_native(value: SSAValue) -> bool:
    return quant_of(value) is not None or storage_of(value) in _NARROW


def _before_conversion(value: SSAValue) -> SSAValue:
    """Return what an output is before it becomes f32."""
    owner = value.owner
    if isinstance(owner, TensorOp) and owner.name == "tpu.Convert" and _is_native(owner.operands[0]):
        return owner.operands[0]
    return value
