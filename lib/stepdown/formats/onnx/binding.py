"""A model as the user wants it: cut, every size fixed, in an operator set that we import."""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from stepdown.errors import InputError
from stepdown.files.npz import closest
from stepdown.formats.onnx.loader import Shape, bind_input_shapes, cut_outputs, forget_shapes, load_onnx, named
from stepdown.formats.onnx.loader import true_inputs as inputs_of
from stepdown.formats.onnx.versions import RELEASED, check_opset, modernised, opset_of, restate

if TYPE_CHECKING:
    import onnx


@dataclass(frozen=True)
class Wishes:
    """What the user asks of a model: input shapes in their order or by name, open sizes by name, other outputs."""

    shapes: Sequence[Shape] | Mapping[str, Shape] = ()
    dims: Mapping[str, int] = field(default_factory=dict)
    outputs: Sequence[str] = ()

    def as_json(self) -> dict[str, Any]:
        """Return the fields in plain types."""
        return asdict(self)


def open_onnx(path: str | os.PathLike[str], wishes: Wishes) -> "onnx.ModelProto":
    """Read a model and change it as wished; an old operator set is converted once the shapes are known.

    Raises:
        InputError: it cannot be read, or a wish does not fit it.
        UnsupportedModel: its operator set is not known or cannot be converted.
    """
    model = load_onnx(path)
    if wishes.outputs:
        cut_outputs(model, wishes.outputs)
    if wishes.shapes:
        bind_input_shapes(model, wishes.shapes)
    if wishes.dims:
        bind_dims(model, wishes.dims)
    with named(str(path)):
        check_opset(model)
        make_readable(model)
        return modernised(model)


def make_readable(model: "onnx.ModelProto") -> bool:
    """Change what onnxruntime refuses and ONNX allows, names and a version; tell whether anything was changed."""
    before = opset_of(model)
    renamed = tell_nodes_apart(model.graph)
    if before > RELEASED:
        restate(model)
    return renamed or opset_of(model) != before


def tell_nodes_apart(graph: "onnx.GraphProto") -> bool:
    """Clear the names that several nodes of a graph have: ONNX leaves names free, onnxruntime wants them unique.

    Returns whether there were such names.
    """
    changed = False
    names = Counter(node.name for node in graph.node)
    for node in graph.node:
        if node.name and names[node.name] > 1:
            node.ClearField("name")
            changed = True
        for attribute in node.attribute:
            if attribute.HasField("g"):
                changed |= tell_nodes_apart(attribute.g)
    return changed


def bind_dims(model: "onnx.ModelProto", sizes: Mapping[str, int]) -> None:
    """Fix the open sizes of the inputs that have a name; other shapes that the file states are dropped.

    Raises:
        InputError: no input has an open size of that name.
    """
    open_sizes = [d for v in inputs_of(model) for d in v.type.tensor_type.shape.dim if d.HasField("dim_param")]
    names = list(dict.fromkeys(d.dim_param for d in open_sizes))
    for name in sizes:
        if name not in names:
            what = f"no input has an open size '{name}'" + (f" (there are {', '.join(names)})" if names else "")
            raise InputError(what, "--dims", closest(name, names))
    for size in open_sizes:
        if size.dim_param in sizes:
            size.dim_value = sizes[size.dim_param]
    forget_shapes(model)
