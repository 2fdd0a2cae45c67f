"""What reads what, with all Transposes taken out: each is a view of the tensor that it permutes."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum

from xdsl.ir import SSAValue

from stepdown.dialects.op import Order, TensorOp
from stepdown.dialects.program import Program
from stepdown.dialects.top.move import Transpose
from stepdown.dialects.top.source import Absent, Input, Weight
from stepdown.dialects.types import is_none, shape_of
from stepdown.transforms.layouts.orders import channels_first, channels_last, compose, own_order
from stepdown.transforms.layouts.rules import Form, Want, main_rank, plain, stored_in


class Channels(Enum):
    """Where the channels of a tensor are in the program as it is written."""

    FIRST = "first"
    LAST = "last"


@dataclass(frozen=True)
class View:
    """A tensor as its root, a tensor that is not a Transpose's, transposed by `order`."""

    root: SSAValue
    order: Order


@dataclass(frozen=True)
class Reader:
    """One place where an op reads a root: with all channels last, and with all channels first."""

    op: TensorOp
    wants: tuple[Want, Want]


@dataclass
class Network:
    """A program as its roots, the forms that each op may take, and who reads what."""

    program: Program
    views: dict[SSAValue, View] = field(default_factory=dict)
    forms: dict[TensorOp, tuple[Form, Form]] = field(default_factory=dict)
    """By op, how it is written with the channels last and first; the same form twice where there is no choice."""

    @classmethod
    def of(cls, program: Program) -> "Network":
        """Return the network of a TOP program."""
        made = cls(program)
        places: dict[SSAValue, Channels] = {}
        for op in program.ops:
            if isinstance(op, Transpose):
                made._add_view(op, places)
            else:
                made._add_op(op, places)
        return made

    def _add_view(self, op: Transpose, places: dict[SSAValue, Channels]) -> None:
        inner, rank = self.views[op.operands[0]], len(op.order)
        self.views[op.results[0]] = View(inner.root, compose(inner.order, op.order))
        before = places[op.operands[0]]
        first = before is Channels.LAST and op.order == channels_first(rank)
        kept = before is Channels.FIRST and op.order != channels_last(rank)
        places[op.results[0]] = Channels.FIRST if first or kept else Channels.LAST

    def _add_op(self, op: TensorOp, places: dict[SSAValue, Channels]) -> None:
        place = _channels_of(op, places)
        for result in op.results:
            places[result] = place
            self.views[result] = View(result, own_order(result))
        self.forms[op] = _forms(op, place)

    def pin(self, op: TensorOp) -> None:
        """Leave an op as it is written."""
        self.forms[op] = (plain(op),) * 2

    def has_choice(self, op: TensorOp) -> bool:
        """Tell whether an op can be written in two ways."""
        forms = self.forms[op]
        return forms[0] is not forms[1]

    def readers(self) -> dict[SSAValue, list[Reader]]:
        """Return, by root, where it is read and in which orders of the root's dimensions, the return left out."""
        found: dict[SSAValue, list[Reader]] = {}
        for op, (last, first) in self.forms.items():
            for value, *wants in zip(op.operands, last.wants, first.wants, strict=True):
                if value in self.views and not is_none(value):
                    view = self.views[value]
                    found.setdefault(view.root, []).append(Reader(op, (seen(view, wants[0]), seen(view, wants[1]))))
        return found

    def aliases(self) -> dict[SSAValue, list[SSAValue]]:
        """Return, by root, the Transposes of it, in order."""
        found: dict[SSAValue, list[SSAValue]] = {}
        for value, view in self.views.items():
            if value is not view.root:
                found.setdefault(view.root, []).append(value)
        return found

    def outputs(self) -> Iterator[tuple[SSAValue, Want]]:
        """Yield the roots of the network's outputs and how each must lie."""
        for value in self.program.results:
            view = self.views[value]
            yield view.root, Want(view.order)


def seen(view: View, want: Want) -> Want:
    """Return how a reader of a view reads the root."""
    return Want(compose(view.order, want.order), want.shape, want.loose)


def is_constant(value: SSAValue) -> bool:
    """Tell whether a root is a weight: in whatever order it is wanted, it is stored so."""
    return isinstance(value.owner, Weight)


def _channels_of(op: TensorOp, places: dict[SSAValue, Channels]) -> Channels:
    """Return where an op's tensors have their channels: as the first operand with as many dimensions has."""
    known = [v for v in op.operands if v in places and not is_none(v) and not isinstance(v.owner, Weight)]
    if not known:
        return Channels.LAST
    rank = main_rank(op)
    return next((places[v] for v in known if len(shape_of(v)) == rank), places[known[0]])


def _forms(op: TensorOp, place: Channels) -> tuple[Form, Form]:
    """Return the forms with the channels last and first, the same twice where there is no choice."""
    written = plain(op)
    if isinstance(op, Input | Weight | Absent) or main_rank(op) < 3:
        return written, written
    order = (channels_first if place is Channels.LAST else channels_last)(main_rank(op))
    other = stored_in(op, order)
    if other is None:
        return written, written
    return (written, other) if place is Channels.LAST else (other, written)
