"""Runs `.tflite` files by LiteRT, in a child process; the reference kernels unless others are chosen."""

import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

import numpy as np

from stepdown.errors import InputError, UnsupportedModel
from stepdown.files.child import environment
from stepdown.files.hashes import sha256_file
from stepdown.files.npz import TensorInfo
from stepdown.numerics.quantize import dequantize, quantize
from stepdown.runtimes.runner import EngineRunner, RunnerOptions, Tensors, TensorSpec, match_inputs

if TYPE_CHECKING:
    from stepdown.formats.tflite.model import Tensor

OPEN_LIMIT_S = 300.0
MISSING_KERNEL = "Didn't find op for builtin opcode "


class TfliteRunner(EngineRunner):
    """A model on LiteRT; tensors keep their names, a quantised one `X` has its real numbers beside it as `X_f32`."""

    def __init__(self, path: str | os.PathLike[str], options: RunnerOptions | None = None) -> None:
        from stepdown.formats.tflite.loader import load_tflite, stored_dtypes

        self.path, self._options = str(path), options or RunnerOptions()
        self._graph = load_tflite(path).main
        self._dtypes = stored_dtypes()
        self._sha256 = sha256_file(path)
        self._dumped: dict[str, TensorInfo] = {}
        self._check_types()
        self._child = _Child(self.path)
        self.kernels = self._open(self._options.kernels)

    def _open(self, kernels: str) -> str:
        """Load the model; where the reference kernels lack an operator the optimized ones run it, which is told."""
        request = ("open", os.path.abspath(self.path), kernels, self._options.threads)
        said, answer = self._child.ask(request, OPEN_LIMIT_S)
        if said != "ok" and kernels == "reference" and MISSING_KERNEL in answer:
            operator = answer.partition(MISSING_KERNEL)[2].split("'")[1]
            print(f"LiteRT has no reference kernel of {operator}: its optimized kernels run", file=sys.stderr)
            return self._open("optimized")
        if said != "ok":
            raise InputError(f"LiteRT cannot load it ({_one_line(answer)})", self.path)
        return kernels

    def inputs(self) -> list[TensorSpec]:
        """The network's inputs."""
        return [_spec(self._graph.tensors[i]) for i in self._graph.inputs]

    def outputs(self) -> list[TensorSpec]:
        """The network's outputs: `X_f32` for a quantised one unless native ones are wanted."""
        specs = [replace(_spec(self._graph.tensors[i]), name=name) for name, i in self._ends]
        return specs if self._native else [_view(spec) if spec.info.scale else spec for spec in specs]

    def run(self, tensors: Mapping[str, np.ndarray], wanted: str = "outputs") -> Tensors:
        """Run once; with `wanted` "all" return the inputs and what every operator makes."""
        arrays = self._arguments(tensors)
        everything = wanted == "all"
        indices = list(dict.fromkeys([*(self._made() if everything else ()), *self._graph.outputs]))
        results = self._ask("run", list(arrays.values()), indices, everything)
        found: Tensors = dict(arrays) if everything else {}
        made = dict(zip(indices, results, strict=True))
        found |= {self._graph.tensors[i].name: made[i] for i in indices if i not in self._graph.inputs}
        found |= {name: made[i] for name, i in self._ends if name not in found}
        self._dumped = {t.name: _info(t) for t in self._graph.tensors if t.name in found}
        self._dumped |= {name: _info(self._graph.tensors[i]) for name, i in self._ends}
        self._add_views(found, everything)
        return found

    def close(self) -> None:
        """End the child process."""
        self._child.close()

    @property
    def _native(self) -> bool:
        return self._options.output_type == "native"

    @cached_property
    def _ends(self) -> list[tuple[str, int]]:
        """The outputs' names and indices; one that is an input or an output already is called `X_copy`."""
        ends, taken = [], set(self._graph.inputs)
        for index in self._graph.outputs:
            name = self._graph.tensors[index].name
            ends.append((f"{name}_copy" if index in taken else name, index))
            taken.add(index)
        return ends

    def _made(self) -> list[int]:
        """Return the indices of the tensors that operators make and that hold numbers."""
        made = [i for operator in self._graph.operators for i in operator.outputs]
        return [i for i in dict.fromkeys(made) if self._graph.tensors[i].type in self._dtypes]

    def _add_views(self, found: Tensors, everything: bool) -> None:
        """Add the real numbers of quantised outputs, in their place unless everything is wanted."""
        if self._native:
            return
        for name, index in self._ends:
            source = self._graph.tensors[index]
            if source.params is None:
                continue
            view = _view(replace(_spec(source), name=name))
            found[view.name] = dequantize(found[name], source.params)
            self._dumped[view.name] = view.info
            if not everything:
                del found[name], self._dumped[name]

    def _arguments(self, given: Mapping[str, np.ndarray]) -> Tensors:
        open_ones = {self._graph.tensors[i].name: self._graph.tensors[i] for i in self._graph.inputs}
        matched = match_inputs(given, self.inputs(), self.path)
        return {name: self._argument(array, open_ones[name]) for name, array in matched.items()}

    def _argument(self, array: np.ndarray, source: "Tensor") -> np.ndarray:
        """Return an input in the type the model wants; real numbers for a quantised input are quantised."""
        if array.dtype.kind == "f" and source.params is not None:
            return quantize(array, source.params)
        return self.converted(array, source.name, np.dtype(self._dtypes[source.type]))

    def _check_types(self) -> None:
        for index in (*self._graph.inputs, *self._graph.outputs):
            source = self._graph.tensors[index]
            if source.type not in self._dtypes:
                raise UnsupportedModel(f"'{source.name}' holds {source.type}, not numbers", self.path)

    def _ask(self, *request: Any) -> Any:
        said, answer = self._child.ask(request, None)
        if said != "ok":
            raise InputError(f"LiteRT cannot run it ({_one_line(answer)})", self.path)
        return answer


