"""What every file in tools/ must do, and the two ways to have the tools on PATH: envsetup.sh and pip install."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from checkout import PACKAGE, ROOT, environment, run, tools

every_tool = pytest.mark.parametrize("tool", [pytest.param(path, id=path.name) for path in tools()])


@every_tool
def test_it_is_a_short_executable(tool: Path) -> None:
    assert os.access(tool, os.X_OK), "make it executable"
    lines = tool.read_text().splitlines()
    assert lines[0] == "#!/usr/bin/env python3"
    assert len(lines) <= 12, "a tool has no logic; it belongs into stepdown.cli"


@every_tool
def test_help_shows_an_example(tool: Path) -> None:
    ended = run(tool, "--help", fresh=True)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert re.search(r"^ *examples?:", ended.stdout, re.IGNORECASE | re.MULTILINE)
    assert tool.name in ended.stdout


@every_tool
def test_an_unknown_flag_is_told_in_one_line(tool: Path) -> None:
    ended = run(tool, "--no-such-flag", fresh=True)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith(f"{tool.name}: error: ")
    assert ended.stderr.count("\n") == 1


@every_tool
def test_a_reader_that_has_gone_is_no_error(tool: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    ended = run(tool, "--help", fresh=True, capture_output=False, stdout=writer, stderr=subprocess.PIPE)
    os.close(writer)
    assert (ended.returncode, ended.stderr) == (0, "")


COMPLETE = """
source "$1/envsetup.sh"
COMP_LINE="$2 $3" COMP_WORDS=("$2" "$3") COMP_CWORD=1 COMP_TYPE=9
COMP_POINT=${#COMP_LINE}
[[ $(complete -p "$2") =~ -F\\ ([^ ]+) ]]
"${BASH_REMATCH[1]}" "$2" "$3" "$2" 2>/dev/null || true
printf '%s\\n' "${COMPREPLY[@]}"
"""


def complete(checkout: Path, tool: str, beginning: str) -> list[str]:
    """Return what the tab key offers after `tool beginning`, as bash asks for it."""
    ended = run("bash", "-euo", "pipefail", "-c", COMPLETE, "bash", checkout, tool, beginning)
    assert (ended.returncode, ended.stderr) == (0, "")
    return [word.strip() for word in ended.stdout.split()]


@every_tool
def test_the_tab_key_completes_flags(tool: Path) -> None:
    assert "--help" in complete(ROOT, tool.name, "--he")


SAMPLE_TOOL = """#!/usr/bin/env python3
import argcomplete, argparse
parser = argparse.ArgumentParser()
parser.add_argument("verb", choices=["compare", "compress", "dump"])
argcomplete.autocomplete(parser)
"""


def test_the_tab_key_completes_words_of_a_tool_with_a_dash(tmp_path: Path) -> None:
    checkout = tmp_path / "a checkout"
    (checkout / "tools").mkdir(parents=True)
    shutil.copy(ROOT / "envsetup.sh", checkout)
    (checkout / ".venv").symlink_to(ROOT / ".venv")
    (checkout / "tools" / "sample-tool").write_text(SAMPLE_TOOL)
    (checkout / "tools" / "sample-tool").chmod(0o755)
    assert complete(checkout, "sample-tool", "com") == ["compare", "compress"]


def test_sourcing_twice_changes_path_once() -> None:
    script = f"source '{ROOT}/envsetup.sh'; cd /; source '{ROOT}/envsetup.sh'; echo $PATH"
    printed = run("bash", "-euc", script, fresh=True, env=environment(PATH="/usr/bin:/bin")).stdout
    assert printed == f"{ROOT}/tools:{ROOT}/.venv/bin:/usr/bin:/bin\n"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """What `pip install .` installs, built from a copy so that nothing is left in the checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    ignore = shutil.ignore_patterns("__pycache__", "*.pyc", "*.egg-info")
    for name in ("lib", "tools"):
        shutil.copytree(ROOT / name, folder / "copy" / name, ignore=ignore)
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder / "copy")
    pip = [sys.executable, "-m", "pip", "wheel", "--no-build-isolation", "--no-deps", "--no-index", "-w", folder]
    ended = run(*pip, folder / "copy")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return zipfile.ZipFile(next(folder.glob("*.whl")))


@pytest.mark.slow
def test_pip_install_brings_every_tool_and_file(wheel: zipfile.ZipFile) -> None:
    installed = set(wheel.namelist())
    files = {path for path in PACKAGE.rglob("*") if path.is_file() and path.suffix != ".pyc"}
    assert not {f"stepdown/{path.relative_to(PACKAGE)}" for path in files} - installed
    scripts = {name.rsplit("/", 1)[1] for name in installed if "/scripts/" in name}
    assert scripts == {tool.name for tool in tools()}


@pytest.mark.slow
def test_pip_rewrites_the_first_line_of_every_tool(wheel: zipfile.ZipFile) -> None:
    scripts = [name for name in wheel.namelist() if "/scripts/" in name]
    assert {wheel.read(name).splitlines()[0] for name in scripts} <= {b"#!python"}


EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]


@pytest.mark.parametrize("extra", sorted(EXTRAS))
def test_an_extra_has_the_versions_that_build_installs(extra: str) -> None:
    frozen = {line for path in ROOT.glob("requirements/*.txt") for line in path.read_text().splitlines()}
    assert [wanted for wanted in EXTRAS[extra] if "==" in wanted and wanted not in frozen] == []
