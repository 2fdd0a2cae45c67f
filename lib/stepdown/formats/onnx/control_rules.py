"""Control flow that the import can follow: branches known from constants, loops of a known number of steps."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from xdsl.ir import SSAValue

from stepdown.dialects.top.move import Concat, Reshape, Slice
from stepdown.dialects.types import shape_of
from stepdown.formats.onnx.inner_graph import import_graph, named_outputs
from stepdown.formats.onnx.node import Node
from stepdown.formats.onnx.rules import refuse, rule

if TYPE_CHECKING:
    import onnx

MAX_STEPS = 1024
DATA_DEPENDENT = "control flow that depends on the network's inputs is not supported"

refuse(
    "sequences of tensors are not supported",
    "ConcatFromSequence", "SequenceAt", "SequenceConstruct", "SequenceEmpty", "SequenceErase", "SequenceInsert",
    "SequenceLength", "SequenceMap", "SplitToSequence",
)  # fmt: skip
refuse("optional values are not supported", "Optional")
refuse(
    "strings are not supported",
    "RegexFullMatch", "StringConcat", "StringNormalizer", "StringSplit",
)  # fmt: skip


@rule("If")
def if_(node: Node) -> Sequence[SSAValue]:
    """The branch that a constant condition chooses, in the node's place. Source: ONNX If-25."""
    branch = node.attribute("then_branch" if _condition(node, 0) else "else_branch")
    return named_outputs(node, import_graph(node, branch, [], "branch"))


@rule("Loop")
def loop(node: Node) -> Sequence[SSAValue]:
    """The body, once a step, as long as trip count and condition, both constant, say. Source: ONNX Loop-25."""
    body, limit, endless = node.attribute("body"), _trip_count(node), not node.has(1)
    carried = node.values()[2:]
    going, step = endless or _condition(node, 1), 0
    rows: list[list[SSAValue]] = [[] for _ in body.output[1 + len(carried) :]]
    while going and (limit is None or step < limit):
        _check_steps(node, step + 1)
        counters = [node.weight(np.array(step, np.int64), f"{step}/trip"), node.weight(np.array(True), "going")]
        condition, *made = import_graph(node, body, [*counters, *carried], str(step))
        carried, fresh = made[: len(carried)], made[len(carried) :]
        for row, value in zip(rows, fresh, strict=True):
            row.append(value)
        going, step = endless or _constant_condition(node, condition, step), step + 1
    declared = body.output[1 + len(carried) :]
    scanned = [_stack(node, row, 0, f"scan{i}", declared[i]) for i, row in enumerate(rows)]
    return named_outputs(node, [*carried, *scanned])


@rule("Scan")
def scan(node: Node) -> Sequence[SSAValue]:
    """The body, once a step along the scanned axes. Source: ONNX Scan-8, Scan-25."""
    if node.opset < 9:
        return named_outputs(node, _scan_batches(node))
    values = node.values()
    count = _scan_count(node, values)
    split = len(values) - count
    axes = _listed(node, "scan_input_axes", count)
    return named_outputs(node, _scan(node, values[:split], values[split:], axes, ""))


def _scan_batches(node: Node) -> list[SSAValue]:
    """Return what version 8 makes: the scan of each element of the batch, the first dimension, by itself."""
    if node.has(0):
        raise node.refuse("sequence lengths are not supported")
    values = node.values()[1:]
    count = _scan_count(node, values)
    split, made = len(values) - count, []
    for b in range(shape_of(values[0])[0]):
        one = [_slice(node, v, 0, b, f"batch{b}/{i}") for i, v in enumerate(values)]
        made.append(_scan(node, one[:split], one[split:], [0] * count, f"batch{b}/"))
    return [_stack(node, list(parts), 0, f"batches{i}") for i, parts in enumerate(zip(*made, strict=True))]


def _scan_count(node: Node, values: Sequence[SSAValue]) -> int:
    count = int(node.attribute("num_scan_inputs"))
    if not 0 < count <= len(values):
        raise node.refuse(f"scans {count} of {len(values)} operands")
    return count