class _Child:
    """The worker process, the socket to it, and a file that holds what it says on stderr until it ends."""

    def __init__(self, path: str) -> None:
        ours, theirs = socket.socketpair()
        self._said = tempfile.TemporaryFile()  # noqa: SIM115
        command = [sys.executable, "-m", "stepdown.runtimes.litert_worker"]
        with theirs:
            self._process = subprocess.Popen(
                [*command, str(theirs.fileno()), str(os.path.getsize(path))],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=self._said,
                pass_fds=[theirs.fileno()], env=environment(),
            )  # fmt: skip
        self._connection = Connection(ours.detach())

    def ask(self, request: tuple[Any, ...], limit_s: float | None) -> tuple[str, Any]:
        """Send a request and return the answer; a child that ended or hangs answers with an error."""
        try:
            self._connection.send(request)
            if not self._connection.poll(limit_s):
                return "error", f"it took longer than {limit_s:g} s"
            said, answer = self._connection.recv()
        except (EOFError, OSError):
            return "error", self._last_words()
        return said, answer

    def close(self) -> None:
        """Hang up and end the process."""
        self._connection.close()
        self._process.kill()
        self._process.wait()
        self._said.close()

    def _last_words(self) -> str:
        code = self._process.wait()
        self._said.seek(0)
        lines = [line.strip() for line in self._said.read().decode("utf-8", "replace").splitlines() if line.strip()]
        ended = f"it was ended by signal {-code}" if code < 0 else f"it exited with {code}"
        return f"{ended}: {lines[-1]}" if lines else ended


def _spec(source: "Tensor") -> TensorSpec:
    shape = tuple(None if i in source.open_axes else n for i, n in enumerate(source.shape))
    return TensorSpec(source.name, shape, _info(source))


def _info(source: "Tensor") -> TensorInfo:
    params = source.params
    if params is None:
        return TensorInfo(source.type)
    scale = list(params.scale) if isinstance(params.scale, tuple) else params.scale
    return TensorInfo(source.type, scale=scale, zero_point=params.zero_point, axis=params.axis)


def _view(spec: TensorSpec) -> TensorSpec:
    """Return the spec of the real numbers of a quantised tensor."""
    return replace(spec, name=f"{spec.name}_f32", info=TensorInfo("f32", view_of=spec.name))


def _one_line(text: str) -> str:
    return " ".join(str(text).split())[:300]
