"""Reading ONNX files: clear errors, fixed input shapes, chosen outputs. Nothing here checks operators."""

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from stepdown.errors import InputError, StepError
from stepdown.files.npz import closest
from stepdown.formats.onnx.local_functions import inlined

if TYPE_CHECKING:
    import onnx

NARROW_BITS = {"int2": 2, "uint2": 2, "int4": 4, "uint4": 4, "float4_e2m1fn": 4}
"""Element types that share bytes, by their names in numpy."""
MAX_LOCATION = 1024
"""More letters than a path beside a model has."""

Model: TypeAlias = "onnx.ModelProto"
Shape = tuple[int, ...]


def load_onnx(path: str | os.PathLike[str]) -> "onnx.ModelProto":
    """Read a model with its external data; functions of its own are put in the place of their calls.

    Raises:
        InputError: no such file, not an ONNX model, truncated, or its data lies outside its own folder.
        UnsupportedModel: its functions come to too many nodes.
    """
    source = Path(path)
    if not source.is_file():
        raise InputError("is a directory" if source.is_dir() else "no such file", str(path), "give an .onnx file")
    model = _parse(source.read_bytes(), str(path))
    _load_external(model, source)
    with named(str(path)):
        return inlined(model)


@contextmanager
def named(path: str) -> Iterator[None]:
    """Let errors that say nothing of the file name it."""
    try:
        yield
    except StepError as error:
        if path in error.where or error.where.startswith("--"):
            raise
        raise type(error)(error.what, ": ".join(filter(None, [path, error.where])), error.fix) from error


def true_inputs(model: "onnx.ModelProto") -> "list[onnx.ValueInfoProto]":
    """Return the graph inputs that are not initializers (older models list those among the inputs)."""
    constants = {tensor.name for tensor in model.graph.initializer}
    return [value for value in model.graph.input if value.name not in constants]


def input_shape(value: "onnx.ValueInfoProto") -> tuple[int | None, ...]:
    """Return an input's shape, None for a size that is not fixed; 0 is one that the file states."""
    sizes = value.type.tensor_type.shape.dim
    return tuple(d.dim_value if d.HasField("dim_value") and d.dim_value >= 0 else None for d in sizes)


def bind_input_shapes(model: "onnx.ModelProto", shapes: Sequence[Shape] | Mapping[str, Shape]) -> None:
    """Fix the shapes of the true inputs, all in their order or some by name; other stated shapes are dropped.

    Raises:
        InputError: the number of shapes, a name or a rank is another one than the model's.
    """
    inputs = {value.name: value for value in true_inputs(model)}
    if isinstance(shapes, Mapping):
        wanted = shapes
    elif len(shapes) == len(inputs):
        wanted = dict(zip(inputs, shapes, strict=True))
    else:
        names = ", ".join(inputs) or "none"
        raise InputError(f"{len(shapes)} shapes for the {len(inputs)} inputs ({names})", "--input_shapes")
    for name, shape in wanted.items():
        if name not in inputs:
            raise InputError(f"there is no input '{name}'", "--input_shapes", closest(name, list(inputs)))
        _bind(inputs[name], shape)
    forget_shapes(model)


def forget_shapes(model: "onnx.ModelProto") -> None:
    """Drop what the file says of shapes inside the graph and of the sizes of its outputs: it may be stale."""
    del model.graph.value_info[:]
    for value in model.graph.output:
        for size in value.type.tensor_type.shape.dim:
            size.Clear()


def cut_outputs(model: "onnx.ModelProto", names: Sequence[str]) -> None:
    """Let the network end at the tensors `names`, given as in the file or as `<tensor>_<OpType>`.

    Raises:
        InputError: a tensor is not made in the graph.
    """
    import onnx

    made = {o: o for node in model.graph.node for o in node.output if o}
    made |= {f"{o}_{node.op_type}": o for node in model.graph.node for o in node.output if o}
    for name in names:
        if name not in made:
            raise InputError(f"no node makes the tensor '{name}'", "--output_names", closest(name, list(made)))
    inferred = onnx.shape_inference.infer_shapes(model).graph
    known = {value.name: value for value in (*inferred.output, *inferred.value_info)}
    wanted = [known.get(made[n]) or onnx.helper.make_empty_tensor_value_info(made[n]) for n in names]
    kept = [onnx.ValueInfoProto.FromString(value.SerializeToString()) for value in wanted]
    del model.graph.output[:]
    model.graph.output.extend(kept)
    _drop_unreached(model.graph)


