"""The reader in C of docs/model_file.md: what it lists is in the file, and a bad file ends it, no more."""

import shutil
import subprocess
from pathlib import Path
from random import Random

import pytest
from checkout import ROOT
from model.model_files import sections_of, small_model

from stepdown.model import write_model_file

CC = shutil.which("cc")
pytestmark = pytest.mark.skipif(CC is None, reason="there is no C compiler (cc)")
FLAGS = ("-std=c99", "-Wall", "-Wextra", "-Werror", "-fsanitize=undefined", "-fno-sanitize-recover=all")


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The compiled reader."""
    program = tmp_path_factory.mktemp("c") / "read_bmodel"
    subprocess.run([str(CC), *FLAGS, "-o", program, ROOT / "docs" / "read_bmodel.c"], check=True)
    return program


def listed(reader: Path, path: Path) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([reader, path], capture_output=True, timeout=60)


def test_it_lists_sections_networks_and_tensors(reader: Path, tmp_path: Path) -> None:
    write_model_file(tmp_path / "a.bmodel", small_model())
    ended = listed(reader, tmp_path / "a.bmodel")
    assert (ended.returncode, ended.stderr) == (0, b"")
    lines = ended.stdout.decode().splitlines()
    sections, begin = [], 0
    for name, content in sections_of(tmp_path / "a.bmodel").items():
        sections.append(f"section {name}: bytes {begin} to {begin + len(content)}")
        begin += len(content)
    assert lines == [
        *sections, "", 'network "small"', '  tensor "input" 1 3 8 8 "i8"', '  tensor "conv_Conv" 1 8 8 8 "u8"',
        '  tensor "pool_MaxPool" 1 8 "u8"', '  tensor "output_Softmax" 1 8 "f32"',
    ]  # fmt: skip


def test_bad_files_end_it(reader: Path, tmp_path: Path) -> None:
    write_model_file(tmp_path / "a.bmodel", small_model())
    data, rng, refused = (tmp_path / "a.bmodel").read_bytes(), Random(3), 0
    for _ in range(100):
        changed = bytearray(data)
        for _ in range(rng.choice((1, 4))):
            changed[rng.randrange(len(data))] = rng.choice(b'\0"[]{},:\\9')
        (tmp_path / "b.bmodel").write_bytes(changed[: rng.choice((len(data), rng.randrange(len(data))))])
        ended = listed(reader, tmp_path / "b.bmodel")
        assert ended.returncode in (0, 2), ended.stderr
        refused += ended.returncode == 2
    assert refused > 10
    assert listed(reader, tmp_path / "no_such").returncode == 2
