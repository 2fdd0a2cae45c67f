"""Comparing what a command printed with what we expect it to print; `...` stands for what may vary."""

import difflib
import re

ANYTHING = "..."


def matches(expected: str, actual: str) -> bool:
    """Return whether `actual` is exactly `expected`, where a line `...` stands for any run of lines."""
    pattern = "".join(
        r"(?:.*\n)*?" if line.strip() == ANYTHING else re.escape(line) + "\n" for line in expected.splitlines()
    )
    return re.fullmatch(pattern, _ended(actual)) is not None


def matches_loosely(expected: str, actual: str) -> bool:
    """Compare with any amount of space between words, and `...` for any text, within a line or over lines."""
    parts = [r"\s+".join(map(re.escape, part.split())) for part in expected.split(ANYTHING)]
    return re.fullmatch(r"\s*" + r"[\s\S]*?".join(rf"\s*{part}\s*" for part in parts), actual) is not None


def difference(expected: str, actual: str) -> str:
    """Return the difference line by line: `-` expected, `+` printed."""
    return "\n".join(
        difflib.unified_diff(expected.splitlines(), actual.splitlines(), "expected", "printed", lineterm="")
    )


def _ended(text: str) -> str:
    return text if not text or text.endswith("\n") else text + "\n"
