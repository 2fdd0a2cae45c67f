"""Runs `.onnx` files by onnxruntime, without graph optimisation: a dump computes the same bytes as a plain run."""

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from stepdown.dialects.meaning import layout_name
from stepdown.errors import InputError, ResourceError, UnsupportedModel
from stepdown.files.hashes import sha256_file
from stepdown.files.npz import TensorInfo
from stepdown.runtimes.runner import EngineRunner, RunnerOptions, Tensors, TensorSpec, match_inputs

if TYPE_CHECKING:
    import onnx
    import onnxruntime

# onnxruntime's name of a type → ours, and the numpy type that holds it.
TYPES: dict[str, tuple[str, Any]] = {
    "tensor(float)": ("f32", np.float32),
    "tensor(float16)": ("f16", np.float16),
    "tensor(double)": ("f64", np.float64),
    "tensor(bool)": ("i1", np.bool_),
    **{
        f"tensor({'u' * (k == 'u')}int{b})": (f"{k}{b}", np.dtype(f"{k}{b // 8}"))
        for k in "iu"
        for b in (8, 16, 32, 64)
    },
}
# What `formats.onnx.exporter` wrote has our tensor names already, and marks those that only ONNX needs.
PRODUCER, INTERNAL = "stepdown", "/onnx:"
_MAX_PROTO_BYTES = (1 << 31) - 1


class OnnxRunner(EngineRunner):
    """A model on onnxruntime; inputs keep their names, every other tensor is `<tensor>_<OpType>`."""

    def __init__(self, path: str | os.PathLike[str], options: RunnerOptions | None = None) -> None:
        from stepdown.formats.onnx.binding import make_readable
        from stepdown.formats.onnx.loader import load_onnx
        from stepdown.formats.onnx.marks import read_marks
        from stepdown.formats.onnx.stored import stored_tensors, without_saturation

        self.path, self._options = str(path), options or RunnerOptions()
        self._model = load_onnx(path)
        self._names = _tensor_names(self._model)
        self._marks = read_marks(self._model, self.path) if self._model.producer_name == PRODUCER else {}
        changed = make_readable(self._model)
        exact = without_saturation(self._model)
        self._model = exact or self._model
        self._stored = stored_tensors(self._model)
        self._session = self._open(self._model.SerializeToString() if exact or changed else self.path)
        self._all: onnxruntime.InferenceSession | None = None
        self._dumped = {spec.name: spec.info for spec in self.outputs()}
        self._sha256 = sha256_file(path)

    def inputs(self) -> list[TensorSpec]:
        """The network's inputs."""
        return [self._spec(value.name, value) for value in self._session.get_inputs()]

    def outputs(self) -> list[TensorSpec]:
        """The network's outputs."""
        return [self._spec(self._names[value.name], value) for value in self._session.get_outputs()]

    def run(self, tensors: Mapping[str, np.ndarray], wanted: str = "outputs") -> Tensors:
        """Run once; with `wanted` "all" return the inputs and the output of every node that is used."""
        given = self._arguments(tensors)
        session = self._all_session() if wanted == "all" else self._session
        kinds = {value.name: value.type for value in session.get_outputs() if value.type in TYPES}
        if wanted == "all":
            kinds = {name: kinds[name] for name in self._names if name in kinds}
        try:
            results = session.run(list(kinds), given)
        except Exception as error:
            raise InputError(f"onnxruntime cannot run it ({one_line(error)})", self.path) from error
        found: Tensors = dict(given) if wanted == "all" else {}
        found |= {self._names[n]: self._placed(n, array) for n, array in zip(kinds, results, strict=True)}
        self._dumped = {self._names[n]: self._info(n, TYPES[k][0]) for n, k in kinds.items()}
        self._dumped |= {spec.name: spec.info for spec in self.inputs() if spec.name in found}
        return found

    def close(self) -> None:
        """Release the sessions."""
        del self._session
        self._all = None

    def _spec(self, name: str, value: Any) -> TensorSpec:
        if value.type not in TYPES:
            raise UnsupportedModel(f"'{name}' is a {value.type}, not a tensor of numbers", self.path)
        shape = tuple(size if isinstance(size, int) else None for size in value.shape or ())
        return TensorSpec(name, shape, self._info(value.name, TYPES[value.type][0]))

    def _info(self, tensor: str, storage: str) -> TensorInfo:
        """Return what a tensor of the file stores."""
        params, mark = self._stored.get(tensor), self._marks.get(tensor)
        known = TensorInfo(storage)
        if mark is not None:
            known = replace(known, internal=mark.internal, layout=layout_name(mark.layout))
        if params is None or params.type != storage or isinstance(params.scale, tuple):
            return known
        return replace(known, scale=params.scale, zero_point=params.zero_point)

    def _placed(self, tensor: str, array: Any) -> np.ndarray:
        """Return a tensor in the layout of the source model that the file was made from."""
        mark, made = self._marks.get(tensor), np.asarray(array)
        return np.asarray(made.transpose(mark.layout), order="C") if mark and len(mark.layout) == made.ndim else made

    def _arguments(self, given: Mapping[str, np.ndarray]) -> Tensors:
        matched = match_inputs(given, self.inputs(), self.path)
        wanted = {value.name: np.dtype(TYPES[value.type][1]) for value in self._session.get_inputs()}
        return {name: self.converted(array, name, wanted[name]) for name, array in matched.items()}

    def _all_session(self) -> "onnxruntime.InferenceSession":
        """Return the session of a copy of the model in which the output of every node is an output of the graph."""
        if self._all is None:
            if self._model.ByteSize() > _MAX_PROTO_BYTES:
                raise ResourceError("is larger than 2 GiB, too large to dump all tensors", self.path)
            self._all = self._open(_with_outputs(self._model, list(self._names)).SerializeToString())
        return self._all

    def _open(self, model: str | bytes) -> "onnxruntime.InferenceSession":
        import onnxruntime

        settings = onnxruntime.SessionOptions()
        settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        settings.log_severity_level = 4
        settings.intra_op_num_threads = self._options.threads
        try:
            return onnxruntime.InferenceSession(model, settings, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise InputError(f"onnxruntime cannot load it ({one_line(error)})", self.path) from error


def _tensor_names(model: "onnx.ModelProto") -> dict[str, str]:
    """Return, by its name in the file, what each output of a used node is called; constants are left out."""
    from stepdown.formats.onnx.loader import node_reads

    graph = model.graph
    ends = [value.name for value in graph.output]
    used = {name for node in graph.node for name in node_reads(node)} | set(ends)
    ours = model.producer_name == PRODUCER
    names = {
        output: output if ours else f"{output}_{node.op_type}"
        for node in graph.node
        if node.op_type != "Constant"
        if used.intersection(node.output)
        for output in node.output
        if output and not (ours and INTERNAL in output)
    }
    return names | {name: f"{name}_Identity" for name in ends if name not in names}


def _with_outputs(model: "onnx.ModelProto", names: list[str]) -> "onnx.ModelProto":
    import onnx

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    kept = {value.name for value in copy.graph.output}
    copy.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name not in kept)
    return copy


def one_line(error: Exception) -> str:
    """Return the first sentence of what onnxruntime says, without its codes and source lines."""
    text = " ".join(str(error).split())
    return text.split(" : ", 3)[-1][:300]
