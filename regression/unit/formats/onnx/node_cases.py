"""The ONNX backend node tests, run through our importer and the reference interpreter."""

import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from stepdown.dialects.program import Program
from stepdown.errors import UnsupportedModel
from stepdown.formats.onnx.importer import import_model
from stepdown.formats.onnx.loader import node_reads
from stepdown.formats.onnx.rules import DEFAULT_DOMAINS, RULES
from stepdown.runtimes.mlir import MlirRunner

# The operators that need no more than the shape of their operand.
_SHAPE_ONLY = ("Shape", "Size")
_NOT_CONSTANT = re.compile(r"operand \d+ \('(.*)'\) is not constant")


@cache
def cases() -> list[Any]:
    """Return the cases whose operators are all known; making them takes some seconds."""
    from onnx.backend.test.loader import load_model_tests

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return [case for case in load_model_tests(kind="node") if _known(case.model.graph)]


def cases_of(op_type: str) -> list[Any]:
    """Return the cases made of one node of this operator."""
    return [case for case in cases() if _operators(case) == [op_type]]


def expanded_cases() -> list[Any]:
    """Return the cases made of several nodes: operators written as functions of others."""
    return [case for case in cases() if len(_operators(case)) != 1]


def run_case(case: Any, expected: list[np.ndarray] | None = None) -> None:
    """Import a case with as few constant inputs as will do, run it and compare every output.

    `expected` replaces the outputs that the case expects.

    Raises:
        UnsupportedModel: the importer refuses it.
        AssertionError: an output has another type, shape or value than it should.
    """
    given = inputs_of(case)
    outputs = case.data_sets[0][1] if expected is None else expected
    program, bound = import_case(case, given)
    with without_onnx():
        results = MlirRunner(program).run({name: a for name, a in given.items() if name not in bound})
    assert len(results) == len(outputs)
    for wanted, actual in zip(outputs, results.values(), strict=True):
        _compare(_array(wanted), actual, case)


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
    """Return the program, and the inputs that had to be constant: those a rule asked for and empty ones."""
    bound = {name for name, array in given.items() if isinstance(array, np.ndarray) and array.size == 0}
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


def _known(graph: onnx.GraphProto) -> bool:
    return all(node.op_type in RULES and node.domain in DEFAULT_DOMAINS for node in graph.node)


def _operators(case: Any) -> list[str]:
    return [node.op_type for node in case.model.graph.node]


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


def _compare(expected: np.ndarray, actual: np.ndarray, case: Any) -> None:
    assert (actual.dtype, actual.shape) == (expected.dtype, expected.shape)
    if expected.dtype.kind in "fc":
        np.testing.assert_allclose(actual, expected, case.rtol, case.atol)
    else:
        np.testing.assert_array_equal(actual, expected)
