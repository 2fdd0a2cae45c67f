"""Runs every folder `regression/cases/TOOL/NAME/` that has a file `cmd`; adding a case needs no code.

    cmd      run by `bash -euo pipefail` in an empty folder, with the tools on PATH;
             $REGRESSION_PATH is regression/, $CASES is regression/cases, $CASE the case's own folder
    expout   what it prints on stdout, exactly (no file: nothing); the empty folder reads $TMP in it,
             and a line `...` stands for any run of lines
    experr   the same for stderr; without it only a traceback is an error
    exit     the exit code; 0 without it

`bash regression/run.sh -k cases --update-cases` writes expout, experr (where there is one) and exit of failing cases.
"""

from pathlib import Path

import pytest
from checkout import REGRESSION, environment, run
from expected import difference, matches

CASES = REGRESSION / "cases"


@pytest.mark.apart
@pytest.mark.parametrize(
    "case", [pytest.param(cmd.parent, id=f"{cmd.parts[-3]}/{cmd.parts[-2]}") for cmd in sorted(CASES.glob("*/*/cmd"))]
)
def test_case(case: Path, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    work = tmp_path / "work"
    work.mkdir()
    printed = _outcome(case, work)
    wrong = {name: text for name, text in printed.items() if not matches(_expected(case, name), text)}
    if "Traceback (most recent call last)" in printed["stderr"]:
        pytest.fail(f"{case}/cmd ends in a traceback:\n{printed['stderr']}", pytrace=False)
    if not (case / "experr").exists():
        wrong.pop("stderr", None)
    if wrong and request.config.getoption("--update-cases"):
        _update(case, wrong)
    elif wrong:
        pytest.fail(_report(case, wrong, printed["stderr"]), pytrace=False)


FILES = {"stdout": "expout", "stderr": "experr", "exit code": "exit"}


def _outcome(case: Path, work: Path) -> dict[str, str]:
    ended = run(
        "bash", "-euo", "pipefail", case / "cmd", cwd=work, env=environment(CASES=str(CASES), CASE=str(case))
    )  # fmt: skip
    stdout, stderr = (text.replace(str(work), "$TMP") for text in (ended.stdout, ended.stderr))
    return {"stdout": stdout, "stderr": stderr, "exit code": f"{ended.returncode}\n"}


def _expected(case: Path, name: str) -> str:
    path = case / FILES[name]
    if path.exists():
        return path.read_text()
    return "0\n" if name == "exit code" else ""


def _update(case: Path, wrong: dict[str, str]) -> None:
    for name, text in wrong.items():
        path = case / FILES[name]
        if name == "exit code" and text == "0\n":
            path.unlink()
        else:
            path.write_text(text)


def _report(case: Path, wrong: dict[str, str], stderr: str) -> str:
    parts = [
        f"{name} differs from {FILES[name]}:\n{difference(_expected(case, name), text)}" for name, text in wrong.items()
    ]
    return "\n\n".join([f"{case}/cmd:\n{(case / 'cmd').read_text()}", *parts, f"stderr:\n{stderr}"])
