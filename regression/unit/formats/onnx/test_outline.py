"""An ONNX model in outline: bodies, constants and defaults in one form; what it costs; mutations are found."""

import random
from collections.abc import Callable

import numpy as np
import onnx
import pytest
from checkout import REGRESSION
from light_models import LIGHT_MODELS, seeded_light_model
from onnx import TensorProto, helper, numpy_helper

from stepdown.compare.graph_summary import macs, memory, parameters
from stepdown.compare.topology import Comparison, compare_outlines
from stepdown.errors import InputError
from stepdown.formats.onnx.importer import import_model
from stepdown.formats.onnx.outline import outline_of_onnx
from stepdown.formats.program_outline import outline_of_program

MNIST = REGRESSION / "model" / "mnist_cnn.onnx"
MOBILENET = REGRESSION / "mobilenet_v2.onnx"


def floats(name: str, *sizes: int | str) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, sizes)


def model_of(graph: onnx.GraphProto, opset: int = 17, **fields: object) -> onnx.ModelProto:
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], **fields)
    onnx.checker.check_model(model)
    return model


def branching(captured: str = "y", state: str = "v") -> onnx.ModelProto:
    """A network with an If whose branches read a tensor from outside, and a Loop with two states."""
    stored = [
        numpy_helper.from_array(np.random.default_rng(0).random((2, 2, 3, 3), dtype=np.float32), "w"),
        numpy_helper.from_array(np.array(3), "n"),
    ]
    one = numpy_helper.from_array(np.ones(1, np.float32), "c")
    then = helper.make_graph([helper.make_node("Add", [captured, "c"], ["t"])], "then", [], [floats("t", 1)], [one])
    other = helper.make_graph([helper.make_node("Relu", ["y"], ["e"])], "else", [], [floats("e", 1)])
    flags = [helper.make_tensor_value_info(n, TensorProto.BOOL, []) for n in ("cond", "co")]
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["cond"], ["co"]),
            helper.make_node("Mul", [state, "y"], ["vo"]),
            helper.make_node("Add", ["u", "v"], ["uo"]),
        ],
        "body",
        [helper.make_tensor_value_info("i", TensorProto.INT64, []), flags[0], floats("v", 1), floats("u", 1)],
        [flags[1], floats("vo", 1), floats("uo", 1)],
    )
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["y"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["y"], ["r"]),
        helper.make_node("ReduceMax", ["y"], ["m"], keepdims=0),
        helper.make_node("Cast", ["m"], ["b"], to=TensorProto.BOOL),
        helper.make_node("If", ["b"], ["z"], then_branch=then, else_branch=other),
        helper.make_node("Loop", ["n", "b", "z", "r"], ["o", "p"], body=body),
    ]
    ends = [floats("x", 1, 2, 4, 4)], [floats("o", "a", "b", "c", "d"), floats("p", "a", "b", "c", "d")]
    return model_of(helper.make_graph(nodes, "g", *ends, stored))


def compared(a: onnx.ModelProto, b: onnx.ModelProto, *ignore: str) -> Comparison:
    return compare_outlines(outline_of_onnx(a), outline_of_onnx(b), ignore)


def test_bodies_lie_before_the_node_that_owns_them() -> None:
    nodes = outline_of_onnx(branching()).nodes
    assert [(node.op, node.region) for node in nodes] == [
        ("Conv", ""), ("Relu", ""), ("ReduceMax", ""), ("Cast", ""),
        ("Relu", "/else_branch"), ("Add", "/then_branch"), ("If", ""),
        ("Identity", "/body"), ("Mul", "/body"), ("Add", "/body"), ("Loop", ""),
    ]  # fmt: skip
    assert "else_branch output 0" in nodes[6].ports


def test_what_a_body_reads_is_compared() -> None:
    assert compared(branching(), branching()).same
    for changed in (branching(captured="r"), branching(state="u")):
        for a, b in ((branching(), changed), (changed, branching())):
            result = compared(a, b)
            assert result.difference is not None and result.difference.detail


