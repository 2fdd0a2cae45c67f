"""Models and data that are too large, or not free, to be kept here: tests use them where a folder beside holds them."""

import os
from pathlib import Path

import pytest

DATA = Path(os.environ.get("STEPDOWN_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
"""`models/`, `images/`, `audio/`."""


def needed(*names: str) -> list[Path]:
    """Return the paths of files below the data folder; the test is skipped, by name, where one is not there."""
    paths = [DATA / name for name in names]
    if missing := [name for name, path in zip(names, paths, strict=True) if not path.exists()]:
        pytest.skip(f"needs {', '.join(missing)}")
    return paths
