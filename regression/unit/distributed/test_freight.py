"""Files cross whole, in messages of bounded size; arrays cross without pickles."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from stepdown.distributed import freight
from stepdown.distributed.freight import (
    Item,
    held_item,
    inside,
    item,
    items,
    keep_pieces,
    messages,
    model_items,
    pack,
    place_of,
    unpack,
)
from stepdown.errors import InputError


@pytest.mark.parametrize("sizes", [[0], [1], [10], [11], [25], [3, 3, 3, 3], [0, 10, 0, 21, 1], []])
def test_files_cross_in_messages_of_bounded_size(
    sizes: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(freight, "CHUNK_BYTES", 10)
    rng = np.random.default_rng(0)
    contents = [rng.bytes(size) for size in sizes]
    for number, content in enumerate(contents):
        (tmp_path / f"{number}.bin").write_bytes(content)
    sent = items(tmp_path / f"{number}.bin" for number in range(len(sizes)))
    there = tmp_path / "there"
    there.mkdir()
    for header, data in messages([*sent, held_item("job.json", b"{}")]):
        assert len(data) <= 10
        keep_pieces(there, header, data)
    assert [(there / one.place).read_bytes() for one in sent] == contents
    assert (there / place_of("job.json")).read_bytes() == b"{}"


def test_a_file_that_changes_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "x.bin").write_bytes(b"one")
    sent = [item(tmp_path / "x.bin")]
    (tmp_path / "x.bin").write_bytes(b"two")
    with pytest.raises(InputError, match=r"x.bin: changes while it is in use; run again"):
        list(messages(sent))
    (tmp_path / "x.bin").unlink()
    with pytest.raises(InputError, match=r"x.bin: cannot be read any more \(No such file"):
        list(messages(sent))


def test_missing_files_are_left_out_and_folders_are_refused(tmp_path: Path) -> None:
    assert items([tmp_path / "nothing.jpg"]) == []
    with pytest.raises(InputError, match=r"cannot be sent to workers \(Is a directory\)"):
        items([tmp_path])


def test_files_of_one_folder_stay_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("sub").mkdir()
    for name in ("a.bin", "sub/a.bin", "sub/b.bin"):
        Path(name).write_bytes(name.encode())
    here, one, two = items(["a.bin", "sub/a.bin", Path("sub") / "b.bin"])
    assert (one.name, one.prefix, one.source) == ("sub/a.bin", "sub/", str(tmp_path / "sub" / "a.bin"))
    assert Path(one.place).parent == Path(two.place).parent != Path(here.place).parent
    assert place_of("sub/b.bin") == two.place


def test_a_place_outside_is_refused(tmp_path: Path) -> None:
    escaping = Item("", "../../x", "")
    with pytest.raises(InputError, match="would lie outside"):
        inside(tmp_path, escaping.place)


def test_a_model_brings_what_it_names(tmp_path: Path) -> None:
    weight = helper.make_tensor("w", TensorProto.FLOAT, [2], np.float32([1, 2]).tobytes(), raw=True)
    nodes = [helper.make_node("Add", ["x", "w"], ["y"])]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [2]) for name in ("x", "y")]
    model = helper.make_model(helper.make_graph(nodes, "g", ends[:1], ends[1:], [weight]))
    path = tmp_path / "net.onnx"
    (tmp_path / "weights").mkdir()
    onnx.save(model, path, save_as_external_data=True, location="weights/net.data", size_threshold=0)
    first, second = model_items(str(path))
    assert (first.name, second.name) == (str(path), str(tmp_path / "weights" / "net.data"))
    assert Path(second.place) == Path(first.place).parent / "weights" / "net.data"


def test_arrays_cross_as_they_are() -> None:
    arrays = {"file": np.arange(6, dtype=np.int64).reshape(2, 3), "none": np.zeros((0, 2), np.float32)}
    header, found = unpack(pack({"peak": 3}, arrays))
    assert header == {"peak": 3}
    assert {name: (a.dtype, a.shape, a.tobytes()) for name, a in found.items()} == {
        name: (a.dtype, a.shape, a.tobytes()) for name, a in arrays.items()
    }
    assert unpack(pack({"missing": []})) == ({"missing": []}, {})
    with pytest.raises(ValueError, match="Object arrays cannot be"):
        pack({}, {"x": np.array([object()])})
