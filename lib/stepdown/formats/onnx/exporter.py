"""TOP program → ONNX model. Tensors keep their TOP names; what ONNX needs in between is `<tensor>/onnx:<label>`."""

import importlib
import pkgutil
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from xdsl.ir import SSAValue

import stepdown.formats.onnx
from stepdown.dialects.op import TensorOp, value_name
from stepdown.dialects.program import Program
from stepdown.dialects.top.source import Input, Weight
from stepdown.dialects.types import is_none, shape_of, storage_of
from stepdown.errors import UnsupportedModel
from stepdown.formats.onnx.marks import write_marks
from stepdown.numerics.floats import from_bf16_bits

if TYPE_CHECKING:
    import onnx

OPSET, IR_VERSION, PRODUCER = 21, 10, "stepdown"
_LEAST_APART_BYTES = 1 << 12
LOWERED_ONLY = (".Convert", ".Lut", ".Rescale")
# Storage name → the number of an ONNX element type. Source: onnx.proto, TensorProto.DataType.
ELEMENT_TYPES = {
    "f32": 1, "u8": 2, "i8": 3, "u16": 4, "i16": 5, "i32": 6, "i64": 7, "i1": 9, "f16": 10, "f64": 11,
    "u32": 12, "u64": 13, "bf16": 16,
}  # fmt: skip


class Draft:
    """The nodes and constants written so far."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, np.ndarray] = {}

    def node(self, op_type: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: Any) -> None:
        """Append a node."""
        from onnx import helper

        self.nodes.append(helper.make_node(op_type, list(inputs), list(outputs), **attributes))

    def constant(self, name: str, values: Any, dtype: Any = np.int64) -> str:
        """Add a constant and return its name."""
        self.constants[name] = np.asarray(values, dtype)
        return name


class Written:
    """One TOP op, for the rule that writes it."""

    def __init__(self, draft: Draft, op: Any) -> None:
        self.draft, self.op = draft, op
        self.inputs = [operand_name(value) for value in op.operands]
        self.names: list[str] = op.names

    @property
    def name(self) -> str:
        """The name of the op's first tensor."""
        return self.names[0]

    def part_name(self, label: str) -> str:
        """Return the name of a tensor that only the ONNX model has."""
        return f"{self.name}/onnx:{label}"

    def emit(self, op_type: str, *inputs: str, **attributes: Any) -> None:
        """Write the node that makes the op's tensors."""
        self.draft.node(op_type, inputs, self.names, **attributes)

    def part(self, label: str, op_type: str, *inputs: str, **attributes: Any) -> str:
        """Write a node in between and return the name of what it makes."""
        made = self.part_name(label)
        self.draft.node(op_type, inputs, [made], **attributes)
        return made

    def constant(self, label: str, values: Any, dtype: Any = np.int64) -> str:
        """Add a constant of this op and return its name."""
        return self.draft.constant(self.part_name(label), values, dtype)

    def fused(self, op_type: str, *inputs: str, **attributes: Any) -> None:
        """Write the node, and the ReLU that the op carries after it."""
        if not self.op.do_relu:
            self.emit(op_type, *inputs, **attributes)
            return
        self.relu(self.part("linear", op_type, *inputs, **attributes), self.op.relu_limit)

    def relu(self, made: str, limit: float) -> None:
        """Write ReLU, or Clip where it is limited, as the op's result."""
        if limit < 0:
            self.emit("Relu", made)
            return
        dtype = np.dtype({"f16": np.float16, "f64": np.float64}.get(storage_of(self.op.results[0]), np.float32))
        self.emit("Clip", made, self.constant("low", 0, dtype), self.constant("high", limit, dtype))


Writer = Callable[[Written], None]
WRITERS: dict[str, Writer] = {}
"""By the class name of a TOP op, what writes it."""


def writer(*names: str) -> Callable[[Writer], Writer]:
    """Register what writes the TOP ops `names`."""

    def register(function: Writer) -> Writer:
        WRITERS.update(dict.fromkeys(names, function))
        return function

    return register


