"""npz_tool.py: compare, show and edit the tensors of npz files. The command line; the work is in the npz_* modules."""

import argparse
import importlib
from typing import Any, NamedTuple, cast

from stepdown.cli.tool import Parser

_EPILOG = """\
examples:
  npz_tool.py compare resnet18_int8.npz resnet18_f32.npz --tolerance 0.95,0.70 -v
  npz_tool.py dump resnet18_int8.npz output_Gemm 5
  npz_tool.py COMMAND --help    # the options of a command, and examples

exit codes: 0 done, 1 a comparison or check failed, 2 wrong usage or input, 3 unsupported, 4 out of resources, 70 a bug
"""

Argument = tuple[tuple[str, ...], dict[str, Any]]


class Command(NamedTuple):
    """A sub-command: the function `name` in the module `stepdown.cli.MODULE`."""

    name: str
    module: str
    help: str
    example: str
    arguments: tuple[Argument, ...]


def _arg(*flags: str, **settings: Any) -> Argument:
    return flags, settings


_FILE = _arg("file", metavar="FILE", help="an npz file")
_TARGET = _arg("target", metavar="TARGET", help="npz file with the tensors to check")
_REFERENCE = _arg("reference", metavar="REFERENCE", help="npz file with the tensors that they should be")
_NAME = _arg("name", metavar="NAME", help="a tensor")
_NAMES = _arg("names", metavar="NAME", nargs="+", help="tensors: a,b or a b")
_IN_OUT = (
    _arg("file", metavar="IN", help="npz file to read"),
    _arg("out", metavar="OUT", help="npz file to write"),
)
_OUT = _arg("out", metavar="OUT", help="file to write")
_IN_PLACE = _arg("-o", "--output", metavar="OUT", help="write OUT and leave FILE as it is")
_OVERWRITE = _arg("--overwrite", action="store_true", help="replace tensors of the same name that differ")
_JSON = _arg("--json", action="store_true", help="print the result as JSON")
_TYPE_HELP = "f32 f16 bf16 f64 i8 u8 i16 u16 i32 u32 i64 u64 or bool; numpy's names (float32, int8, …) are taken too"

_COMPARE_ARGUMENTS = (
    _TARGET,
    _REFERENCE,
    _arg(
        "-t", "--tolerance", default="0.99,0.99", metavar="COSINE,EUCLID",
        help="least cosine and euclidean similarity of a tensor (default 0.99,0.99)",
    ),
    _arg("--excepts", metavar="NAMES", default="", help="tensors to leave out: a,b; they are counted and printed"),
    _arg("--only", "-k", "--key", metavar="NAMES", default="", help="compare nothing but these tensors: a,b"),
    _arg(
        "-v", "--verbose", action="count", default=0,
        help="print shapes, types, similarities and fused tensors; -vv: also the ten largest values of both sides",
    ),
    _arg("--json", metavar="FILE", help="write all results as JSON; - prints them instead of the text"),
    _arg("--csv", "-s", "--save", metavar="FILE", help="write a line a tensor as CSV"),
    _arg("--html", metavar="FILE", help="write a report with plots along the network, in one file"),
    _arg("-a", "--forall", action="store_true", help="accepted and not needed: all tensors are always compared"),
)  # fmt: skip

_COMPARE_EXAMPLE = """\
  npz_tool.py compare resnet18_int8.npz resnet18_f32.npz --tolerance 0.95,0.70 -v --html report.html

levels: EQUAL same bytes; CLOSE within rtol 1e-3 or tighter; SIMILAR within the tolerance. These pass.
        NOT_SIMILAR below the tolerance; NOT_EQUAL integers differ; SHAPE shapes differ; MISSING from a file;
        NOT_FINITE NaN or infinities that the other side does not have. These fail.
Every tensor of TARGET must be in REFERENCE. A tensor of REFERENCE may be absent from TARGET only where TARGET's
metadata says that it was fused, or where TARGET holds nothing but network outputs. Quantised tensors are compared by
their real values."""

