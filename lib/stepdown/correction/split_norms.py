"""LayerNorms whose result is read by weights and by others, as the residual behind it, and so cannot take factors.

Each gets a twin that the weights alone read: one more LayerNorm, which costs far less than the products behind it.
"""

from dataclasses import dataclass

from stepdown.correction.patterns import Patterns
from stepdown.correction.tied import FIXED
from stepdown.dialects.op import TensorOp, location, value_name
from stepdown.dialects.program import Program


@dataclass(frozen=True)
class Twin:
    """A LayerNorm, its copy, and the ops that read the copy."""

    program: Program
    original: TensorOp
    copy: TensorOp
    readers: list[TensorOp]

    def join(self) -> None:
        """Let the readers read the original again."""
        for op in self.readers:
            op.operands[0] = self.original.results[0]
        self.program.block.erase_op(self.copy)


def split_norms(program: Program) -> list[Twin]:
    """Give each LayerNorm that cannot take the factors of its readers a twin that can."""
    patterns = Patterns(program)
    found = []
    for op in [maker for maker in patterns.makers if maker.name == "top.LayerNorm"]:
        readers = [reader for reader in patterns.readers if reader.operands[0] is op.results[0]]
        roots, _ = patterns.tied.roots(patterns.pattern(op.results[0]).ravel().tolist())
        if readers and (roots == FIXED).all():
            found.append(_split(program, op, readers))
    return found


def _split(program: Program, op: TensorOp, readers: list[TensorOp]) -> Twin:
    copy = op.clone()
    copy.location = location([f"{value_name(v)}_twin" for v in op.results], (), True)
    program.block.insert_op_after(copy, op)
    for reader in readers:
        reader.operands[0] = copy.results[0]
    return Twin(program, op, copy, readers)
