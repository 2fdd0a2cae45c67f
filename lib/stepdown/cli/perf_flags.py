"""The flags of model_runner.py that say what a model file takes on its chip, without running it."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from stepdown.errors import InputError

if TYPE_CHECKING:
    from stepdown.model import Stage
    from stepdown.perf import Account

PRINT_ONLY = ""
FILES = ("perf.json", "ops.csv", "roofline.png", "memory.png", "memory.svg")


def add_perf_flags(tool: argparse.ArgumentParser) -> None:
    """Add the flags."""
    tool.add_argument(
        "--trace", metavar="X.json",
        help="for a .bmodel: write the predicted time line as Chrome trace, for Perfetto or perf_report.py",
    )  # fmt: skip
    tool.add_argument(
        "--perf", nargs="?", const=PRINT_ONLY, metavar="FOLDER",
        help="for a .bmodel: print the predicted cycles by op, type and engine; into a folder write "
        + ", ".join(FILES),
    )  # fmt: skip


def wants_perf(args: argparse.Namespace) -> bool:
    """Tell whether one of the flags is given."""
    return bool(args.trace) or args.perf is not None


def report_perf(args: argparse.Namespace, stage: "Stage | None" = None) -> None:
    """Write and print what is asked for; `stage` is the one that has run, where one has.

    Raises:
        InputError: the model is no model file for an NPU, or a file cannot be written.
    """
    from stepdown.perf import account_of

    account = account_of(args.model, args.network, stage)
    if args.perf is not None:
        _print_tables(account, args.perf)
    if args.trace:
        _write_trace(account, args.trace)


def check_perf(args: argparse.Namespace) -> None:
    """Check the flags, before anything is run.

    Raises:
        InputError: the model is no model file, would be overwritten, or the folder is none.
    """
    model = Path(args.model)
    if model.suffix != ".bmodel":
        raise InputError("its time is not predicted", args.model, "make a .bmodel with tpuc-opt --codegen=…")
    if not model.is_file():
        raise InputError("is a directory" if model.is_dir() else "no such file", args.model)
    if args.trace and Path(args.trace).resolve() == model.resolve():
        raise InputError("would be overwritten", args.trace, "choose another --trace")
    if args.perf and Path(args.perf).exists() and not Path(args.perf).is_dir():
        raise InputError("is no folder", args.perf, "give another --perf")


def _print_tables(account: "Account", folder: str) -> None:
    from stepdown.perf.tables import text_lines
    from stepdown.perf.totals import totals_of

    totals = totals_of(account)
    print("\n".join(text_lines(totals)))
    if folder:
        from stepdown.perf.files import write_files

        write_files(folder, totals)
        print(f"wrote {', '.join(FILES)} into {folder}")


def _write_trace(account: "Account", path: str) -> None:
    from stepdown.perf.trace import write_trace

    write_trace(path, account)
    print(f"{account.title}, {len(account.works)} slices: wrote {path}; next: perf_report.py {path}")
