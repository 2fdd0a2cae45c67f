"""Writes TOP ops that move and pick elements as ONNX nodes."""

import numpy as np

from stepdown.dialects.types import DTYPES, storage_of
from stepdown.errors import UnsupportedModel
from stepdown.formats.onnx.elementwise_writers import plain
from stepdown.formats.onnx.exporter import WRITERS, Writer, Written, writer

# TOP op → ONNX operator, and TOP attribute → ONNX attribute.
ROWS: dict[str, tuple[str, dict[str, str]]] = {
    "Transpose": ("Transpose", {"order": "perm"}),
    "Concat": ("Concat", {"axis": "axis"}),
    "DepthToSpace": ("DepthToSpace", {"block_size": "blocksize", "mode": "mode"}),
    "ReverseSequence": ("ReverseSequence", {"batch_axis": "batch_axis", "time_axis": "time_axis"}),
    "Gather": ("Gather", {"axis": "axis"}),
    "GatherElements": ("GatherElements", {"axis": "axis"}),
    "GatherND": ("GatherND", {"batch_dims": "batch_dims"}),
    "ScatterElements": ("ScatterElements", {"axis": "axis", "reduction": "reduction"}),
    "ScatterND": ("ScatterND", {"reduction": "reduction"}),
    "ArgMax": ("ArgMax", {n: n for n in ("axis", "keepdims", "select_last_index")}),
    "ArgMin": ("ArgMin", {n: n for n in ("axis", "keepdims", "select_last_index")}),
    "GridSample": ("GridSample", {n: n for n in ("mode", "padding_mode", "align_corners")}),
    "RoiAlign": (
        "RoiAlign",
        {
            n: n
            for n in (
                "mode", "coordinate_transformation_mode", "output_height", "output_width", "sampling_ratio",
                "spatial_scale",
            )
        },
    ),
}  # fmt: skip
# TOP op → the attribute that is a constant operand in ONNX.
BY_CONSTANT = {"Reshape": "shape", "Expand": "shape", "Tile": "repeats"}


def _row(op_type: str, attributes: dict[str, str]) -> Writer:
    def write(op: Written) -> None:
        op.emit(op_type, *op.inputs, **{theirs: plain(getattr(op.op, ours)) for ours, theirs in attributes.items()})

    return write


WRITERS.update({name: _row(*row) for name, row in ROWS.items()})


@writer(*BY_CONSTANT)
def by_constant(op: Written) -> None:
    """Reshape, Expand, Tile."""
    name = type(op.op).__name__
    attributes = {"allowzero": 1} if name == "Reshape" else {}
    label = BY_CONSTANT[name]
    op.emit(name, op.inputs[0], op.constant(label, getattr(op.op, label)), **attributes)


@writer("Slice")
def slice_(op: Written) -> None:
    """Slice of every dimension; an end before the first element is far below 0."""
    ends = [end if end >= 0 else -(1 << 62) for end in op.op.ends]
    columns = {"starts": op.op.starts, "ends": ends, "axes": range(len(ends)), "steps": op.op.steps}
    op.emit("Slice", op.inputs[0], *(op.constant(label, list(values)) for label, values in columns.items()))


@writer("Split")
def split(op: Written) -> None:
    """Split into parts of given sizes."""
    op.emit("Split", op.inputs[0], op.constant("sizes", op.op.sizes), axis=op.op.axis)


@writer("Pad")
def pad(op: Written) -> None:
    """Pad; the value has the type of the operand."""
    kind = storage_of(op.op.operands[0])
    value = op.constant("value", op.op.value, np.float16 if kind == "f16" else DTYPES[kind])
    op.emit("Pad", op.inputs[0], op.constant("pads", op.op.pads), value, mode=op.op.mode)


@writer("SpaceToDepth")
def space_to_depth(op: Written) -> None:
    """SpaceToDepth; ONNX knows one order of it up to opset 21."""
    if op.op.mode != "DCR":
        raise UnsupportedModel(f"SpaceToDepth with mode {op.op.mode} cannot be written as ONNX", op.name)
    op.emit("SpaceToDepth", op.inputs[0], blocksize=op.op.block_size)


@writer("Trilu")
def trilu(op: Written) -> None:
    """Trilu."""
    op.emit("Trilu", op.inputs[0], op.constant("k", op.op.k), upper=int(op.op.upper))


@writer("TopK")
def top_k(op: Written) -> None:
    """TopK."""
    op.emit("TopK", op.inputs[0], op.constant("k", [op.op.k]), axis=op.op.axis, largest=int(op.op.largest))


@writer("OneHot")
def one_hot(op: Written) -> None:
    """OneHot."""
    op.emit("OneHot", op.inputs[0], op.constant("depth", op.op.depth), op.inputs[1], axis=op.op.axis)


@writer("CumSum")
def cumulative(op: Written) -> None:
    """CumSum."""
    axis = op.constant("axis", op.op.axis)
    op.emit("CumSum", op.inputs[0], axis, exclusive=int(op.op.exclusive), reverse=int(op.op.reverse))


@writer("Resize", "ResizeNearest")
def resize(op: Written) -> None:
    """Resize: by scales where they give the shape, else by sizes."""
    top = op.op
    attributes = {"coordinate_transformation_mode": top.coordinate_transformation_mode}
    if type(top).__name__ == "ResizeNearest":
        attributes |= {"mode": "nearest", "nearest_mode": top.nearest_mode}
    else:
        attributes |= {n: plain(getattr(top, n)) for n in ("mode", "cubic_coeff_a", "exclude_outside", "antialias")}
    roi = op.constant("roi", top.roi, np.float32) if top.roi else ""
    shape = op.op.operands[0].type.get_shape()
    scaled = [int(np.floor(np.float32(s) * np.float32(n))) for s, n in zip(top.scales, shape, strict=True)]
    sizes = (
        (op.constant("scales", top.scales, np.float32),)
        if scaled == list(top.shape)
        else ("", op.constant("sizes", top.shape))
    )
    op.emit("Resize", op.inputs[0], roi, *sizes, extrapolation_value=top.extrapolation_value, **attributes)