def _parse(raw: bytes, where: str) -> "onnx.ModelProto":
    import onnx

    if not raw:
        raise InputError("is empty", where, "give an .onnx file")
    try:
        model = onnx.ModelProto.FromString(raw)
    except Exception:  # protobuf raises its own
        raise InputError("not an ONNX model, or truncated", where) from None
    if not model.HasField("graph") or not (model.opset_import or model.graph.node):
        raise InputError("not an ONNX model: it holds no graph", where)
    if faulty := next(_names_that_are_no_text(model), None):
        raise InputError(f"not an ONNX model, or damaged: the name {faulty!r} is not UTF-8", where)
    return model


def _names_that_are_no_text(message: Any) -> Iterator[bytes]:
    """Yield the strings of a message that are not UTF-8, which protobuf gives as bytes."""
    for field, value in message.ListFields():
        values = value if field.is_repeated else (value,)
        if field.cpp_type == field.CPPTYPE_MESSAGE:
            for inner in values:
                yield from _names_that_are_no_text(inner)
        elif field.type == field.TYPE_STRING:
            yield from (v for v in values if isinstance(v, bytes))


def _load_external(model: "onnx.ModelProto", source: Path) -> None:
    from onnx import external_data_helper as external

    stored = [t for t in external._get_all_tensors(model) if external.uses_external_data(t)]
    folder = source.resolve().parent
    for tensor in stored:
        where = f"{source}: tensor '{tensor.name}'"
        try:
            location = external.ExternalDataInfo(tensor).location
        except (ValueError, TypeError, AttributeError) as error:
            raise InputError(f"its place in an external file is malformed ({error})", where) from error
        _check_location(folder, location, where)
    try:
        for tensor in stored:
            external.load_external_data_for_tensor(tensor, str(folder))
            _check_length(tensor, f"{source}: tensor '{tensor.name}'")
            tensor.ClearField("data_location")
            del tensor.external_data[:]
    except StepError:
        raise
    except Exception as error:
        raise InputError(f"its external data cannot be read ({error})", str(source)) from error


def _check_location(folder: Path, location: str, where: str) -> None:
    if "\0" in location or len(location) > MAX_LOCATION:
        raise InputError("its data's file name is none", where)
    target = (folder / location).resolve()
    if not location or Path(location).is_absolute() or not target.is_relative_to(folder):
        raise InputError(f"its data lies outside the model's folder ('{location}')", where, "move it there")
    if not target.is_file():
        raise InputError(f"its data file '{location}' does not exist", where, "put it beside the model")


def _check_length(tensor: "onnx.TensorProto", where: str) -> None:
    """Raise InputError where a tensor was read with more or fewer bytes than its shape takes."""
    from onnx import helper

    kind = helper.tensor_dtype_to_np_dtype(tensor.data_type)
    bits = NARROW_BITS.get(kind.name, kind.itemsize * 8)
    held, wanted = len(tensor.raw_data), -(-math.prod(tensor.dims) * bits // 8)
    if held != wanted:
        raise InputError(f"its external data holds {held} bytes, want {wanted}", where, "is the file cut off?")


def _bind(value: "onnx.ValueInfoProto", shape: Shape) -> None:
    kind = value.type.tensor_type
    if kind.HasField("shape") and len(kind.shape.dim) != len(shape):
        stated = [d.dim_value or d.dim_param or "?" for d in kind.shape.dim]
        raise InputError(
            f"input '{value.name}' has {len(stated)} dimensions ({', '.join(map(str, stated))}), not {len(shape)}",
            "--input_shapes",
        )
    kind.shape.ClearField("dim")
    for size in shape:
        kind.shape.dim.add().dim_value = size


def _drop_unreached(graph: "onnx.GraphProto") -> None:
    """Remove the nodes, and the constants, that no output needs."""
    needed, kept = {value.name for value in graph.output}, []
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            kept.append(node)
            needed.update(node_reads(node))
    kept = [type(node).FromString(node.SerializeToString()) for node in reversed(kept)]
    constants = [tensor for tensor in graph.initializer if tensor.name in needed]
    del graph.node[:]
    graph.node.extend(kept)
    if len(constants) < len(graph.initializer):
        held = [type(tensor).FromString(tensor.SerializeToString()) for tensor in constants]
        del graph.initializer[:]
        graph.initializer.extend(held)


def node_reads(node: "onnx.NodeProto") -> set[str]:
    """Return the tensors that a node, or a graph inside it, reads."""
    found = set(node.input)
    for attribute in node.attribute:
        for graph in (attribute.g, *attribute.graphs):
            for inner in graph.node:
                found |= node_reads(inner)
            found.update(value.name for value in graph.output)
    return found