_COMMANDS = (
    Command("compare", "npz_compare", "compare all tensors of two files", _COMPARE_EXAMPLE, _COMPARE_ARGUMENTS),
    Command(
        "print_diff", "npz_compare", "print where a tensor of two files differs most",
        "  npz_tool.py print_diff resnet18_int8.npz resnet18_f32.npz output_Gemm 20",
        (_TARGET, _REFERENCE, _NAME, _arg("count", metavar="N", nargs="?", default="10", help="how many (default 10)")),
    ),
    Command(
        "visualize_diff", "npz_compare", "draw tensors of two files against each other, as PNG",
        "  npz_tool.py visualize_diff resnet18_int8.npz resnet18_f32.npz output_Gemm -o output_Gemm.png\n"
        "  npz_tool.py visualize_diff resnet18_int8.npz resnet18_f32.npz -o pictures/",
        (_TARGET, _REFERENCE, _arg("names", metavar="NAME", nargs="*", help="tensors (default: all that are in both)"),
         _arg("-o", "--output", required=True, metavar="DIR|FILE.png", help="folder, or one picture")),
    ),
    Command(
        "dump", "npz_show", "list the tensors of a file, or show one",
        "  npz_tool.py dump resnet18_in_f32.npz          # name, shape, type and storage of every tensor\n"
        "  npz_tool.py dump resnet18_in_f32.npz input    # values and statistics of one\n"
        "  npz_tool.py dump outputs.npz output_Gemm 5    # its 5 largest values, with their indices",
        (_FILE, _arg("name", metavar="NAME", nargs="?", help="the tensor to show"),
         _arg("top", metavar="K", nargs="?", help="show the K largest values"),
         _arg("--all", action="store_true", help="print every value instead of the corners"),
         _arg("--list", action="store_true", help="accepted and not needed: without NAME, tensors are listed"), _JSON),
    ),
    Command(
        "statistic", "npz_show", "print min, max, mean, … of tensors",
        "  npz_tool.py statistic outputs.npz\n  npz_tool.py statistic weights.npz conv1.weight_fix --axis 0",
        (_FILE, _arg("names", metavar="NAME", nargs="*", help="tensors (default: all)"),
         _arg("--axis", type=int, metavar="A", help="a line for each index along this axis"), _JSON),
    ),
    Command(
        "check_nan_inf", "npz_show", "fail where a tensor holds NaN or infinities",
        "  npz_tool.py check_nan_inf outputs.npz && echo clean", (_FILE, _JSON),
    ),
    Command(
        "get_shape", "npz_show", "print the shape of a tensor",
        "  npz_tool.py get_shape resnet18_in_f32.npz input    # [1,3,224,224]", (_FILE, _NAME),
    ),
    Command(
        "extract", "npz_edit", "write some tensors of a file to another",
        "  npz_tool.py extract all.npz some.npz conv1_Conv,output_Gemm", (*_IN_OUT, _NAMES),
    ),
    Command(
        "remove", "npz_edit", "remove tensors from a file",
        "  npz_tool.py remove all.npz conv1_Conv,output_Gemm", (_FILE, _NAMES, _IN_PLACE),
    ),
    Command(
        "insert", "npz_edit", "insert all tensors of one file into another",
        "  npz_tool.py insert extra.npz all.npz",
        (_arg("source", metavar="FROM", help="npz file whose tensors are inserted"),
         _arg("file", metavar="INTO", help="npz file that receives them"),
         _arg("-o", "--output", metavar="OUT", help="write OUT and leave INTO as it is"), _OVERWRITE),
    ),
    Command(
        "merge", "npz_edit", "merge files into a new one",
        "  npz_tool.py merge a.npz b.npz merged.npz",
        (_arg("files", metavar="IN", nargs="+", help="npz files to read"), _IN_OUT[1], _OVERWRITE),
    ),
    Command(
        "rename", "npz_edit", "rename a tensor",
        "  npz_tool.py rename inputs.npz data input",
        (_FILE, _NAME, _arg("new", metavar="NEW", help="its new name"), _IN_PLACE),
    ),
    Command(
        "reshape", "npz_edit", "change the shape of a tensor, not its values",
        "  npz_tool.py reshape inputs.npz input 1,3,224,224\n"
        "  npz_tool.py reshape inputs.npz input -- -1,1000    # -1: what remains",
        (_FILE, _NAME, _arg("shape", metavar="SHAPE", help="the new shape: 1,3,4"), _IN_PLACE),
    ),
    Command(
        "permute", "npz_edit", "permute the axes of a tensor",
        "  npz_tool.py permute inputs.npz input 0,2,3,1    # NCHW to NHWC",
        (_FILE, _NAME, _arg("order", metavar="ORDER", help="the old axes in their new order: 0,2,3,1"), _IN_PLACE),
    ),
    Command(
        "to_bin", "npz_convert", "write the elements of a tensor to a raw little-endian file",
        "  npz_tool.py to_bin inputs.npz input input.bin --type f16\n"
        "  npz_tool.py to_bin int8.npz output_Gemm real.bin --type f32    # real values of a quantised tensor",
        (_FILE, _NAME, _OUT, _arg("--type", metavar="TYPE", help=_TYPE_HELP)),
    ),
    Command(
        "from_bin", "npz_convert", "put a raw little-endian file into an npz file as a tensor",
        "  npz_tool.py from_bin input.bin input inputs.npz --type f32 --shape 1,3,224,224",
        (_arg("source", metavar="BIN", help="raw file to read"), _NAME,
         _arg("file", metavar="NPZ", help="npz file to create, or to put the tensor into"),
         _arg("--type", metavar="TYPE", default="f32", help=_TYPE_HELP),
         _arg("--shape", metavar="SHAPE", help="shape, as 1,3,4 (default: one axis)"), _OVERWRITE),
    ),
    Command(
        "to_npy", "npz_convert", "write a tensor to a .npy file",
        "  npz_tool.py to_npy inputs.npz input input.npy", (_FILE, _NAME, _OUT),
    ),
    Command(
        "from_npy", "npz_convert", "put a .npy file into an npz file as a tensor",
        "  npz_tool.py from_npy input.npy input inputs.npz",
        (_arg("source", metavar="NPY", help="npy file to read"), _NAME,
         _arg("file", metavar="NPZ", help="npz file to create, or to put the tensor into"), _OVERWRITE),
    ),
    *(
        Command(
            f"{one}_to_{other}", "npz_convert", f"convert all {one} tensors of a file to {other}",
            f"  npz_tool.py {one}_to_{other} in.npz out.npz", _IN_OUT,
        )
        for one, other in (("fp32", "fp16"), ("fp16", "fp32"), ("fp32", "bf16"), ("bf16", "fp32"))
    ),
)  # fmt: skip


