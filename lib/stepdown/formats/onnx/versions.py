"""Operator sets: which we know, and old ones brought up by onnx's converter, in a child process that may die.

python -m stepdown.formats.onnx.versions IN.onnx OUT.onnx
"""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from stepdown.errors import StepError, UnsupportedModel
from stepdown.files.child import environment, limit_process
from stepdown.formats.onnx.rules import DEFAULT_DOMAINS

if TYPE_CHECKING:
    import onnx

OLDEST, NEWEST = 7, 28
"""The versions of the default operator set that rules are written for."""
RELEASED = 26
"""The newest version that onnxruntime 1.31 reads."""
WITHOUT_AXIS = 7
"""From this version on operands are broadcast from the right, no longer from an attribute `axis` on."""
TIME_LIMIT_S = 120.0


def opset_of(model: "onnx.ModelProto") -> int:
    """Return the version of the default operator set, 1 where the file says none."""
    return max((o.version for o in model.opset_import if o.domain in DEFAULT_DOMAINS), default=1)


def check_opset(model: "onnx.ModelProto") -> None:
    """Raise UnsupportedModel where the operator set is newer than those we know: operators may mean other things."""
    if opset_of(model) > NEWEST:
        raise UnsupportedModel(
            f"is written in operator set {opset_of(model)}, we know those up to {NEWEST}",
            fix="export it in an older one",
        )


def modernised(model: "onnx.ModelProto") -> "onnx.ModelProto":
    """Return a model in operator set 7 or newer: itself, or what onnx's version converter makes of it.

    Raises:
        UnsupportedModel: the operator set is not known, or the converter fails.
    """
    check_opset(model)
    if opset_of(model) >= OLDEST:
        return model
    with tempfile.TemporaryDirectory(prefix="stepdown_versions_") as folder:
        source, target = Path(folder) / "old.onnx", Path(folder) / "new.onnx"
        source.write_bytes(model.SerializeToString())
        problem = _convert(source, target)
        if not problem:
            return _read(target, opset_of(model))
    raise _failed(opset_of(model), problem)


def restate(model: "onnx.ModelProto") -> None:
    """Lower the stated version as far as every operator keeps its meaning, to one that onnxruntime reads.

    A model with operators of a newer set, or that nobody knows, is left alone.
    """
    from onnx import defs

    opset = opset_of(model)
    used = {node.op_type for node in _all_nodes(model.graph) if node.domain in DEFAULT_DOMAINS}
    if opset > NEWEST or any(not defs.has(op) for op in used):
        return
    needed = max((defs.get_schema(op, opset).since_version for op in used), default=OLDEST)
    for stated in model.opset_import:
        if stated.domain in DEFAULT_DOMAINS and needed <= RELEASED:
            stated.version = max(needed, OLDEST)


def _all_nodes(graph: "onnx.GraphProto") -> "Iterator[onnx.NodeProto]":
    """Yield the nodes of a graph and of all graphs inside them."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                yield from _all_nodes(inner)


def _read(path: Path, old: int) -> "onnx.ModelProto":
    from stepdown.formats.onnx.loader import load_onnx

    try:
        return load_onnx(path)
    except StepError as error:
        raise _failed(old, error.what) from error


def _failed(old: int, problem: str) -> UnsupportedModel:
    what = f"is written in operator set {old}, which onnx cannot convert to {OLDEST} ({problem})"
    return UnsupportedModel(what, fix=f"export it in operator set {OLDEST} or newer")


def _convert(source: Path, target: Path) -> str:
    """Run the converter; return what went wrong, '' where nothing did."""
    command = [sys.executable, "-m", __name__, str(source), str(target)]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=TIME_LIMIT_S,
            cwd=source.parent, env=environment(), check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return f"it took longer than {TIME_LIMIT_S:g} s"
    if done.returncode < 0:
        return f"it was ended by signal {-done.returncode}"
    last = [line.strip() for line in done.stderr.splitlines() if line.strip()][-1:]
    return "".join(last)[:200] or f"exit code {done.returncode}" if done.returncode else ""


def _child(source: str, target: str) -> None:
    import onnx
    from onnx.shape_inference import infer_shapes
    from onnx.version_converter import convert_version

    limit_process(Path(source).stat().st_size)
    model = onnx.load(source)
    model.ir_version = max(model.ir_version, 3)
    for version in range(opset_of(model) + 1, OLDEST + 1):  # one by one: each step needs the shapes of the one before
        model = infer_shapes(model)
        if version == WITHOUT_AXIS:
            try:
                align_second_operands(model)
            except UnsupportedModel as error:
                sys.exit(error.what)
        model = convert_version(model, version)
    onnx.save(model, target)


def align_second_operands(model: "onnx.ModelProto") -> None:
    """Give each second operand that is broadcast from `axis` on, as in set 6, dimensions of one element behind its own.

    With shapes (2, 3, 4, 5) and (3) and `axis` 1, the second becomes (3, 1, 1), which needs no `axis`. onnx's converter
    adds as many dimensions as the first operand has more, which is right for `axis` 0 alone. Source: ONNX Add-6.

    Raises:
        UnsupportedModel: the shapes are not known.
    """
    ranks, nodes = _ranks(model.graph), []
    for node in model.graph.node:
        axis = _second_operand_axis(node)
        if axis is not None:
            nodes += _aligned(node, axis, ranks)
        nodes.append(node)
    kept = [type(node).FromString(node.SerializeToString()) for node in nodes]
    del model.graph.node[:]
    model.graph.node.extend(kept)


def _ranks(graph: "onnx.GraphProto") -> dict[str, int]:
    known = (*graph.input, *graph.value_info, *graph.output)
    shapes = {v.name: v.type.tensor_type.shape for v in known if v.type.tensor_type.HasField("shape")}
    constants = {tensor.name: len(tensor.dims) for tensor in graph.initializer}
    return {name: len(shape.dim) for name, shape in shapes.items()} | constants


def _aligned(node: "onnx.NodeProto", axis: int, ranks: dict[str, int]) -> "list[onnx.NodeProto]":
    """Let a node read its second operand with more dimensions; return what adds them."""
    from onnx import helper

    if not all(name in ranks for name in node.input):
        raise UnsupportedModel(f"the shapes of what {node.op_type} of '{node.output[0]}' reads are not known")
    first, second = (ranks[name] for name in node.input)
    behind = list(range(second, first - (axis + first if axis < 0 else axis)))
    if not behind:
        return []
    name = f"{node.output[0]}/{node.input[1]}"
    made = helper.make_node("Unsqueeze", [node.input[1]], [name], axes=behind)
    node.input[1] = name
    return [made]


def _second_operand_axis(node: "onnx.NodeProto") -> int | None:
    """Take the attribute `axis` off an operator that broadcasts its second operand; None where it has none."""
    found = {attribute.name: attribute for attribute in node.attribute}
    if "broadcast" not in found or "axis" not in found or len(node.input) != 2:
        return None
    node.attribute.remove(found["axis"])
    return found["axis"].i if found["broadcast"].i else None


if __name__ == "__main__":
    _child(sys.argv[1], sys.argv[2])
