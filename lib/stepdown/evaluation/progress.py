"""Live progress in the form of PyTorch's ProgressMeter: each value of the last batch, and in brackets of all so far."""

import sys
import time

from stepdown.evaluation.tally import Tally

_REPORT_EVERY_S = 5.0
_REDRAW_EVERY_S = 0.2


class Progress:
    """Tells on stderr how far an evaluation of `total` samples is: a line redrawn on a terminal, or some."""

    def __init__(self, total: int) -> None:
        self._total, self._width = total, len(str(total))
        self._start = self._last = time.monotonic()
        self._told = self._start

    def __call__(self, part: Tally, so_far: Tally) -> None:
        """Tell of a batch and of all so far."""
        now = time.monotonic()
        done = so_far.samples + len(so_far.skipped)
        live, last = sys.stderr.isatty(), done == self._total
        if last or now - self._told >= (_REDRAW_EVERY_S if live else _REPORT_EVERY_S):
            self._told = now
            line = progress_line(part, so_far, self._total, now - self._last, now - self._start)
            print(
                f"\r{line}\033[K" if live else line, end="\n" if last or not live else "", file=sys.stderr, flush=True
            )
        self._last = now


def progress_line(part: Tally, so_far: Tally, total: int, seconds: float, all_seconds: float) -> str:
    """Return `Test: [ 20/151]  Time  0.030 ( 0.035)  Acc@1 100.00 ( 79.47)  Acc@5 …  28.6 img/s  ETA 0:04`, with tabs.

    Times are seconds a sample, accuracies count the accepted labels.
    """
    done = so_far.samples + len(so_far.skipped)
    own = part.samples + len(part.skipped)
    rate = done / all_seconds if all_seconds else 0.0
    return "\t".join([
        f"Test: [{done:{len(str(total))}}/{total}]",
        f"Time {seconds / own if own else 0:6.3f} ({all_seconds / done:6.3f})",
        f"Acc@1 {_share(part.accepted1, part.samples):6.2f} ({_share(so_far.accepted1, so_far.samples):6.2f})",
        f"Acc@5 {_share(part.accepted5, part.samples):6.2f} ({_share(so_far.accepted5, so_far.samples):6.2f})",
        f"{rate:.1f} img/s",
        f"ETA {clock_text((total - done) / rate if rate else 0.0)}",
    ])  # fmt: skip


def clock_text(seconds: float) -> str:
    """Return `0:04`, `12:30` or `1:02:03`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _share(hits: int, count: int) -> float:
    return 100 * hits / count if count else 0.0
