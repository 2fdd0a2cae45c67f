"""Counts the node cases of a run."""

from collections import Counter

import pytest


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print how many cases of the ONNX backend tests passed and how many we refuse by name."""
    ended = Counter[str]()
    for report in terminalreporter.stats.get("passed", []):
        for name, counts in report.user_properties:
            if name == "node_cases":
                ended.update(counts)
    if ended:
        terminalreporter.write_line(f"ONNX node cases: {', '.join(f'{n} {end}' for end, n in ended.most_common())}")
