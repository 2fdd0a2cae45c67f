"""Runs every lit test of regression/lit as one test here."""

from pathlib import Path

import pytest
from checkout import BIN, REGRESSION, run

LIT = REGRESSION / "lit"


@pytest.mark.apart
@pytest.mark.parametrize(
    "path",
    [
        pytest.param(path, id=str(path.relative_to(LIT)))
        for suffix in ("*.mlir", "*.test")
        for path in sorted(LIT.rglob(suffix))
        if "inputs" not in path.parts
    ],
)
def test_lit(path: Path, tmp_path: Path) -> None:
    ended = run(BIN / "lit", "-v", "--no-progress-bar", f"-Dexec_root={tmp_path}", path)
    if "UNSUPPORTED: " in ended.stdout:
        pytest.skip(f"{path.relative_to(LIT)}: needs a tool that is not installed (see its REQUIRES line)")
    if ended.returncode:
        pytest.fail(ended.stdout + ended.stderr, pytrace=False)
