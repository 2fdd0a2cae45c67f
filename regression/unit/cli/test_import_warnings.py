"""What model_transform.py and run_calibration.py say of weights with NaN, and of files they would destroy."""

import errno
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from stepdown.cli import tool
from stepdown.files.atomic import atomic_path


def import_net(folder: Path, weight: np.ndarray) -> int:
    """Import `y = x + weight` into `folder`."""
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [2]) for name in "xy")
    node = helper.make_node("Add", ["x", "w"], ["y"])
    graph = helper.make_graph([node], "net", [x], [y], [numpy_helper.from_array(weight, "w")])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)]), folder / "net.onnx")
    flags = ["--model_name", "net", "--model_def", str(folder / "net.onnx"), "--no_simplify"]
    return tool.run("model_transform", [*flags, "--mlir", str(folder / "net.mlir")])


def test_weights_with_nan_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert import_net(tmp_path, np.array([1, np.nan], np.float32)) == 0
    assert "weights hold NaN: 'w' (1 of 2)" in capsys.readouterr().err


@pytest.mark.parametrize("victim", ["net.mlir", "net_top_f32_all_weight.npz", "list.txt", "sample.npz"])
def test_a_table_replaces_nothing_that_is_read(tmp_path: Path, victim: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert import_net(tmp_path, np.ones(2, np.float32)) == 0
    np.savez(tmp_path / "sample.npz", x=np.ones(2, np.float32))
    (tmp_path / "list.txt").write_text(str(tmp_path / "sample.npz"))
    before = (tmp_path / victim).read_bytes()
    flags = [str(tmp_path / "net.mlir"), "--data_list", str(tmp_path / "list.txt"), "-o", str(tmp_path / victim)]
    assert tool.run("run_calibration", flags) == 2
    assert "would be overwritten" in capsys.readouterr().err
    assert (tmp_path / victim).read_bytes() == before


def test_a_network_without_inputs_is_compared_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    node = helper.make_node("Neg", ["w"], ["y"])
    end = helper.make_tensor_value_info("y", TensorProto.FLOAT, [2])
    graph = helper.make_graph([node], "net", [], [end], [numpy_helper.from_array(np.float32([1, 2]), "w")])
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), tmp_path / "net.onnx"
    )
    np.savez(tmp_path / "none.npz")
    flags = ["--model_name", "net", "--model_def", str(tmp_path / "net.onnx"), "--mlir", str(tmp_path / "net.mlir")]
    assert tool.run("model_transform", [*flags, "--no_simplify", "--test_input", str(tmp_path / "none.npz")]) == 0
    assert "1 compared\n1 passed" in capsys.readouterr().out
    assert (tmp_path / "net_f32_outputs.npz").is_file()


def test_a_full_disk_names_the_file_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"a\.npz") as caught, atomic_path(tmp_path / "a.npz") as temporary:
        temporary.write_bytes(b"part")
        raise OSError(errno.ENOSPC, "No space left on device")
    assert caught.value.filename == str(tmp_path / "a.npz")
    assert not list(tmp_path.iterdir())
