"""Which stored tensor carries which name once Transposes are gone.

A network's output keeps its name and layout. Any other tensor of the source model names the array that its op makes,
with a mark that says how it is stored; a Transpose that is left has its own name. What remains is noted as fused.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from xdsl.ir import SSAValue

from stepdown.dialects.op import Order, TensorOp, fused_of, internal_of, value_name
from stepdown.dialects.types import shape_of
from stepdown.files.names import free_name
from stepdown.transforms.layouts.orders import channels_first, channels_last, identity, own_order, sequence
from stepdown.transforms.layouts.rules import Form
from stepdown.transforms.layouts.views import Network, View, is_constant
from stepdown.transforms.rewrite import returned, tensors_of


def owner(value: SSAValue) -> TensorOp:
    """Return the op that makes a value."""
    assert isinstance(value.owner, TensorOp)
    return value.owner


@dataclass
class Names:
    """Who carries a name: by root and order the Transpose whose name a copy takes, by root the one it stands for."""

    network: Network
    forms: Mapping[TensorOp, Form]
    copies: dict[tuple[SSAValue, Order], SSAValue] = field(default_factory=dict)
    adopted: dict[SSAValue, SSAValue] = field(default_factory=dict)
    fused: dict[SSAValue, list[str]] = field(default_factory=dict)
    _taken: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._taken = {name for op in self.network.program.ops for name in op.names}
        copied, aliases = self._copied(), self.network.aliases()
        for root in {**aliases, **copied}:
            if not is_constant(root):
                self._place(root, copied.get(root, {}), aliases.get(root, []))

    def native(self, root: SSAValue) -> Order:
        """Return the order in which the op of a root stores it."""
        maker = owner(root)
        return self.forms[maker].makes[list(maker.results).index(root)]  # type: ignore[arg-type]

    def displaced(self, root: SSAValue) -> bool:
        """Tell whether a copy has the name of a root: an output that is stored in another layout than its own."""
        return self.copies.get((root, own_order(root))) is root

    def fresh(self, root: SSAValue, order: Order | None) -> str:
        """Return an unused name for a root that is stored in an order; for one in another shape where that is None."""
        rank = len(shape_of(root))
        labels = {None: "reshaped", channels_last(rank): "channels_last", channels_first(rank): "channels_first"}
        wanted = f"{value_name(root)}/{labels.get(order) or 'order_' + '_'.join(map(str, order or ()))}"
        name = free_name(wanted, self._taken)
        self._taken.add(name)
        return name

    def _copied(self) -> dict[SSAValue, dict[Order, None]]:
        """Return, by root, the orders in which a copy will be made."""
        found: dict[SSAValue, dict[Order, None]] = {}
        for root, order in self._orders():
            if not is_constant(root) and order != self.native(root):
                found.setdefault(root, {})[order] = None
        return found

    def _orders(self) -> Iterator[tuple[SSAValue, Order]]:
        for root, readers in self.network.readers().items():
            for reader in readers:
                first = self.network.forms[reader.op][1] is self.forms[reader.op]
                want = reader.wants[1] if first else reader.wants[0]
                moves = not is_constant(root) and self._moves(root, want.order)
                if moves or not (want.loose or want.shape is not None):
                    yield root, want.order
        yield from ((root, want.order) for root, want in self.network.outputs())

    def _moves(self, root: SSAValue, order: Order) -> bool:
        shape = shape_of(root)
        return sequence(shape, self.native(root)) != sequence(shape, order)

    def _place(self, root: SSAValue, copied: Mapping[Order, None], aliases: list[SSAValue]) -> None:
        for order in copied:
            itself = [root] if returned(root) and order == identity(len(order)) else []
            named = itself + [v for v in aliases if self.network.views[v].order == order]
            if named:
                self.copies[root, order] = min(named, key=_rank)
        left = [v for v in aliases if not self._has_copy(v)]
        self._adopt(root, sorted(left, key=_rank))

    def _has_copy(self, value: SSAValue) -> bool:
        view = self.network.views[value]
        return self.copies.get((view.root, view.order)) is value

    def _adopt(self, root: SSAValue, left: list[SSAValue]) -> None:
        """Let an internal root take the name of a Transpose that is not written; the others are fused into it."""
        free = internal_of(root) and not returned(root)
        for value in left:
            view = self.network.views[value]
            if free and root not in self.adopted and not internal_of(value) and self._fits(value, view):
                self.adopted[root] = value
                self.fused.setdefault(root, []).extend(fused_of(owner(value)))
            elif not returned(value):
                self.fused.setdefault(root, []).extend(tensors_of(owner(value)))

    def _fits(self, value: SSAValue, view: View) -> bool:
        """An output keeps its layout exactly."""
        return not returned(value) or self.native(view.root) == view.order


def _rank(value: SSAValue) -> tuple[bool, bool]:
    """Sort outputs first, then tensors of the source model."""
    return not returned(value), internal_of(value)
