"""Feed a reader with many bad inputs; it must take or refuse each: no traceback, no hang, under 1 GB.

    python regression/fuzz/run.py --target onnx --count 100000 --seed 7 --jobs 2
    python regression/fuzz/run.py --target onnx --replay work_dir/fuzz/onnx/KeyError-….onnx

The same seed gives the same inputs. Each job is a child process whose memory is limited to 1 GiB beyond what the
imported packages take. With coverage (the default), inputs that reach lines of the package in a new order are mutated
further; --keep FOLDER writes them. Exit code 1 where an input failed: it is made smaller and saved, and a line says how
to run it again.
"""

import argparse
import faulthandler
import json
import mmap
import os
import shlex
import signal
import struct
import sys
import time
import traceback
from dataclasses import dataclass
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parents[2] / "lib")]
sys.dont_write_bytecode = True

from fuzz.campaign import PACKAGE, ROOT, Box, Campaign, Outcome, replay  # noqa: E402
from fuzz.guard import limit_memory  # noqa: E402
from fuzz.line_pairs import LinePairs  # noqa: E402
from fuzz.mutators import MAX_BYTES  # noqa: E402
from fuzz.targets import TARGETS, Target  # noqa: E402

_STALLED_S = 60.0
_REPORT_S = 10.0


@dataclass
class _Job:
    """A child process and the page it shares with us: how far it is, and the input it works on."""

    number: int
    result: Path
    first: int = 0
    page: mmap.mmap | None = None
    pid: int = 0

    def shared(self) -> mmap.mmap:
        """Return the shared page, made once."""
        if self.page is None:
            self.page = mmap.mmap(-1, 16 + 4 * MAX_BYTES)
        return self.page

    def note(self, number: int, data: bytes) -> None:
        """Write down what is going to be read."""
        page = self.shared()
        page[16 : 16 + len(data)] = data
        page[:16] = struct.pack("<QQ", number + 1, len(data))

    def noted(self) -> tuple[int, bytes]:
        """Return how many inputs were begun, and the last one."""
        number, length = struct.unpack("<QQ", self.shared()[:16])
        return number, self.shared()[16 : 16 + length]


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    text, _, more = (__doc__ or "").partition("\n")
    tool = argparse.ArgumentParser(description=text, epilog=more, formatter_class=argparse.RawDescriptionHelpFormatter)
    tool.add_argument("--target", choices=[*TARGETS, "all"], required=True)
    tool.add_argument("--count", type=int, default=2000, help="inputs a target (2000)")
    tool.add_argument("--seed", type=int, default=0)
    tool.add_argument("--jobs", type=int, default=1, help="processes, each with its share of the inputs (1)")
    tool.add_argument("--no_coverage", action="store_true", help="mutate only the corpus: several times as fast")
    tool.add_argument("--keep", type=Path, metavar="FOLDER", help="write inputs that reach new line pairs")
    tool.add_argument("--output", type=Path, default=ROOT / "work_dir" / "fuzz", help="where failing inputs are saved")
    tool.add_argument("--replay", type=Path, nargs="+", metavar="FILE", help="run these inputs only")
    return tool


def main() -> int:
    """Run, report, and return 1 where an input failed."""
    args = parser().parse_args()
    targets = list(TARGETS.values()) if args.target == "all" else [TARGETS[args.target]]
    if args.replay:
        limit_memory()
        return int(any(replay(target, args.replay) for target in targets))
    return int(sum(_fuzz(args, target) for target in targets) > 0)


def _fuzz(args: argparse.Namespace, target: Target) -> bool:
    """Run one target in child processes; tells whether an input failed."""
    folder = args.output / target.name
    folder.mkdir(parents=True, exist_ok=True)
    jobs = [_Job(i, folder / f"result_{os.getpid()}_{i}.json") for i in range(args.jobs)]
    started = time.monotonic()
    for job in jobs:
        _start(args, target, job)
    failures = _wait(args, target, jobs)
    outcomes = [Outcome(**json.loads(job.result.read_text())) for job in jobs if job.result.is_file()]
    for job in jobs:
        job.result.unlink(missing_ok=True)
    for outcome in outcomes:
        failures |= outcome.failures
    _report(target, outcomes, failures, time.monotonic() - started)
    return bool(failures)


