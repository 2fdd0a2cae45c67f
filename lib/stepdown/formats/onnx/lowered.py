"""Writes the ops of a lowered module: each as the float operator between casts of its operands and of its result.

An integer tensor X has the real numbers X/onnx:real behind a DequantizeLinear, a 16-bit one behind a Cast; what the
operator computes, X/onnx:computed, passes through a QuantizeLinear or Cast. onnxruntime knows this form and makes
integer kernels of it.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from xdsl.ir import Attribute, Block, SSAValue

from stepdown.dialects.op import Kind, TensorOp, layout_of, value_name
from stepdown.dialects.program import Program, argument_name
from stepdown.dialects.top import TOP_OPS
from stepdown.dialects.top.source import Weight
from stepdown.dialects.tpu import Convert, Lut, Rescale
from stepdown.dialects.types import is_none, quant_of, shape_of, storage_of, tensor
from stepdown.formats.onnx.exporter import ELEMENT_TYPES, WRITERS, Draft, Written, operand_name
from stepdown.formats.onnx.quantize_writers import scale_constants
from stepdown.numerics.quantize import QuantParams, dequantize

if TYPE_CHECKING:
    import onnx

FLOAT = ELEMENT_TYPES["f32"]
HALVES = ("f16", "bf16")


class Lowered(Written):
    """A lowered op, seen as the float op that it computes: operands and results are the real numbers."""

    def __init__(self, op: Any, reals: "Reals") -> None:
        self.draft, self.source = reals.draft, op
        self.names = [f"{value_name(v)}/onnx:computed" if _is_stored(v) else value_name(v) for v in op.results]
        count = len(TOP_OPS[type(op).__name__].inputs) if op.kind is Kind.MAC else len(op.operands)
        self.operands = list(op.operands)[:count]
        self.inputs = [reals.get(v, self._bias_params(i)) for i, v in enumerate(self.operands)]
        self.op = self._float_op()

    def part_name(self, label: str) -> str:
        """Return the name of a tensor that only the ONNX model has."""
        return f"{value_name(self.source.results[0])}/onnx:{label}"

    def _bias_params(self, index: int) -> QuantParams | None:
        """Return the parameters of the int32 bias of a quantised product: input scale × weight scale, by channel."""
        if self.source.kind is not Kind.MAC or index != 2 or is_none(self.operands[2]):
            return None
        source, weight = quant_of(self.operands[0]), quant_of(self.operands[1])
        if source is None or weight is None:
            return None
        scales = np.atleast_1d(np.asarray(weight.scale, np.float64) * float(source.scale))  # type: ignore[arg-type]
        every = np.tile(scales, shape_of(self.operands[2])[0] // scales.size).astype(np.float32)
        return QuantParams(tuple(every.tolist()), 0, "i32", 0)

    def _float_op(self) -> TensorOp:
        """Return the float op of the same attributes; constants that it writes among others as real numbers."""
        cls = TOP_OPS[type(self.source).__name__]
        block = Block(arg_types=[_real_type(v) for v in self.operands])
        values = {n: v for n, v in self.source.attribute_values().items() if n in cls.fields}
        params = quant_of(self.source.results[0])
        if params is not None:
            values |= {n: float(dequantize(np.array(getattr(self.source, n)), params)) for n in cls.fills}
        return cls.create(
            operands=block.args, result_types=[_real_type(v) for v in self.source.results],
            attributes={n: cls.fields[n].encode(v) for n, v in values.items()}, location=self.source.location,
        )  # fmt: skip


class Reals:
    """The real numbers of stored tensors, each written once, when first asked for."""

    def __init__(self, draft: Draft) -> None:
        self.draft = draft
        self._written: set[str] = set()

    def get(self, value: SSAValue, params: QuantParams | None = None) -> str:
        """Return the name of a tensor's real numbers; of one that is not stored the tensor's own name.

        `params` are those of an integer constant whose type does not say them.
        """
        if is_none(value):
            return ""
        if not _is_stored(value) and params is None:
            return operand_name(value)
        name = f"{operand_name(value)}/onnx:real"
        if name not in self._written:
            self._written.add(name)
            self.write(value, name, params)
        return name

    def write(self, value: SSAValue, name: str, params: QuantParams | None = None) -> None:
        """Write the node that makes `name`, the real numbers of a tensor."""
        params, stored = params or quant_of(value), operand_name(value)
        if params is not None:
            axis = {} if params.axis is None else {"axis": params.axis}
            scale = scale_constants(self.draft, f"{name}/onnx:stored", params)
            self.draft.node("DequantizeLinear", [stored, *scale], [name], **axis)
        elif storage_of(value) == "f32":
            self.draft.node("Identity", [stored], [name])
        else:
            self.draft.node("Cast", [stored], [name], to=FLOAT)


def write_lowered(op: TensorOp, reals: Reals) -> None:
    """Write an op of the TPU dialect."""
    if isinstance(op, Lut):
        _write_table(reals.draft, op)
    elif isinstance(op, Convert | Rescale):
        _write_cast(op, reals)
    else:
        made = Lowered(op, reals)
        WRITERS[type(op).__name__](made)
        for name, value in zip(made.names, op.results, strict=True):
            _store(reals.draft, name, value)


def _store(draft: Draft, real: str, value: SSAValue) -> None:
    """Write the node that makes a stored tensor of its real numbers; nothing for a float32 one."""
    params, name = quant_of(value), value_name(value)
    if params is not None:
        draft.node("QuantizeLinear", [real, *scale_constants(draft, f"{name}/onnx:made", params)], [name])
    elif storage_of(value) in HALVES:
        draft.node("Cast", [real], [name], to=ELEMENT_TYPES[storage_of(value)])


def _write_cast(op: TensorOp, reals: Reals) -> None:
    source, target = op.operands[0], op.results[0]
    if _is_stored(target):
        _store(reals.draft, reals.get(source), target)
    else:
        reals.write(source, value_name(target))


def _write_table(draft: Draft, op: Lut) -> None:
    """The element of the table at q − the least q: a Gather, which gives the very integers."""
    name, low = op.tensor_name, _bounds(op.operands[0])[0]
    index = f"{name}/onnx:index"
    draft.node("Cast", [operand_name(op.operands[0])], [index], to=ELEMENT_TYPES["i32"])
    if low:
        moved = f"{name}/onnx:place"
        draft.node("Sub", [index, draft.constant(f"{name}/onnx:least", low, np.int32)], [moved])
        index = moved
    draft.node("Gather", [operand_name(op.operands[1]), index], [name], axis=0)


def _bounds(value: SSAValue) -> tuple[int, int]:
    params = quant_of(value)
    assert params is not None
    return params.bounds


def _is_stored(value: SSAValue) -> bool:
    """Tell whether a tensor is held in another type than the float operators compute in."""
    if is_none(value):
        return False
    half = storage_of(value) in HALVES and not (isinstance(value.owner, Weight) and storage_of(value) == "bf16")
    return quant_of(value) is not None or half


def _real_type(value: SSAValue) -> Attribute:
    return tensor(shape_of(value)) if _is_stored(value) else value.type


def caller_names(program: Program) -> dict[str, str]:
    """Return the tensors that are called otherwise in ONNX: an input as a caller knows it.

    Lowering gives the quantised input the plain name X, and calls the float one X_f32.
    """
    taken = {name for op in program.ops for name in op.names}
    inputs = {op.tensor_name: argument_name(op) for op in program.input_ops if not layout_of(op.results[0])}
    changed = {tensor: name for tensor, name in inputs.items() if tensor != name}
    return {name: f"{name}/onnx:stored" for name in changed.values() if name in taken} | changed


def rename_tensors(graph: "onnx.GraphProto", names: Mapping[str, str]) -> None:
    """Give tensors other names, all at once."""
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
    for value in (*graph.input, *graph.output):
        value.name = names.get(value.name, value.name)
