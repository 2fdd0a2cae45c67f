"""A few ops of a program as a program of their own: what reproduces a fault on a handful of tensors."""

from collections.abc import Collection, Sequence

from xdsl.ir import SSAValue

from stepdown.diagnosis.reference import root_name
from stepdown.dialects.op import TensorOp, layout_of, value_name
from stepdown.dialects.program import Program
from stepdown.dialects.types import is_none, quant_of, shape_of, storage_of, tensor

_KEPT = ("platform", "state", "chip", "mode", "profile", "asymmetric")


def cut(program: Program, ops: Collection[TensorOp], results: Sequence[SSAValue], name: str) -> Program:
    """Return a program of `ops`, which returns `results`; what they read from outside become inputs.

    An input has the name of the source model's tensor and is f32 where that is of reals: a lowered program casts it to
    the type that its reader wants. Weights and absent operands come along.
    """
    chosen = [op for op in program.ops if op in set(ops)]
    entries = _entries(chosen)
    types = {root_name(v): _outside_type(v) for v in entries}
    made = Program.empty(name, types, program["platform"])
    made.weights, made.path = program.weights, program.path
    for key in _KEPT:
        if program[key]:
            made[key] = program[key] == "true" if key == "asymmetric" else program[key]
    mapped = _inputs(program, made, entries, list(types))
    for op in chosen:
        _copy(op, made, mapped)
    made.finish([mapped[value] for value in results])
    return made


def _entries(ops: Sequence[TensorOp]) -> list[SSAValue]:
    """Return the values that `ops` read from outside, constants left out."""
    inside = set(ops)
    read = dict.fromkeys(v for op in ops for v in op.operands if v.owner not in inside)
    return [v for v in read if not is_constant(v)]


def is_constant(value: SSAValue) -> bool:
    """Tell whether a value is a weight or absent."""
    return is_none(value) or (isinstance(value.owner, TensorOp) and value.owner.name.endswith(".Weight"))


def _outside_type(value: SSAValue):  # type: ignore[no-untyped-def]
    storage = storage_of(value)
    real = quant_of(value) is not None or storage in ("f16", "bf16")
    return tensor(shape_of(value), "f32" if real else storage)


def _inputs(
    program: Program, made: Program, entries: Sequence[SSAValue], names: Sequence[str]
) -> dict[SSAValue, SSAValue]:
    """Add an input for every name, and the casts that bring it to each entry's type; returns entry → new value."""
    lowered = any(op.name.startswith("tpu.") for op in program.ops)
    kind = _input_class(lowered)
    values = {}
    for name, argument in zip(names, made.block.args, strict=True):
        values[name] = made.add(kind.build(name, [argument]))
    mapped = {}
    for value in entries:
        given = values[root_name(value)]
        mapped[value] = given if given.type == value.type else _cast(made, value, given)
    return mapped


def _input_class(lowered: bool) -> type[TensorOp]:
    from stepdown.dialects.top import TOP_OPS
    from stepdown.dialects.tpu import TPU_OPS

    return TPU_OPS["Input"] if lowered else TOP_OPS["Input"]


def _cast(made: Program, value: SSAValue, given: SSAValue) -> SSAValue:
    from stepdown.dialects.tpu import Convert

    op = Convert.create(operands=[given], result_types=[value.type])
    op.location = value.owner.location if value_name(value) == root_name(value) else _named(value)  # type: ignore[union-attr]
    return made.add(op)


def _named(value: SSAValue):  # type: ignore[no-untyped-def]
    from stepdown.dialects.op import location

    return location([value_name(value)], internal=True, layouts=[layout_of(value)])


def _copy(op: TensorOp, made: Program, mapped: dict[SSAValue, SSAValue]) -> None:
    """Append a copy of an op, its constants first."""
    for value in op.operands:
        if value not in mapped:
            assert isinstance(value.owner, TensorOp)
            constant = value.owner.clone()
            constant.location = value.owner.location
            mapped[value] = made.add(constant)
    copied = op.clone(value_mapper=dict(mapped))
    copied.location = op.location
    made.add(copied)
    mapped.update(zip(op.results, copied.results, strict=True))
