"""The programs that measure what a processor can do at most: their instructions are ones that gcc knows."""

import platform
import shutil
from pathlib import Path

import pytest
from bench import native_peaks
from bench.native_peaks import KINDS, NotAssembled, assembled, peaks


@pytest.mark.skipif(not shutil.which("gcc") or platform.machine() != "x86_64", reason="needs gcc on x86-64")
@pytest.mark.parametrize("name", KINDS)
def test_instructions_are_assembled(name: str, tmp_path: Path) -> None:
    assert assembled(name, tmp_path).exists()


def test_what_cannot_be_assembled_is_left_out_by_name(monkeypatch, tmp_path: Path, capsys) -> None:
    monkeypatch.setattr(native_peaks, "flags", lambda: frozenset(["fma"]))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert peaks(tmp_path) == {}
    assert capsys.readouterr().out == "left out: the most of FMA: gcc is not installed\n"
    with pytest.raises(NotAssembled):
        assembled("FMA", tmp_path)
