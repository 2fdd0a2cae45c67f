"""Transform and lower a module, pass by pass (tpuc-opt)."""

import argparse
import sys
import time
from collections.abc import Sequence
from typing import Any

from stepdown.cli.tool import Parser
from stepdown.errors import InputError
from stepdown.files.npz import closest
from stepdown.opt_main import STDIN, Watch, check_target, make_passes, pass_table, read, run_passes

EXAMPLES = """\
Passes run in the order given. With -o X.mlir the weights are written to X_weight.npz beside it.

examples:
  tpuc-opt net_top_f32.mlir --shape-infer --canonicalize -o net_top_f32_opt.mlir
  tpuc-opt net_top_f32.mlir --import-calibration-table='file=net_cali_table asymmetric=false' -o net_cali.mlir
  tpuc-opt net_cali.mlir --convert-top-to-tpu="mode=INT8 asymmetric=false chip=bm1684x" --canonicalize -o net_int8.mlir
  tpuc-opt net_int8.mlir | less
"""

NEXT = {
    "TOP_F32": "run_calibration.py {0} …, or tpuc-opt {0} --convert-top-to-tpu=…",
    "TOP_CALIBRATED": "tpuc-opt {0} --convert-top-to-tpu=…",
    "TPU_LOWERED": "model_runner.py --model {0} …",
    "TPU_ADDRESSED": 'tpuc-opt {0} --codegen="model_file=X.bmodel"',
}
"""What usually follows, by the state of the module written."""


class OptParser(Parser):
    """A parser that lifts the passes off the command line first, in their order, as MLIR's tools do."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse the rest; `passes` of the result lists (name, options)."""
        passes, rest = lift_passes(list(sys.argv[1:] if args is None else args), list(self._option_string_actions))
        found, unknown = super().parse_known_args(rest, namespace)
        found.passes = passes
        return found, unknown


def lift_passes(arguments: Sequence[str], flags: Sequence[str]) -> tuple[list[tuple[str, str]], list[str]]:
    """Return the passes among `arguments` with their options, and the other arguments.

    Raises:
        InputError: an argument is neither a pass nor one of `flags`.
    """
    passes, rest = [], []
    for argument in arguments:
        flag, _, text = argument.partition("=")
        name = flag.removeprefix("--")
        if flag.startswith("--") and name in pass_table():
            passes.append((name, text))
        elif flag.startswith("--") and name and flag not in flags:
            raise InputError(f"there is no pass '{flag}'", fix=_hint(flag, flags))
        else:
            rest.append(argument)
    return passes, rest


def _hint(flag: str, flags: Sequence[str]) -> str:
    hint = closest(flag, [f for f in flags if f.startswith("--")])
    return hint if hint.startswith("did") else "tpuc-opt --help lists them"


def parser() -> argparse.ArgumentParser:
    """Return the tool's parser."""
    tool = OptParser(prog="tpuc-opt", description="Transform and lower a module.", epilog=EXAMPLES)
    tool.add_argument("input", nargs="?", default=STDIN, metavar="IN.mlir", help="the module (default, and -: stdin)")
    tool.add_argument("-o", "--output", metavar="OUT.mlir", help="write here (default: the text alone, to stdout)")
    tool.add_argument("--print-ir-after-all", action="store_true", help="print the module after every pass to stderr")
    tool.add_argument("--mlir-timing", action="store_true", help="print the time of every pass to stderr")
    passes = tool.add_argument_group("passes")
    for entry in pass_table().values():
        shown = f'"{" ".join(entry.options)}"' if entry.options else None
        passes.add_argument(f"--{entry.name}", nargs="?" if shown else 0, metavar=shown, help=entry.summary,
                            action=_Shown)  # fmt: skip
    return tool


class _Shown(argparse.Action):
    """A pass in the help and in completion; the command line's own are lifted before."""

    def __call__(self, *_: Any) -> None:
        raise AssertionError("passes are lifted before the others are parsed")


def run(args: argparse.Namespace) -> int:
    """Run the passes; raises InputError."""
    start, watch = time.perf_counter(), Watch(args.print_ir_after_all, args.mlir_timing)
    passes = make_passes(args.passes)
    program = read(args.input)
    to_file = args.output not in (None, STDIN)
    if to_file:
        check_target(program, args.input, args.output)
    watch.note("read and verify", time.perf_counter() - start)
    run_passes(program, passes, watch)
    start = time.perf_counter()
    if to_file:
        _write(program, args.output, "codegen" in dict(args.passes))
    else:
        _print(program)
    watch.note("write", time.perf_counter() - start)
    return 0


def _print(program: Any) -> None:
    from stepdown.dialects.text import print_module

    sys.stdout.write(print_module(program.module))


def _write(program: Any, path: str, has_code: bool) -> None:
    """Write the module and tell what was written and what comes next; of a model file its own pass has told."""
    weights = program.write(path)
    count = sum(not op.name.endswith((".Weight", ".None", ".Input")) for op in program.ops)
    following = None if has_code and program["state"] == "TPU_ADDRESSED" else NEXT.get(program["state"])
    print(f"{count} ops, {program['state']}: wrote {path} and {weights}" + (
        f"; next: {following.format(path)}" if following else ""))  # fmt: skip
