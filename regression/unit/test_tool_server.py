"""A served tool ends, reads and writes as the tool itself does."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from checkout import environment
from local_cluster import wait_for
from tool_server import commands

TOOL = f"""#!{sys.executable}
import os, sys, time
print(len(sys.modules) > 500)
print(sys.argv[1:], os.getcwd(), os.environ.get("COLOUR"), __name__, os.path.basename(sys.argv[0]))
print(sys.stdin.read(), file=sys.stderr)
how = sys.argv[1]
if how == "raise":
    raise ValueError("no such thing")
if how == "sleep":
    open("started", "w").write(str(os.getpid()))
    time.sleep(600)
if how == "kill":
    os.kill(os.getpid(), 9)
sys.exit(how if not how.isdigit() else int(how))
"""


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The command that is served, and the tool."""
    tool = tmp_path_factory.mktemp("tools") / "tool.py"
    tool.write_text(TOOL)
    tool.chmod(0o755)
    return commands(tool) / "tool.py", tool


def run(command: Path, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
    settings = {"env": environment(**more), "cwd": command.parent, "input": "given", "capture_output": True}
    return subprocess.run([command, *words], text=True, **settings)


def said(ended: subprocess.CompletedProcess[str], folder: Path) -> tuple[int, list[str], list[str]]:
    """Return a run's exit code, what it says of itself, and the first line of its messages."""
    return ended.returncode, ended.stdout.replace(str(folder), "HERE").splitlines()[1:], ended.stderr.splitlines()[::99]


@pytest.mark.parametrize("how", ["0", "3", "a reason", "raise"])
def test_it_ends_as_the_tool_does(pair: tuple[Path, Path], how: str) -> None:
    served, real = (run(command, how, "two words", COLOUR="blue") for command in pair)
    assert said(served, pair[0].parent) == said(real, pair[1].parent)
    assert served.stderr.splitlines()[-1] == real.stderr.splitlines()[-1]
    assert [ended.stdout.split()[0] for ended in (served, real)] == ["True", "False"]


def test_it_is_no_fork_where_python_starts_otherwise(pair: tuple[Path, Path]) -> None:
    assert run(pair[0], "0", PYTHONDONTWRITEBYTECODE="1").stdout.startswith("False")


def test_an_end_by_a_signal_is_a_failure(pair: tuple[Path, Path]) -> None:
    assert run(pair[0], "kill").returncode == 128 + signal.SIGKILL


def test_it_ends_with_the_one_who_called_it(pair: tuple[Path, Path], tmp_path: Path) -> None:
    caller = subprocess.Popen([pair[0], "sleep"], cwd=tmp_path, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    started = tmp_path / "started"
    wait_for(lambda: started.exists() and started.read_text() != "")
    caller.kill()
    caller.wait()
    wait_for(lambda: not Path("/proc", started.read_text()).exists())