class _LazyParser:
    """The parser of a sub-command, made when it is first used: making all of them is slow."""

    def __init__(self, command: Command, **settings: Any) -> None:
        self._command, self._settings = command, settings
        self._parser: Parser | None = None

    def parse_known_args(self, words: list[str], namespace: Any = None) -> tuple[argparse.Namespace, list[str]]:
        """Parse a sub-command whose options may stand between its positional arguments."""
        parsed: tuple[argparse.Namespace, list[str]] = self.parse_known_intermixed_args(words, namespace)
        return parsed

    def __getattr__(self, name: str) -> Any:
        self._parser = self._parser or _command_parser(self._command, self._settings)
        return getattr(self._parser, name)


def _command_parser(command: Command, settings: dict[str, Any]) -> Parser:
    made = Parser(description=f"{command.help}.".capitalize(), epilog=f"example:\n{command.example}\n", **settings)
    for flags, argument in command.arguments:
        made.add_argument(*flags, **argument)
    # The tool itself has this flag; here it is also taken after the sub-command.
    made.add_argument("--debug", action="store_true", default=argparse.SUPPRESS, help=argparse.SUPPRESS)
    return made


def parser() -> argparse.ArgumentParser:
    """Return the command line of all sub-commands."""
    top = Parser(prog="npz_tool.py", description="Compare, show and edit the tensors of npz files.", epilog=_EPILOG)
    commands: Any = top.add_subparsers(
        dest="command", metavar="COMMAND", required=True, parser_class=cast("Any", _LazyParser)
    )
    for command in _COMMANDS:
        commands.add_parser(command.name, help=command.help, command=command)
    return top


def run(args: argparse.Namespace) -> int:
    """Run the sub-command; its module, and numpy with it, is imported only now."""
    command = next(c for c in _COMMANDS if c.name == args.command)
    module = importlib.import_module(f"stepdown.cli.{command.module}")
    return int(getattr(module, command.name)(args))