def test_a_constant_node_and_a_left_out_default_are_no_differences() -> None:
    w = np.random.default_rng(1).random((3, 2, 3, 3), dtype=np.float32)
    ends = [floats("x", 1, 2, 6, 6)], [floats("y", 1, 3, 4, 4)]
    plain = helper.make_graph(
        [helper.make_node("Conv", ["x", "w"], ["y"])], "g", *ends, [numpy_helper.from_array(w, "w")]
    )
    stated = {"kernel_shape": [3, 3], "strides": [1, 1], "pads": [0] * 4, "dilations": [1, 1], "group": 1}
    nodes = [
        helper.make_node("Constant", [], ["k"], value=numpy_helper.from_array(w)),
        helper.make_node("Conv", ["x", "k", ""], ["y"], **stated),
    ]
    other = helper.make_graph(nodes, "h", *ends)
    assert compared(model_of(plain), model_of(other)).same
    nodes[1].attribute.append(helper.make_attribute("dilations", [2, 2]))
    del nodes[1].attribute[3]
    assert not compared(model_of(plain), onnx.helper.make_model(helper.make_graph(nodes, "h", *ends))).same


def test_one_operator_of_two_versions_is_a_difference_of_attributes() -> None:
    graph = helper.make_graph(
        [helper.make_node("Softmax", ["x"], ["y"])], "g", [floats("x", 1, 4)], [floats("y", 1, 4)]
    )
    result = compared(model_of(graph, 11), model_of(graph, 13))
    assert result.difference is not None and "attribute axis is 1 and -1" in result.difference.detail
    assert compared(model_of(graph, 11), model_of(graph, 13), "attributes").same


def test_functions_of_a_model_are_inlined() -> None:
    body = [helper.make_node("Mul", ["a", "b"], ["c"]), helper.make_node("Relu", ["c"], ["d"])]
    imports = [helper.make_opsetid("", 17)]
    function = helper.make_function("mine", "MulRelu", ["a", "b"], ["d"], body, imports)
    ends = [floats("x", 2), floats("y", 2)], [floats("z", 2)]
    calling = helper.make_graph([helper.make_node("MulRelu", ["x", "y"], ["z"], domain="mine")], "g", *ends)
    opsets = [*imports, helper.make_opsetid("mine", 1)]
    called = helper.make_model(calling, opset_imports=opsets, functions=[function])
    flat = [helper.make_node("Mul", ["x", "y"], ["t"]), helper.make_node("Relu", ["t"], ["z"])]
    assert compared(called, model_of(helper.make_graph(flat, "h", *ends))).same


@pytest.mark.parametrize("name", ["missing", "twice"])
def test_a_graph_that_cannot_run_is_refused(name: str) -> None:
    model = onnx.load(MNIST)
    if name == "missing":
        model.graph.node[3].input[0] = "nowhere"
    else:
        model.graph.node[3].output[0] = model.graph.node[2].output[0]
    with pytest.raises(InputError, match="nowhere" if name == "missing" else "twice"):
        outline_of_onnx(model)


@pytest.mark.parametrize("name", ["mobilenet", *LIGHT_MODELS[:4]])
def test_the_macs_are_those_of_the_imported_module(name: str) -> None:
    model = onnx.load(MOBILENET) if name == "mobilenet" else seeded_light_model(name)
    outline = outline_of_onnx(model)
    assert macs(outline) == macs(outline_of_program(import_model(model, "m")))
    assert (macs(outline) or 0) > 1e8


def test_mobilenet_has_its_published_size() -> None:
    """3.50 million parameters and 300 million multiply-adds: M. Sandler et al., MobileNetV2 (2018), table 4."""
    outline = outline_of_onnx(onnx.load(MOBILENET))
    assert macs(outline) == 300_774_272
    assert 3_500_000 < parameters(outline) < 3_540_000
    # The largest step: the first expansion, 96 channels, with what it is computed from, at 112 by 112.
    assert memory(outline).peak == 2 * 96 * 112 * 112 * 4


def rename_all(model: onnx.ModelProto, rng: random.Random) -> None:
    new: dict[str, str] = {"": ""}

    def name(old: str) -> str:
        return new.setdefault(old, f"r{len(new)}_{rng.random():.3f}")

    graph = model.graph
    for node in graph.node:
        node.name = name(f"node {node.name}")
        for field in (node.input, node.output):
            field[:] = [name(old) for old in field]
    for stored in (*graph.initializer, *graph.input, *graph.output, *graph.value_info):
        stored.name = name(stored.name)


