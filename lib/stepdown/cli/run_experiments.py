"""Measure networks in many ways, and write a report (run_experiments.py)."""

import argparse
import platform
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from stepdown.cli.tool import Parser
from stepdown.errors import InputError

if TYPE_CHECKING:
    from stepdown.evaluation.experiments.plan import Plan, Settings
    from stepdown.evaluation.experiments.session import Result

EXAMPLES = """\
examples:
  run_experiments.py experiments.toml -o report
  run_experiments.py --mlir net.mlir --table net_cali_table --source net.onnx --mode F32,INT8 --level 0,1,2,3,4 \\
      --engine stepdown,onnxruntime --dataset val -o report

experiments.toml:
  [settings]
  dataset = "val"
  [model.net]
  mlir = "net.mlir"                      # its preprocessing is in it
  table = "net_cali_table"
  source = "net.onnx,net.tflite"         # for other engines
  quantised = "net_u8s8.onnx"
  [[experiment]]                         # every combination of the values
  model = "net"
  mode = ["F32", "INT8"]
  layout = ["nhwc", "nchw", "blocked"]
  [[experiment]]
  model = "net"
  engine = ["onnxruntime", "litert", "tvm-relax"]
"""
_LISTS = {
    "engine": "stepdown",
    "mode": "F32",
    "chip": platform.machine(),
    "processor": "",
    "features": "",
    "layout": "",
}
_NUMBERS = {"level": "3", "threads": "1"}
_FILE_FLAGS = ("table", "source", "quantised")


def parser() -> argparse.ArgumentParser:
    """Return the tool's parser."""
    tool = Parser(
        prog="run_experiments.py", epilog=EXAMPLES,
        description="Measure networks in many ways: accuracy, latency, size and time of compilation of every "
        "combination of engine, mode, processor, layout, level and threads.",
    )  # fmt: skip
    tool.add_argument("plan", nargs="?", metavar="PLAN", help="what to measure: .toml, or .csv with a row a line")
    tool.add_argument("-o", "--output", required=True, metavar="DIR", help="folder of the report")
    tool.add_argument("--again", action="store_true", help="measure also what was done before")
    tool.add_argument("--json", action="store_true", help="print the results as JSON instead of a table")
    _add_rows(tool.add_argument_group("instead of PLAN: values by commas; of several, every combination is a row"))
    settings = tool.add_argument_group("how to measure, where PLAN does not say it")
    settings.add_argument("--dataset", default="", metavar="PATH", help="labelled samples; see model_eval_imagenet.py")
    settings.add_argument("--count", type=int, default=0, metavar="N", help="how many samples, at random (default all)")
    settings.add_argument("--label_offset", type=int, default=0, metavar="N", help="1 if class 0 is the background")
    settings.add_argument("--runs", type=int, default=50, metavar="N", help="timed runs of a row (50)")
    settings.add_argument("--warmup", type=int, default=5, metavar="N", help="runs before them (5)")
    settings.add_argument("--seconds", type=float, default=20.0, metavar="S", help="the most that they take (20)")
    settings.add_argument("--tune", type=int, default=0, metavar="N", help="level 4 searches, as tune=N of --codegen")
    return tool


def _add_rows(group: "argparse._ArgumentGroup") -> None:
    group.add_argument("--mlir", metavar="X.mlir", help="the TOP module, or one that is quantised already")
    group.add_argument("--table", default="", help="its calibration table, for INT8")
    group.add_argument("--source", default="", metavar="FILE", help="the float model of other engines: .onnx, .tflite")
    group.add_argument("--quantised", default="", metavar="FILE", help="their INT8 model")
    group.add_argument("--engine", help="stepdown (default), onnxruntime, litert, tvm-relax")
    group.add_argument("--mode", help="F32 (default), F16, BF16, INT8, INT8_ASYM")
    group.add_argument("--chip", help="chips of our code (default: this computer's)")
    group.add_argument("--processor", help="their processors, as of --codegen")
    group.add_argument(
        "--features",
        help="their features, each with its sign; two rows: --features=+gfni-fma,+gfni (with - in a name: by PLAN)",
    )
    group.add_argument("--layout", help="nhwc, nchw, blocked (default: by the level)")
    group.add_argument("--level", help="levels of optimisation, 0 to 4 (default 3)")
    group.add_argument("--threads", help="how many threads (default 1)")


def run(args: argparse.Namespace) -> int:
    """Measure, print and write; 1 where a row failed."""
    settings = _settings(args)
    plan, folder = _plan(args, settings), Path(args.output)
    from stepdown.evaluation.experiments.measure import FAILED
    from stepdown.evaluation.experiments.report import write_reports
    from stepdown.evaluation.experiments.session import Session

    _make(folder)
    session = Session(plan, folder / "results.json", args.again)
    results = session.run(lambda line: print(line, file=sys.stderr, flush=True))
    written = write_reports(folder, results, plan.settings)
    _tell(results, args.json)
    failed = sum(result.found["status"] == FAILED for result in results)
    if not args.json:
        print(f"wrote {folder / 'results.json'} and beside it {', '.join(written[:2])}, {len(written) - 2} pictures")
    if failed:
        print(f"{failed} of {len(results)} rows failed", file=sys.stderr)
    return int(bool(failed))


def _settings(args: argparse.Namespace) -> "Settings":
    from stepdown.evaluation.experiments.plan import Settings, check_settings

    given = Settings(args.runs, args.warmup, args.seconds, args.dataset, args.count, args.label_offset, args.tune)
    return check_settings(given, "--")


def _plan(args: argparse.Namespace, settings: "Settings") -> "Plan":
    """Return what the file lists, or what the flags multiply out."""
    from stepdown.evaluation.experiments.plan import Plan, Subject, checked, multiplied, read_plan

    if args.plan:
        if given := [name for name in ("mlir", *_FILE_FLAGS, *_LISTS, *_NUMBERS) if getattr(args, name)]:
            raise InputError("says all rows", args.plan, f"leave out --{given[0]}")
        return read_plan(Path(args.plan), settings)
    if not args.mlir:
        raise InputError("there is nothing to measure", fix="give PLAN.toml, or --mlir X.mlir")
    name = Path(args.mlir).stem
    subject = Subject(name, args.mlir, *(getattr(args, kind) for kind in _FILE_FLAGS))
    named = {key: (getattr(args, key) or default).split(",") for key, default in _LISTS.items()}
    named["features"] = [re.sub(r"(?<=.)([+-])", r",\1", value) for value in named["features"]]
    numbers = {key: _numbers(key, getattr(args, key) or default) for key, default in _NUMBERS.items()}
    rows = multiplied({"model": [name], **named, **numbers})
    return Plan(checked(rows, {name: subject}, "--mlir"), {name: subject}, settings)


def _numbers(key: str, text: str) -> list[int]:
    for part in text.split(","):
        if not part.isdecimal():
            raise InputError(f"'{part}' is no number", f"--{key}")
    return [int(part) for part in text.split(",")]


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot be made ({error.strerror})", str(folder)) from None


def _tell(results: "list[Result]", as_json: bool) -> None:
    if as_json:
        import json
        from dataclasses import asdict

        print(json.dumps([{"row": asdict(r.row), **r.found} for r in results], indent=1))
        return
    from stepdown.evaluation.experiments.columns import columns_of
    from stepdown.evaluation.experiments.report import table_lines

    print("\n".join(table_lines(results, columns_of(results))))
    for result in results:
        if not result.is_done:
            print(f"{result.row.title}: {result.found['status']}: {result.found['message']}")
