"""model_deploy.py --reconstruct puts the pass between calibration and lowering, with their chip and symmetry."""

import pytest

from stepdown.cli.model_deploy import lowering_command, parser, run
from stepdown.errors import InputError

ARGUMENTS = ["--mlir", "n.mlir", "--chip", "c.toml", "--calibration_table", "t", "--reconstruct", "my photos"]


def test_the_pass_stands_between_calibration_and_lowering() -> None:
    command = lowering_command(parser().parse_args([*ARGUMENTS, "--quantize", "INT8", "--asymmetric"]), "out.mlir")
    passes = [word.partition("=")[0] for word in command if word.startswith("--")]
    assert passes[:3] == ["--import-calibration-table", "--reconstruct-weights", "--convert-top-to-tpu"]
    assert command[2] == "--reconstruct-weights=dataset='my photos' input_num=50 asymmetric=true chip=c.toml"


def test_it_is_refused_in_other_modes() -> None:
    with pytest.raises(InputError, match="for INT8, not F16"):
        run(parser().parse_args([*ARGUMENTS, "--quantize", "F16"]))
