"""The flags of model_runner.py that say on how many threads a model runs, and how often against the clock."""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from stepdown.errors import InputError

if TYPE_CHECKING:
    from stepdown.runtimes import Runner
    from stepdown.runtimes.runner import Tensors

WARMUP = 10
THREADED = (".so", ".onnx", ".tflite")
MOST_THREADS = 1024


def add_repeat_flags(tool: argparse.ArgumentParser) -> None:
    """Add the flags."""
    tool.add_argument(
        "--threads", type=int, default=0, metavar="N",
        help="threads of a .so (default 1), .onnx or .tflite (default: as onnxruntime, LiteRT choose)",
    )  # fmt: skip
    tool.add_argument(
        "--repeat", type=int, default=0, metavar="N",
        help="run N times more and print the median time and the 90th percentile",
    )  # fmt: skip
    tool.add_argument(
        "--warmup", type=int, default=WARMUP, metavar="N",
        help=f"with --repeat, the runs before those that are timed (default {WARMUP})",
    )  # fmt: skip


def check_repeat(args: argparse.Namespace) -> None:
    """Refuse what cannot be.

    Raises:
        InputError: a number is negative, threads are too many, or the model is of a kind that runs on one thread.
    """
    for flag in ("threads", "repeat", "warmup"):
        if getattr(args, flag) < 0:
            raise InputError(f"{getattr(args, flag)} is no number of {flag}", f"--{flag}", "give 1 or more")
    if args.threads > MOST_THREADS:
        raise InputError(f"{args.threads} are too many threads", "--threads", f"give {MOST_THREADS} or fewer")
    if args.threads and Path(args.model).suffix not in THREADED:
        raise InputError(f"is for {', '.join(THREADED)}", "--threads", "leave it out")


def report_repeat(args: argparse.Namespace, runner: "Runner", inputs: "Tensors") -> None:
    """Print how long runs take, where that is asked for; of a library the network alone, without its inputs' copies."""
    if not args.repeat:
        return
    import numpy as np

    again: Callable[[], object] = getattr(runner, "again", lambda: runner.run(inputs))
    for _ in range(args.warmup):
        again()
    times = np.array([_milliseconds(again) for _ in range(args.repeat)])
    median, p90 = np.percentile(times, (50, 90))
    runs = f"{args.repeat} runs after {args.warmup} to warm up"
    print(f"Time: median {median:.4g} ms, p90 {p90:.4g} ms ({runs}, threads: {args.threads or 'default'})")


def _milliseconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return 1e3 * (time.perf_counter() - start)
