"""bmodel_dis.py --assemble: a printed text of commands back into a model file."""

import argparse
from pathlib import Path

from stepdown.errors import InputError
from stepdown.model import read_model_file, write_model_file
from stepdown.sim.assembly import assembled


def assemble(args: argparse.Namespace) -> int:
    """Write the model file with the commands of the text."""
    if Path(args.output).suffix != ".bmodel":
        raise InputError("not a model file", args.output, "give a file ending in .bmodel")
    if Path(args.output).resolve() in (Path(args.model).resolve(), Path(args.assemble).resolve()):
        raise InputError("would be overwritten", args.output, "choose another -o")
    made = assembled(read_model_file(args.model), _text(args.assemble), args.assemble)
    write_model_file(args.output, made)
    print(f"wrote {args.output}; next: bmodel_dis.py {args.model} --diff {args.output}")
    return 0


def _text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise InputError("is no text", path, "give what bmodel_dis.py printed") from None
