"""Branches and loops that constants decide, against onnxruntime; all others are refused."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import pytest
from formats.onnx.test_networks import run_all
from onnx import TensorProto, helper, numpy_helper

from stepdown.dialects.op import internal_of, value_name
from stepdown.dialects.text import verify
from stepdown.errors import StepError, UnsupportedModel
from stepdown.formats.onnx import inner_graph
from stepdown.formats.onnx.importer import import_model
from stepdown.runtimes.mlir import MlirRunner

FLOAT, INT64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL
X = np.arange(6, dtype=np.float32).reshape(2, 3) - 2
node = helper.make_node


def value(name: str, shape: Sequence[int] | None = None, kind: int = FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def graph(
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[onnx.ValueInfoProto] = (),
    outputs: Sequence[Any] = (),
    **held: Any,
) -> onnx.GraphProto:
    ends = [value(o) if isinstance(o, str) else o for o in outputs]
    return helper.make_graph(
        nodes, "inner", inputs, ends, [numpy_helper.from_array(np.asarray(a), n) for n, a in held.items()]
    )


def model(
    nodes: Sequence[onnx.NodeProto], outputs: Sequence[str] = ("y",), opset: int = 17, **held: Any
) -> onnx.ModelProto:
    whole = graph(nodes, [value("x", X.shape)], outputs, **held)
    return helper.make_model(whole, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def check(proto: onnx.ModelProto) -> MlirRunner:
    """Import, and compare every tensor that onnxruntime has, all but those inside graphs."""
    program = import_model(proto, "net")
    verify(program.module)
    runner = MlirRunner(program)
    ours, theirs = runner.run({"x": X}, "all"), run_all(proto, {"x": X})
    seen = [
        value_name(r)
        for op in program.ops
        for r in op.results
        if op.name not in ("top.Weight", "top.None", "top.Input")
    ]
    assert {value_name(v) for v in program.results} <= set(theirs)
    names = {value_name(r): internal_of(r) for op in program.ops for r in op.results if value_name(r) in ours}
    outside = [n for n, inside in names.items() if not inside and n != "x"]
    assert outside and len(set(seen)) == len(seen)
    for name in outside:
        np.testing.assert_allclose(ours[name], theirs[name], rtol=1e-6, atol=1e-6, err_msg=name)
    return runner


def branches(name: str, made: Sequence[str] = ("y",)) -> onnx.NodeProto:
    """Return an If: twice x + c, or what is unknown; both read tensors from outside."""
    then = graph([node("Add", ["x", "c"], ["t"]), node("Add", ["t", "t"], ["u"])], (), ["u"], c=np.float32(1))
    other = graph([node("Wavelet", ["x"], ["v"])], (), ["v"])
    return node("If", [name], made, then_branch=then, else_branch=other)


def test_the_branch_not_taken_may_hold_anything() -> None:
    program = import_model(model([branches("yes"), node("Relu", ["y"], ["z"])], ["z"], yes=np.array(True)), "net")
    np.testing.assert_array_equal(MlirRunner(program).run({"x": X})["z_Relu"], np.maximum(2 * X + 2, 0))
    assert [op.tensor_name for op in program.ops] == ["x", "y_If/c", "y_If/branch/t_Add", "y_If", "z_Relu"]
    with pytest.raises(UnsupportedModel, match="unsupported operators: Wavelet ×1"):
        import_model(model([branches("no")], no=np.array(False)), "net")


def test_a_branch_on_a_shape() -> None:
    nodes = [node("Shape", ["x"], ["s"]), node("Size", ["s"], ["rank"]), node("Equal", ["rank", "two"], ["flat"])]
    then, other = (graph([node(op, ["x"], [op])], (), [op]) for op in ("Neg", "Exp"))
    check(model([*nodes, node("If", ["flat"], ["y"], then_branch=then, else_branch=other)], two=np.array(2)))
    check(model([*nodes, node("If", ["flat"], ["y"], then_branch=then, else_branch=other)], two=np.array(3)))


def test_a_branch_that_hands_on_what_it_did_not_make() -> None:
    then = graph([node("Neg", ["x"], ["n"])], (), ["n", "m"], m=np.float32([7]))
    both = node("If", ["yes"], ["y", "c"], then_branch=then, else_branch=then)
    check(model([both, node("Add", ["y", "c"], ["z"])], ["y", "z"], yes=np.array([True])))
    outer = graph([node("Identity", ["r"], ["i"])], (), ["i"])
    passed = node("If", ["yes"], ["y"], then_branch=outer, else_branch=outer)
    check(model([node("Relu", ["x"], ["r"]), passed], ["y", "r"], yes=np.array(True)))


def test_a_layer_of_several_results_in_a_branch() -> None:
    then = graph([node("TopK", ["x", "k"], ["v", "i"])], (), ["v", value("i", None, INT64)], k=np.array([2]))
    check(model([node("If", ["yes"], ["y", "z"], then_branch=then, else_branch=then)], ["y", "z"], yes=np.array(True)))


def body(*extra: onnx.NodeProto, going: str = "cond", scanned: Sequence[Any] = ("s",), **held: Any) -> onnx.GraphProto:
    """Return the body of a loop: a ← a · 2 + step, and a itself put out."""
    nodes = [
        node("Cast", ["step"], ["f"], to=FLOAT), node("Mul", ["a", "twice"], ["b"]), node("Add", ["b", "f"], ["c"]),
        node("Identity", ["a"], ["s"]), *extra,
    ]  # fmt: skip
    formals = [value("step", [], INT64), value("cond", [], BOOL), value("a", X.shape)]
    going_on = value(going, [], BOOL)
    if going == "cond":
        nodes, going_on = [*nodes, node("Identity", ["cond"], ["on"])], value("on", [], BOOL)
    return graph(nodes, formals, [going_on, value("c", X.shape), *scanned], **held)


TWICE, TRIPS, YES = np.float32(2), np.array(5), np.array(True)


@pytest.mark.parametrize("trips", [1, 5, [3]])
def test_a_loop_of_a_known_count(trips: Any) -> None:
    loop = node("Loop", ["trips", "", "x"], ["y", "all"], body=body())
    check(model([loop, node("Neg", ["y"], ["z"])], ["z", "all"], twice=TWICE, trips=np.array(trips)))
    loop = node("Loop", ["trips", "yes", "x"], ["y", "all"], body=body())
    check(model([loop], ["y", "all"], twice=TWICE, trips=np.array(trips), yes=YES))


def test_a_loop_that_ends_itself() -> None:
    inner = body(node("Less", ["step", "three"], ["more"]), going="more", three=np.array(3))
    loop = node("Loop", ["", "yes", "x"], ["y", "all"], body=inner)
    runner = check(model([loop], ["y", "all"], twice=TWICE, yes=YES))
    assert runner.run({"x": X})["all_Loop"].shape == (4, 2, 3)


def test_a_loop_of_no_steps() -> None:
    loop = node("Loop", ["trips", "", "x"], ["y", "all"], body=body(scanned=[value("s", X.shape)]))
    program = import_model(model([loop], ["y", "all"], twice=TWICE, trips=np.array(0)), "net")
    y, everything = MlirRunner(program).run({"x": X}).values()
    np.testing.assert_array_equal(y, X)
    assert everything.shape == (0, 2, 3)
    loop = node("Loop", ["trips", "", "x"], ["y", "all"], body=body())
    with pytest.raises(UnsupportedModel, match="makes no step, and does not declare the shape"):
        import_model(model([loop], ["y", "all"], twice=TWICE, trips=np.array(0)), "net")


def test_a_branch_in_a_loop() -> None:
    then, other = (graph([node(op, ["c"], [f"{op}_c"])], (), [f"{op}_c"]) for op in ("Neg", "Abs"))
    odd = [node("Mod", ["step", "two"], ["odd"]), node("Cast", ["odd"], ["is_odd"], to=BOOL)]
    choice = node("If", ["is_odd"], ["d"], then_branch=then, else_branch=other)
    inner = body(*odd, choice, scanned=["d"], two=np.array(2))
    check(model([node("Loop", ["trips", "", "x"], ["y", "all"], body=inner)], ["y", "all"], twice=TWICE, trips=TRIPS))


def scan(x_axis: int, **attributes: Any) -> onnx.ModelProto:
    """Return a scan of x along an axis with its running sum, kept and put out."""
    size = 2 if x_axis % 2 else 3
    inner = graph(
        [node("Add", ["sum", "part"], ["next"]), node("Mul", ["next", "twice"], ["out"])],
        [value("sum", [size]), value("part", [size])], [value("next", [size]), value("out", [size])],
    )  # fmt: skip
    layer = node(
        "Scan", ["zeros", "x"], ["y", "all"], body=inner, num_scan_inputs=1, scan_input_axes=[x_axis], **attributes
    )
    return model([layer], ["y", "all"], zeros=np.zeros(size, np.float32), twice=TWICE)


@pytest.mark.parametrize("backwards", [0, 1])
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_scans(axis: int, backwards: int) -> None:
    check(scan(axis, scan_input_directions=[backwards]))
    check(scan(axis, scan_output_directions=[backwards], scan_output_axes=[1]))
    check(scan(axis, scan_output_directions=[1], scan_input_directions=[backwards], scan_output_axes=[-1]))


def nested(depth: int) -> onnx.NodeProto:
    inner = graph([node("Neg", ["x"], ["d0"])], (), ["d0"])
    for level in range(1, depth):
        inner = graph([node("If", ["yes"], [f"d{level}"], then_branch=inner, else_branch=inner)], (), [f"d{level}"])
    return node("If", ["yes"], ["y"], then_branch=inner, else_branch=inner)


def test_graphs_in_graphs() -> None:
    check(model([nested(4)], yes=YES))


def looped(*inputs: str, inner: onnx.GraphProto | None = None, **held: Any) -> onnx.ModelProto:
    return model([node("Loop", [*inputs, "x"], ["y", "all"], body=inner or body())], twice=TWICE, **held)


POSITIVE = [node("ReduceMax", ["x"], ["most"], keepdims=0), node("Cast", ["most"], ["any"], to=BOOL)]
COUNTED = [node("ReduceMax", ["x"], ["most"], keepdims=0), node("Cast", ["most"], ["count"], to=INT64)]
ENDLESS = body(node("ReduceMax", ["a"], ["most"], keepdims=0), node("Cast", ["most"], ["more"], to=BOOL), going="more")
INNER_LOOP = node("Loop", ["trips", "", "a"], ["inner", "seen"], body=helper.make_graph(
    [node("Identity", ["k"], ["l"]), node("Neg", ["e"], ["g"])], "inner",
    [value("i", [], INT64), value("k", [], BOOL), value("e", X.shape)], [value("l", [], BOOL), value("g", X.shape)],
))  # fmt: skip
REFUSED = {
    "a branch on data": (
        model([*POSITIVE, branches("any")]),
        "node of 'y': If: operand 0 ('any') is not constant: control flow that depends on the network's inputs is not",
    ),
    "a count of data": (
        model([*COUNTED, *looped("count", "").graph.node], twice=TWICE),
        "node of 'y': Loop: operand 0 ('count') is not constant: control flow",
    ),
    "a condition of data": (
        model([*POSITIVE, *looped("", "any").graph.node], twice=TWICE), "Loop: operand 1 ('any') is not constant",
    ),
    "a state of unknown length": (
        looped("", "yes", inner=ENDLESS, yes=YES), "Loop: the condition after step 0 is not constant: control flow",
    ),
    "no end": (looped("", ""), "Loop: more than 1024 steps are not unrolled"),
    "too many steps": (looped("trips", "", trips=np.array(1025)), "Loop: more than 1024 steps are not unrolled"),
    "too deep": (model([nested(17)], yes=YES), "more than 16 graphs inside each other"),
    "two conditions": (model([nested(1)], yes=np.array([True, True])), "the condition 'yes' has shape (2,), want one"),
    "no branch": (model([node("If", ["yes"], ["y"])], yes=YES), "node If '': is malformed"),
    "a missing output": (
        model([node("If", ["yes"], ["y"], then_branch=graph([], (), ["q"]))], yes=YES),
        "nothing makes the output 'q' of a graph in it",
    ),
    "inputs of a branch": (
        model([node("If", ["yes"], ["y"], then_branch=graph([], [value("q")], ["q"]))], yes=YES),
        "If: gives 0 inputs to a graph that has 1",
    ),
    "a tensor of another branch": (
        model([branches("yes"), node("Neg", ["t"], ["z"])], ["z"], yes=YES),
        "node Neg '': reads the tensor 't' that nothing before it makes",
    ),
    "an unknown operator inside": (
        looped("trips", "", inner=body(node("Wavelet", ["a"], ["w"])), trips=TRIPS),
        "unsupported operators: Wavelet ×1",
    ),
    "sequences": (
        model([node("SequenceConstruct", ["x"], ["s"]), node("SequenceAt", ["s", "i"], ["y"])], i=np.array(0)),
        "unsupported operators: SequenceAt ×1 (sequences of tensors are not supported), SequenceConstruct ×1 (",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("proto", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_refused_in_one_line(proto: onnx.ModelProto, message: str) -> None:
    with pytest.raises(StepError) as caught:
        import_model(proto, "net")
    assert message in str(caught.value) and "\n" not in str(caught.value)
    assert caught.value.exit_code in (2, 3)


def test_too_many_nodes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inner_graph, "MAX_NODES", 600)
    nodes = looped("trips", "", inner=body(INNER_LOOP), trips=np.array(1000))
    with pytest.raises(UnsupportedModel, match="its graph comes to more than 600 nodes when it is unrolled"):
        import_model(nodes, "net")
