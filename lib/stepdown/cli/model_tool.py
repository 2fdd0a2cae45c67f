"""model_tool.py: what is in a model file, how it looks, how it differs from another. The command line."""

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

exit codes: 0 done, the graphs are the same; 1 they differ; 2 a file cannot be read; 3 unsupported; 70 a bug
"""
IGNORABLE = ("weights", "attributes", "names")
# By flag, the module of stepdown.cli whose function `run` does the work.
_ACTIONS = {"info": "model_tool_info", "graph": "model_tool_graph", "compare": "model_tool_compare"}


def parser() -> argparse.ArgumentParser:
    """Return the tool's parser."""
    tool = Parser(prog="model_tool.py", description="Show, draw and compare model files.", epilog=EXAMPLES)
    action = tool.add_argument_group("what to do, one of").add_mutually_exclusive_group(required=True)
    action.add_argument("--info", metavar="MODEL", help="print what is in a model, an npz file or a table")
    action.add_argument("--graph", metavar="MODEL", help="draw the graph of a model")
    action.add_argument("--compare", nargs=2, metavar=("A", "B"), help="tell whether two graphs are the same")
    tool.add_argument(
        "-o", "--output", metavar="X", help="with --graph: X.dot, X.svg or X.pbtxt (default: DOT, printed)"
    )
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
    for flag, value, wanted in (("--output", args.output, "graph"), ("--ignore", args.ignore, "compare")):
        if value and chosen != wanted:
            raise InputError(f"has no meaning with --{chosen}", flag, f"it belongs to --{wanted}")
    return int(importlib.import_module(f"stepdown.cli.{_ACTIONS[chosen]}").run(args))


def _ignored(text: str) -> tuple[str, ...]:
    """Parse `weights,names`; an argparse type."""
    words = tuple(filter(None, text.replace(" ", "").split(",")))
    if not words or set(words) - set(IGNORABLE):
        raise argparse.ArgumentTypeError(f"'{text}' is none of {', '.join(IGNORABLE)}")
    return words
