"""Coverage that guides the fuzzer: which line of our package ran after which, seen through sys.settrace."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import CodeType, FrameType
from typing import Any

_MAX_LINES = 1 << 14


class LinePairs:
    """The pairs of consecutive lines, of files below one folder, that have run in all traced blocks."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._bases: dict[CodeType, int | None] = {}
        self._files: dict[str, int] = {}
        self._last = 0
        self.seen: set[int] = set()

    @contextmanager
    def tracing(self) -> Iterator[None]:
        """Trace the block; what it reached is added to `seen`."""
        self._last = 0
        before = sys.gettrace()
        sys.settrace(self._enter)
        try:
            yield
        finally:
            sys.settrace(before)

    def _enter(self, frame: FrameType, event: str, argument: Any) -> "Callable[..., Any] | None":
        base = self._bases.get(frame.f_code, -1)
        if base == -1:
            base = self._bases[frame.f_code] = self._base(frame.f_code.co_filename)
        return None if base is None else self._tracer(base)

    def _base(self, file: str) -> int | None:
        if not file.startswith(self._folder):
            return None
        return self._files.setdefault(file, len(self._files) + 1) * _MAX_LINES

    def _tracer(self, base: int) -> "Callable[..., Any]":
        def line(frame: FrameType, event: str, argument: Any) -> "Callable[..., Any]":
            if event == "line":
                here = base + frame.f_lineno
                self.seen.add(self._last << 32 | here)
                self._last = here
            return line

        return line