def _scan(
    node: Node, carried: list[SSAValue], scanned: list[SSAValue], axes: list[int], label: str
) -> list[SSAValue]:  # fmt: skip
    """Return the last states and what every step puts out, stacked."""
    body: onnx.GraphProto = node.attribute("body")
    axes = [axis % len(shape_of(v)) for v, axis in zip(scanned, axes, strict=True)]
    lengths = {shape_of(v)[axis] for v, axis in zip(scanned, axes, strict=True)}
    if len(lengths) != 1:
        raise node.refuse(f"scans inputs of different lengths {sorted(lengths)}")
    (steps,) = lengths
    _check_steps(node, steps)
    states, ends = len(carried), len(body.output) - len(carried)
    backwards = _listed(node, "scan_input_directions" if node.opset >= 9 else "directions", len(scanned))
    rows: list[list[SSAValue]] = [[] for _ in range(ends)]
    for step in range(steps):
        at = [steps - 1 - step if turned else step for turned in backwards]
        parts = [
            _slice(node, v, axis, n, f"{label}{step}/input{i}")
            for i, (v, axis, n) in enumerate(zip(scanned, axes, at, strict=True))
        ]
        made = import_graph(node, body, [*carried, *parts], f"{label}{step}")
        carried = made[:states]
        for row, value in zip(rows, made[states:], strict=True):
            row.append(value)
    declared, turned = body.output[states:], _listed(node, "scan_output_directions", ends)
    return carried + [
        _stack(node, row[::-1] if turned[i] else row, axis, f"{label}scan{i}", declared[i])
        for i, (row, axis) in enumerate(zip(rows, _listed(node, "scan_output_axes", ends), strict=True))
    ]


def _listed(node: Node, name: str, count: int) -> list[int]:
    """Return an attribute that holds an integer for each of `count` tensors, 0 where it is absent."""
    found = [int(n) for n in node.attribute(name) or [0] * count]
    if len(found) != count:
        raise node.refuse(f"{name} has {len(found)} values, want {count}")
    return found


def _trip_count(node: Node) -> int | None:
    if not node.has(0):
        return None
    found = node.constant_or_none(0)
    if found is None:
        raise node.refuse(f"operand 0 ('{node.inputs[0]}') is not constant: {DATA_DEPENDENT}")
    return int(found.reshape(-1)[0])


def _condition(node: Node, index: int) -> bool:
    found = node.constant_or_none(index)
    if found is None:
        raise node.refuse(f"operand {index} ('{node.inputs[index]}') is not constant: {DATA_DEPENDENT}")
    if found.size != 1:
        raise node.refuse(f"the condition '{node.inputs[index]}' has shape {found.shape}, want one element")
    return bool(found.reshape(-1)[0])


def _constant_condition(node: Node, value: SSAValue, step: int) -> bool:
    found = node.graph.constant(value)
    if found is None or found.size != 1:
        raise node.refuse(f"the condition after step {step} is not constant: {DATA_DEPENDENT}")
    return bool(found.reshape(-1)[0])


def _check_steps(node: Node, steps: int) -> None:
    if steps > MAX_STEPS:
        raise node.refuse(f"more than {MAX_STEPS} steps are not unrolled")


def _slice(node: Node, value: SSAValue, axis: int, at: int, label: str) -> SSAValue:
    """Return the element `at` along `axis`, without that dimension."""
    shape = shape_of(value)
    starts, ends = [0] * len(shape), list(shape)
    starts[axis], ends[axis] = at, at + 1
    cut = node.part(f"{label}/cut", Slice, value, starts=starts, ends=ends, steps=[1] * len(shape))
    return node.part(label, Reshape, cut, shape=[*shape[:axis], *shape[axis + 1 :]])


def _stack(
    node: Node, values: list[SSAValue], axis: int, label: str, declared: "onnx.ValueInfoProto | None" = None
) -> SSAValue:  # fmt: skip
    """Return tensors of one shape along a new dimension; no tensors at all give what is `declared`, none of it."""
    if not values:
        return _nothing(node, label, declared)
    shape = shape_of(values[0])
    axis %= len(shape) + 1
    wide = [
        node.part(f"{label}/{i}", Reshape, v, shape=[*shape[:axis], 1, *shape[axis:]]) for i, v in enumerate(values)
    ]
    return node.part(label, Concat, *wide, axis=axis)


def _nothing(node: Node, label: str, declared: "onnx.ValueInfoProto | None") -> SSAValue:
    from onnx import helper

    kind = declared.type.tensor_type if declared is not None else None
    if kind is None or not kind.HasField("shape") or any(not d.HasField("dim_value") for d in kind.shape.dim):
        raise node.refuse("makes no step, and does not declare the shape of what it would collect")
    shape = [0, *(d.dim_value for d in kind.shape.dim)]
    return node.weight(np.zeros(shape, helper.tensor_dtype_to_np_dtype(kind.elem_type)), label)
