"""Where things are in this checkout, and the environment in which tests run commands."""

import os
import subprocess
import sys
from pathlib import Path

from tool_server import commands

ROOT = Path(__file__).resolve().parents[2]
REGRESSION = ROOT / "regression"
PACKAGE = ROOT / "lib" / "stepdown"
BIN = Path(sys.prefix) / "bin"
TOOLS = ROOT / "tools"
_OUTER = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
_PATH = os.pathsep.join([str(TOOLS), str(BIN), os.environ["PATH"]])


def tools() -> list[Path]:
    """Return every tool, by name."""
    return sorted(path for path in TOOLS.iterdir() if path.is_file())


def served_tools() -> Path:
    """Return a folder of commands that do what the tools do, in forks of one process."""
    return commands(*tools(), BIN / "filecheck")


def modules() -> list[Path]:
    """Return every Python file of the package, by path."""
    return sorted(PACKAGE.rglob("*.py"))


def environment(**more: str) -> dict[str, str]:
    """Return what `source envsetup.sh` gives, in a terminal of fixed width and language, and `more`.

    Python's own switches are left out: a tool must not depend on, say, PYTHONUNBUFFERED. Matrix products have one
    thread each: tests run side by side, and a second thread mostly waits, which takes as much of a core as work.
    """
    fixed = {
        "STEPDOWN_ROOT": str(ROOT), "REGRESSION_PATH": str(REGRESSION), "COLUMNS": "120", "LC_ALL": "C.UTF-8",
        "OPENBLAS_NUM_THREADS": "1",
    }  # fmt: skip
    return {**_OUTER, "PATH": _PATH, **fixed, **more}


def run(
    *command: str | Path, timeout_s: float = 600, fresh: bool = False, **settings: object
) -> subprocess.CompletedProcess[str]:
    """Run a command with `environment()` and an empty stdin, and capture what it prints.

    A tool is run as a fork of a process that has imported what it needs, on PATH too; not so with `fresh`.
    """
    words = [str(word) for word in command]
    defaults = {"env": environment(), "stdin": subprocess.DEVNULL, "capture_output": True, "text": True}
    chosen = {**defaults, **settings}
    if not fresh:
        folder = served_tools()
        if Path(words[0]).parent == TOOLS:
            words[0] = str(folder / Path(words[0]).name)
        chosen["env"] = {**chosen["env"], "PATH": os.pathsep.join([str(folder), chosen["env"]["PATH"]])}
    return subprocess.run(words, timeout=timeout_s, **chosen)
