"""How far work on many samples is, on stderr: a bar on a terminal, else a line now and then."""

import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stepdown.distributed.progress import Progress

_REPORT_EVERY_S, _REDRAW_EVERY_S = 5.0, 0.1
_BAR_WIDTH = 30


class ShardProgress:
    """Tells how many samples are done, how long the rest will take, and the peak memory of all processes together."""

    def __init__(self, what: str = "samples") -> None:
        self._what, self._start, self._told = what, time.monotonic(), 0.0

    def __call__(self, progress: "Progress") -> None:
        """Tell the progress, if it is time to."""
        seconds = time.monotonic() - self._start
        last, terminal = progress.done == progress.total, sys.stderr.isatty()
        if not last and seconds - self._told < (_REDRAW_EVERY_S if terminal else _REPORT_EVERY_S):
            return
        self._told = seconds
        text = self._text(progress, seconds)
        if terminal:
            bar = "#" * (_BAR_WIDTH * progress.done // progress.total)
            print(f"\r[{bar:<{_BAR_WIDTH}}] {text}\033[K", end="\n" * last, file=sys.stderr, flush=True)
        else:
            print(text, file=sys.stderr, flush=True)

    def _text(self, progress: "Progress", seconds: float) -> str:
        fresh = progress.done - progress.resumed
        rest = progress.total - progress.done
        time_text = f"{seconds / max(fresh, 1) * rest:.0f} s to go" if rest else f"{seconds:.1f} s"
        kept = f", {progress.resumed} of them by an earlier run" if progress.resumed else ""
        done = f"{progress.done} of {progress.total} {self._what}{kept}"
        joined = f", {progress.joined} worker{'s'[: progress.joined != 1]}" if progress.joined else ""
        return f"{done}, {time_text}{joined}, peak memory {progress.peak_bytes / 2**20:.0f} MiB"