def export_program(
    program: Program, opset: int = OPSET, apart: dict[str, np.ndarray] | None = None
) -> "onnx.ModelProto":
    """Return the ONNX model of a TOP program, or of a lowered one, in which casts stand around float operators.

    Where `apart` is given, it takes the large constants, uncopied; the model only says that they are external.

    Raises:
        UnsupportedModel: names all ops that cannot be written, with counts, or that the operator set does not have.
    """
    from onnx import helper

    from stepdown.formats.onnx.lowered import Reals, caller_names, rename_tensors, write_lowered
    from stepdown.formats.onnx.opsets import at_opset

    _load_writers()
    _refuse_unsupported(program)
    draft = Draft()
    reals = Reals(draft)
    for op in program.ops:
        if isinstance(op, Weight):
            draft.constants[op.key] = _weight(program, op)
        elif op.name.startswith("tpu.") and not isinstance(op, Input) and not op.name.endswith(".None"):
            write_lowered(op, reals)
        elif not isinstance(op, Input) and not op.name.endswith(".None"):
            WRITERS[type(op).__name__](Written(draft, op))
    graph = helper.make_graph(
        draft.nodes, program.name, [_described(op.results[0]) for op in program.input_ops],
        [_described(value) for value in program.results],
        [_initializer(name, array, apart) for name, array in draft.constants.items()],
    )  # fmt: skip
    rename_tensors(graph, caller_names(program))
    opsets = [helper.make_opsetid("", OPSET)]
    model = helper.make_model(graph, producer_name=PRODUCER, opset_imports=opsets, ir_version=IR_VERSION)
    write_marks(model, program)
    return at_opset(model, opset)


def _initializer(name: str, array: np.ndarray, apart: dict[str, np.ndarray] | None) -> "onnx.TensorProto":
    """Return a constant, or a note that it is among those `apart`."""
    from onnx import TensorProto, helper, numpy_helper

    if apart is None or array.nbytes < _LEAST_APART_BYTES:
        return numpy_helper.from_array(array, name)
    apart[name] = array
    kind = helper.np_dtype_to_tensor_dtype(array.dtype)
    noted = TensorProto(name=name, data_type=kind, dims=array.shape, data_location=TensorProto.EXTERNAL)
    noted.external_data.add(key="location", value="apart")
    return noted


def _refuse_unsupported(program: Program) -> None:
    sources = (".Input", ".Weight", ".None", *LOWERED_ONLY)
    missing = Counter(
        op.name for op in program.ops if not op.name.endswith(sources) and type(op).__name__ not in WRITERS
    )
    if missing:
        listed = ", ".join(f"{op} ×{count}" for op, count in sorted(missing.items()))
        raise UnsupportedModel(f"ops that cannot be written as ONNX: {listed}", program.path)


def _weight(program: Program, op: Weight) -> np.ndarray:
    """Return a constant as ONNX holds it: bfloat16 as the float32 numbers that its bits stand for."""
    array = program.weights[op.key]
    return from_bf16_bits(array) if storage_of(op.results[0]) == "bf16" and array.dtype == np.uint16 else array


def _described(value: SSAValue) -> "onnx.ValueInfoProto":
    from onnx import helper

    return helper.make_tensor_value_info(value_name(value), ELEMENT_TYPES[storage_of(value)], shape_of(value))


def operand_name(value: SSAValue) -> str:
    """Return what ONNX calls a value: '' where it is absent, a constant by its key."""
    if is_none(value):
        return ""
    owner = value.owner
    assert isinstance(owner, TensorOp)
    return owner.key if isinstance(owner, Weight) else value_name(value)


@cache
def _load_writers() -> None:
    """Import every `*_writers` module of this folder: each registers the ops it knows."""
    for module in pkgutil.iter_modules(stepdown.formats.onnx.__path__):
        if module.name.endswith("_writers"):
            importlib.import_module(f"stepdown.formats.onnx.{module.name}")
