"""Every seeded mutation of a graph is found and named; renaming and reordering are no differences."""

import random
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from stepdown.compare.topology import Comparison, Side, compare_outlines, find_mapping, is_isomorphism
from stepdown.errors import ResourceError
from stepdown.formats.outline import Constant, Node, Outline, Value
from stepdown.numerics.quantize import QuantParams

SEEDS = range(8)
BINARY, UNARY = ("Add", "Sub", "Div"), ("Relu", "Exp", "Tanh")


def weight(array: np.ndarray, name: str = "w") -> Constant:
    return Constant(name, array.shape, "f32", load=lambda: array)


def network(seed: int, size: int = 24) -> Outline:
    """A random network: unary and binary nodes, convolutions with weights, a node that no output needs."""
    rng = random.Random(seed)
    values = [Value("x", (1, 4), "f32"), Value("y", (1, 4), "f32")]
    inputs, nodes = list(values), []
    for number in range(size):
        made = Value(f"t{number}", (1, 4), "f32")
        kind = rng.randrange(3)
        # Each node reads the newest tensor, so that nothing hangs loose.
        operands: list[Value] = [values[-1], rng.choice(values[:-1])]
        attributes: dict[str, object] = {}
        if kind == 0:
            op, operands = rng.choice(UNARY), operands[:1]
        elif kind == 1:
            op = rng.choice(BINARY)
        else:
            data = np.random.default_rng(seed * 1000 + number).standard_normal((4, 4)).astype(np.float32)
            op, operands, attributes = "Conv", [operands[0], weight(data)], {"strides": (1, 1), "group": 1}
        nodes.append(Node(op, f"n{number}", tuple(operands), (made,), attributes))
        values.append(made)
    nodes.append(Node("Relu", "unused", (values[5],), (Value("unused"),)))
    return Outline(inputs, [values[-1], values[size // 2]], nodes)


def substituted(outline: Outline, values: dict[Value, Value], order: list[Node] | None = None) -> Outline:
    """The same graph of new objects: every value replaced, nodes in another order."""
    made = [
        replace(
            node,
            operands=tuple(None if v is None else values.get(v, v) for v in node.operands),
            results=tuple(values.get(v, v) for v in node.results),
        )
        for node in order or outline.nodes
    ]
    return replace(
        outline, inputs=[values.get(v, v) for v in outline.inputs], outputs=[values.get(v, v) for v in outline.outputs],
        nodes=made,
    )  # fmt: skip


def all_values(outline: Outline) -> list[Value]:
    return [*outline.inputs, *(v for n in outline.nodes for v in n.results), *outline.constants]


def renamed(outline: Outline, rng: random.Random) -> Outline:
    fresh = {v: replace(v, name=f"other{rng.random()}") for v in all_values(outline)}
    copy = substituted(outline, fresh)
    copy.nodes = [replace(node, name=f"name{i}") for i, node in enumerate(copy.nodes)]
    return copy


def reordered(outline: Outline, rng: random.Random) -> Outline:
    """Nodes in another order in which they can run."""
    waiting, done, order = list(outline.nodes), set(outline.inputs), list[Node]()
    while waiting:
        ready = [n for n in waiting if all(v is None or v in done or isinstance(v, Constant) for v in n.operands)]
        node = rng.choice(ready)
        waiting.remove(node)
        order.append(node)
        done.update(node.results)
    return substituted(outline, {v: replace(v) for v in all_values(outline)}, order)


def pick(outline: Outline, rng: random.Random, fits: Callable[[Node], bool]) -> int:
    return rng.choice([i for i, node in enumerate(outline.nodes) if fits(node)])


def with_node(outline: Outline, index: int, node: Node) -> Outline:
    return replace(outline, nodes=[*outline.nodes[:index], node, *outline.nodes[index + 1 :]])


def swapped_operands(outline: Outline, rng: random.Random) -> Outline:
    at = pick(outline, rng, lambda n: n.op in BINARY and n.operands[0] is not n.operands[1])
    return with_node(outline, at, replace(outline.nodes[at], operands=outline.nodes[at].operands[::-1]))


def changed_attribute(outline: Outline, rng: random.Random) -> Outline:
    at = pick(outline, rng, lambda n: n.op == "Conv")
    change = rng.choice([{"strides": (1, 2)}, {"group": 1.0}, {"group": True}, {"extra": 0}])
    node = outline.nodes[at]
    return with_node(outline, at, replace(node, attributes={**node.attributes, **change}))


def changed_weight(outline: Outline, rng: random.Random) -> Outline:
    at = pick(outline, rng, lambda n: n.op == "Conv")
    node, old = outline.nodes[at], outline.nodes[at].operands[1]
    assert isinstance(old, Constant)
    data = old.load().copy()
    spot = rng.randrange(4), rng.randrange(4)
    data[spot] = np.nextafter(data[spot], np.float32(9))
    return with_node(outline, at, replace(node, operands=(node.operands[0], weight(data))))


def changed_op(outline: Outline, rng: random.Random) -> Outline:
    at = pick(outline, rng, lambda n: n.op in UNARY)
    return with_node(outline, at, replace(outline.nodes[at], op="Sigmoid"))


def extra_identity(outline: Outline, rng: random.Random) -> Outline:
    at = pick(outline, rng, lambda n: n.name != "unused")
    node, made = outline.nodes[at], Value("identity")
    changed = replace(node, operands=(made, *node.operands[1:]))
    return replace(
        outline,
        nodes=[
            *outline.nodes[:at],
            Node("Identity", "id", node.operands[:1], (made,)),
            changed,
            *outline.nodes[at + 1 :],
        ],
    )


def rewired_edge(outline: Outline, rng: random.Random) -> Outline:
    """Let the first operand of a node come from another place before it, of the same type."""
    at = pick(outline, rng, lambda n: n.name not in ("n0", "unused"))
    node = outline.nodes[at]
    before = [*outline.inputs, *(n.results[0] for n in outline.nodes[:at])]
    other = rng.choice([v for v in before if v is not node.operands[0]])
    return with_node(outline, at, replace(node, operands=(other, *node.operands[1:])))


def moved_output(outline: Outline, rng: random.Random) -> Outline:
    return replace(outline, outputs=[outline.outputs[0], rng.choice(outline.nodes[:6]).results[0]])


def swapped_outputs(outline: Outline, rng: random.Random) -> Outline:
    return replace(outline, outputs=outline.outputs[::-1])


def swapped_inputs(outline: Outline, rng: random.Random) -> Outline:
    return replace(outline, inputs=outline.inputs[::-1])


def dropped_node(outline: Outline, rng: random.Random) -> Outline:
    return replace(outline, nodes=outline.nodes[:-1])


def doubled_node(outline: Outline, rng: random.Random) -> Outline:
    """One of two readers reads a copy of the node: values are the same, the graph is not."""
    shared = [n for n in outline.nodes if len(outline.users.get(n.results[0], ())) > 1]
    node = rng.choice(shared)
    twin = replace(node, results=(Value("twin"),))
    reader = outline.users[node.results[0]][-1][0]
    changed = replace(reader, operands=tuple(twin.results[0] if v is node.results[0] else v for v in reader.operands))
    nodes = [changed if n is reader else n for n in outline.nodes]
    at = nodes.index(node) + 1
    return replace(outline, nodes=[*nodes[:at], twin, *nodes[at:]])


def other_input_type(outline: Outline, rng: random.Random) -> Outline:
    return substituted(outline, {outline.inputs[0]: Value("x", (1, 5), "f32")})


SAME = (renamed, reordered)
KINDS = {
    swapped_operands: {"edge"},
    changed_attribute: {"attribute"},
    changed_weight: {"weight"},
    changed_op: {"operator"},
    extra_identity: {"operator"},
    rewired_edge: {"edge", "operator", "extra node"},
    moved_output: {"output"},
    swapped_outputs: {"output"},
    swapped_inputs: {"edge", "operator", "output"},
    dropped_node: {"extra node"},
    doubled_node: {"extra node", "operator", "edge", "count"},
    other_input_type: {"input"},
}


@pytest.mark.parametrize("change", SAME)
@pytest.mark.parametrize("seed", SEEDS)
def test_names_and_order_are_no_difference(change: Callable, seed: int) -> None:
    outline = network(seed)
    result = compare_outlines(outline, change(outline, random.Random(seed)))
    assert result.same, result.difference
    assert bool(result.renamed) == (change is renamed)


@pytest.mark.parametrize("mutation", KINDS)
@pytest.mark.parametrize("seed", SEEDS)
def test_every_mutation_is_found_behind_renaming_and_reordering(mutation: Callable, seed: int) -> None:
    rng = random.Random(seed)
    outline = network(seed)
    changed = reordered(renamed(mutation(outline, rng), rng), rng)
    for a, b in ((outline, changed), (changed, outline)):
        result = compare_outlines(a, b)
        assert result.difference is not None
        assert result.difference.kind in KINDS[mutation], result.difference
        assert result.difference.detail


def test_the_place_of_a_difference_is_named() -> None:
    outline = network(1)
    at = next(i for i, n in enumerate(outline.nodes) if n.op == "Conv")
    node = outline.nodes[at]
    result = compare_outlines(
        outline, with_node(outline, at, replace(node, attributes={"strides": (2, 2), "group": 1}))
    )
    assert result.difference is not None
    assert result.difference.a == f"Conv '{node.name}'"
    assert result.difference.detail == "attribute strides is (1, 1) and (2, 2)"


@pytest.mark.parametrize(
    ("mutation", "what"), [(changed_weight, "weights"), (changed_attribute, "attributes")]
)  # fmt: skip
def test_what_is_ignored_is_no_difference_and_nothing_else_is(mutation: Callable, what: str) -> None:
    outline = network(3)
    rng = random.Random(3)
    changed = mutation(outline, rng)
    other = "attributes" if what == "weights" else "weights"
    assert compare_outlines(outline, changed, (what,)).same
    assert not compare_outlines(outline, changed, (other,)).same
    assert not compare_outlines(outline, extra_identity(changed, rng), (what,)).same


def test_a_shared_constant_equals_two_that_are_equal() -> None:
    data = np.ones((2, 2), np.float32)

    def made(first: Constant, second: Constant) -> Outline:
        x, t, u = Value("x"), Value("t"), Value("u")
        return Outline([x], [u], [Node("Mul", "a", (x, first), (t,)), Node("Mul", "b", (t, second), (u,))])

    shared = weight(data)
    assert compare_outlines(made(shared, shared), made(weight(data), weight(data.copy(), "v"))).same
    assert not compare_outlines(made(shared, shared), made(shared, weight(-data))).same


def loose(pairs: list[tuple[int, int]], count: int) -> Outline:
    """Nodes that no output needs: `count` of one kind on the input, and one that reads two of them for each pair."""
    x, y = Value("x"), Value("y")
    bottom = [Node("Relu", f"b{i}", (x,), (Value(f"b{i}"),)) for i in range(count)]
    top = [Node("Add", f"p{i}", (bottom[i].results[0], bottom[j].results[0]), (Value("p"),)) for i, j in pairs]
    return Outline([x], [y], [*bottom, *top, Node("Exp", "out", (x,), (y,))])


def ring(*lengths: int) -> list[tuple[int, int]]:
    """Directed rings of the given lengths, one after the other."""
    starts = [sum(lengths[:i]) for i in range(len(lengths))]
    return [(s + i, s + (i + 1) % n) for s, n in zip(starts, lengths, strict=True) for i in range(n)]


def test_symmetric_parts_are_told_apart_by_trying() -> None:
    """One ring of six and two of three have the same colours after any refinement, and are not the same."""
    one, two = loose(ring(6), 6), loose(ring(3, 3), 6)
    result = compare_outlines(one, two)
    assert result.difference is not None and result.difference.kind == "wiring"
    turned = [(5 - i, 5 - j) for i, j in ring(6)]
    assert compare_outlines(one, loose(random.Random(0).sample(turned, 6), 6)).same
    assert compare_outlines(two, loose(random.Random(1).sample(ring(3, 3), 6), 6)).same


def test_more_alike_parts_than_can_be_tried_are_no_answer() -> None:
    many = loose([], 400)
    with pytest.raises(ResourceError, match="alike"):
        compare_outlines(many, loose([], 400))


def test_a_wrong_mapping_is_not_believed() -> None:
    side, twin = Side(network(2)), Side(network(2))
    mapping = find_mapping(side, twin)
    assert mapping is not None and is_isomorphism(side, twin, mapping)
    for _ in range(50):
        wrong = list(mapping)
        i, j = random.Random(_).sample(range(len(wrong)), 2)
        wrong[i], wrong[j] = wrong[j], wrong[i]
        assert not is_isomorphism(side, twin, wrong)
    assert not is_isomorphism(side, twin, [0] * len(mapping))


def _quantised(scale: float, zero_point: int = 0) -> Outline:
    x, y = Value("x", (4,), "f32"), Value("y", (4,), "i8", QuantParams(scale, zero_point))
    return Outline([x], [y], [Node("tpu.Convert", "y", (x,), (y,))], typed=True)


def test_scales_and_zero_points_are_compared_in_all_digits() -> None:
    a, b = _quantised(0.1), _quantised(float(np.nextafter(0.1, 1)))
    result: Comparison = compare_outlines(a, b)
    assert result.difference is not None and "0.1)" in result.difference.detail
    assert not compare_outlines(a, _quantised(0.1, 1)).same
    assert compare_outlines(a, b, ("attributes",)).same
    assert compare_outlines(a, _quantised(0.1)).same


def test_the_integer_profile_is_compared() -> None:
    a, b = (replace(_quantised(0.1), quantization={"profile": profile}) for profile in ("tosa", "tflite"))
    result = compare_outlines(a, b)
    assert result.difference is not None and (result.difference.a, result.difference.b) == ("tosa", "tflite")
    assert compare_outlines(a, a).same and compare_outlines(a, b, ("attributes",)).same


def test_a_deep_graph_is_compared_in_a_few_sweeps() -> None:
    values = [Value(f"v{i}") for i in range(4001)]
    nodes = [Node("Relu", f"n{i}", (values[i],), (values[i + 1],)) for i in range(4000)]
    chain = Outline(values[:1], values[-1:], nodes)
    assert compare_outlines(chain, renamed(chain, random.Random(0))).same
    shorter = Outline(values[:1], values[-2:-1], nodes[:-1])
    assert not compare_outlines(chain, shorter).same
