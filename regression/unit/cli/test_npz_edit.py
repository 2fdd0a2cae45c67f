import os
from dataclasses import replace

import numpy as np
import pytest
from cli.npz_files import CONV, CONV_INFO, FLOAT, METADATA, WEIGHT, WEIGHT_INFO, npz_tool, write_all

from stepdown.files.npz import NpzFile, NpzMetadata, TensorInfo, read_npz, write_npz


@pytest.fixture
def file(tmp_path):
    return write_all(tmp_path / "a.npz")


@pytest.fixture
def plain(tmp_path):
    write_npz(tmp_path / "plain.npz", {"float": FLOAT, "new": np.ones(3)})
    return tmp_path / "plain.npz"


def metadata(path) -> NpzMetadata:
    found = NpzFile(path).metadata
    assert found is not None
    return found


def test_extract(file, tmp_path, capsys):
    assert npz_tool("extract", file, tmp_path / "o.npz", "float,conv", "count") == 0
    found = read_npz(tmp_path / "o.npz")
    assert list(found) == ["float", "conv", "count"]
    assert np.array_equal(found["conv"], CONV)
    assert metadata(tmp_path / "o.npz") == replace(METADATA, tensors={"conv": CONV_INFO})
    assert capsys.readouterr().out == f"3 tensors extracted; wrote {tmp_path}/o.npz\n"


def test_a_plain_file_stays_plain(plain, tmp_path):
    assert npz_tool("extract", plain, tmp_path / "o.npz", "new") == 0
    assert NpzFile(tmp_path / "o.npz").metadata is None


def test_a_comma_in_a_name(tmp_path):
    write_npz(tmp_path / "a.npz", {"a,b": np.ones(1), "a": np.ones(1)})
    assert npz_tool("extract", tmp_path / "a.npz", tmp_path / "o.npz", "a,b") == 0
    assert list(read_npz(tmp_path / "o.npz")) == ["a,b"]


def test_remove_in_place(file, capsys):
    assert npz_tool("remove", file, "conv_f32", "float") == 0
    assert list(read_npz(file)) == ["conv", "weight", "count"]
    assert metadata(file) == replace(METADATA, tensors={"conv": CONV_INFO, "weight": WEIGHT_INFO})
    assert "2 tensors removed, 3 left" in capsys.readouterr().out


def test_remove_to_another_file(file, tmp_path):
    before = file.read_bytes()
    assert npz_tool("remove", file, "conv", "-o", tmp_path / "o.npz") == 0
    assert file.read_bytes() == before
    assert "conv" not in read_npz(tmp_path / "o.npz")


EDITS = [
    ["remove", "nothing"],
    ["remove", "conv,nothing"],
    ["rename", "nothing", "x"],
    ["rename", "conv", "float"],
    ["rename", "conv", ""],
    ["reshape", "conv", "3,3"],
    ["reshape", "conv", "--", "-1,-1"],
    ["reshape", "conv", "--", "-2,-2"],
    ["reshape", "conv", "two"],
    ["reshape", "weight", "6,4"],
    ["reshape", "weight", "3,8"],
    ["permute", "conv", "0,0"],
    ["permute", "conv", "0,1,2"],
    ["permute", "conv", "x"],
]


@pytest.mark.parametrize("words", EDITS, ids=" ".join)
def test_an_edit_that_is_refused_leaves_the_file_and_the_folder_as_they_were(file, words, capsys):
    before = file.read_bytes()
    assert npz_tool(words[0], file, *words[1:]) == 2
    assert file.read_bytes() == before
    assert os.listdir(file.parent) == [file.name]
    assert capsys.readouterr().err.count("\n") == 1


def test_an_edit_that_breaks_in_the_middle_leaves_the_file_as_it_was(file, capsys):
    """A tensor whose bytes are damaged is found while the new file is being written."""
    raw = bytearray(file.read_bytes())
    place = raw.index(FLOAT.tobytes())
    raw[place] ^= 1
    file.write_bytes(raw)
    assert npz_tool("remove", file, "conv") == 2
    assert "tensor 'float' cannot be read" in capsys.readouterr().err
    assert file.read_bytes() == raw
    assert os.listdir(file.parent) == [file.name]


def test_rename_follows_everywhere(file):
    before = list(read_npz(file))
    assert npz_tool("rename", file, "conv", "conv2") == 0
    assert list(read_npz(file)) == ["conv2", *before[1:]]
    found = metadata(file)
    assert found.tensors["conv2"] == CONV_INFO
    assert found.tensors["conv_f32"].view_of == "conv2"
    assert found.outputs == ("conv2",)
    assert "conv" not in found.tensors


