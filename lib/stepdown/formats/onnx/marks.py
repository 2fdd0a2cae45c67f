"""What an exported model remembers of its tensors: which are internal, which are stored in another layout.

An ONNX model has no place for it but the model's metadata: a property `tensors`, JSON by tensor name.
"""

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stepdown.dialects.op import internal_of, layout_of, value_name
from stepdown.dialects.program import Program
from stepdown.errors import InputError

if TYPE_CHECKING:
    import onnx

_PROPERTY = "tensors"
_SOURCES = (".Input", ".Weight", ".None")


@dataclass(frozen=True)
class Mark:
    """`internal`: the source model has no such tensor; `layout`: the order that brings it to the source's layout."""

    internal: bool = False
    layout: tuple[int, ...] = ()


def write_marks(model: "onnx.ModelProto", program: Program) -> None:
    """Note the marks of the program's tensors in the model; of those without any nothing is written."""
    from onnx import helper

    values = [v for op in program.ops if not op.name.endswith(_SOURCES) for v in op.results]
    marks = {value_name(v): Mark(internal_of(v), layout_of(v)) for v in values}
    written = {name: _plain(mark) for name, mark in marks.items() if mark != Mark()}
    if written:
        helper.set_model_props(model, {_PROPERTY: json.dumps(written, sort_keys=True)})


def _plain(mark: Mark) -> dict[str, Any]:
    return {name: value for name, value in vars(mark).items() if value}


def read_marks(model: "onnx.ModelProto", source: str) -> dict[str, Mark]:
    """Return the marks by tensor name.

    Raises:
        InputError: the property is malformed.
    """
    text = next((p.value for p in model.metadata_props if p.key == _PROPERTY), "{}")
    try:
        read = {str(name): _mark(known) for name, known in json.loads(text).items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise InputError(f"its metadata '{_PROPERTY}' is malformed ({error})", source, "export it again") from None
    return read


def _mark(known: dict[str, Any]) -> Mark:
    order = tuple(map(int, known.get("layout", ())))
    if sorted(order) != list(range(len(order))):
        raise ValueError(f"layout {order} is no order")
    return Mark(bool(known.get("internal", False)), order)
