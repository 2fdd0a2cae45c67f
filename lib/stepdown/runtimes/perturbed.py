"""A TOP network, run many times with something added to one of its tensors: what a local error does to the outputs."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from xdsl.ir import SSAValue

from stepdown.dialects.op import TensorOp, value_name
from stepdown.dialects.program import Program
from stepdown.dialects.types import is_float, is_none
from stepdown.errors import StepError, UnsupportedModel
from stepdown.runtimes.interpreter import Interpreter

if TYPE_CHECKING:
    import onnx
    import onnxruntime

Values = Mapping[SSAValue, np.ndarray]
"""Arrays as the interpreter holds them, by the value of the program."""

_ADDED = "/onnx:added"


class Perturbed:
    """Outputs of `program` with an array added to one tensor: by onnxruntime, or by the interpreter where that cannot.

    The interpreter needs all tensors of the unperturbed run (`known`) and computes again what lies behind the change.
    """

    def __init__(self, program: Program, engine: str = "ort") -> None:
        self.program = program
        self._interpreter = Interpreter(program)
        self._session = _session(program) if engine == "ort" else None

    @property
    def engine(self) -> str:
        """The engine in use: ort or reference."""
        return "ort" if self._session else "reference"

    def outputs(
        self, known: Values, place: SSAValue | None = None, added: np.ndarray | None = None
    ) -> list[np.ndarray]:
        """Return the program's results where `added` is added to the tensor `place`."""
        if self._session is not None:
            return self._by_onnxruntime(self._session, known, place, added)
        given = dict(known) if place is None else before(self.program, known, place)
        if place is not None and added is not None:
            given[place] = (known[place] + added).astype(known[place].dtype)
        return self._interpreter.run(given)

    def _by_onnxruntime(
        self, session: "onnxruntime.InferenceSession", known: Values, place: SSAValue | None, added: np.ndarray | None
    ) -> list[np.ndarray]:
        feeds = {}
        for value in session.get_inputs():
            feeds[value.name] = np.zeros((), np.float32)
        for op, value in zip(self.program.input_ops, session.get_inputs(), strict=False):
            array = known[op.results[0]]
            feeds[value.name] = array + added if place is op.results[0] and added is not None else array
        if place is not None and added is not None and not value_is_input(place):
            feeds[value_name(place) + _ADDED] = np.ascontiguousarray(added, np.float32)
        return [np.asarray(y) for y in session.run(None, feeds)]


def value_is_input(value: SSAValue) -> bool:
    """Tell whether a value is a network input."""
    return isinstance(value.owner, TensorOp) and value.owner.name.endswith(".Input")


def before(program: Program, known: Values, place: SSAValue) -> dict[SSAValue, np.ndarray]:
    """Return those of the `known` values that do not depend on `place`, which is left out."""
    touched = {place}
    for op in program.ops:
        if any(v in touched for v in op.operands):
            touched.update(op.results)
    return {value: array for value, array in known.items() if value not in touched}


def _session(program: Program) -> "onnxruntime.InferenceSession | None":
    """Return a session of the program in which every float tensor has an addend, None where ONNX cannot say it."""
    import onnxruntime

    from stepdown.formats.onnx.exporter import export_program

    try:
        model = export_program(program)
        if any(op.name.startswith("tpu.") for op in program.ops):
            return None
        _with_addends(model, program)
        settings = onnxruntime.SessionOptions()
        settings.log_severity_level = 4
        settings.add_session_config_entry("session.intra_op.allow_spinning", "0")  # numpy works between two runs
        return onnxruntime.InferenceSession(model.SerializeToString(), settings, providers=["CPUExecutionProvider"])
    except (UnsupportedModel, StepError):
        return None
    except Exception as error:  # onnxruntime has no common class for what it refuses
        if type(error).__module__.startswith("onnxruntime"):
            return None
        raise


def _with_addends(model: "onnx.ModelProto", program: Program) -> None:
    """Let the readers of every float tensor X read X + `X/onnx:added`, a new input of any shape."""
    from onnx import TensorProto, helper

    graph = model.graph
    inner = [v for op in program.ops if not op.name.endswith((".Weight", ".None", ".Input")) for v in op.results]
    names = {value_name(v) for v in inner if not is_none(v) and is_float(v)}
    made = {name: f"{name}/onnx:made" for name in names}
    nodes = []
    for node in graph.node:
        renamed = [made.get(name, name) for name in node.output]
        tensors = [name for name in node.output if name in made]
        del node.output[:]
        node.output.extend(renamed)
        nodes.append(node)
        nodes += [helper.make_node("Add", [made[name], name + _ADDED], [name]) for name in tensors]
        for name in tensors:
            graph.input.append(helper.make_tensor_value_info(name + _ADDED, TensorProto.FLOAT, None))
    copies = [type(node).FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(copies)
