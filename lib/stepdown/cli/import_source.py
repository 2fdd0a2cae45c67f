"""The steps of model_transform.py up to the module: read, simplify, import, canonicalise, write."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from stepdown.cli.preprocess_flags import has_preprocess_flags, preprocess_from_args
from stepdown.errors import InputError, ResourceError, StepError

if TYPE_CHECKING:
    from stepdown.data.preprocess import Preprocess
    from stepdown.dialects.program import Program
    from stepdown.formats.onnx.loader import Model
    from stepdown.formats.onnx.simplify import Simplification


def read_source(args: argparse.Namespace) -> "Model":
    """Read the model, cut it and fix its input shapes as the flags say."""
    from stepdown.formats.onnx.loader import bind_input_shapes, cut_outputs, load_onnx

    model = load_onnx(args.model_def)
    if args.output_names:
        cut_outputs(model, args.output_names)
    if args.input_shapes:
        bind_input_shapes(model, args.input_shapes)
    return model


def preprocessing_of(args: argparse.Namespace, model: "Model") -> "dict[str, Preprocess]":
    """Return, by input, what the flags say; nothing where no flag is given."""
    from stepdown.formats.onnx.loader import input_shape, true_inputs

    fixed = {value.name: input_shape(value) for value in true_inputs(model)}
    open_ones = [name for name, shape in fixed.items() if None in shape]
    if open_ones:
        stated = ["?" if size is None else size for size in fixed[open_ones[0]]]
        raise InputError(f"input '{open_ones[0]}' has the open shape {stated}", args.model_def, "give --input_shapes")
    if not has_preprocess_flags(args):
        return {}
    found = {name: preprocess_from_args(args, [n or 0 for n in shape]) for name, shape in fixed.items()}
    photos = {name: preprocess for name, preprocess in found.items() if preprocess.is_image}
    if not photos and args.channel_format != "none":
        raise InputError("no input is an image, so there is nothing to preprocess", args.model_def, "drop the flags")
    return photos


def simplified(source: "Model", child: "Simplification | None") -> "Model":
    """Return the graph to import, and tell what became of it."""
    if child is None:
        return source
    from stepdown.formats.onnx.simplify import counts_text

    model, problem = child.result(source)
    if problem:
        print(f"not simplified: {problem}; going on with the graph as it is", file=sys.stderr)
    else:
        print(f"simplified: {counts_text(source, model)}")
    return model


def write_model(model: "Model", path: Path) -> None:
    """Write a model, atomically."""
    from stepdown.files.atomic import atomic_path

    try:
        raw = model.SerializeToString()
    except Exception as error:  # protobuf raises its own, from 2 GiB on
        raise ResourceError(f"the model cannot be written ({error})", str(path)) from error
    with atomic_path(path) as temporary:
        temporary.write_bytes(raw)


def import_program(
    args: argparse.Namespace, model: "Model", weights: str, photos: "dict[str, Preprocess]"
) -> "Program":
    """Import, canonicalise and write the module and its weights."""
    from stepdown.formats.onnx.importer import import_model
    from stepdown.transforms.canonicalize import Canonicalize

    attributes = {name: preprocess.to_attributes() for name, preprocess in photos.items()}
    try:
        program = import_model(model, args.model_name, attributes)
    except StepError as error:
        raise type(error)(error.what, ": ".join(filter(None, [args.model_def, error.where])), error.fix) from error
    _warn_of_nan(program)
    Canonicalize().run(program)
    program.write(args.mlir, weight_file=weights)
    program.path = args.mlir
    return program


def _warn_of_nan(program: "Program") -> None:
    """Tell on stderr which weights hold NaN; infinities have uses, as in masks."""
    import numpy as np

    floats = ((key, value) for key, value in program.weights.items() if value.dtype.kind == "f")
    counts = {key: int(np.isnan(value).sum()) for key, value in floats}
    faulty = [f"'{key}' ({count} of {program.weights[key].size})" for key, count in counts.items() if count]
    if faulty:
        print(f"warning: weights hold NaN: {', '.join(faulty)}; export the model again", file=sys.stderr)
