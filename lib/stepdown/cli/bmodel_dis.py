"""bmodel_dis.py: the commands of a model file as text, compared, and back. The command line."""

import argparse
import importlib
from typing import TYPE_CHECKING

from stepdown.cli.tool import Parser
from stepdown.errors import InputError

if TYPE_CHECKING:
    from stepdown.cli.bmodel_dis_read import Disassembly

EXAMPLES = """\
examples:
  bmodel_dis.py mobilenet_v2.bmodel
  bmodel_dis.py mobilenet_v2.bmodel --layer output_Gemm --cycles
  bmodel_dis.py mobilenet_v2.bmodel --engine dma --format json
  bmodel_dis.py mobilenet_v2.bmodel --format mlir > mobilenet_v2_commands.mlir
  bmodel_dis.py before.bmodel --diff after.bmodel
  bmodel_dis.py net.bmodel > net.txt; bmodel_dis.py net.bmodel --assemble net.txt -o again.bmodel

exit codes: 0 done, the files are the same; 1 they differ; 2 a file cannot be read; 3 unsupported; 70 a bug
"""
FORMATS = ("text", "mlir", "json")


def parser() -> argparse.ArgumentParser:
    """Return the tool's parser."""
    tool = Parser(
        prog="bmodel_dis.py", epilog=EXAMPLES,
        description="Print the commands of a model file, each with the op and the tensors that it comes from.",
    )  # fmt: skip
    tool.add_argument("model", metavar="X.bmodel", help="the model file")
    tool.add_argument("--format", choices=FORMATS, default="text", help="how to print it (default: text)")
    tool.add_argument("--network", default="", metavar="NAME", help="this network only")
    tool.add_argument("--engine", default="", metavar="NAME", help="this engine only: compute, dma, dma2")
    tool.add_argument(
        "--layer", action="append", default=[], metavar="NAME", help="commands that make this tensor only; repeatable"
    )
    tool.add_argument("--cycles", action="store_true", help="tell when each command starts and what its cycles go into")
    tool.add_argument("--diff", metavar="Y.bmodel", help="print what differs in the commands of two files instead")
    tool.add_argument("--assemble", metavar="TEXT", help="write X.bmodel with the commands of a printed text to -o")
    tool.add_argument("-o", "--output", metavar="Z.bmodel", help="with --assemble: the file to write")
    return tool


def run(args: argparse.Namespace) -> int:
    """Print, compare or assemble; the module of each is imported only now."""
    if bool(args.assemble) != bool(args.output):
        raise InputError("--assemble and -o belong together")
    if args.assemble and args.diff:
        raise InputError("--assemble and --diff do not go together")
    if args.assemble:
        from stepdown.cli.bmodel_dis_assemble import assemble

        return assemble(args)
    if args.diff:
        from stepdown.cli.bmodel_dis_diff import compare

        return compare(args)
    from stepdown.cli.bmodel_dis_read import disassembled

    _print(disassembled(args.model, args), args)
    return 0


def _print(made: "Disassembly", args: argparse.Namespace) -> None:
    module = importlib.import_module(f"stepdown.cli.bmodel_dis_{args.format}")
    for line in module.lines(made, args.cycles):
        print(line)
