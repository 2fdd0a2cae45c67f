"""Comparing what a command printed with what we expect it to print; `...` stands for what may vary."""

import difflib
import re

ANYTHING = "..."
DECIMAL = re.compile(r"[-+]?\d+\.\d+(?:e[-+]?\d+)?")
DECIMAL_OR_NOT = re.compile(rf"({DECIMAL.pattern})")


def matches(expected: str, actual: str) -> bool:
    """Return whether `actual` is exactly `expected`, where a line `...` stands for any run of lines."""
    pattern = "".join(
        r"(?:.*\n)*?" if line.strip() == ANYTHING else re.escape(line) + "\n" for line in expected.splitlines()
    )
    return re.fullmatch(pattern, _ended(actual)) is not None


def matches_loosely(expected: str, actual: str) -> bool:
    """Compare with any amount of space between words, `...` for any text, and decimal fractions within 5 %.

    Whole numbers must be the same; fractions depend a little on the machine's float32 sums.
    """
    parts = [r"\s+".join(map(_word, part.split())) for part in expected.split(ANYTHING)]
    found = re.fullmatch(r"\s*" + r"[\s\S]*?".join(rf"\s*{part}\s*" for part in parts), actual)
    return found is not None and all(map(_close, DECIMAL.findall(expected), found.groups()))


def _word(word: str) -> str:
    """Return the pattern of a word, with a group for each decimal fraction in it."""
    pieces = DECIMAL_OR_NOT.split(word)
    return "".join(rf"({DECIMAL.pattern})" if DECIMAL.fullmatch(piece) else re.escape(piece) for piece in pieces)


def _close(expected: str, actual: str) -> bool:
    return abs(float(expected) - float(actual)) <= 0.05 * abs(float(expected))


def difference(expected: str, actual: str) -> str:
    """Return the difference line by line: `-` expected, `+` printed."""
    return "\n".join(
        difflib.unified_diff(expected.splitlines(), actual.splitlines(), "expected", "printed", lineterm="")
    )


def _ended(text: str) -> str:
    return text if not text or text.endswith("\n") else text + "\n"
