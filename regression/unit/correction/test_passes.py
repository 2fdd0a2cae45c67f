"""Equalising keeps the float function; corrections lower the error on samples that they have not seen."""

from pathlib import Path

import numpy as np
import pytest
from correction.nets import mobile_net, outputs, write_samples, write_table

from stepdown.correction.channels import find_groups
from stepdown.correction.passes.correct_bias import CorrectBias
from stepdown.correction.passes.equalize_channels import EqualizeChannels
from stepdown.correction.passes.reconstruct_weights import ReconstructWeights
from stepdown.dialects.op import fused_of, is_internal, value_name
from stepdown.dialects.program import Program
from stepdown.dialects.types import quant_of
from stepdown.errors import InputError
from stepdown.numerics.quantize import QuantParams
from stepdown.transforms.base import Pass
from stepdown.transforms.convert_top_to_tpu import ConvertTopToTpu
from stepdown.transforms.dce import Dce
from stepdown.transforms.import_calibration_table import ImportCalibrationTable

CHIP = "bm1684x"


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Samples to learn from, and others."""
    root = tmp_path_factory.mktemp("samples")
    return write_samples(root / "seen", 12), write_samples(root / "unseen", 24, seed=2)


def lowered(program: Program, table: str, asymmetric: bool, *passes: Pass) -> Program:
    for step in (
        ImportCalibrationTable(table, asymmetric), *passes, Dce(), ConvertTopToTpu("INT8", CHIP, asymmetric)
    ):  # fmt: skip
        step.run(program)
    return program


def noise(program: Program, folder: Path, outlier: float) -> float:
    """Return the mean squared error of the network's output against the float network's."""
    return float(np.square(outputs(program, folder) - outputs(mobile_net(outlier=outlier), folder)).mean())


def test_groups_are_the_tensors_between_weights() -> None:
    names = [[value_name(v) for v in group.tensors] for group in find_groups(mobile_net())]
    assert sorted(names) == [["depthwise"], ["expand"], ["stem", "project", "joined", "pooled"]]


def test_equalising_keeps_the_function(folders: tuple[Path, Path]) -> None:
    program = mobile_net()
    EqualizeChannels(str(folders[0])).run(program)
    scaled = [op for op in program.ops if op.tensor_name.endswith("_equalized") and not op.name.endswith("Weight")]
    assert scaled and all(is_internal(op) and fused_of(op) for op in scaled)
    for folder in folders:
        np.testing.assert_allclose(outputs(program, folder), outputs(mobile_net(), folder), rtol=1e-4, atol=1e-5)


def test_a_clipped_channel_keeps_the_function_where_it_was_observed(folders: tuple[Path, Path]) -> None:
    program = mobile_net(relu_limit=0.7)
    EqualizeChannels(str(folders[0])).run(program)
    expected = outputs(mobile_net(relu_limit=0.7), folders[0])
    np.testing.assert_allclose(outputs(program, folders[0]), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("asymmetric", [False, True])
def test_equalising_lowers_the_error_on_unseen_samples(
    asymmetric: bool, folders: tuple[Path, Path], tmp_path: Path
) -> None:
    seen, unseen = folders
    equal = mobile_net()
    EqualizeChannels(str(seen)).run(equal)
    plain = lowered(mobile_net(), write_table(mobile_net(), seen, tmp_path / "plain"), asymmetric)
    better = lowered(equal, write_table(equal, seen, tmp_path / "equal"), asymmetric)
    assert noise(better, unseen, 1.0) < noise(plain, unseen, 1.0)


@pytest.mark.parametrize("asymmetric", [False, True])
@pytest.mark.parametrize(("technique", "share"), [(ReconstructWeights, 0.6), (CorrectBias, 0.9)])
def test_corrections_lower_the_error_on_unseen_samples(
    technique: type[ReconstructWeights | CorrectBias], share: float, asymmetric: bool, folders: tuple[Path, Path],
    tmp_path: Path,
) -> None:  # fmt: skip
    """Weights of which one in each row is far out."""
    seen, unseen = folders
    table = write_table(mobile_net(outlier=30.0), seen, tmp_path / "table")
    step = technique(dataset=str(seen), chip=CHIP, asymmetric=asymmetric)
    plain = lowered(mobile_net(outlier=30.0), table, asymmetric)
    better = lowered(mobile_net(outlier=30.0), table, asymmetric, step)
    assert noise(better, unseen, 30.0) < share * noise(plain, unseen, 30.0)


def test_reconstruction_is_the_same_every_time_and_lowered_as_it_is(folders: tuple[Path, Path], tmp_path: Path) -> None:
    table = write_table(mobile_net(), folders[0], tmp_path / "table")
    made = []
    for _ in range(2):
        program = mobile_net()
        ImportCalibrationTable(table).run(program)
        ReconstructWeights(dataset=str(folders[0]), chip=CHIP).run(program)
        Dce().run(program)
        weights = {op.key: program.weights[op.key] for op in program.ops if op.name == "top.Weight"}  # type: ignore[attr-defined]
        kinds = {op.operands[1].owner.key: quant_of(op.operands[1]) for op in program.ops if op.kind == "mac"}  # type: ignore[union-attr]
        ConvertTopToTpu("INT8", CHIP).run(program)
        made.append(weights)
        stored = [a.tobytes() for a in program.weights.values()]
        assert kinds and all(kinds.values())
        assert all(weights[key].dtype == np.int8 and weights[key].tobytes() in stored for key in kinds)
    assert all(np.array_equal(made[0][key], made[1][key]) for key in made[0])


def reconstructed(table: str, folder: Path, chip: str, qtable: str = "") -> dict[str, QuantParams | None]:
    """Return the types of the weights, by op, after reconstruction."""
    program = mobile_net()
    ImportCalibrationTable(table).run(program)
    ReconstructWeights(dataset=str(folder), chip=chip, qtable=qtable).run(program)
    return {op.tensor_name: quant_of(op.operands[1]) for op in program.ops if op.kind == "mac"}


def test_ops_that_a_qtable_keeps_float_are_left_alone(folders: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "qtable").write_text("depthwise F16\n")
    table = write_table(mobile_net(), folders[0], tmp_path / "table")
    weights = reconstructed(table, folders[0], CHIP, str(tmp_path / "qtable"))
    assert [name for name, params in weights.items() if params is None] == ["depthwise"]


def test_channels_that_share_a_scale_on_a_chip_share_it_after_reconstruction(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    table = write_table(mobile_net(), folders[0], tmp_path / "table")
    weights = {chip: reconstructed(table, folders[0], chip)["expand"] for chip in (CHIP, "gemmini")}
    scales = {chip: np.unique(params.scale).size for chip, params in weights.items() if params}
    assert scales["gemmini"] == 2 < scales[CHIP]  # 24 channels, 16 of them together


def test_a_float_module_cannot_be_reconstructed_and_a_calibrated_one_not_equalised(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    program = mobile_net()
    with pytest.raises(InputError, match="calibrated"):
        ReconstructWeights(dataset=str(folders[0]), chip=CHIP).run(program)
    with pytest.raises(InputError, match="from 0 to 1"):
        EqualizeChannels(str(folders[0]), rounding=2.0).run(program)
    with pytest.raises(InputError, match="either dataset"):
        EqualizeChannels().run(program)
    ImportCalibrationTable(write_table(program, folders[0], tmp_path / "table")).run(program)
    with pytest.raises(InputError, match="float module"):
        EqualizeChannels(str(folders[0])).run(program)
