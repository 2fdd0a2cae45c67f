"""Runs TOP programs on onnxruntime, fast, with every float32 tensor to look at under its own name.

The program is written as ONNX and optimised by onnxruntime, so sums are taken in another order than in the reference
interpreter: results agree within the noise of float32. Weights are shared with the program, and with processes that
were forked from this one; results of all tensors are written to the same buffers again and again.
"""

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from stepdown.dialects.op import value_name
from stepdown.dialects.program import Program, argument_name
from stepdown.dialects.types import shape_of
from stepdown.errors import InputError, ResourceError, UnsupportedModel
from stepdown.runtimes.onnx import one_line
from stepdown.transforms.import_calibration_table import float_values

if TYPE_CHECKING:
    import onnxruntime

_MOST_COPIED_BYTES = 48 << 20
"""Weights up to here are constants, which onnxruntime copies and reorders for speed, in every process. Larger ones are
inputs: they are read where they lie, once for all processes on a machine."""

OnTensor = Callable[[str, np.ndarray], None]
"""Called with the name of a tensor and its values, which hold until the next run."""


class TopOnnx:
    """A TOP program as an ONNX model whose outputs are all its float32 tensors.

    Raises:
        UnsupportedModel: an op cannot be written as ONNX.
    """

    def __init__(self, program: Program) -> None:
        from stepdown.formats.onnx.exporter import export_program

        self._program, self._weights = program, dict[str, np.ndarray]()
        self._inputs = {argument_name(op): op.tensor_name for op in program.input_ops}
        self._shapes = {value_name(v): shape_of(v) for v in float_values(program)}
        self._computed = [name for name in self._shapes if name not in self._inputs.values()]
        model = export_program(program, apart=self._weights)
        self._given = self._weights if sum(a.nbytes for a in self._weights.values()) > _MOST_COPIED_BYTES else {}
        _make_inputs(model, self._given)
        _make_outputs(model, {name: self._shapes[name] for name in self._computed})
        self._model = model.SerializeToString()

    def run(self, arguments: Mapping[str, np.ndarray], on_tensor: OnTensor) -> None:
        """Run once on contiguous arrays of the inputs' own types, by their names; tell every float32 tensor.

        Raises:
            InputError: onnxruntime cannot compute it.
        """
        if self._buffers:
            self._compute(arguments)
        seen = {self._inputs[name]: array for name, array in arguments.items()} | self._buffers
        for name in self._shapes:
            on_tensor(name, seen[name])

    def _compute(self, arguments: Mapping[str, np.ndarray]) -> None:
        """Fill the buffers."""
        session, binding = self._session, self._session.io_binding()
        known = {**self._given, **arguments}
        for name in (value.name for value in session.get_inputs()):
            binding.bind_cpu_input(name, known[name])
        for name, buffer in self._buffers.items():
            binding.bind_output(name, "cpu", 0, buffer.dtype.type, buffer.shape, buffer.ctypes.data)
        try:
            session.run_with_iobinding(binding)
        except Exception as error:
            raise InputError(f"onnxruntime cannot run it ({one_line(error)})", self._program.path) from error

    @cached_property
    def _buffers(self) -> dict[str, np.ndarray]:
        """Where results are written."""
        return {name: np.empty(self._shapes[name], np.float32) for name in self._computed}

    @cached_property
    def _session(self) -> "onnxruntime.InferenceSession":
        """The session, opened in the process that first runs it."""
        import onnxruntime

        settings = onnxruntime.SessionOptions()
        settings.log_severity_level = 4
        settings.intra_op_num_threads = 1
        if self._given:
            settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
        else:
            values = [onnxruntime.OrtValue.ortvalue_from_numpy(array) for array in self._weights.values()]
            settings.add_external_initializers(list(self._weights), values)
        try:
            return onnxruntime.InferenceSession(self._model, settings, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise UnsupportedModel(f"onnxruntime cannot load it ({one_line(error)})", self._program.path) from error


def onnxruntime_version() -> str:
    """Return the version of the package."""
    import onnxruntime

    return str(onnxruntime.__version__)


def _make_inputs(model: Any, weights: Mapping[str, np.ndarray]) -> None:
    """Turn constants that are kept apart into inputs of the graph."""
    from onnx import helper

    for constant in [constant for constant in model.graph.initializer if constant.name in weights]:
        model.graph.input.append(helper.make_tensor_value_info(constant.name, constant.data_type, constant.dims))
        model.graph.initializer.remove(constant)


def _make_outputs(model: Any, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Add outputs to the graph of a model."""
    from onnx import TensorProto, helper

    there = {value.name for value in model.graph.output}
    added = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in shapes.items() if n not in there]
    model.graph.output.extend(added)
    if model.ByteSize() > 1 << 30:
        raise ResourceError("constants that the model computes take more than 1 GiB", fix="take --engine reference")
