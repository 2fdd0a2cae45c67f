"""Writes ops that put images together from parts of others as ONNX nodes."""

from stepdown.formats.onnx.exporter import Written, writer


@writer("Col2Im")
def col2im(op: Written) -> None:
    """Col2Im with both shapes as operands."""
    shapes = [op.constant(name, getattr(op.op, name)) for name in ("image_shape", "block_shape")]
    given = {name: getattr(op.op, name) for name in ("strides", "dilations", "pads")}
    op.emit("Col2Im", op.inputs[0], *shapes, **given)


@writer("DeformConv")
def deform_conv(op: Written) -> None:
    """DeformConv."""
    names = ("strides", "pads", "dilations", "group", "offset_group")
    given = {name: getattr(op.op, name) for name in names}
    while not op.inputs[-1]:
        op.inputs.pop()
    op.emit("DeformConv", *op.inputs, **given)
