"""Other engines as people deploy them, with all their optimisation, to be compared with: onnxruntime and LiteRT.

Unlike the runners of `onnx` and `tflite`, which check tensors one by one, these run inside of this process, so that a
call can be timed, and have only inputs and outputs.
"""

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from stepdown.errors import InputError
from stepdown.files.npz import NpzMetadata, TensorInfo
from stepdown.numerics.quantize import QuantParams, dequantize, quantize
from stepdown.runtimes.runner import EngineRunner, Tensors, TensorSpec, match_inputs


class OnnxruntimePeer(EngineRunner):
    """A model on onnxruntime with all graph optimisations; inputs and outputs are bound, and copied by nobody."""

    def __init__(self, path: str | os.PathLike[str], threads: int = 1) -> None:
        import onnxruntime

        self.path = str(path)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(self.path, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime raises types of its own
            raise InputError(f"onnxruntime cannot load it ({str(error).splitlines()[0]})", self.path) from None
        self._binding = self._session.io_binding()

    @property
    def metadata(self) -> NpzMetadata:
        """Nothing but the names of the outputs."""
        return _names(self)

    def inputs(self) -> list[TensorSpec]:
        """The network's inputs."""
        return [_spec(given) for given in self._session.get_inputs()]

    def outputs(self) -> list[TensorSpec]:
        """The network's outputs."""
        return [_spec(given) for given in self._session.get_outputs()]

    def run(self, tensors: Mapping[str, np.ndarray], wanted: str = "outputs") -> Tensors:
        """Run once; return the outputs."""
        for name, array in match_inputs(tensors, self.inputs(), self.path).items():
            self._binding.bind_cpu_input(name, np.ascontiguousarray(array))
        names = [spec.name for spec in self.outputs()]
        for name in names:
            self._binding.bind_output(name, "cpu")
        self.again()
        return dict(zip(names, self._binding.copy_outputs_to_cpu(), strict=True))

    def again(self) -> None:
        """Run once more on the last inputs."""
        self._session.run_with_iobinding(self._binding)

    def close(self) -> None:
        """Release the model."""


class LitertPeer(EngineRunner):
    """A model on LiteRT with its default kernels, XNNPACK; quantised inputs and outputs are converted."""

    def __init__(self, path: str | os.PathLike[str], threads: int = 1) -> None:
        from ai_edge_litert.interpreter import Interpreter

        self.path = str(path)
        try:
            self._interpreter = Interpreter(self.path, num_threads=threads)
        except (ValueError, RuntimeError) as error:
            raise InputError(f"LiteRT cannot load it ({str(error).splitlines()[0]})", self.path) from None
        self._interpreter.allocate_tensors()

    @property
    def metadata(self) -> NpzMetadata:
        """Nothing but the names of the outputs."""
        return _names(self)

    def inputs(self) -> list[TensorSpec]:
        """The network's inputs."""
        return [_detailed(d) for d in self._interpreter.get_input_details()]

    def outputs(self) -> list[TensorSpec]:
        """The network's outputs."""
        return [_detailed(d) for d in self._interpreter.get_output_details()]

    def run(self, tensors: Mapping[str, np.ndarray], wanted: str = "outputs") -> Tensors:
        """Run once; return the outputs as real numbers."""
        matched = match_inputs(tensors, self.inputs(), self.path)
        for details in self._interpreter.get_input_details():
            array, params = matched[details["name"]], _params(details)
            stored = array if params is None or array.dtype == details["dtype"] else quantize(array, params)
            self._interpreter.set_tensor(details["index"], stored.astype(details["dtype"]))
        self.again()
        return {d["name"]: self._real(d) for d in self._interpreter.get_output_details()}

    def again(self) -> None:
        """Run once more on the last inputs."""
        self._interpreter.invoke()

    def close(self) -> None:
        """Release the model."""

    def _real(self, details: Mapping[str, Any]) -> np.ndarray:
        array, params = self._interpreter.get_tensor(details["index"]), _params(details)
        return array if params is None else dequantize(array, params)


def _names(peer: OnnxruntimePeer | LitertPeer) -> NpzMetadata:
    return NpzMetadata({}, tuple(s.name for s in peer.outputs()), os.path.basename(peer.path), "")


def _spec(given: Any) -> TensorSpec:
    shape = tuple(size if isinstance(size, int) else None for size in given.shape)
    return TensorSpec(given.name, shape, TensorInfo())


def _detailed(details: Mapping[str, Any]) -> TensorSpec:
    return TensorSpec(details["name"], tuple(int(n) for n in details["shape"]), TensorInfo())


def _params(details: Mapping[str, Any]) -> QuantParams | None:
    kept = details["quantization_parameters"]
    if not len(kept["scales"]):
        return None
    kind = {"int8": "i8", "uint8": "u8", "int16": "i16"}[np.dtype(details["dtype"]).name]
    return QuantParams(float(kept["scales"][0]), int(kept["zero_points"][0]), kind)
