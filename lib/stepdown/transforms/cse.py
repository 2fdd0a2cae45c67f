"""cse: common subexpression elimination."""

from collections.abc import Hashable
from dataclasses import dataclass

from stepdown.dialects.op import TensorOp, absorb
from stepdown.dialects.program import Program
from stepdown.dialects.text import verify
from stepdown.dialects.top.source import Input, Weight
from stepdown.transforms.base import Pass
from stepdown.transforms.rewrite import rename_result, returned, tensors_of


@dataclass(frozen=True)
class Cse(Pass):
    """Merge ops that compute the same from the same operands; weights are told apart by their keys."""

    def run(self, program: Program) -> None:
        """Keep the first of equal ops, which notes the names of the others as fused; verify the result."""
        kept: dict[Hashable, TensorOp] = {}
        for op in program.ops:
            if not isinstance(op, Input):
                first = kept.setdefault(_identity(op), op)
                if first is not op:
                    _merge(op, first)
        verify(program.module, program.path)


def _identity(op: TensorOp) -> Hashable:
    types = tuple(result.type for result in op.results)
    return op.name, tuple(op.operands), tuple(sorted(op.attributes.items(), key=lambda item: item[0])), types


def _merge(op: TensorOp, first: TensorOp) -> None:
    """Let `first` stand for `op`; two outputs of the network stay two ops."""
    pairs = list(zip(op.results, first.results, strict=True))
    if any(returned(gone) and returned(kept) for gone, kept in pairs):
        return
    for gone, kept in pairs:
        if returned(gone):
            rename_result(first, kept, gone)
        gone.replace_all_uses_with(kept)
    if not isinstance(op, Weight):
        absorb(first, tensors_of(op))
    op.detach()  # type: ignore[no-untyped-call]
    op.erase()
