"""layout: networks with their channels last, stored channels first wherever that saves transposes.

Importers of such networks put every op that takes channels first between two Transposes. This pass chooses for every
other op whether it works on tensors stored as in the source model or channels first, so that the fewest elements are
transposed, and writes the program so. Names stay; a tensor that is stored permuted says so in its location.
"""

import sys
from dataclasses import dataclass

from stepdown.dialects.program import Program
from stepdown.dialects.text import verify
from stepdown.dialects.top.move import Transpose
from stepdown.dialects.top.source import Weight
from stepdown.errors import InputError
from stepdown.transforms.base import Pass
from stepdown.transforms.layouts.choose import choose
from stepdown.transforms.layouts.rebuild import rebuild
from stepdown.transforms.layouts.views import Network


@dataclass(frozen=True)
class Layout(Pass):
    """Store tensors channels first or last so that the fewest elements are transposed."""

    def run(self, program: Program) -> None:
        """Rewrite a TOP program and say on stderr how many transposes are left.

        Raises:
            InputError: the program is not in TOP.
        """
        before, after = choose_layout(program)
        print(f"layout: {before} transposes in, {after} left", file=sys.stderr)


def choose_layout(program: Program) -> tuple[int, int]:
    """Rewrite a TOP program so that the fewest elements are transposed; return the transposes before and after.

    Transposes of constants do not count: the constants are stored transposed.

    Raises:
        InputError: the program is not in TOP.
    """
    if other := next((op for op in program.ops if not op.name.startswith("top.")), None):
        raise InputError(f"--layout needs a TOP module, this one has {other.name}", program.path)
    before = transposes(program)
    network = Network.of(program)
    first = choose(network)
    rebuild(network, {op: forms[first[op]] for op, forms in network.forms.items()})
    verify(program.module, program.path)
    return before, transposes(program)


def transposes(program: Program) -> int:
    """Return the number of Transposes of anything but constants."""
    return sum(isinstance(op, Transpose) and not isinstance(op.operands[0].owner, Weight) for op in program.ops)
