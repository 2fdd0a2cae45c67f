"""To which work the time that passes belongs: to what computes; where nothing does, to the host, then to transfers.

So the elapsed cycles of all work add up to the cycles of the network, however much runs side by side.
"""

from collections.abc import Sequence

import numpy as np

from stepdown.model.schema import HOST
from stepdown.npu.isa import COMPUTE
from stepdown.perf.account import TRANSFERS, WAITS, Work

WAIT = "wait"
KINDS = (COMPUTE, "dma", HOST, WAIT)
"""What elapsed time went to: computing, a transfer that nothing hides, the host, or waiting (`account.WAITS`)."""
_ORDER = (COMPUTE, HOST, *TRANSFERS)


def elapsed(works: Sequence[Work]) -> list[dict[str, int]]:
    """Return for each work its elapsed cycles by kind: those in which no engine before its own was busy."""
    found: list[dict[str, int]] = [{} for _ in works]
    covered = np.zeros((0, 2), np.int64)
    for engine in _ORDER:
        mine = [(at, work) for at, work in enumerate(works) if work.engine == engine]
        owners, kinds, spans = _parts(mine)
        for owner, kind, cycles in zip(owners, kinds, _uncovered(spans, covered).tolist(), strict=True):
            found[owner][kind] = found[owner].get(kind, 0) + cycles
        covered = union(np.concatenate([covered, spans]))
    return found


def _parts(mine: Sequence[tuple[int, Work]]) -> tuple[list[int], list[str], np.ndarray]:
    """Return of all parts: the place of its work, the kind, and [start, end]."""
    owners, kinds, spans = [], [], []
    for at, work in mine:
        start = work.start
        for part, cycles in work.parts.items():
            owners.append(at)
            kinds.append(kind_of(work.engine, part))
            spans.append((start, start + cycles))
            start += cycles
    return owners, kinds, np.array(spans, np.int64).reshape(-1, 2)


def kind_of(engine: str, part: str) -> str:
    """Return what the time of a part goes to."""
    if part in WAITS:
        return WAIT
    return "dma" if engine in TRANSFERS else engine


def union(spans: np.ndarray) -> np.ndarray:
    """Return spans [n, 2] joined where they touch or overlap, in order."""
    spans = spans[spans[:, 1] > spans[:, 0]]
    if not len(spans):
        return spans
    spans = spans[np.argsort(spans[:, 0], kind="stable")]
    reach = np.maximum.accumulate(spans[:, 1])
    first = np.flatnonzero(np.r_[True, spans[1:, 0] > reach[:-1]])
    return np.stack([spans[first, 0], reach[np.r_[first[1:] - 1, len(spans) - 1]]], axis=1)


def length(spans: np.ndarray) -> int:
    """Return how many cycles joined spans cover."""
    return int((spans[:, 1] - spans[:, 0]).sum())


def _uncovered(spans: np.ndarray, covered: np.ndarray) -> np.ndarray:
    """Return of each span how much lies in none of the joined spans `covered`."""
    if not len(covered):
        return spans[:, 1] - spans[:, 0]
    before = np.r_[0, np.cumsum(covered[:, 1] - covered[:, 0])]

    def covered_until(times: np.ndarray) -> np.ndarray:
        at = np.searchsorted(covered[:, 0], times, "right")
        last = np.maximum(at - 1, 0)
        inside = np.minimum(times, covered[last, 1]) - covered[last, 0]
        return np.where(at > 0, before[last] + inside, 0)

    return spans[:, 1] - spans[:, 0] - (covered_until(spans[:, 1]) - covered_until(spans[:, 0]))
