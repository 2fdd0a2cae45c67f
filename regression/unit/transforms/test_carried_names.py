"""What a rewritten op stands for: names go on through chains and diamonds of rewrites, each once."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from stepdown.dialects.op import fused_of
from stepdown.formats.onnx.importer import import_model
from stepdown.transforms.canonicalize import Canonicalize
from stepdown.transforms.rewrite import Carried


def test_a_chain_of_reshapes_becomes_one_that_names_all() -> None:
    nodes = [helper.make_node("Reshape", [f"t{i}", f"s{i % 2}"], [f"t{i + 1}"]) for i in range(1500)]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [4, 4]) for name in ("t0", "t1500")]
    shapes = [numpy_helper.from_array(np.array(s, np.int64), f"s{i}") for i, s in enumerate(([2, 8], [8, 2]))]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], shapes)
    opset = helper.make_opsetid("", 17)
    program = import_model(onnx.helper.make_model(graph, opset_imports=[opset], ir_version=8), "net")
    Canonicalize().run(program)
    last = program.ops[-1]
    assert last.names == ["t1500_Reshape"]
    assert sorted(fused_of(last)) == sorted(f"t{i}_Reshape" for i in range(1, 1500))


def test_lists_reached_twice_are_read_once() -> None:
    carried = Carried(["a"])
    for i in range(50):
        carried = Carried([carried, f"{i}", carried])  # 2^50 paths
    assert carried.names() == ["a", *map(str, range(50))]
