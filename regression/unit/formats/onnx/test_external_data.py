"""Weights that lie in files beside the model."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from stepdown.errors import InputError
from stepdown.formats.onnx.importer import import_model
from stepdown.formats.onnx.loader import load_onnx
from stepdown.runtimes.mlir import MlirRunner

W = np.arange(300, dtype=np.float32)


def saved(folder: Path, location: str, *, data: bytes | None = W.tobytes(), **fields: str) -> Path:
    """Write a model x + w whose w lies at `location`; `fields` are further ones of its place."""
    folder.mkdir(exist_ok=True)
    if data is not None:
        (folder / location).parent.mkdir(parents=True, exist_ok=True)
        (folder / location).write_bytes(data)
    held = numpy_helper.from_array(W, "w")
    held.ClearField("raw_data")
    held.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, **fields}.items():
        held.external_data.add(key=key, value=value)
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [300]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Add", ["x", "w"], ["y"])], "graph", ends[:1], ends[1:], [held])
    path = folder / "m.onnx"
    path.write_bytes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]).SerializeToString())
    return path


def result(path: Path) -> np.ndarray:
    program = import_model(load_onnx(path), "net")
    return MlirRunner(program).run({"x": np.ones(300, np.float32)})["y_Add"]


@pytest.mark.parametrize("location", ["w.bin", "data/deep/w.bin", "./w.bin", "data/../w.bin"])
def test_files_in_the_folder(tmp_path: Path, location: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data").mkdir()
    np.testing.assert_array_equal(result(saved(tmp_path, location)), W + 1)
    monkeypatch.chdir(tmp_path)
    np.testing.assert_array_equal(result(Path("m.onnx")), W + 1)


def test_a_part_of_a_file(tmp_path: Path) -> None:
    path = saved(tmp_path, "w.bin", data=b"12345678" + W.tobytes() + b"9", offset="8", length="1200")
    np.testing.assert_array_equal(result(path), W + 1)


def _linked_inside(folder: Path) -> Path:
    (folder / "real.bin").write_bytes(W.tobytes())
    (folder / "w.bin").symlink_to("real.bin")
    return saved(folder, "w.bin", data=None)


def _absolute(folder: Path) -> Path:
    (folder / "away.bin").write_bytes(W.tobytes())
    return saved(folder / "model", str(folder / "away.bin"), data=None)


def _above(folder: Path) -> Path:
    (folder / "away.bin").write_bytes(W.tobytes())
    return saved(folder / "model", "../away.bin", data=None)


def _linked(folder: Path) -> Path:
    (folder / "away.bin").write_bytes(W.tobytes())
    path = saved(folder / "model", "w.bin", data=None)
    (folder / "model" / "w.bin").symlink_to(folder / "away.bin")
    return path


def _linked_folder(folder: Path) -> Path:
    (folder / "away").mkdir()
    (folder / "away" / "w.bin").write_bytes(W.tobytes())
    path = saved(folder / "model", "data/w.bin", data=None)
    (folder / "model" / "data").symlink_to(folder / "away")
    return path


def _pipe(folder: Path) -> Path:
    path = saved(folder, "w.bin", data=None)
    os.mkfifo(folder / "w.bin")
    return path


REFUSED: dict[str, tuple[Callable[[Path], Path], str]] = {
    "absolute": (_absolute, "m.onnx: tensor 'w': its data lies outside the model's folder ('/"),
    "above": (_above, "its data lies outside the model's folder ('../away.bin'); move it there"),
    "a link out": (_linked, "its data lies outside the model's folder ('w.bin')"),
    "a folder that is a link out": (_linked_folder, "its data lies outside the model's folder ('data/w.bin')"),
    "missing": (
        lambda f: saved(f, "w.bin", data=None),
        "its data file 'w.bin' does not exist; put it beside the model",
    ),
    "a folder": (lambda f: saved(f, ".", data=None), "its data file '.' does not exist"),
    "a link inside": (_linked_inside, "its external data cannot be read ("),
    "a pipe": (_pipe, "its data file 'w.bin' does not exist"),
    "no place": (lambda f: saved(f, "", data=None), "its data lies outside the model's folder ('')"),
    "short": (
        lambda f: saved(f, "w.bin", data=W.tobytes()[:-4]),
        "tensor 'w': its external data holds 1196 bytes, want 1200",
    ),
    "empty": (lambda f: saved(f, "w.bin", data=b""), "tensor 'w'"),
    "a part that is longer than the file": (lambda f: saved(f, "w.bin", offset="8", length="1200"), "tensor 'w'"),
    "a start behind the end": (lambda f: saved(f, "w.bin", offset="99999"), "tensor 'w'"),
    "a start before the beginning": (lambda f: saved(f, "w.bin", offset="-8"), "m.onnx"),
    "no number": (lambda f: saved(f, "w.bin", offset="two"), "its place in an external file is malformed"),
    "another length than the shape's": (lambda f: saved(f, "w.bin", length="1196"), "tensor 'w'"),
}


@pytest.mark.parametrize(("made", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_refused_in_one_line(tmp_path: Path, made: Callable[[Path], Path], message: str) -> None:
    with pytest.raises(InputError) as caught:
        result(made(tmp_path))
    assert message in str(caught.value) and "\n" not in str(caught.value)
