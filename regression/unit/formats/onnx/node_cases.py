"""The ONNX backend node tests, run through our importer and the reference interpreter."""

import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from stepdown.dialects.op import Kind, TensorOp
from stepdown.dialects.program import Program
from stepdown.dialects.top.move import Reshape
from stepdown.dialects.top.source import Input, Weight
from stepdown.dialects.types import shape_of
from stepdown.errors import UnsupportedModel
from stepdown.formats.onnx.importer import import_model
from stepdown.formats.onnx.loader import node_reads
from stepdown.formats.onnx.node import NARROW
from stepdown.formats.onnx.rules import DEFAULT_DOMAINS
from stepdown.numerics.floats import round_bf16
from stepdown.runtimes.mlir import MlirRunner

# Cases whose expected values contradict the text of the standard; there we give what onnxruntime gives.
AS_ONNXRUNTIME = {
    r"resize_downsample_scales_(linear|cubic)_align_corners": "align the corners with a size that is not whole",
}

BF16_STEP = 2.0**-7
"""The greatest relative distance of two neighbours in bfloat16."""
_ROUNDED_SUMS = re.compile(r"attention_.*_bf16")
"""Cases whose expected values were rounded to bfloat16 after each of many ops, as TOP, which computes wider, is not."""
# The operators that need no more than the shape of their operand.
_SHAPE_ONLY = ("Shape", "Size")
_NOT_CONSTANT = re.compile(r"operand \d+ \('(.*)'\) is not constant")


@dataclass(frozen=True)
class Ending:
    """How a case ended: "passed", "as onnxruntime" or "refused", why, and the TOP ops that it became."""

    kind: str
    reason: str = ""
    ops: frozenset[str] = frozenset()


@cache
def cases() -> list[Any]:
    """Return all cases; making them takes some seconds."""
    from onnx.backend.test.loader import load_model_tests

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return list(load_model_tests(kind="node"))


@cache
def cases_by_operator() -> dict[str, list[Any]]:
    """Return the cases by the operator they test: that of their node, or the one that is written out as several."""
    whole = {case.name: operators(case)[0] for case in cases() if len(case.model.graph.node) == 1}
    found: dict[str, list[Any]] = {}
    for case in cases():
        found.setdefault(whole[case.name.partition("_expanded")[0]], []).append(case)
    return found


def operators(case: Any) -> list[str]:
    """Return the operator of every node of a case, with its domain where that is not the default one."""
    nodes = case.model.graph.node
    return [n.op_type if n.domain in DEFAULT_DOMAINS else f"{n.domain}.{n.op_type}" for n in nodes]


def ending_of(case: Any) -> Ending:
    """Run a case.

    Raises:
        AssertionError: an output has another type, shape or value than it should.
    """
    contradicts = any(re.search(pattern, case.name) for pattern in AS_ONNXRUNTIME)
    try:
        ops = run_case(case, run_on_onnxruntime(case) if contradicts else None)
    except UnsupportedModel as error:
        return Ending("refused", error.what)
    return Ending("as onnxruntime" if contradicts else "passed", "", frozenset(ops))


def run_case(case: Any, expected: list[np.ndarray] | None = None) -> set[str]:
    """Import a case with as few constant inputs as will do, run it, compare every output; return its TOP ops.

    `expected` replaces the outputs that the case expects.

    Raises:
        UnsupportedModel: the importer refuses it.
        AssertionError: an output has another type, shape or value than it should.
    """
    given = inputs_of(case)
    outputs = case.data_sets[0][1] if expected is None else expected
    program, bound = import_case(case, given)
    with without_onnx():
        results = MlirRunner(program).run({name: _held(a) for name, a in given.items() if name not in bound})
    assert len(results) == len(outputs)
    for wanted, actual in zip(outputs, results.values(), strict=True):
        _compare(_array(wanted), actual, case)
    return {type(op).__name__ for op in program.ops if op.kind is not Kind.SOURCE and not _is_copy(op)}


