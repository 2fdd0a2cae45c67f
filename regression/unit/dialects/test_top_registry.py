"""What every TOP op must do, checked for each op of the registry on its own example."""

import inspect
import re
from dataclasses import dataclass

import numpy as np
import pytest
from xdsl.dialects.builtin import UnitAttr
from xdsl.ir import SSAValue
from xdsl.utils.exceptions import VerifyException

from stepdown.dialects.op import Kind, TensorOp, constraints
from stepdown.dialects.program import Program
from stepdown.dialects.text import parse_module, print_module
from stepdown.dialects.top import TOP_OPS, TopOp
from stepdown.dialects.top.base import Example, Unary
from stepdown.dialects.top.source import Absent, Input
from stepdown.dialects.types import DTYPES, shape_of, storage_of, storage_of_dtype, tensor
from stepdown.runtimes.interpreter import run_op

OPS = {name: cls for name, cls in TOP_OPS.items() if cls.kind is not Kind.SOURCE}
every_op = pytest.mark.parametrize("cls", OPS.values(), ids=OPS.keys())
both_widths = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["f32", "f64"])


@dataclass
class Sample:
    """A program that holds one op, and the op's operand arrays."""

    program: Program
    op: TensorOp
    arrays: list[np.ndarray | None]


def sample(cls: type[TopOp], dtype: type = np.float32) -> Sample:
    """Build an op from its example; float arrays in `dtype`, no array writeable."""
    arrays, attributes = example(cls)
    arrays = [a.astype(dtype) if a is not None and a.dtype.kind == "f" else a for a in arrays]
    program, values = program_of(arrays)
    names = [f"y{i}" for i in range(len(cls.build("probe", values, **attributes).results))]
    op = cls.build(names, values, **attributes)
    program.add(op)
    program.finish(list(op.results))
    for array in arrays:
        if array is not None:
            array.flags.writeable = False
    return Sample(program, op, arrays)


def example(cls: type[TopOp]) -> Example:
    """Return the op's own example; a function of one tensor is sampled over its domain."""
    rng = np.random.default_rng(0)
    given = cls.example(rng)
    if given is None:
        assert issubclass(cls, Unary), f"{cls.__name__} gives no example"
        given = [rng.uniform(*cls.domain, (3, 50))], {}
    return given


def program_of(arrays: list[np.ndarray | None]) -> tuple[Program, list[SSAValue]]:
    """Return a program with an input an array, and its values."""
    types = {f"x{i}": tensor(a.shape, storage_of_dtype(a.dtype)) for i, a in enumerate(arrays) if a is not None}
    program = Program.empty("net", types, "ONNX")
    inputs = {name: program.add(Input.build(name, [a])) for name, a in zip(types, program.block.args, strict=True)}
    return program, [inputs.get(f"x{i}") or program.add(Absent.make()) for i in range(len(arrays))]


@every_op
def test_docstring_has_a_source_and_only_used_constraints(cls: type[TopOp]) -> None:
    assert re.search(r"Sources?: ", inspect.getdoc(cls) or ""), "its docstring names no source"
    bases = [base for base in cls.__mro__ if issubclass(base, TopOp) and base is not TopOp]
    named = {label for base in bases for label in re.findall(r'"(C\d+)"', inspect.getsource(base))}
    assert named <= set(constraints(cls))


@every_op
def test_kind(cls: type[TopOp]) -> None:
    assert isinstance(cls.kind, Kind)


@every_op
@both_widths
def test_inferred_types_are_those_computed(cls: type[TopOp], dtype: type) -> None:
    made = sample(cls, dtype)
    results = run_op(made.op, list(made.arrays))
    assert [r.shape for r in results] == [shape_of(r) for r in made.op.results]
    assert [r.dtype for r in results] == [DTYPES[storage_of(r)] for r in made.op.results]
    assert all(isinstance(r, np.ndarray) for r in results)


@every_op
def test_example_gives_numbers(cls: type[TopOp]) -> None:
    made = sample(cls)
    assert all(np.isfinite(r).all() for r in run_op(made.op, list(made.arrays)))
    assert made.op.cost() >= 0


@every_op
def test_both_widths_agree(cls: type[TopOp]) -> None:
    narrow, wide = sample(cls, np.float32), sample(cls, np.float64)
    for a, b in zip(run_op(narrow.op, list(narrow.arrays)), run_op(wide.op, list(wide.arrays)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


@every_op
def test_text_reads_back_to_the_same_bytes(cls: type[TopOp]) -> None:
    text = print_module(sample(cls).program.module)
    assert print_module(parse_module(text)) == text


@every_op
def test_verifier_refuses_other_numbers_of_operands(cls: type[TopOp]) -> None:
    op = sample(cls).op
    first, attributes = op.operands[0], dict(op.attributes)
    counts = [0] if cls.inputs[-1].endswith("*") else [0, len(cls.inputs) + 1]
    for count in counts:
        wrong = cls.create(
            operands=[first] * count, result_types=[r.type for r in op.results],
            attributes=attributes, location=op.location,
        )  # fmt: skip
        with pytest.raises(VerifyException, match=f"has {count} operands, want"):
            wrong.verify(verify_nested_ops=False)


@every_op
def test_verifier_refuses_unknown_attributes(cls: type[TopOp]) -> None:
    op = sample(cls).op
    op.attributes["colour"] = UnitAttr()
    with pytest.raises(VerifyException, match="has no attribute colour"):
        op.verify(verify_nested_ops=False)


@every_op
def test_verifier_refuses_other_result_shapes(cls: type[TopOp]) -> None:
    op = sample(cls).op
    shape = shape_of(op.results[0])
    wrong = cls.create(
        operands=list(op.operands), result_types=[tensor((*shape, 1)), *(r.type for r in op.results[1:])],
        attributes=dict(op.attributes), location=op.location,
    )  # fmt: skip
    with pytest.raises(VerifyException, match="result has shape"):
        wrong.verify(verify_nested_ops=False)


MOVES = {name: cls for name, cls in OPS.items() if cls.kind is Kind.MOVE}


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int64, np.bool_])
@pytest.mark.parametrize("cls", MOVES.values(), ids=MOVES.keys())
def test_moves_keep_integers(cls: type[TopOp], dtype: type) -> None:
    made = sample(cls)
    whole = [np.rint(a) if a is not None and a.dtype.kind == "f" else a for a in made.arrays]
    stored = [a.astype(dtype) if a is not None and a.dtype.kind == "f" else a for a in whole]
    for result, expected in zip(run_op(made.op, stored), run_op(made.op, whole), strict=True):
        assert result.dtype == dtype
        np.testing.assert_array_equal(result, expected.astype(dtype))
