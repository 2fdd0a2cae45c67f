"""Show where the time of a trace goes, or compare two (perf_report.py)."""

import argparse
import csv
import io
import json
from typing import TYPE_CHECKING, Any

from stepdown.cli.tool import Parser
from stepdown.errors import InputError

if TYPE_CHECKING:
    from stepdown.perf.trace_reader import Trace

EXAMPLES = """\
examples:
  model_runner.py --model net.bmodel --trace net.json && perf_report.py net.json
  perf_report.py grouped.json --compare ungrouped.json --by op --top 10
  perf_report.py onnxruntime_profile.json --by type --csv types.csv
"""
GROUPINGS = ("type", "op", "engine", "part")
TOP = 20


def parser() -> argparse.ArgumentParser:
    """Return the tool's parser."""
    tool = Parser(
        prog="perf_report.py",
        description="Show where the time of a trace goes: one of model_runner.py --trace, or any Chrome trace "
        "whose events carry dur and args.op_name.",
        epilog=EXAMPLES,
    )
    tool.add_argument("trace", metavar="TRACE.json", help="the trace")
    tool.add_argument("--compare", metavar="OTHER.json", help="another trace, shown beside it with the differences")
    tool.add_argument("--by", choices=GROUPINGS, action="append", help="the tables to make (default: all)")
    tool.add_argument("--top", type=int, default=TOP, metavar="N", help=f"rows of a printed table (default: {TOP})")
    tool.add_argument("--csv", metavar="X.csv", help="write all rows, a line a group")
    tool.add_argument("--json", action="store_true", help="print the result as JSON")
    return tool


def run(args: argparse.Namespace) -> int:
    """Print the report, and write the CSV."""
    from stepdown.perf.trace_reader import read_trace

    if args.top < 1:
        raise InputError(f"is {args.top}, want at least 1", "--top")
    traces = [read_trace(path) for path in (args.trace, args.compare) if path is not None]
    report = _report(traces, args.by or GROUPINGS)
    if args.csv:
        _write_csv(args.csv, report)
    if args.json:
        print(json.dumps(report, indent=2, ensure_ascii=False))
    else:
        _print(args, traces)
    return 0


def _report(traces: "list[Trace]", groupings: "tuple[str, ...] | list[str]") -> dict[str, Any]:
    from stepdown.perf.trace_report import compare_json, report_json

    if len(traces) == 1:
        return report_json(traces[0], groupings)
    return compare_json(traces[0], traces[1], groupings)


def _write_csv(path: str, report: dict[str, Any]) -> None:
    from stepdown.files.atomic import write_text

    rows = [{"by": by[3:], **row} for by, each in report.items() if by.startswith("by_") for row in each]
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())


def _print(args: argparse.Namespace, traces: "list[Trace]") -> None:
    from stepdown.perf.trace_report import compare_lines, report_lines

    groupings = args.by or GROUPINGS
    if len(traces) == 1:
        print("\n".join(report_lines(traces[0], groupings, args.top)))
    else:
        print("\n".join(compare_lines(traces[0], traces[1], groupings, args.top)))
    if args.csv:
        print(f"wrote {args.csv}")