def _is_copy(op: TensorOp) -> bool:
    """Tell whether an op is there only to be an output of its own: it repeats an input or a constant."""
    source = op.operands[0].owner if isinstance(op, Reshape) else None
    return isinstance(source, Input | Weight) and shape_of(op.results[0]) == shape_of(source.results[0])


def run_on_onnxruntime(case: Any) -> list[np.ndarray]:
    """Return what onnxruntime computes."""
    import onnxruntime

    session = onnxruntime.InferenceSession(case.model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, inputs_of(case))


@contextmanager
def without_onnx() -> Iterator[None]:
    """Make every import of onnx fail: running a program must not need it."""
    hidden = {name: module for name, module in sys.modules.items() if name.partition(".")[0] == "onnx"}
    sys.modules.update(dict.fromkeys(hidden))
    try:
        yield
    finally:
        sys.modules.update(hidden)


def inputs_of(case: Any) -> dict[str, Any]:
    """Return the arrays of a case's inputs by name."""
    names = [value.name for value in case.model.graph.input]
    return dict(zip(names, map(_array, case.data_sets[0][0]), strict=True))


def import_case(case: Any, given: dict[str, Any]) -> tuple[Program, set[str]]:
    """Return the program, and the inputs that had to be constant: those a rule asked for, empty and narrow ones."""
    arrays = {name: array for name, array in given.items() if isinstance(array, np.ndarray)}
    bound = {name for name, array in arrays.items() if array.size == 0 or array.dtype.name in NARROW}
    while True:
        try:
            return import_model(bind(case.model, given, bound), case.name), bound
        except UnsupportedModel as error:
            asked = _NOT_CONSTANT.search(str(error))
            sources = _sources(case.model.graph, asked[1]) & set(given) if asked else set()
            if sources <= bound:
                raise
            bound |= sources


def bind(model: onnx.ModelProto, given: dict[str, Any], names: set[str]) -> onnx.ModelProto:
    """Return the model with some inputs made initializers; the others get the shapes of the values given."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    copy.graph.initializer.extend(numpy_helper.from_array(given[name], name) for name in sorted(names))
    for value in copy.graph.input:
        if value.type.HasField("tensor_type") and value.name not in names:
            kind = onnx.helper.make_tensor_type_proto(value.type.tensor_type.elem_type, given[value.name].shape)
            value.type.CopyFrom(kind)
    return copy


def _sources(graph: onnx.GraphProto, name: str) -> set[str]:
    """Return the tensors without a producer that the values of tensor `name` are made of."""
    node = _producers(graph).get(name)
    if node is None:
        return {name}
    return set() if node.op_type in _SHAPE_ONLY else set().union(*(_sources(graph, i) for i in node_reads(node)))


def _producers(graph: onnx.GraphProto) -> dict[str, onnx.NodeProto]:
    """Return which node makes a tensor, in the graph and in those inside its nodes."""
    found = {output: node for node in graph.node for output in node.output}
    inner = [a.g for node in graph.node for a in node.attribute if a.type == onnx.AttributeProto.GRAPH]
    return found | {name: node for part in inner for name, node in _producers(part).items()}


def _array(value: Any) -> Any:
    """Return a tensor as an array; sequences and absent optionals stay what they are."""
    return numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else value


def _held(array: np.ndarray) -> np.ndarray:
    """Return an input as the interpreter takes it."""
    return array.astype(np.float32) if array.dtype.name == "bfloat16" else array


def _compare(expected: np.ndarray, actual: np.ndarray, case: Any) -> None:
    rtol = 2 * BF16_STEP if _ROUNDED_SUMS.search(case.name) else case.rtol
    if expected.dtype.name == "bfloat16":  # dumped as float32
        expected, actual = expected.astype(np.float32), round_bf16(actual)
    assert (actual.dtype, actual.shape) == (expected.dtype, expected.shape)
    if expected.dtype.kind in "fc":
        np.testing.assert_allclose(actual, expected, rtol, case.atol)
    else:
        np.testing.assert_array_equal(actual, expected)
