"""Making a failing input smaller while it fails in the same way."""

from collections.abc import Callable


def shrink(data: bytes, fails: Callable[[bytes], bool], most_runs: int) -> bytes:
    """Return a part of `data` that still fails: chunks are left out, halved until they are single bytes."""
    runs, size = 0, max(1, len(data) // 2)
    while size and runs < most_runs:
        at = 0
        while at < len(data) and runs < most_runs:
            candidate = data[:at] + data[at + size :]
            runs += 1
            if candidate and fails(candidate):
                data = candidate
            else:
                at += size
        size //= 2
    return data
