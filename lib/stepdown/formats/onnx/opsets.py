"""A written model in an older or a newer operator set.

The writers write one operator set. What an older one says in another way is rewritten; what it cannot say is refused.
"""

from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from stepdown.errors import InputError, UnsupportedModel
from stepdown.formats.onnx.attributes import attribute_value

if TYPE_CHECKING:
    import onnx

LEAST = 10
"""QuantizeLinear is as old as that, and Slice has its bounds as operands."""


class Rewrite:
    """A model on its way into another operator set."""

    def __init__(self, model: "onnx.ModelProto", opset: int) -> None:
        from onnx import numpy_helper, shape_inference

        self.opset, self.graph = opset, model.graph
        self.written = model.opset_import[0].version
        held = [t for t in model.graph.initializer if not t.external_data]
        self.arrays = {t.name: numpy_helper.to_array(t) for t in held}
        inferred = shape_inference.infer_shapes(model).graph
        known = (*inferred.value_info, *inferred.input, *inferred.output)
        self.ranks = {v.name: len(v.type.tensor_type.shape.dim) for v in known}
        self.ranks |= {name: array.ndim for name, array in self.arrays.items()}
        self.nodes: list[onnx.NodeProto] = []
        self.refused: Counter[str] = Counter()

    def run(self) -> None:
        """Rewrite every node; note what cannot be said."""
        for node in self.graph.node:
            self._rewrite(node)
        del self.graph.node[:]
        self.graph.node.extend(self.nodes)

    def add(self, node: "onnx.NodeProto") -> None:
        """Append a node."""
        self.nodes.append(node)

    def constant(self, name: str, array: np.ndarray) -> str:
        """Add a constant and return its name."""
        from onnx import numpy_helper

        self.graph.initializer.append(numpy_helper.from_array(array, name))
        return name

    def refuse(self, what: str) -> None:
        """Note something that the operator set cannot say."""
        self.refused[what] += 1

    def _rewrite(self, node: "onnx.NodeProto") -> None:
        for below, adapt in ADAPTERS.get(node.op_type, ()):
            if self.opset < below and adapt(self, node):
                return
        self._check(node)
        self.add(node)

    def _check(self, node: "onnx.NodeProto") -> None:
        """Drop attributes that say what goes without saying; note what the operator set does not have."""
        from onnx import defs

        try:
            schema = defs.get_schema(node.op_type, self.opset, node.domain)
        except defs.SchemaError:
            self.refuse(f"{node.op_type} (needs {defs.get_schema(node.op_type, self.written).since_version})")
            return
        for attribute in [a for a in node.attribute if a.name not in schema.attributes]:
            if not self._goes_without_saying(node, attribute):
                self.refuse(f"{node.op_type} with {attribute.name}")
            node.attribute.remove(attribute)
        if len(node.input) > schema.max_input:
            self.refuse(f"{node.op_type} of {len(node.input)} operands")

    def _goes_without_saying(self, node: "onnx.NodeProto", attribute: "onnx.AttributeProto") -> bool:
        from onnx import defs

        declared = defs.get_schema(node.op_type, self.written).attributes[attribute.name].default_value
        value = attribute_value(attribute)
        if attribute.name == "dilations":
            return set(value) <= {1}
        return bool(declared.name) and value == attribute_value(declared)


def at_opset(model: "onnx.ModelProto", opset: int) -> "onnx.ModelProto":
    """Return the model in operator set `opset`.

    Raises:
        InputError: there is no such operator set.
        UnsupportedModel: names all operators that it does not have, or not in this form.
    """
    from onnx import defs, helper

    if not LEAST <= opset <= defs.onnx_opset_version():
        raise InputError(f"is {opset}, want {LEAST} to {defs.onnx_opset_version()}", "--opset")
    if opset == model.opset_import[0].version:
        return model
    work = Rewrite(model, opset)
    work.run()
    if work.refused:
        listed = ", ".join(f"{what} ×{count}" for what, count in sorted(work.refused.items()))
        raise UnsupportedModel(f"operator set {opset} cannot say: {listed}", fix="choose a newer --opset")
    model.opset_import[0].version = opset
    model.ir_version = helper.find_min_ir_version_for(list(model.opset_import))
    _check_types(model, opset)
    return model


def _check_types(model: "onnx.ModelProto", opset: int) -> None:
    """Check that the operator set has every operator for the types it is used with.

    Raises:
        UnsupportedModel: it has not.
    """
    from onnx import shape_inference

    try:
        shape_inference.infer_shapes(model, check_type=True, strict_mode=True)
    except Exception as error:  # onnx raises its own
        reason = " ".join(str(error).split())[:200]
        raise UnsupportedModel(f"operator set {opset} cannot say it: {reason}", fix="choose a newer --opset") from None


# --- operators that an older operator set writes in another way; true where nothing is left to do

Adapter = Callable[[Rewrite, Any], bool]


