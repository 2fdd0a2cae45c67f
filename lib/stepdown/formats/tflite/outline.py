"""A TFLite model in outline, operators as they are: nothing is imported, so any operator will do.

Further graphs of a model (bodies of IF and WHILE, initialisation) are told as bodies of a node `SUBGRAPH` each.
"""

import math
from collections.abc import Callable, Mapping

from stepdown.formats.outline import Constant, Node, Outline, Value
from stepdown.formats.tflite.model import Model, Operator, Subgraph, Tensor


def outline_of_tflite(model: Model) -> Outline:
    """Return the graph of a model; a size that it leaves open is the one that it states beside that."""
    bodies = [node for number, graph in enumerate(model.subgraphs[1:], 1) for node in _body(graph, number)]
    main = model.main
    values = [_value(tensor) for tensor in main.tensors]
    nodes = [_node(operator, values, "") for operator in main.operators]
    facts = {"name": main.name, "producer": model.description, "schema": model.version, "open_axes": _open_axes(main)}
    return Outline(
        [values[i] for i in main.inputs],
        [values[i] for i in main.outputs],
        [*bodies, *nodes],
        facts={key: fact for key, fact in facts.items() if fact},
        typed=True,
    )


def _open_axes(graph: Subgraph) -> str:
    """Return which axes of the inputs the file leaves open."""
    tensors = (graph.tensors[i] for i in graph.inputs)
    return "; ".join(f"{t.name} {', '.join(map(str, t.open_axes))}" for t in tensors if t.open_axes)


def _body(graph: Subgraph, number: int) -> list[Node]:
    """Return the nodes of a further graph, and the one that stands for it: it reads what comes in and goes out."""
    region = f"/subgraph {number}"
    values = [_value(tensor) for tensor in graph.tensors]
    ends = {f"input {n}": values[i] for n, i in enumerate(graph.inputs)}
    ends |= {f"output {n}": values[i] for n, i in enumerate(graph.outputs)}
    owner = Node("SUBGRAPH", f"subgraph {number}", tuple(ends.values()), (), {"number": number}, tuple(ends))
    return [*(_node(operator, values, region) for operator in graph.operators), owner]


def _value(tensor: Tensor) -> Value:
    if tensor.array is None:
        return Value(tensor.name, tensor.shape, tensor.type, tensor.params)
    array = tensor.array
    return Constant(tensor.name, tensor.shape, tensor.type, tensor.params, load=lambda: array)


def _node(operator: Operator, values: list[Value], region: str) -> Node:
    operands = [values[i] if i >= 0 else None for i in operator.inputs]
    while operands and operands[-1] is None:
        operands.pop()
    results = tuple(values[i] for i in operator.outputs)
    attributes = dict(sorted(operator.options.items()))
    return Node(
        operator.op_type,
        results[0].name if results else operator.op_type,
        tuple(operands),
        results,
        attributes,
        stated=tuple(attributes),
        region=region,
        version=operator.version,
        macs=_macs(operator.op_type, tuple(operands), results),
    )


Cost = Callable[[tuple[Value | None, ...], tuple[Value, ...]], int | None]


def _macs(op: str, operands: tuple[Value | None, ...], results: tuple[Value, ...]) -> int | None:
    """Return the multiply-accumulates of an operator; None where its operands are not what they should be."""
    try:
        return _COSTS[op](operands, results) if op in _COSTS else 0
    except (IndexError, TypeError, AttributeError, ZeroDivisionError):  # an operand that is missing, a wrong shape
        return None


def _times(value: Value | None, factor: int) -> int | None:
    return None if value is None or value.count is None else value.count * factor


def _sizes(value: Value | None) -> tuple[int, ...]:
    """Return the sizes of a tensor. Raises AttributeError where there is none."""
    return tuple(int(size) for size in value.shape)  # type: ignore[arg-type,union-attr]


_COSTS: Mapping[str, Cost] = {
    # filter[O, KH, KW, I]: each result sums up KH·KW·I products
    "CONV_2D": lambda read, made: _times(made[0], math.prod(_sizes(read[1])[1:])),
    # filter[1, KH, KW, C]
    "DEPTHWISE_CONV_2D": lambda read, made: _times(made[0], math.prod(_sizes(read[1])[1:3])),
    # filter[O, KH, KW, I], the data is operand 2: each of its elements goes to O·KH·KW results
    "TRANSPOSE_CONV": lambda read, made: _times(read[2], math.prod(_sizes(read[1])[:3])),
    # filter[KD, KH, KW, I, O]
    "CONV_3D": lambda read, made: _times(made[0], math.prod(_sizes(read[1])[:4])),
    "FULLY_CONNECTED": lambda read, made: _times(made[0], _sizes(read[1])[-1]),
    "BATCH_MATMUL": lambda read, made: _times(made[0], math.prod(_sizes(read[0])[-2:]) // _sizes(made[0])[-2]),
}
