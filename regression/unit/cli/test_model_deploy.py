"""model_deploy.py --model: the passes of the NPU in order, for the chip of the lowering."""

import pytest

from stepdown.cli.deploy_files import codegen_command
from stepdown.cli.model_deploy import lowering_command, parser, run
from stepdown.errors import InputError

ARGUMENTS = ["--mlir", "n.mlir", "--quantize", "F16", "--chip"]


def test_the_passes_of_the_npu_come_before_codegen() -> None:
    args = parser().parse_args([*ARGUMENTS, "bm1684x", "--model", "n.bmodel"])
    assert codegen_command(args, "n_f16.mlir") == [
        "n_f16.mlir", "--weight-reorder", "--subnet-divide", "--layer-group", "--address-assign", "--save-weight",
        "--codegen=model_file=n.bmodel", "-o", "n_final.mlir",
    ]  # fmt: skip


def test_a_chip_of_ones_own_is_given_to_every_pass() -> None:
    args = parser().parse_args([*ARGUMENTS, "my chips/c.toml", "--model", "my n.bmodel"])
    passes = [word for word in codegen_command(args, "n_f16.mlir") if word.startswith("--") and word != "--save-weight"]
    assert len(passes) == 5
    assert all("chip='my chips/c.toml'" in word for word in passes)
    assert passes[-1].startswith("--codegen=model_file='my n.bmodel' ")


@pytest.mark.parametrize(
    ("flags", "asked"),
    [([], []), (["--quant_input"], ["inputs=true outputs=false"]), (["--quant_output"], ["inputs=false outputs=true"])],
)
def test_types_of_inputs_and_outputs_follow_the_lowering(flags: list[str], asked: list[str]) -> None:
    command = lowering_command(parser().parse_args([*ARGUMENTS, "bm1684x", *flags]), "out.mlir")
    assert [word.removeprefix("--native-io=") for word in command if word.startswith("--native-io")] == asked
    assert command[1].startswith("--convert-top-to-tpu=")


def test_a_model_file_ends_in_bmodel() -> None:
    with pytest.raises(InputError, match=r"'n\.onnx' is no name of what is made for chip bm1684x"):
        run(parser().parse_args([*ARGUMENTS, "bm1684x", "--model", "n.onnx"]))
