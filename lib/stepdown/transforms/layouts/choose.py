"""The cheapest choice between channels first and last, op by op: a minimum cut.

Every op with a choice is a node: on the side of the source its channels are last, on that of the sink they are first.
A tensor that is stored in one order and wanted in another is transposed once, however many read it so: its cost is
paid where the op that makes it stands on one side and any of those readers on the other.
"""

from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass, field

from xdsl.ir import SSAValue

from stepdown.dialects.op import Order, TensorOp
from stepdown.dialects.types import shape_of
from stepdown.transforms.layouts.orders import elements, sequence
from stepdown.transforms.layouts.rules import Want
from stepdown.transforms.layouts.views import Network, Reader, is_constant

Test = tuple[bool, bool]
"""Whether something holds with an op's channels last, and with them first."""
ALWAYS, NEVER, LAST, FIRST = (True, True), (False, False), (True, False), (False, True)

_ELEMENT, _TRANSPOSE, _RESHAPE = 1 << 20, 1 << 10, 1
"""Weights: the fewest elements moved, then the fewest transposes, then the fewest reshapes of what need not move."""


class Opposed(Exception):
    """Ops that depend on each other the wrong way round, so that no cut stands for the cost."""

    def __init__(self, ops: list[TensorOp]) -> None:
        super().__init__()
        self.ops = ops


def choose(network: Network) -> dict[TensorOp, bool]:
    """Return, by op, whether it is written with its channels first; ops may lose their choice in `network`."""
    while True:
        try:
            return _Cut.of(network).solve()
        except Opposed as error:
            for op in error.ops:
                network.pin(op)


@dataclass
class _Cut:
    """The graph: capacities by edge."""

    network: Network
    edges: dict[tuple[Hashable, Hashable], float] = field(default_factory=dict)
    opposed: list[TensorOp] = field(default_factory=list)

    @classmethod
    def of(cls, network: Network) -> "_Cut":
        cut = cls(network)
        outputs: dict[SSAValue, list[Order]] = {}
        for root, want in network.outputs():
            outputs.setdefault(root, []).append(want.order)
        readers = network.readers()
        for root in readers | outputs:
            if not is_constant(root):
                cut._add_root(root, readers.get(root, []), outputs.get(root, []))
        if cut.opposed:
            raise Opposed(cut.opposed)
        return cut

    def solve(self) -> dict[TensorOp, bool]:
        """Return the side of every op with a choice, that of the source where both are as cheap."""
        import networkx

        graph = networkx.DiGraph()
        graph.add_nodes_from(["source", "sink"])
        graph.add_edges_from((a, b, {"capacity": c}) for (a, b), c in self.edges.items())
        flow = networkx.algorithms.flow.boykov_kolmogorov
        _, (_, sink) = networkx.minimum_cut(graph, "source", "sink", flow_func=flow)
        return {op: op in sink for op in self.network.forms}

    # --- costs

    def _add_root(self, root: SSAValue, readers: list[Reader], outputs: list[Order]) -> None:
        """Add what it costs to transpose a tensor, and what to reshape it where only dimensions of size 1 move."""
        shape, maker = shape_of(root), root.owner
        assert isinstance(maker, TensorOp)
        made = [form.makes[list(maker.results).index(root)] for form in self.network.forms[maker]]  # type: ignore[arg-type]
        for wanted in _wanted(readers, outputs, shape):
            stored = [sequence(shape, order) for order in made]
            elsewhere = (stored[0] != wanted, stored[1] != wanted)
            tests = [(r.op, _test(sequence(shape, w.order) == wanted for w in r.wants)) for r in readers]
            fixed = any(sequence(shape, order) == wanted for order in outputs)
            self._add_cost(maker, elsewhere, tests, fixed, elements(root) * _ELEMENT + _TRANSPOSE)
        for exact in _exactly_wanted(readers, outputs):
            elsewhere = (made[0] != exact, made[1] != exact)
            tests = [(r.op, _test(w.order == exact and _is_exact(w) for w in r.wants)) for r in readers]
            if not _misfits(elsewhere, tests):
                self._add_cost(maker, elsewhere, tests, exact in outputs, _RESHAPE)

    def _add_cost(
        self, maker: TensorOp, elsewhere: Test, tests: list[tuple[TensorOp, Test]], fixed: bool, weight: int
    ) -> None:
        """Add `weight` where the maker stores the tensor elsewhere than a reader wants it; `fixed`: one always does."""
        if fixed or any(test == ALWAYS for _, test in tests):
            self._add_fixed(maker, elsewhere, weight)
            return
        self.opposed += _misfits(elsewhere, tests)
        movers = list(dict.fromkeys(op for op, test in tests if test in (LAST, FIRST)))
        if elsewhere == NEVER or not movers:
            return
        to_first = any(test == FIRST for _, test in tests)
        origin: Hashable = maker if elsewhere != ALWAYS else "source" if to_first else "sink"
        joint: Hashable = movers[0] if len(movers) == 1 else (origin, len(self.edges))
        self._add_edge(origin, joint, weight, to_first)
        for mover in movers if len(movers) > 1 else ():
            self._add_edge(joint, mover, float("inf"), to_first)

    def _add_fixed(self, maker: TensorOp, elsewhere: Test, weight: int) -> None:
        if elsewhere == LAST:
            self._add_edge(maker, "sink", weight, True)
        elif elsewhere == FIRST:
            self._add_edge("source", maker, weight, True)

    def _add_edge(self, a: Hashable, b: Hashable, weight: float, forward: bool) -> None:
        """Add what it costs to have `a` on the source's side and `b` on the sink's, or the other way round."""
        edge = (a, b) if forward else (b, a)
        self.edges[edge] = self.edges.get(edge, 0) + weight


def _wanted(readers: list[Reader], outputs: list[Order], shape: tuple[int, ...]) -> Iterator[Order]:
    orders = [want.order for reader in readers for want in reader.wants] + outputs
    yield from dict.fromkeys(sequence(shape, order) for order in orders)


def _exactly_wanted(readers: list[Reader], outputs: list[Order]) -> Iterator[Order]:
    orders = [want.order for reader in readers for want in reader.wants if _is_exact(want)] + outputs
    yield from dict.fromkeys(orders)


def _is_exact(want: Want) -> bool:
    return not want.loose and want.shape is None


def _test(holds: Iterable[bool]) -> Test:
    last, first = holds
    return last, first


def _misfits(elsewhere: Test, tests: list[tuple[TensorOp, Test]]) -> list[TensorOp]:
    """Return the readers that want the tensor where a cut cannot tell: on the same side as its maker is."""
    kinds = {test for _, test in tests}
    if elsewhere == NEVER or (elsewhere == ALWAYS and not {LAST, FIRST} <= kinds):
        return []
    against = FIRST if elsewhere == ALWAYS else elsewhere
    return [op for op, test in tests if test == against]
