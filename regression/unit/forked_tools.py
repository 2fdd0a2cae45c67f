"""Runs tools in forks of one interpreter that has imported what they need: a hundred runs take seconds."""

import json
import os
import resource
import runpy
import signal
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path

from checkout import ROOT, run

TIME_LIMIT_S = 60
"""A run that computes for this long hangs, however busy the machine is."""


@dataclass(frozen=True)
class Ended:
    """How a run ended, what it said, and the most memory that it or its children held."""

    code: int
    stdout: str
    stderr: str
    most_bytes: int


def run_tools(commands: dict[str, list[str]], folder: Path) -> dict[str, Ended]:
    """Run commands, a tool's name and its arguments each, by their keys; they may write in `folder`."""
    order = folder / "commands.json"
    order.write_text(json.dumps(commands))
    ended = run(sys.executable, __file__, order, cwd=folder, timeout_s=600)
    assert ended.returncode == 0, ended.stderr
    return {name: Ended(**found) for name, found in json.loads(ended.stdout).items()}


def _run_all(order: Path) -> dict[str, dict[str, object]]:
    commands = json.loads(order.read_text())
    import onnx  # noqa: F401
    import xdsl.parser  # noqa: F401

    from stepdown.cli import import_source, model_transform  # noqa: F401
    from stepdown.transforms import canonicalize, convert_top_to_tpu  # noqa: F401

    return {name: _run_one(words) for name, words in commands.items()}


def _run_one(words: list[str]) -> dict[str, object]:
    files = [Path(f"said_{i}.txt") for i in range(2)]
    child = os.fork()
    if child == 0:
        signal.setitimer(signal.ITIMER_PROF, TIME_LIMIT_S)
        for descriptor, file in zip((1, 2), files, strict=True):
            os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), descriptor)
        os._exit(_tool(words))
    _, status, usage = os.wait4(child, 0)
    stdout, stderr = (file.read_text(errors="replace") for file in files)
    code = os.waitstatus_to_exitcode(status)
    return {"code": code, "stdout": stdout, "stderr": stderr, "most_bytes": usage.ru_maxrss * 1024}


def _tool(words: list[str]) -> int:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    sys.argv = words
    try:
        runpy.run_path(str(ROOT / "tools" / words[0]), run_name="__main__")
    except SystemExit as stop:
        return int(stop.code or 0)
    except BaseException:
        traceback.print_exc()
        return 99
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    return 0


if __name__ == "__main__":
    print(json.dumps(_run_all(Path(sys.argv[1]))))
