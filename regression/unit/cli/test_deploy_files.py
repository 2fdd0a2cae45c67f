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


LOWERED = """module {{
  func.func @main(%0: tensor<1x4xf32> loc("x")) -> tensor<1x4xf32> {{
    %1 = "tpu.Input"(%0) : (tensor<1x4xf32>) -> tensor<1x4xf32> loc("x")
{0}
    func.return %9 : tensor<1x4xf32>
  }}
}}"""
I8, F32, F16 = "tensor<1x4x!quant.uniform<i8:f32, 0.1>>", "tensor<1x4xf32>", "tensor<1x4xf16>"


def op(result: int, name: str, given: int, taken: str, made: str, attributes: str = "") -> str:
    return f'%{result} = "tpu.{name}"(%{given}) {attributes} : ({taken}) -> {made} loc("t{result}_{name}")'


def demanded(folder: Path, mode: str, *ops: str, model: str = "n.so") -> str:
    """Return what a file of a lowered module with these ops must reach."""
    lowered = folder / "low.mlir"
    lowered.write_text(LOWERED.format("\n".join(ops)))
    words = ["--mlir", "n.mlir", "--quantize", mode, "--chip", "c", "--model", model]
    return tolerance(parser().parse_args(words), str(lowered))


@pytest.mark.parametrize("model", ["n.so", "n.bmodel"])
def test_integers_have_the_same_bytes_in_every_file(model: str, tmp_path: Path) -> None:
    ops = [op(2, "Convert", 1, F32, I8), op(3, "Relu", 2, I8, I8), op(9, "Convert", 3, I8, F32)]
    assert demanded(tmp_path, "INT8", *ops, model=model) == "1.0,1.0"


@pytest.mark.parametrize(("kind", "bound"), [(F32, "0.9999,0.9999"), (F16, "0.9999,0.999")])
def test_reals_among_integers_have_a_bound(kind: str, bound: str, tmp_path: Path) -> None:
    first = [op(2, "Convert", 1, F32, I8), op(3, "Convert", 2, I8, kind)]
    last = [op(4, "Relu", 3, kind, kind), op(9, "Abs", 4, kind, F32) if kind == F32 else op(9, "Convert", 4, kind, F32)]
    assert demanded(tmp_path, "INT8", *first, *last) == bound


def test_integers_made_of_reals_may_be_rounded_to_others(tmp_path: Path) -> None:
    ops = [op(2, "Relu", 1, F32, F32), op(3, "Convert", 2, F32, I8), op(9, "Convert", 3, I8, F32)]
    assert demanded(tmp_path, "INT8", *ops) == "0.9999,0.999"


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
