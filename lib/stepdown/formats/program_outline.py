"""A program of either dialect as a graph."""

from collections.abc import Mapping

from xdsl.ir import SSAValue

from stepdown.dialects.op import TensorOp, value_name
from stepdown.dialects.program import Program, argument_name
from stepdown.dialects.types import is_none, quant_of, range_of, shape_of, storage_of
from stepdown.formats.outline import Constant, Node, Outline, Value

_FACTS = ("platform", "state", "weight_file", "weight_sha256")
_QUANTIZATION = ("mode", "chip", "profile", "asymmetric")
_SOURCES = (".Input", ".Weight", ".None")


def outline_of_program(program: Program) -> Outline:
    """Return the graph of `main`: inputs and weights are tensors, all else is a node, absent operands are None."""
    values: dict[SSAValue, Value] = {}
    for op in program.ops:
        for result in op.results:
            if not is_none(result):
                values[result] = _value(program, op, result)
    nodes = [_node(op, values) for op in program.ops if not op.name.endswith(_SOURCES)]
    return Outline(
        inputs=[values[op.results[0]] for op in program.input_ops],
        outputs=[values[v] for v in program.results],
        nodes=nodes,
        preprocessing=program.preprocessing,
        facts={"name": program.name, **{key: program[key] for key in _FACTS if program[key]}},
        quantization={key: program[key] for key in _QUANTIZATION if program[key]},
        typed=True,
    )


def _value(program: Program, op: TensorOp, result: SSAValue) -> Value:
    known = range_of(result)
    limits = (known.minimum, known.maximum) if known else None
    shape, kind, params = shape_of(result), storage_of(result), quant_of(result)
    if op.name.endswith(".Weight"):
        key: str = op.key  # type: ignore[attr-defined]
        return Constant(key, shape, kind, params, limits, load=lambda: program.weights[key])
    name = argument_name(op) if op.name.endswith(".Input") else value_name(result)
    return Value(name, shape, kind, params, limits)


def _node(op: TensorOp, values: Mapping[SSAValue, Value]) -> Node:
    operands = [values.get(v) for v in op.operands]
    while operands and operands[-1] is None:
        operands.pop()
    return Node(
        op.name,
        op.tensor_name,
        tuple(operands),
        tuple(values[v] for v in op.results),
        {name: getattr(op, name) for name in op.fields},
        port_names=_port_names(op.inputs),
        stated=tuple(op.attribute_values()),
        macs=op.cost(),
    )


def _port_names(inputs: tuple[str, ...]) -> dict[str, str]:
    return {str(i): name.rstrip("?") for i, name in enumerate(inputs) if not name.endswith("*")}
