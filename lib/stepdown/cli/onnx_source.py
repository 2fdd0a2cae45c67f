"""ONNX models for model_transform.py: simplified in a child process while the tool reads the flags."""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stepdown.cli.import_source import Sizes, Source
from stepdown.errors import ResourceError

if TYPE_CHECKING:
    from stepdown.dialects.program import Program
    from stepdown.formats.onnx.loader import Model


class OnnxSource(Source):
    """An ONNX model, cut and with its input shapes fixed as the flags say."""

    def __init__(self, args: argparse.Namespace) -> None:
        from stepdown.formats.onnx.binding import Wishes
        from stepdown.formats.onnx.simplify import Simplification

        super().__init__(args)
        self._wishes = Wishes(args.input_shapes, args.dims, args.output_names)
        self._child = None
        if not args.no_simplify:
            self._child = Simplification(args.model_def, self._wishes)
        self._model: Model | None = None

    def __exit__(self, *_: object) -> None:
        if self._child:
            self._child.__exit__()

    @property
    def model(self) -> "Model":
        """The model."""
        from stepdown.formats.onnx.binding import open_onnx

        if self._model is None:
            self._model = open_onnx(self._args.model_def, self._wishes)
        return self._model

    @property
    def inputs(self) -> Mapping[str, Sizes]:
        """The shapes of the true inputs."""
        from stepdown.formats.onnx.loader import input_shape, true_inputs

        return {value.name: input_shape(value) for value in true_inputs(self.model)}

    @property
    def open_names(self) -> Mapping[str, list[str]]:
        """The names of open sizes: an ONNX model may give them some."""
        from stepdown.formats.onnx.loader import input_shape, true_inputs

        dims = {value.name: value.type.tensor_type.shape.dim for value in true_inputs(self.model)}
        shapes = {value.name: input_shape(value) for value in true_inputs(self.model)}
        return {
            name: [d.dim_param for d, size in zip(dims[name], shape, strict=True) if size is None]
            for name, shape in shapes.items()
        }

    def prepare(self, written: Path) -> Path | None:
        """Take what the simplification gave, tell what became of the graph, and write it."""
        from stepdown.formats.onnx.importer import quantises_activations
        from stepdown.formats.onnx.simplify import counts_text

        if self._child is not None:
            source = self.model
            self._model, problem = self._child.result(source)
            if problem:
                print(f"not simplified: {problem}; going on with the graph as it is", file=sys.stderr)
            else:
                print(f"simplified: {counts_text(source, self._model)}")
        if self._args.requantize and quantises_activations(self.model.graph.node):
            return None
        write_onnx(self.model, written)
        return written

    def program(self, name: str, attributes: Mapping[str, Mapping[str, Any]]) -> "Program":
        """Import; a model that is quantised already keeps its integers, unless they are to be dropped."""
        from stepdown.formats.onnx.importer import import_model
        from stepdown.transforms.canonicalize import Canonicalize
        from stepdown.transforms.drop_qdq import DropQdq
        from stepdown.transforms.fold_qdq import FoldQdq
        from stepdown.transforms.lowering.stored import is_quantised

        program = import_model(self.model, name, attributes)
        if is_quantised(program) and not self._args.requantize:
            Canonicalize().run(program)
            FoldQdq().run(program)
        else:
            DropQdq().run(program)
        return program

    def reference_of(self, program: "Program", written: Path) -> Path:
        """Write the program as a float model: there is no other one once the integers are dropped."""
        from stepdown.formats.onnx.exporter import export_program

        write_onnx(export_program(program), written)
        return written


def write_onnx(model: "Model", path: Path) -> None:
    """Write a model, atomically."""
    from stepdown.files.atomic import atomic_path

    try:
        raw = model.SerializeToString()
    except Exception as error:  # protobuf raises its own, from 2 GiB on
        raise ResourceError(f"the model cannot be written ({error})", str(path)) from error
    with atomic_path(path) as temporary:
        temporary.write_bytes(raw)
