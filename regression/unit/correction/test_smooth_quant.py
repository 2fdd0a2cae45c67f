"""SmoothQuant keeps the float function, and lowers the error where channels differ in range."""

from pathlib import Path

import numpy as np
import pytest
from checkout import run
from correction.attention_nets import block, write_tokens
from correction.nets import outputs, write_table
from real_data import needed

from stepdown.correction.channels import find_groups
from stepdown.correction.passes.equalize_channels import EqualizeChannels
from stepdown.correction.passes.smooth_quant import SmoothQuant
from stepdown.correction.split_norms import split_norms
from stepdown.dialects.op import value_name
from stepdown.dialects.program import Program, read_program
from stepdown.errors import InputError
from stepdown.files.npz import write_npz
from stepdown.transforms.base import Pass
from stepdown.transforms.convert_top_to_tpu import ConvertTopToTpu
from stepdown.transforms.dce import Dce
from stepdown.transforms.import_calibration_table import ImportCalibrationTable

KINDS = {"pre-norm": (True, False), "pre-norm, fused": (True, True), "post-norm": (False, False)}
kinds = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Samples to learn from, and others."""
    root = tmp_path_factory.mktemp("tokens")
    return write_tokens(root / "seen", 16), write_tokens(root / "unseen", 24, seed=2)


def planted(kind: str) -> Program:
    """Return a block with channels that are 20 times as wide as the others."""
    return block(*KINDS[kind], outlier=20.0)


def smoothed(kind: str, samples: Path, **options: str) -> Program:
    program = planted(kind)
    SmoothQuant(dataset=str(samples), **options).run(program)  # type: ignore[arg-type]
    return program


def decibels(top: Program, kind: str, folders: tuple[Path, Path], asymmetric: bool, table: Path) -> float:
    """Return the signal-to-noise ratio of the lowered `top` on unseen samples."""
    name = write_table(top, folders[0], table)
    steps: list[Pass] = [
        ImportCalibrationTable(name, asymmetric), Dce(), ConvertTopToTpu("INT8", "bm1684x", asymmetric)
    ]  # fmt: skip
    for step in steps:
        step.run(top)
    expected = outputs(planted(kind), folders[1])
    return float(10 * np.log10(np.square(expected).sum() / np.square(outputs(top, folders[1]) - expected).sum()))


def members(program: Program) -> list[set[str]]:
    return [{value_name(v) for v in group.tensors} for group in find_groups(program)]


@pytest.mark.parametrize("fused", [False, True])
def test_channels_are_followed_through_attention(fused: bool) -> None:
    found = members(block(True, fused))
    cancelling = next(g for g in found if "query_scaled" in g)
    assert {"key_turned" if fused else "key_heads"} <= cancelling
    passing = next(g for g in found if "mixed_flat" in g)
    assert {"mixed", "value_part" if fused else "value_heads"} <= passing
    assert (cancelling == passing) is fused  # one product makes all of them
    assert {"norm1"} in found and {"norm2"} in found
    assert not any({"shares", "scores", "sum1", "gelu", "narrow"} & g for g in found)


def test_a_norm_before_a_residual_gets_a_twin_for_the_weights() -> None:
    program = block(False)
    assert not any("norm0" in g for g in members(program))
    assert [twin.original.tensor_name for twin in split_norms(program)] == ["norm0", "norm1"]
    assert {"norm0_twin"} in members(program) and {"norm1_twin"} in members(program)
    assert split_norms(block(True)) == []


@kinds
@pytest.mark.parametrize("alpha", ["auto", "0.5"])
def test_smoothing_keeps_the_function(kind: str, alpha: str, folders: tuple[Path, Path]) -> None:
    program = smoothed(kind, folders[0], alpha=alpha)
    names = [op.tensor_name for op in program.ops if not op.name.endswith("Weight")]
    assert any(name.endswith("_smoothed") for name in names)
    expected = outputs(planted(kind), folders[1])
    assert np.abs(outputs(program, folders[1]) - expected).max() < 1e-5 * np.abs(expected).max()


@kinds
@pytest.mark.parametrize("asymmetric", [False, True])
def test_wide_channels_cost_less_after_smoothing(
    kind: str, asymmetric: bool, folders: tuple[Path, Path], tmp_path: Path
) -> None:
    plain = decibels(planted(kind), kind, folders, asymmetric, tmp_path / "plain")
    better = decibels(smoothed(kind, folders[0]), kind, folders, asymmetric, tmp_path / "better")
    assert better > plain + 1.0


def test_a_norm_that_gains_nothing_has_no_twin(folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "stepdown.correction.passes.smooth_quant.best_factors", lambda program, group, *_: np.ones(group.size)
    )
    program = smoothed("post-norm", folders[0])
    assert [str(op) for op in program.ops] == [str(op) for op in planted("post-norm").ops]


def test_attention_is_equalised_too(folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    program = planted("pre-norm")
    EqualizeChannels(str(folders[0])).run(program)
    assert "norm1: 16 channels" in capsys.readouterr().err
    expected = outputs(planted("pre-norm"), folders[1])
    assert np.abs(outputs(program, folders[1]) - expected).max() < 1e-5 * np.abs(expected).max()


@pytest.mark.parametrize("alpha", ["1.5", "-0.1", "strong", "nan"])
def test_alpha_is_auto_or_a_share(alpha: str, folders: tuple[Path, Path]) -> None:
    with pytest.raises(InputError, match=r"alpha is .*want auto, or a number from 0 to 1"):
        smoothed("pre-norm", folders[0], alpha=alpha)


@pytest.mark.slow
def test_a_sentence_transformer_keeps_its_function(tmp_path: Path) -> None:
    (model,) = needed("models/all_minilm_l6_v2_w8.onnx")
    done = run("model_transform.py", "--model_name", "net", "--model_def", str(model), "--mlir", "net.mlir",
               "--input_shapes", "[[1,8],[1,8],[1,8]]", cwd=tmp_path)  # fmt: skip
    assert done.returncode == 0, done.stderr
    samples, rng = tmp_path / "samples", np.random.default_rng(0)
    samples.mkdir()
    for number in range(4):
        ids, mask = rng.integers(1000, 9000, (1, 8)), np.arange(8)[None] < 5 + number
        write_npz(samples / f"{number}.npz", {
            "input_ids": ids, "attention_mask": mask.astype(np.int64), "token_type_ids": np.zeros_like(ids),
        })  # fmt: skip
    program = read_program(tmp_path / "net.mlir")
    SmoothQuant(dataset=str(samples)).run(program)
    names = [op.tensor_name for op in program.ops]
    assert sum(name.endswith("twin_smoothed") for name in names) >= 6
    expected = outputs(read_program(tmp_path / "net.mlir"), samples)
    assert np.abs(outputs(program, samples) - expected).max() < 1e-5 * np.abs(expected).max()
