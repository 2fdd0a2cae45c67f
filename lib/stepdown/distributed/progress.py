"""How far a run is, and how much memory it took."""

import re
import resource
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Progress:
    """Samples done of all, those among them that an earlier run did, and the peak memory of all processes together."""

    total: int
    done: int = 0
    resumed: int = 0
    workers: dict[int, int] = field(default_factory=dict)
    """By process, the peak memory of its own, in bytes."""
    joined: int = 0
    """How many workers of a cluster take part."""

    @property
    def peak_bytes(self) -> int:
        """The peaks of this process and of all workers; pages that they share count once."""
        return peak_bytes() + sum(self.workers.values())


def peak_bytes() -> int:
    """Return the most memory that this process ever held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def own_peak_bytes() -> int:
    """Return the same without the pages that other processes use as well: a worker's share of the whole."""
    try:
        text = Path("/proc/self/smaps_rollup").read_text()
    except OSError:
        return peak_bytes()
    shared = sum(int(kib) for kib in re.findall(r"^Shared_\w+: +(\d+) kB", text, re.MULTILINE))
    return max(peak_bytes() - shared * 1024, 0)
