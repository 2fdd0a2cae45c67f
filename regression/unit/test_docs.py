"""Runs the ```bash blocks of README.md and docs/*.md, one shell a document, so `cd` and variables last.

A document starts in an empty folder `work_dir` of a copy of this checkout (made of links), README.md in the checkout
itself. README.md runs the tools themselves, other documents as tests do (`tool_server.py`). A comment on the line
before a block says what else to do with it:

    <!-- skip: reason -->     it is not run; listed with its reason at the end of the tests
    <!-- output -->           it is what the block before it prints on stdout; `...` stands for any text, and
                              decimal fractions may differ by 5 %
"""

import re
import shutil
import textwrap
from dataclasses import dataclass
from pathlib import Path

import pytest
from checkout import ROOT, run, served_tools
from expected import difference, matches_loosely

DOCUMENTS = [path for path in (ROOT / "README.md", *sorted(ROOT.glob("docs/*.md"))) if path.exists()]
TIMEOUT_S = 1800
BLOCK = re.compile(
    r"(?:^[ \t]*<!-- *(?P<comment>[^\n]*?) *-->[ \t]*\n(?:[ \t]*\n)*)?"
    r"^[ \t]*```(?P<language>\w*)[^\n]*\n(?P<text>.*?)^[ \t]*```[ \t]*$",
    re.MULTILINE | re.DOTALL,
)


@dataclass
class Block:
    """A bash block: its first line in the document, why it is skipped, and what it prints where that is shown."""

    line: int
    text: str
    skip: str = ""
    output: str | None = None


def blocks(document: str) -> list[Block]:
    """Return the bash blocks of a document, in order."""
    found: list[Block] = []
    for match in BLOCK.finditer(document):
        kind, _, reason = (match["comment"] or "").partition(":")
        text = textwrap.dedent(match["text"])
        if kind == "output":
            found[-1].output = text
        elif match["language"] == "bash":
            line = document.count("\n", 0, match.start("text")) + 1
            found.append(Block(line, text, reason.strip() if kind == "skip" else ""))
    return found


def execute(document: Path, folder: Path, logs: Path) -> str:
    """Run a document's blocks in `folder`; return "" or what went wrong."""
    wanted = [block for block in blocks(document.read_text()) if not block.skip]
    script = logs / "script"
    parts = [f'exec >"{logs}/{n}.out" 2>"{logs}/{n}.err"\n{block.text}' for n, block in enumerate(wanted)]
    script.write_text("\n".join([*parts, f'exec >"{logs}/{len(wanted)}.out"', ""]))
    ended = run("bash", "-euo", "pipefail", script, cwd=folder, timeout_s=TIMEOUT_S)
    wrong = []
    for n, block in enumerate(wanted):
        printed = (logs / f"{n}.out").read_text()
        where = f"{document.name}:{block.line}"
        if not (logs / f"{n + 1}.out").exists():
            errors = (logs / f"{n}.err").read_text()
            wrong.append(f"{where}: exit code {ended.returncode}\n{block.text}\nstdout:\n{printed}\nstderr:\n{errors}")
            break
        if block.output is not None and not matches_loosely(block.output, printed):
            wrong.append(f"{where}: prints something else\n{block.text}\n{difference(block.output, printed)}")
    return "\n".join(wrong)


def copy_of_the_checkout(folder: Path, tools: Path) -> Path:
    """Make a checkout of links, with an empty `work_dir` and `tools` from another folder, and return it."""
    (folder / "work_dir").mkdir(parents=True)
    for path in ROOT.iterdir():
        if path.name not in (".git", "work_dir", "tools", "envsetup.sh"):
            (folder / path.name).symlink_to(path)
    (folder / "tools").symlink_to(tools)
    shutil.copy(ROOT / "envsetup.sh", folder)  # it looks for the tools beside itself
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("document", [pytest.param(path, id=path.name) for path in DOCUMENTS])
def test_document(document: Path, tmp_path: Path) -> None:
    first = document.parent == ROOT
    checkout = copy_of_the_checkout(tmp_path / "checkout", ROOT / "tools" if first else served_tools())
    wrong = execute(document, checkout if first else checkout / "work_dir", tmp_path)
    if wrong:
        pytest.fail(wrong, pytrace=False)


SKIPPED = [(path, block) for path in DOCUMENTS for block in blocks(path.read_text()) if block.skip]


@pytest.mark.parametrize(
    ("document", "block"), [pytest.param(path, block, id=f"{path.name}:{block.line}") for path, block in SKIPPED]
)
def test_block_not_run(document: Path, block: Block) -> None:
    pytest.skip(f"{document.name}:{block.line}: {block.skip}")


SAMPLE = """
# A document

```bash
mkdir inner && cd inner
NAME=world
test -f ../../regression/run.sh
```
Then, in a list:

  ```bash
  echo "hello $NAME from $(basename "$PWD")"
  echo "took 12 ms, 0.98 of it idle"; echo progress >&2
  ```
  <!-- output -->
  ```
  hello world   from inner
  took ... ms, 1.0 of it idle
  ```

<!-- skip: needs a network -->
```bash
exit 7
```

```text
not a command
```
"""


def _execute(text: str, folder: Path) -> str:
    document = folder / "sample.md"
    document.write_text(text)
    return execute(document, copy_of_the_checkout(folder / "checkout", ROOT / "tools") / "work_dir", folder)


def test_blocks_of_a_sample() -> None:
    assert [(block.line, block.skip) for block in blocks(SAMPLE)] == [(5, ""), (12, ""), (23, "needs a network")]


def test_a_sample_passes(tmp_path: Path) -> None:
    assert _execute(SAMPLE, tmp_path) == ""


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (("0.98 of", "0.9 of"), "sample.md:12: prints something else"),
        (("took 12 ms", "took long"), "sample.md:12: prints something else"),
        (("NAME=world", "false | true"), "sample.md:5: exit code 1"),
        (("NAME=world", "exit 0"), "sample.md:5: exit code 0"),
        (("hello $NAME", "hello $NO_SUCH_NAME"), "sample.md:12: exit code 1"),
    ],
)
def test_a_wrong_sample_is_told_with_its_line(change: tuple[str, str], complaint: str, tmp_path: Path) -> None:
    assert _execute(SAMPLE.replace(*change), tmp_path).startswith(complaint)
