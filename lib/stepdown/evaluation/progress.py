"""Live progress in the form of PyTorch's ProgressMeter: each value of the last shard, and in brackets of all so far."""

import sys
import time

import numpy as np

from stepdown.distributed.progress import Progress
from stepdown.evaluation.job import Live

_REPORT_EVERY_S = 5.0
_REDRAW_EVERY_S = 0.2


class Meter:
    """Tells on stderr how far an evaluation is: a line redrawn on a terminal, else one now and then."""

    def __init__(self, live: Live) -> None:
        self._live = live
        self._start = time.monotonic()
        self._told, self._before = self._start, 0
        self._progress = Progress(0)

    def __call__(self, progress: Progress) -> None:
        """Tell of the samples done, and of the accuracy in the shards that are merged."""
        self._progress = progress
        every = _REDRAW_EVERY_S if sys.stderr.isatty() else _REPORT_EVERY_S
        if progress.done < progress.total and time.monotonic() - self._told >= every:
            self._tell(last=False)

    def finish(self, counts: np.ndarray) -> None:
        """Tell the last line: all is merged to `counts`."""
        self._live.total = counts
        self._tell(last=True)

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._start

    def _tell(self, last: bool) -> None:
        now, done = time.monotonic(), self._progress.done
        line = meter_line(self._progress, self._live, now - self._told, done - self._before, self.seconds)
        text, end = (f"\r{line}\033[K", "\n" if last else "") if sys.stderr.isatty() else (line, "\n")
        print(text, end=end, file=sys.stderr, flush=True)
        self._told, self._before = now, done


def meter_line(progress: Progress, live: Live, seconds: float, more: int, all_seconds: float) -> str:
    """Return `Test: [ 20/151]  Time  0.030 ( 0.035)  Acc@1 100.00 ( 79.47)  Acc@5 …  28.6 img/s  ETA 0:04`, with tabs.

    Time is seconds a sample, of the `more` samples in the last `seconds` and of all of this run. Accuracies count the
    accepted labels.
    """
    done = progress.done - progress.resumed
    rate = done / all_seconds if all_seconds else 0.0
    return "\t".join([
        f"Test: [{progress.done:{len(str(progress.total))}}/{progress.total}]",
        f"Time {seconds / max(more, 1):6.3f} ({all_seconds / max(done, 1):6.3f})",
        *(
            f"Acc@{top} {_share(live.last[place], live.last[0])} ({_share(live.total[place], live.total[0])})"
            for place, top in ((1, 1), (2, 5))
        ),
        f"{rate:.1f} img/s",
        f"ETA {clock_text((progress.total - progress.done) / rate if rate else 0.0)}",
        *([f"workers {progress.joined}"] if progress.joined else []),
    ])  # fmt: skip


def clock_text(seconds: float) -> str:
    """Return `0:04`, `12:30` or `1:02:03`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _share(hits: int, count: int) -> str:
    """Return a percentage; a dash before the first shard has come."""
    return f"{100 * int(hits) / int(count):6.2f}" if count else f"{'-':>6}"