@pytest.mark.parametrize(
    ("shape", "axis", "result"),
    [
        ("[2, 3, 2, 2]", 1, (2, 3, 2, 2)),
        ("2x3x4", 1, (2, 3, 4)),
        ("1,2,3,4", 2, (1, 2, 3, 4)),
        ("2,3,-1,1", 1, (2, 3, 4, 1)),
    ],
)
def test_reshape_keeps_the_axis_of_the_scales(file, shape, axis, result):
    assert npz_tool("reshape", file, "weight", shape) == 0
    assert np.array_equal(read_npz(file)["weight"], WEIGHT.reshape(result))
    assert metadata(file).tensors["weight"] == replace(WEIGHT_INFO, axis=axis, layout="")


def test_reshape_with_what_remains(file):
    assert npz_tool("reshape", file, "float", "--", "-1,1") == 0
    assert read_npz(file)["float"].shape == (4, 1)
    assert npz_tool("reshape", file, "count", "[2]") == 0


def test_permute_moves_axis_and_layout(file, capsys):
    assert npz_tool("permute", file, "weight", "2,0,1") == 0
    assert np.array_equal(read_npz(file)["weight"], WEIGHT.transpose(2, 0, 1))
    assert metadata(file).tensors["weight"] == replace(WEIGHT_INFO, axis=2, layout="KOI")
    assert "'weight' (2, 3, 4) is now (4, 2, 3)" in capsys.readouterr().out


def test_permute_without_metadata(plain):
    assert npz_tool("permute", plain, "float", "1,0") == 0
    assert np.array_equal(read_npz(plain)["float"], FLOAT.T)


def test_insert(file, plain, capsys):
    assert npz_tool("insert", file, plain) == 0
    assert list(read_npz(plain)) == ["float", "new", "conv", "conv_f32", "weight", "count"]
    assert metadata(plain).tensors == METADATA.tensors
    assert metadata(plain).outputs == ("conv",)
    assert "4 tensors inserted, 1 there already" in capsys.readouterr().out


@pytest.mark.parametrize(
    "change", [{"float": FLOAT + 1}, {"float": FLOAT.astype(np.float64)}, {"float": FLOAT.reshape(4)}]
)
def test_insert_refuses_what_differs(file, tmp_path, change, capsys):
    write_npz(tmp_path / "b.npz", change)
    before = file.read_bytes()
    assert npz_tool("insert", tmp_path / "b.npz", file) == 2
    assert "tensor 'float' is in two of the files and differs" in capsys.readouterr().err
    assert file.read_bytes() == before
    assert npz_tool("insert", tmp_path / "b.npz", file, "--overwrite") == 0
    assert np.array_equal(read_npz(file)["float"], change["float"])


def test_the_same_bytes_with_another_meaning_differ(file, tmp_path):
    write_npz(tmp_path / "b.npz", {"conv": CONV}, NpzMetadata({"conv": TensorInfo("i8", 9.0)}))
    assert npz_tool("insert", tmp_path / "b.npz", file) == 2
    assert npz_tool("insert", tmp_path / "b.npz", file, "--overwrite", "-o", tmp_path / "o.npz") == 0
    assert metadata(tmp_path / "o.npz").tensors["conv"].scale == 9


def test_overwriting_with_a_plain_tensor_forgets_the_old_meaning(file, tmp_path):
    write_npz(tmp_path / "b.npz", {"conv": CONV})
    assert npz_tool("insert", tmp_path / "b.npz", file, "--overwrite") == 0
    assert "conv" not in metadata(file).tensors


def test_merge(file, plain, tmp_path, capsys):
    write_npz(tmp_path / "c.npz", {"c": np.ones(1)}, NpzMetadata(outputs=("c",), model="other"))
    assert npz_tool("merge", plain, file, tmp_path / "c.npz", tmp_path / "o.npz") == 0
    assert len(read_npz(tmp_path / "o.npz")) == 7
    assert metadata(tmp_path / "o.npz") == NpzMetadata(METADATA.tensors, ("conv", "c"))
    assert "7 tensors from 3 files" in capsys.readouterr().out


def test_merge_conflicts(file, tmp_path, capsys):
    write_npz(tmp_path / "b.npz", {"float": FLOAT + 1})
    assert npz_tool("merge", file, tmp_path / "b.npz", tmp_path / "o.npz") == 2
    assert not (tmp_path / "o.npz").exists()
    assert npz_tool("merge", file, tmp_path / "b.npz", tmp_path / "o.npz", "--overwrite") == 0
    assert np.array_equal(read_npz(tmp_path / "o.npz")["float"], FLOAT + 1)


def test_merge_onto_one_of_its_files(file, plain):
    assert npz_tool("merge", file, plain, plain) == 0
    assert len(read_npz(plain)) == 6
