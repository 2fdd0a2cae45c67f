"""Names of tensors that became constants, or are another tensor itself: each is noted once, in time that is linear."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from stepdown.dialects.op import fused_of
from stepdown.dialects.program import Program
from stepdown.formats.graph import Folded, claim
from stepdown.formats.onnx.importer import import_model


def imported(nodes: list[onnx.NodeProto]) -> Program:
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [2]) for name in "xy"]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], [numpy_helper.from_array(np.zeros(2, np.float32), "c0")])
    return import_model(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), "net")


def test_a_constant_doubled_many_times() -> None:
    nodes = [helper.make_node("Add", [f"c{i}", f"c{i}"], [f"c{i + 1}"]) for i in range(60)]  # 2^60 paths lead to c0
    program = imported([*nodes, helper.make_node("Add", ["x", "c60"], ["y"])])
    assert fused_of(program.ops[-1]) == [f"c{i}_Add" for i in range(1, 61)]


def test_the_first_reader_notes_a_constant() -> None:
    nodes = [helper.make_node("Neg", ["c0"], ["c1"]), helper.make_node("Add", ["x", "c1"], ["a"])]
    program = imported([*nodes, helper.make_node("Mul", ["a", "c1"], ["y"])])
    assert [fused_of(op) for op in program.ops[-2:]] == [["c1_Neg"], []]


def test_identities_of_one_tensor() -> None:
    nodes = [helper.make_node("Neg", ["x"], ["i0"])]
    nodes += [helper.make_node("Identity", [f"i{i}"], [f"i{i + 1}"]) for i in range(3000)]
    program = imported([*nodes, helper.make_node("Abs", ["i3000"], ["y"])])
    assert sorted(fused_of(program.ops[1])) == sorted(f"i{i}_Identity" for i in range(1, 3001))


def test_claim_goes_from_the_sources_up() -> None:
    low = Folded("low", [])
    left, right = Folded("left", [low]), Folded("right", [low])
    assert claim([left, right]) == ["low", "left", "right"]
    assert claim([Folded("top", [left])]) == ["top"]
