"""Writes TOP ops that look where in a window a value lies as ONNX nodes."""

from stepdown.formats.onnx.elementwise_writers import plain
from stepdown.formats.onnx.exporter import Written, writer


@writer("MaxPoolIndices")
def max_pool_indices(op: Written) -> None:
    """MaxPool, of which only the second output is used."""
    names = ("kernel_shape", "strides", "pads", "dilations", "ceil_mode")
    window = {n: plain(getattr(op.op, n)) for n in names}
    outputs = [op.part_name("largest"), op.name]
    op.draft.node("MaxPool", op.inputs, outputs, **window, storage_order=int(op.op.column_major))
