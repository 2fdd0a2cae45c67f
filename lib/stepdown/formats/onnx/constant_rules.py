"""Operators without data operands, or that look only at the shape of one: all become constants."""

import math

import numpy as np
from xdsl.ir import SSAValue

from stepdown.formats.onnx.cast_rules import dtype_named, stored_dtype
from stepdown.formats.onnx.node import Node
from stepdown.formats.onnx.rules import refuse, rule

MAX_CONSTANT_BYTES = 128 << 20
"""A few bytes of a model must not ask for more memory than this."""

refuse(
    "its result differs from run to run; make it an input of the model",
    "Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike",
)  # fmt: skip

# Attribute of Constant → the type it stands for; `value` is a tensor.
_TYPES = {"value_float": np.float32, "value_floats": np.float32, "value_int": np.int64, "value_ints": np.int64}


@rule("Constant")
def constant(node: Node) -> SSAValue:
    """Constant; its key is the tensor's own name, as that of an initializer. Source: ONNX Constant-25."""
    (name, value), *others = list(node.attributes.items()) or [("value", None)]
    known = name in _TYPES or (name == "value" and isinstance(value, np.ndarray))
    if others or not known:
        raise node.refuse(f"holds {', '.join(node.attributes) or 'nothing'}, want one of value, {', '.join(_TYPES)}")
    array = value if isinstance(value, np.ndarray) else np.array(value, _TYPES[name])
    return node.graph.weight(array, node.outputs[0])


@rule("ConstantOfShape")
def constant_of_shape(node: Node) -> SSAValue:
    """One value everywhere, float32 0 where none is given. Source: ONNX ConstantOfShape-25."""
    value = np.asarray(node.attribute("value", np.zeros(1, np.float32))).reshape(-1)
    shape = [int(n) for n in node.constant(0).reshape(-1)]
    if len(value) != 1 or any(n < 0 for n in shape):
        raise node.refuse(f"{len(value)} values, shape {shape}")
    return node.graph.weight(np.full(checked_sizes(node, shape, value.itemsize), value[0]), node.name)


@rule("Shape")
def shape(node: Node) -> SSAValue:
    """The sizes of the dimensions from `start` to before `end`. Source: ONNX Shape-25."""
    sizes = node.shape(0)[node.attribute("start", 0) : node.attribute("end")]
    return node.graph.weight(np.array(sizes, np.int64), node.name)


@rule("Size")
def size(node: Node) -> SSAValue:
    """The number of elements. Source: ONNX Size-25."""
    return node.graph.weight(np.array(math.prod(node.shape(0)), np.int64), node.name)


@rule("Range")
def range_(node: Node) -> SSAValue:
    """start, start + delta, … before limit, from constants. Source: ONNX Range-11."""
    start, limit, delta = (node.constant(i).reshape(-1)[0] for i in range(3))
    if delta == 0:
        raise node.refuse("delta is 0")
    count = max(0, math.ceil((limit.item() - start.item()) / delta.item()))
    checked_sizes(node, [count], 8)
    return node.graph.weight(start + np.arange(count).astype(start.dtype) * delta, node.name)


@rule("EyeLike")
def eye_like(node: Node) -> SSAValue:
    """1 on diagonal k of a matrix as large as the operand, 0 elsewhere. Source: ONNX EyeLike-22."""
    if len(node.shape(0)) != 2:
        raise node.refuse(f"{node.shape(0)} is not a matrix")
    rows, columns = checked_sizes(node, node.shape(0), 8)
    wanted = node.attribute("dtype")
    dtype = dtype_named(node, wanted) if wanted else stored_dtype(node.storage(0))
    return node.graph.weight(np.eye(rows, columns, node.attribute("k", 0), dtype), node.name)


def checked_sizes(node: Node, sizes: "list[int] | tuple[int, ...]", itemsize: int) -> list[int]:
    """Return the sizes of a constant.

    Raises:
        UnsupportedModel: it would be too large, or a size is negative.
    """
    if min(sizes, default=0) < 0:
        raise node.refuse(f"shape {list(sizes)}")
    wanted = math.prod(sizes) * itemsize
    if wanted > MAX_CONSTANT_BYTES or not node.graph.program.weights.may_grow(wanted):
        raise node.refuse(f"a constant of shape {list(sizes)} takes too much memory: {wanted} bytes")
    return list(sizes)
