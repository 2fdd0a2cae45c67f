"""model_tool.py: what is in a model file, how it looks, how it differs; its parts. The command line."""

import argparse
import importlib

from stepdown.cli.preprocess_flags import shapes
from stepdown.cli.tool import Parser
from stepdown.errors import InputError

EXAMPLES = """\
examples:
  model_tool.py --info mobilenet_v2.onnx
  model_tool.py --info mobilenet_v2_int8_sym_1684x.mlir --verbose
  model_tool.py --info mobilenet_v2_cali_table --json
  model_tool.py --graph mobilenet_v2.mlir -o mobilenet_v2.svg
  model_tool.py --compare before.onnx after.onnx --ignore weights
  model_tool.py --extract net.bmodel -o net_parts
  model_tool.py --combine net_224.bmodel net_192.bmodel other.bmodel -o all.bmodel
  model_tool.py --strip net.bmodel -o net_small.bmodel

exit codes: 0 done, the graphs are the same; 1 they differ; 2 a file cannot be read; 3 unsupported; 70 a bug
"""
IGNORABLE = ("weights", "attributes", "names")
# By flag, the module of stepdown.cli whose function `run` does the work.
_ACTIONS = {
    "info": "model_tool_info", "graph": "model_tool_graph", "compare": "model_tool_compare",
    "extract": "model_tool_extract", "combine": "model_tool_rewrite", "strip": "model_tool_rewrite",
}  # fmt: skip
# By flag that belongs to some actions only, those.
_BELONGS = {"output": ("graph", "extract", "combine", "strip"), "ignore": ("compare",)}


def parser() -> argparse.ArgumentParser:
    """Return the tool's parser."""
    tool = Parser(
        prog="model_tool.py", description="Show, draw, compare, combine and strip model files.", epilog=EXAMPLES
    )
    action = tool.add_argument_group("what to do, one of").add_mutually_exclusive_group(required=True)
    action.add_argument(
        "--info", metavar="MODEL", help="print what is in a model, a .bmodel file, an npz file or a table"
    )
    action.add_argument("--graph", metavar="MODEL", help="draw the graph of a model")
    action.add_argument("--compare", nargs=2, metavar=("A", "B"), help="tell whether two graphs are the same")
    action.add_argument("--extract", metavar="X.bmodel", help="write the parts of a .bmodel file into a folder")
    action.add_argument(
        "--combine", nargs="+", metavar="X.bmodel",
        help="join .bmodel files of one chip: networks of one name become stages for several input shapes",
    )  # fmt: skip
    action.add_argument(
        "--strip", metavar="X.bmodel", help="leave out source locations, inner tensors and provenance of a .bmodel file"
    )
    tool.add_argument(
        "-o", "--output", metavar="X",
        help="with --graph: X.dot, X.svg or X.pbtxt (default: DOT, printed); with --combine and --strip: the .bmodel "
        "to write; with --extract: the folder (default: X_parts)",
    )  # fmt: skip
    tool.add_argument(
        "--ignore", type=_ignored, default=(), metavar="WHAT",
        help=f"with --compare: leave out {', '.join(IGNORABLE)}; a,b for several",
    )  # fmt: skip
    tool.add_argument(
        "--input_shapes", "--input_shape", type=shapes, default=[], metavar="SHAPES",
        help="shapes of the inputs of a model that leaves them open: [[1,3,224,224],[1,10]]",
    )  # fmt: skip
    tool.add_argument(
        "-v", "--verbose", action="store_true", help="with --info: a line for each operator or tensor too"
    )
    tool.add_argument("--json", action="store_true", help="with --info and --compare: print the result as JSON")
    return tool


def run(args: argparse.Namespace) -> int:
    """Run the action that was chosen; its module is imported only now."""
    chosen = next(name for name in _ACTIONS if getattr(args, name))
    for flag, wanted in _BELONGS.items():
        if getattr(args, flag) and chosen not in wanted:
            listed = " and ".join(f"--{name}" for name in wanted)
            raise InputError(f"has no meaning with --{chosen}", f"--{flag}", f"it belongs to {listed}")
    return int(importlib.import_module(f"stepdown.cli.{_ACTIONS[chosen]}").run(args))


def _ignored(text: str) -> tuple[str, ...]:
    """Parse `weights,names`; an argparse type."""
    words = tuple(filter(None, text.replace(" ", "").split(",")))
    if not words or set(words) - set(IGNORABLE):
        raise argparse.ArgumentTypeError(f"'{text}' is none of {', '.join(IGNORABLE)}")
    return words
