"""What model_transform.py needs of a model in any format, and the steps that all formats share."""

import argparse
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from stepdown.cli.preprocess_flags import has_preprocess_flags, preprocess_from_args
from stepdown.errors import InputError, StepError

if TYPE_CHECKING:
    import numpy as np

    from stepdown.data.preprocess import Preprocess
    from stepdown.dialects.program import Program

OPENERS: dict[str, str] = {
    ".onnx": "stepdown.cli.onnx_source:OnnxSource",
    ".prototxt": "stepdown.cli.caffe_source:CaffeSource",
    ".tflite": "stepdown.cli.tflite_source:TfliteSource",
}
"""By the suffix of a model file, the class that reads it for model_transform.py."""

Sizes = tuple[int | None, ...]


class Source(ABC):
    """A model that is being imported, as the flags say: use as a context manager."""

    def __init__(self, args: argparse.Namespace) -> None:
        self._args = args

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Release what the source holds: nothing unless a format says otherwise."""
        return

    @property
    @abstractmethod
    def inputs(self) -> Mapping[str, Sizes]:
        """The shape of every input by name; None for a size that is not fixed."""

    @property
    def open_names(self) -> Mapping[str, list[str]]:
        """For every input, what the model calls the sizes that are not fixed, in their order; '' where it does not."""
        return {name: [""] * len(shape) for name, shape in self.inputs.items()}

    def real_inputs(self, inputs: Mapping[str, "np.ndarray"]) -> "dict[str, np.ndarray]":
        """Return the tensors of the check as the imported program takes them: one without integers, real numbers."""
        return dict(inputs)

    @abstractmethod
    def prepare(self, written: Path) -> Path | None:
        """Finish reading; `written` is where a prepared model may go. Return the file that its own runtime runs.

        None where the reference can only be made from the imported program, by `reference_of`.
        """

    @abstractmethod
    def program(self, name: str, attributes: Mapping[str, Mapping[str, Any]]) -> "Program":
        """Import; `attributes` are those of `top.Input`, by input name."""

    @abstractmethod
    def reference_of(self, program: "Program", written: Path) -> Path:
        """Return a file that another engine runs in place of the source, made from the program as it was imported."""


def open_source(args: argparse.Namespace) -> Source:
    """Return the reader of the model that the flags name."""
    module, _, name = OPENERS[Path(args.model_def).suffix].partition(":")
    opener: type[Source] = getattr(import_module(module), name)
    return opener(args)


def preprocessing_of(args: argparse.Namespace, source: Source) -> "dict[str, Preprocess]":
    """Return, by input, what the flags say; nothing where no flag is given."""
    fixed = source.inputs
    open_ones = [name for name, shape in fixed.items() if None in shape]
    if open_ones:
        raise _open_shape(args, source, open_ones)
    if not has_preprocess_flags(args):
        return {}
    found = {name: preprocess_from_args(args, [n or 0 for n in shape]) for name, shape in fixed.items()}
    photos = {name: preprocess for name, preprocess in found.items() if preprocess.is_image}
    if not photos and args.channel_format != "none":
        raise InputError("no input is an image, so there is nothing to preprocess", args.model_def, "drop the flags")
    return photos


def _open_shape(args: argparse.Namespace, source: Source, inputs: list[str]) -> InputError:
    """Return the error that says which sizes of the first of `inputs` are open, and how to fix those of all."""
    names = iter(source.open_names[inputs[0]])
    stated = [next(names) or "?" if size is None else size for size in source.inputs[inputs[0]]]
    listed = list(dict.fromkeys(name for one in inputs for name in source.open_names[one]))
    dims = f", or --dims {','.join(f'{name}=N' for name in listed)}" if all(listed) else ""
    return InputError(f"input '{inputs[0]}' has the open shape {stated}", args.model_def, f"give --input_shapes{dims}")


def import_program(args: argparse.Namespace, source: Source, photos: "Mapping[str, Preprocess]") -> "Program":
    """Import the model."""
    attributes = {name: preprocess.to_attributes() for name, preprocess in photos.items()}
    with naming(args.model_def), _blaming_shapes(args):
        program = source.program(args.model_name, attributes)
    _warn_of_nan(program)
    return program


@contextmanager
def _blaming_shapes(args: argparse.Namespace) -> Iterator[None]:
    """Tell that shapes which the user gave may be what an op of the network cannot be computed on."""
    from stepdown.formats.node import BrokenConstraint

    try:
        yield
    except BrokenConstraint as error:
        if not (args.input_shapes or args.dims):
            raise
        raise InputError(error.what, error.where, "the given --input_shapes do not fit the network") from error


def finish_program(program: "Program") -> None:
    """Tidy an imported program up: float ones are canonicalised, quantised ones lowered as they are quantised."""
    from stepdown.dialects.program import State
    from stepdown.transforms.canonicalize import Canonicalize

    if program["state"] == State.TOP_QUANTIZED:
        from stepdown.transforms.convert_quantized_to_tpu import ConvertQuantizedToTpu
        from stepdown.transforms.fuse_pads import FusePads

        FusePads().run(program)
        ConvertQuantizedToTpu(profile="tflite" if program["platform"] == "TFLITE" else "tosa").run(program)
    else:
        Canonicalize().run(program)


@contextmanager
def naming(path: str) -> Iterator[None]:
    """Put the model's path in front of what an error says of its inside."""
    try:
        yield
    except StepError as error:
        raise type(error)(error.what, ": ".join(filter(None, [path, error.where])), error.fix) from error


def _warn_of_nan(program: "Program") -> None:
    """Tell on stderr which weights hold NaN; infinities have uses, as in masks."""
    import numpy as np

    floats = ((key, value) for key, value in program.weights.items() if value.dtype.kind == "f")
    counts = {key: int(np.isnan(value).sum()) for key, value in floats}
    faulty = [f"'{key}' ({count} of {program.weights[key].size})" for key, count in counts.items() if count]
    if faulty:
        print(f"warning: weights hold NaN: {', '.join(faulty)}; export the model again", file=sys.stderr)
