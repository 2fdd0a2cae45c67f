"""model_deploy.py --model for CPUs: the names of files, what --codegen is told, and what is not run here."""

from pathlib import Path

import pytest

from stepdown.cli.deploy_files import codegen_command, not_run, tolerance
from stepdown.cli.model_deploy import parser, run
from stepdown.errors import InputError
from stepdown.runtimes.native import ForeignLibrary, NativeRunner

ARGUMENTS = ["--mlir", "n.mlir", "--quantize", "F16", "--chip"]


def test_codegen_is_told_what_was_asked_for() -> None:
    asked = ["--model", "my n.so", "--processor", "cascadelake", "--features", "+gfni,-fma", "--keep_tensors"]
    args = parser().parse_args([*ARGUMENTS, "x86_64", *asked, "--tune", "8"])
    assert codegen_command(args, "l.mlir") == [
        "l.mlir",
        "--codegen=model_file='my n.so' chip=x86_64 processor=cascadelake features=+gfni,-fma debug=true tune=8",
    ]
    assert codegen_command(parser().parse_args([*ARGUMENTS, "c", "--model", "n.c"]), "l.mlir") == [
        "l.mlir", "--codegen=model_file=n.c chip=c",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("c --model n.o", r"'n\.o' is no name of what is made for chip c; end it in \.so or \.c"),
        ("cortex_m7 --model n.c", r"end it in \.so or \.o"),
        ("bm1684x --model n.so", r"end it in \.bmodel"),
        ("bm1684x --model n.bmodel --processor x", r"--processor: is for code of a CPU, and chip bm1684x is none"),
        ("riscv64 --features +v", r"--features: is for code of a CPU, and no --model asks for it"),
        ("bm1684x --model n.bmodel --tune 3", r"--tune: is for code of a CPU, and chip bm1684x is none"),
        ("riscv64 --keep_tensors", r"--keep_tensors: is for code of a CPU"),
    ],
)
def test_names_and_flags_fit_the_chip(words: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        run(parser().parse_args([*ARGUMENTS, *words.split()]))


def test_integers_have_the_same_bytes_in_every_file() -> None:
    for name in ("n.so", "n.bmodel"):
        args = parser().parse_args(["--mlir", "n.mlir", "--quantize", "INT8", "--chip", "c", "--model", name])
        assert tolerance(args) == "1.0,1.0"


def test_code_for_another_kind_of_processor_is_not_run(tmp_path: Path) -> None:
    other = tmp_path / "other.so"
    other.write_bytes(b"\x7fELF" + bytes(14) + b"\xff\x00" + bytes(100))
    args = parser().parse_args([*ARGUMENTS, "c", "--model", str(other)])
    assert not_run(args).startswith("is code for another kind of processor (ELF's number 255, here ")
    with pytest.raises(ForeignLibrary, match="run it there"):
        NativeRunner(other)
    other.write_bytes(b"text")
    with pytest.raises(InputError, match="is no library of a network"):
        not_run(args)
