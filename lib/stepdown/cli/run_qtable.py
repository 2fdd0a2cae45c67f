"""Choose the mode of every op under a bound on accuracy or cost (run_qtable.py)."""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from stepdown.cli.diagnosis_flags import (
    Told,
    add_lowering_flags,
    check_written,
    checked_modes,
    checked_table,
    db,
    files_of,
    finite,
    selected_samples,
)
from stepdown.cli.tool import Parser
from stepdown.errors import InputError

if TYPE_CHECKING:
    from stepdown.diagnosis.mixed import Goal, Point, Search

EXAMPLES = """\
examples:
  run_qtable.py net.mlir --dataset photos --calibration_table net_cali_table --chip bm1684x --expected_cos 0.995 \\
      -o net_qtable
  run_qtable.py net.mlir --data_list list.txt --calibration_table net_cali_table --chip bm1684x --max_cost 1.2 \\
      -o net_qtable --pareto net_pareto.png
"""
DEFAULT_COSINE = 0.99
_PARETO = (".png", ".html", ".csv")


def parser() -> argparse.ArgumentParser:
    """Return the tool's parser."""
    tool = Parser(
        prog="run_qtable.py",
        description="Choose the mode of every op: the cheapest within a bound on accuracy, or the most accurate within "
        "a bound on cost; then run it and see that it holds.",
        epilog=EXAMPLES,
    )
    add_lowering_flags(tool, 8)
    goal = tool.add_mutually_exclusive_group()
    goal.add_argument(
        "--expected_cos", type=float, metavar="C", help=f"least cosine of every output (default {DEFAULT_COSINE})"
    )
    goal.add_argument("--expected_sqnr", type=float, metavar="DB", help="least SQNR of every output, in dB")
    goal.add_argument("--max_cost", type=float, metavar="X", help="the most that it may cost; 1 is all ops in INT8")
    tool.add_argument(
        "--min_layer_cos", type=float, default=0.0, metavar="C",
        help="an op whose own INT8 result has a lower cosine is kept in a float mode",
    )  # fmt: skip
    tool.add_argument("--modes", default="", help="modes to choose from, by commas (default INT8, F16 or BF16, F32)")
    tool.add_argument("-o", "--output", required=True, metavar="QTABLE", help="the table to write: 'op mode' a line")
    tool.add_argument(
        "--pareto", action="append", default=[], metavar="FILE", help="write accuracy against cost: .png, .html, .csv"
    )
    tool.add_argument("--json", action="store_true", help="print the result as JSON")
    return tool


def run(args: argparse.Namespace) -> int:
    """Measure, choose, run and write; raises InputError."""
    goal = _checked(args)
    from stepdown.chips import load_chip
    from stepdown.diagnosis.mixed import Search
    from stepdown.diagnosis.reference import check_reference
    from stepdown.diagnosis.relower import write_qtable
    from stepdown.diagnosis.sensitivity import base_recipe, measure_modes
    from stepdown.dialects.program import read_program

    program, told = read_program(args.model), Told()
    check_reference(program)
    written = {"--output": args.output, **{f"--pareto {path}": path for path in args.pareto}}
    check_written(written, [*files_of(program), args.calibration_table])
    modes, samples = checked_modes(args.modes, load_chip(args.chip)), selected_samples(args, program)
    recipe = base_recipe(args.chip, args.asymmetric, checked_table(args, program))
    found = measure_modes(program, recipe, modes, samples, told)
    search = Search(program, recipe, found, samples, goal, args.min_layer_cos, told, modes)
    plain, best = search.point(search.assignment.uniform("INT8"), run=True), search.best()
    write_qtable(args.output, search.mixed(best.choice).modes, _notes(args, best, len(samples)))
    _write_pareto(args, search, plain, best)
    told.end()
    _report(args, plain, best, search)
    return 0


def _checked(args: argparse.Namespace) -> "Goal":
    """Return the bound; raises InputError for one that means nothing."""
    from stepdown.diagnosis.mixed import Goal

    for path in args.pareto:
        if Path(path).suffix not in _PARETO:
            raise InputError(f"'{path}' ends in none of {', '.join(_PARETO)}", "--pareto")
    for option in ("expected_cos", "min_layer_cos"):
        value = getattr(args, option)
        if value is not None and not 0 <= value < 1:
            raise InputError(f"{value:g} is not at least 0 and below 1", f"--{option}")
    if args.expected_cos == 0:
        raise InputError("0 bounds nothing", "--expected_cos")
    if args.max_cost is not None and not 0 < args.max_cost < 1e6:
        raise InputError(f"{args.max_cost:g} is no cost", "--max_cost", "1 is all ops in INT8")
    if args.expected_sqnr is not None and not -200 < args.expected_sqnr < 200:
        raise InputError(f"{args.expected_sqnr:g} dB is no bound", "--expected_sqnr")
    free = args.expected_cos is None and args.expected_sqnr is None and args.max_cost is None
    return Goal(args.expected_sqnr, DEFAULT_COSINE if free else args.expected_cos, args.max_cost)


def _notes(args: argparse.Namespace, best: "Point", samples: int) -> list[str]:
    """Return how the table was made: nothing that differs between two runs on the same model and samples."""
    from stepdown import __version__
    from stepdown.diagnosis.pareto import measured_db

    figures = f"SQNR {db(measured_db(best))} dB, cosine {_cosine(best):.6f}, cost {best.cost:.4f}"
    return [
        f"qtable, stepdown {__version__}; chip {args.chip}; all other ops INT8",
        f"measured on {samples} samples: {figures}",
        "op mode",
    ]


def _write_pareto(args: argparse.Namespace, search: "Search", plain: "Point", best: "Point") -> None:
    if not args.pareto:
        return
    from stepdown.diagnosis.pareto import write_pareto

    curve = search.curve()
    for path in args.pareto:
        write_pareto(path, curve, {"INT8": plain, "chosen": best}, f"{search.reference.name}: accuracy against cost")


def _cosine(point: "Point") -> float:
    return min(noise.cosine for noise in point.measured.values())


def _report(args: argparse.Namespace, plain: "Point", best: "Point", search: "Search") -> None:
    modes = search.mixed(best.choice).modes
    if args.json:
        print(json.dumps({"int8": _json(plain), "chosen": {**_json(best), "modes": modes}}, indent=1))
        return
    for name, point in (("INT8", plain), ("chosen", best)):
        print(_line(name, point))
    count = len(best.choice.modes) - len(search.reference.input_ops)
    print(f"{len(modes)} of {count} ops in a float mode: wrote {' and '.join([args.output, *args.pareto])}")
    asymmetric = f"asymmetric={str(args.asymmetric).lower()}"
    print(
        f"next: tpuc-opt {args.model} --import-calibration-table='file={args.calibration_table} {asymmetric}' "
        f"--convert-top-to-tpu='mode=INT8 {asymmetric} chip={args.chip} qtable={args.output}' -o MIXED.mlir"
    )


def _line(name: str, point: "Point") -> str:
    from stepdown.diagnosis.pareto import measured_db

    return (
        f"{name:<7} cost {point.cost:.3f}, cosine {_cosine(point):.6f}, "
        f"SQNR {db(measured_db(point))} dB (expected {db(point.expected_db)})"
    )


def _json(point: "Point") -> dict[str, object]:
    from stepdown.diagnosis.pareto import measured_db

    return {
        "cost": round(point.cost, 6), "cosine": finite(_cosine(point)), "sqnr_db": finite(measured_db(point)),
        "expected_sqnr_db": finite(point.expected_db),
    }  # fmt: skip
