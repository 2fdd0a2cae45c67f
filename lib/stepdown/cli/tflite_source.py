"""TFLite models for model_transform.py: LiteRT is the reference, the file itself what it runs."""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stepdown.cli.import_source import Sizes, Source
from stepdown.cli.shape_flags import fixed_shapes, refuse_dims

if TYPE_CHECKING:
    import numpy as np

    from stepdown.dialects.program import Program
    from stepdown.formats.tflite.model import Model


class TfliteSource(Source):
    """A TFLite model, its input shapes as the flags say or as the file states."""

    @cached_property
    def model(self) -> "Model":
        """The model."""
        from stepdown.formats.tflite.loader import load_tflite

        return load_tflite(self._args.model_def)

    @cached_property
    def inputs(self) -> Mapping[str, Sizes]:
        """The shapes of the inputs; a size that the file leaves open is the one it states beside that."""
        names = [self.model.main.tensors[i].name for i in self.model.main.inputs]
        stated = [self.model.main.tensors[i].shape for i in self.model.main.inputs]
        refuse_dims(self._args.dims, self._args.model_def)
        return fixed_shapes(self._args.input_shapes, dict(zip(names, stated, strict=True)))

    def real_inputs(self, inputs: Mapping[str, "np.ndarray"]) -> "dict[str, np.ndarray]":
        """Return the inputs; integers of a quantised one are made real where the program's are dropped."""
        from stepdown.numerics.quantize import dequantize

        if not self._args.requantize:
            return dict(inputs)
        params = {self.model.main.tensors[i].name: self.model.main.tensors[i].params for i in self.model.main.inputs}
        return {
            name: dequantize(array, stated) if (stated := params.get(name)) and array.dtype.kind in "iu" else array
            for name, array in inputs.items()
        }

    def prepare(self, written: Path) -> Path | None:
        """Return the file: nothing is prepared."""
        return Path(self._args.model_def)

    def program(self, name: str, attributes: Mapping[str, Mapping[str, Any]]) -> "Program":
        """Import, and choose layouts; tells how many transposes that left."""
        from stepdown.formats.tflite.importer import import_tflite
        from stepdown.transforms.layout import Layout

        shapes = {n: [size or 1 for size in shape] for n, shape in self.inputs.items()}
        program = import_tflite(self.model, name, attributes, shapes, self._args.output_names, self._args.requantize)
        Layout().run(program)
        return program

    def reference_of(self, program: "Program", written: Path) -> Path:
        """Return the file."""
        return Path(self._args.model_def)
