"""Where things are in this checkout, and the environment in which tests run commands."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
REGRESSION = ROOT / "regression"
PACKAGE = ROOT / "lib" / "stepdown"
BIN = Path(sys.prefix) / "bin"
_OUTER = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
_PATH = os.pathsep.join([str(ROOT / "tools"), str(BIN), os.environ["PATH"]])


def tools() -> list[Path]:
    """Return every tool, by name."""
    return sorted(path for path in (ROOT / "tools").iterdir() if path.is_file())


def modules() -> list[Path]:
    """Return every Python file of the package, by path."""
    return sorted(PACKAGE.rglob("*.py"))


def environment(**more: str) -> dict[str, str]:
    """Return what `source envsetup.sh` gives, in a terminal of fixed width and language, and `more`.

    Python's own switches are left out: a tool must not depend on, say, PYTHONUNBUFFERED.
    """
    fixed = {"STEPDOWN_ROOT": str(ROOT), "REGRESSION_PATH": str(REGRESSION), "COLUMNS": "120", "LC_ALL": "C.UTF-8"}
    return {**_OUTER, "PATH": _PATH, **fixed, **more}


def run(*command: str | Path, timeout_s: float = 120, **settings: object) -> subprocess.CompletedProcess[str]:
    """Run a command with `environment()` and an empty stdin, and capture what it prints."""
    defaults = {"env": environment(), "stdin": subprocess.DEVNULL, "capture_output": True, "text": True}
    return subprocess.run([str(word) for word in command], timeout=timeout_s, **{**defaults, **settings})
