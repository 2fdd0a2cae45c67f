"""model_tool.py --combine and --strip: model files made of model files."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from stepdown.cli.model_tool_open import MODEL_FILE_SUFFIX
from stepdown.errors import InputError

if TYPE_CHECKING:
    from stepdown.model import ModelFile


def run(args: argparse.Namespace) -> int:
    """Write the combined or stripped file and tell its size."""
    from stepdown.model import write_model_file

    sources = args.combine or [args.strip]
    _check_paths(args, sources)
    made = _combined(sources) if args.combine else _stripped(args.strip)
    write_model_file(args.output, made)
    before, after = (sum(Path(path).stat().st_size for path in paths) for paths in (sources, [args.output]))
    stages = sum(len(network.stages) for network in made.networks)
    print(f"{len(made.networks)} networks, {stages} stages: {before:,} -> {after:,} bytes")
    print(f"wrote {args.output}; next: model_tool.py --info {args.output}")
    return 0


def _check_paths(args: argparse.Namespace, sources: Sequence[str]) -> None:
    """Raise InputError where there is no file to write, or it is one of those that are read."""
    if not args.output:
        raise InputError("says nothing of the file to write", fix="give -o X.bmodel")
    if Path(args.output).suffix != MODEL_FILE_SUFFIX:
        raise InputError("not a model file", args.output, f"give a file ending in {MODEL_FILE_SUFFIX}")
    for path in sources:
        if Path(path).resolve() == Path(args.output).resolve():
            raise InputError("would be overwritten", path, "choose another -o")
    if args.combine and len(sources) < 2:
        raise InputError("wants at least two files", "--combine")


def _combined(paths: Sequence[str]) -> "ModelFile":
    from stepdown.model import read_model_file
    from stepdown.model.combine import combine

    return combine([read_model_file(path) for path in paths])


def _stripped(path: str) -> "ModelFile":
    from stepdown.model import read_model_file
    from stepdown.model.strip import strip

    return strip(read_model_file(path))