def _operand_to_attribute(index: int, name: str, scalar: bool = False) -> Adapter:
    """Return what turns constant operand `index` into an attribute."""

    def adapt(work: Rewrite, node: "onnx.NodeProto") -> bool:
        from onnx import helper

        if len(node.input) <= index or not node.input[index]:
            return False
        array = work.arrays[node.input[index]]
        value = array.item() if scalar else [int(v) for v in array.reshape(-1)]
        node.attribute.append(helper.make_attribute(name, value))
        if index == len(node.input) - 1:
            del node.input[index]
        else:
            node.input[index] = ""
        return False

    return adapt


def _clip(work: Rewrite, node: "onnx.NodeProto") -> bool:
    for index, name in ((2, "max"), (1, "min")):
        _operand_to_attribute(index, name, True)(work, node)
    return False


def _pad(work: Rewrite, node: "onnx.NodeProto") -> bool:
    _operand_to_attribute(2, "value", True)(work, node)
    return _operand_to_attribute(1, "pads")(work, node)


def _reshape(work: Rewrite, node: "onnx.NodeProto") -> bool:
    """A 0 in the shape would mean another thing without `allowzero`."""
    shape = work.arrays.get(node.input[1])
    if shape is not None and (shape != 0).all():
        _drop(node, "allowzero")
    return False


def _softmax(work: Rewrite, node: "onnx.NodeProto") -> bool:
    """Along the last dimension, older versions mean the same."""
    rank, axis = work.ranks[node.input[0]], _attribute(node, "axis", -1)
    if axis % rank != rank - 1:
        work.refuse(f"{node.op_type} along another dimension than the last")
    _drop(node, "axis")
    from onnx import helper

    node.attribute.append(helper.make_attribute("axis", rank - 1))
    return False


def _resize(work: Rewrite, node: "onnx.NodeProto") -> bool:
    """Resize-11 wants an operand `roi`, empty where it is not used; and scales before sizes."""
    if work.opset < 11:
        work.refuse("Resize (needs 11)")
    empty = f"{node.output[0]}/onnx:empty"
    for index in (1, 2):
        if index < len(node.input) and not node.input[index]:
            node.input[index] = work.constant(f"{empty}{index}", np.zeros(0, np.float32))
    return False


def _by_channel(work: Rewrite, node: "onnx.NodeProto") -> bool:
    """DequantizeLinear by channel: (q − zero_point) × scale in single steps."""
    from onnx import helper

    scale = work.arrays[node.input[1]]
    if scale.ndim == 0:
        return False
    if node.op_type == "QuantizeLinear":
        work.refuse("QuantizeLinear by channel")
        return False
    name, rank = node.output[0], work.ranks[node.input[0]]
    shape = [1] * rank
    shape[_attribute(node, "axis", 1)] = -1
    zeros = work.arrays[node.input[2]].astype(np.float32).reshape(shape)
    factor = work.constant(f"{name}/onnx:factor", scale.reshape(shape))
    work.add(helper.make_node("Cast", [node.input[0]], [f"{name}/onnx:float"], to=1))
    centred = f"{name}/onnx:float"
    if zeros.any():
        centred = f"{name}/onnx:centred"
        work.add(helper.make_node("Sub", [f"{name}/onnx:float", work.constant(f"{name}/onnx:zeros", zeros)], [centred]))
    work.add(helper.make_node("Mul", [centred, factor], [name]))
    return True


def _bilinear(work: Rewrite, node: "onnx.NodeProto") -> bool:
    """GridSample-16 has other names for its modes."""
    old = {"linear": b"bilinear", "cubic": b"bicubic"}
    for attribute in node.attribute:
        if attribute.name == "mode":
            attribute.s = old.get(attribute.s.decode(), attribute.s)
    return False


def _refuse_below(needed: int) -> Adapter:
    """Return what refuses an operator that means another thing in older versions."""

    def adapt(work: Rewrite, node: "onnx.NodeProto") -> bool:
        work.refuse(f"{node.op_type} (needs {needed})")
        return False

    return adapt


def _attribute(node: "onnx.NodeProto", name: str, default: Any) -> Any:
    return next((attribute_value(a) for a in node.attribute if a.name == name), default)


def _drop(node: "onnx.NodeProto", name: str) -> None:
    for attribute in [a for a in node.attribute if a.name == name]:
        node.attribute.remove(attribute)


_REDUCTIONS = (
    "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd",
    "ReduceSumSquare",
)  # fmt: skip
ADAPTERS: dict[str, tuple[tuple[int, Adapter], ...]] = {
    **dict.fromkeys(_REDUCTIONS, ((18, _operand_to_attribute(1, "axes")),)),
    **dict.fromkeys(("Softmax", "LogSoftmax", "Hardmax"), ((13, _softmax),)),
    **dict.fromkeys(("QuantizeLinear", "DequantizeLinear"), ((13, _by_channel),)),
    "Clip": ((11, _clip),),
    "GridSample": ((20, _bilinear),),
    "GroupNormalization": ((21, _refuse_below(21)),),
    "Pad": ((11, _pad),),
    "ReduceSum": ((13, _operand_to_attribute(1, "axes")),),
    "Reshape": ((14, _reshape),),
    "Resize": ((13, _resize),),
    "Split": ((13, _operand_to_attribute(1, "split")),),
}
"""By operator, the operator sets below which it is written in another way, and how."""