def _share(args: argparse.Namespace, job: _Job) -> int:
    return int(args.count * (job.number + 1) // args.jobs - args.count * job.number // args.jobs)


def _start(args: argparse.Namespace, target: Target, job: _Job) -> None:
    job.shared()
    job.pid = os.fork()
    if job.pid == 0:
        code = 70
        try:
            code = _child(args, target, job)
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)


def _child(args: argparse.Namespace, target: Target, job: _Job) -> int:
    """Run one job's inputs; its outcome goes into a file, for a crash leaves nothing else behind."""
    faulthandler.enable()
    box = Box(target, None if args.no_coverage else LinePairs(str(PACKAGE)))
    campaign = Campaign(box, f"{args.seed}:{target.name}:{job.number}", args.output / target.name, args.keep)
    if job.result.is_file():
        campaign.outcome = Outcome(**json.loads(job.result.read_text()))
    for seed in target.seeds()[:1]:
        box.run(seed.read_bytes())  # imports what is imported on first use
    limit_memory()
    try:
        for number, data in campaign.inputs(job.first, _share(args, job) - job.first):
            job.note(number, data)
            campaign.take(data)
            if campaign.outcome.inputs % 256 == 0:
                job.result.write_text(campaign.outcome.to_json())
    finally:
        job.result.write_text(campaign.outcome.to_json())
        box.close()
    return 0


def _wait(args: argparse.Namespace, target: Target, jobs: list[_Job]) -> dict[str, str]:
    """Wait for the jobs; one that dies or stalls has found a failure and goes on behind it."""
    failures: dict[str, str] = {}
    running, seen, reported = {job.pid: job for job in jobs}, {}, time.monotonic()
    while running:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid in running:
            job = running.pop(pid)
            if status:
                failures |= _crash(args, target, job, status)
                _start(args, target, job)
                running[job.pid] = job
        for job in running.values():
            _kill_stalled(job, seen)
        if time.monotonic() - reported > _REPORT_S:
            reported = time.monotonic()
            print(f"{target.name}: {sum(job.noted()[0] for job in jobs)} inputs", file=sys.stderr, flush=True)
        time.sleep(0.02)
    return failures


def _kill_stalled(job: _Job, seen: dict[int, tuple[int, float]]) -> None:
    number, (before, since) = job.noted()[0], seen.get(job.pid, (-1, 0.0))
    if number != before:
        seen[job.pid] = (number, time.monotonic())
    elif time.monotonic() - since > _STALLED_S:
        os.kill(job.pid, signal.SIGKILL)


def _crash(args: argparse.Namespace, target: Target, job: _Job, status: int) -> dict[str, str]:
    """Save the input on which a child ended, and let the job go on with the next one."""
    number, data = job.noted()
    job.first = max(number, job.first + 1)
    code = os.waitstatus_to_exitcode(status)
    signature = f"died-{signal.Signals(-code).name if code < 0 else code}"
    path = args.output / target.name / f"{signature}-{number}{target.suffix}"
    path.write_bytes(data)
    print(f"{target.name}: the process died ({signature}) on {path}", file=sys.stderr, flush=True)
    return {f"{signature}-{number}": str(path)}


def _report(target: Target, outcomes: list[Outcome], failures: dict[str, str], seconds: float) -> None:
    inputs = sum(o.inputs for o in outcomes)
    pairs = max((o.line_pairs for o in outcomes), default=0)
    print(
        f"{target.name}: {inputs} inputs in {seconds:.1f} s ({inputs / max(seconds, 1e-9):.0f}/s), "
        f"{sum(o.accepted for o in outcomes)} accepted, {sum(o.refused for o in outcomes)} refused, "
        f"{pairs} line pairs, {sum(o.kept for o in outcomes)} inputs that reached new ones, {len(failures)} failures"
    )
    for signature, path in sorted(failures.items()):
        again = f"python regression/fuzz/run.py --target {target.name} --replay {shlex.quote(path)}"
        print(f"  {signature}: {path}\n    {again}")


if __name__ == "__main__":
    sys.exit(main())
