"""The flags of model_runner.py that say what a model file takes on its chip, without running it."""

import argparse
from pathlib import Path

from stepdown.errors import InputError


def add_perf_flags(tool: argparse.ArgumentParser) -> None:
    """Add the flags."""
    tool.add_argument(
        "--trace", metavar="X.json",
        help="for a .bmodel: write the predicted time line as Chrome trace, for Perfetto or perf_report.py",
    )  # fmt: skip


def wants_perf(args: argparse.Namespace) -> bool:
    """Tell whether one of the flags is given."""
    return bool(args.trace)


def report_perf(args: argparse.Namespace) -> None:
    """Write the trace.

    Raises:
        InputError: the model is no model file for an NPU, or would be overwritten.
    """
    from stepdown.perf import account_of
    from stepdown.perf.trace import write_trace

    _check(args)
    account = account_of(args.model)
    write_trace(args.trace, account)
    print(f"{account.title}, {len(account.works)} commands: wrote {args.trace}; next: perf_report.py {args.trace}")


def _check(args: argparse.Namespace) -> None:
    model = Path(args.model)
    if model.suffix != ".bmodel":
        raise InputError("its time is not predicted", args.model, "make a .bmodel with tpuc-opt --codegen=…")
    if not model.is_file():
        raise InputError("is a directory" if model.is_dir() else "no such file", args.model)
    if args.trace and Path(args.trace).resolve() == model.resolve():
        raise InputError("would be overwritten", args.trace, "choose another --trace")