def shuffle_nodes(model: onnx.ModelProto, rng: random.Random) -> None:
    waiting, order = list(model.graph.node), []
    known = {"", *(v.name for v in (*model.graph.input, *model.graph.initializer))}
    while waiting:
        node = rng.choice([n for n in waiting if known.issuperset(n.input)])
        waiting.remove(node)
        order.append(onnx.NodeProto.FromString(node.SerializeToString()))
        known.update(node.output)
    del model.graph.node[:]
    model.graph.node.extend(order)


def _node(model: onnx.ModelProto, rng: random.Random, fits: Callable[[onnx.NodeProto], bool]) -> onnx.NodeProto:
    return rng.choice([node for node in model.graph.node if fits(node)])


def swap_operands(model: onnx.ModelProto, rng: random.Random) -> None:
    node = _node(model, rng, lambda n: n.op_type == "Add")
    node.input[:] = node.input[::-1]


def change_weight(model: onnx.ModelProto, rng: random.Random) -> None:
    stored = rng.choice([t for t in model.graph.initializer if t.data_type == TensorProto.FLOAT])
    values = numpy_helper.to_array(stored).copy()
    spot = rng.randrange(values.size)
    values.reshape(-1)[spot] = np.nextafter(values.reshape(-1)[spot], np.float32(100))
    stored.CopyFrom(numpy_helper.from_array(values, stored.name))


def change_attribute(model: onnx.ModelProto, rng: random.Random) -> None:
    node = _node(model, rng, lambda n: n.op_type == "Conv")
    attribute = next(a for a in node.attribute if a.name == "pads")
    attribute.ints[rng.randrange(4)] += 1


def insert_identity(model: onnx.ModelProto, rng: random.Random) -> None:
    at = rng.randrange(1, len(model.graph.node))
    node = model.graph.node[at]
    model.graph.node.insert(at, helper.make_node("Identity", [node.input[0]], ["fresh"]))
    model.graph.node[at + 1].input[0] = "fresh"


def rewire(model: onnx.ModelProto, rng: random.Random) -> None:
    """Let an Add read the result of another Conv of the same kind, made before it."""
    at = rng.choice([i for i, n in enumerate(model.graph.node) if n.op_type == "Add"])
    node = model.graph.node[at]
    made = [
        n.output[0]
        for n in model.graph.node[:at]
        if n.op_type == "BatchNormalization" and n.output[0] not in node.input
    ]
    node.input[rng.randrange(2)] = rng.choice(made)


def move_output(model: onnx.ModelProto, rng: random.Random) -> None:
    model.graph.output[0].name = rng.choice(model.graph.node[:-1]).output[0]


MUTATIONS = {
    swap_operands: {"edge"},
    change_weight: {"weight"},
    change_attribute: {"attribute"},
    insert_identity: {"operator"},
    rewire: {"edge"},
    move_output: {"output"},
}


@pytest.mark.parametrize("mutate", MUTATIONS)
@pytest.mark.parametrize("seed", range(3))
def test_mutations_of_a_real_network_are_found(mutate: Callable, seed: int) -> None:
    rng, model = random.Random(seed), onnx.load(MOBILENET)
    mutate(model, rng)
    rename_all(model, rng)
    shuffle_nodes(model, rng)
    result = compared(onnx.load(MOBILENET), model)
    assert result.difference is not None
    assert result.difference.kind in MUTATIONS[mutate], result.difference


@pytest.mark.parametrize("name", ["mobilenet", "squeezenet", "inception_v1"])
def test_another_order_and_other_names_of_a_real_network_are_no_difference(name: str) -> None:
    def load() -> onnx.ModelProto:
        return onnx.load(MOBILENET) if name == "mobilenet" else seeded_light_model(name)

    model = load()
    rename_all(model, random.Random(0))
    shuffle_nodes(model, random.Random(1))
    result = compared(load(), model)
    assert result.same and len(result.renamed) >= len(model.graph.node)
