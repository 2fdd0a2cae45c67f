import json

import numpy as np
import pytest
from cli.npz_files import npz_tool, write_all

from stepdown.files.npz import NpzMetadata, TensorInfo, write_npz


@pytest.fixture
def file(tmp_path):
    return write_all(tmp_path / "a.npz")


def printed(capsys) -> list[str]:
    return capsys.readouterr().out.splitlines()


def test_the_list(file, capsys):
    assert npz_tool("dump", file) == 0
    assert printed(capsys) == [
        "conv      (2, 2)     int8     i8 scale 0.125 zero_point 4 NC",
        "conv_f32  (2, 2)     float32  f32 view of conv",
        "weight    (2, 3, 4)  int8     i8 3 scales 0.5 … 2 along axis 1 zero_points by channel OIK",
        "float     (2, 2)     float32",
        "count     (2,)       int64",
    ]


def test_the_list_does_not_read_values(file, capsys, monkeypatch):
    monkeypatch.setattr("stepdown.files.npz.NpzFile.__getitem__", lambda *_: pytest.fail("read"))
    assert npz_tool("dump", file) == 0


def test_an_image_has_statistics_by_channel(tmp_path, capsys):
    picture = np.float32([[[[0, 1]], [[2, 3]], [[-4, 4.5]]]])
    write_npz(tmp_path / "in.npz", {"input": picture})
    assert npz_tool("dump", tmp_path / "in.npz", "input") == 0
    assert printed(capsys)[-7:] == [
        "shape (1, 3, 1, 2)",
        "dtype float32",
        "max [1.  3.  4.5]",
        "min [ 0.  2. -4.]",
        "mean [0.5  2.5  0.25]",
        "abs mean fp32 [0.5  2.5  4.25]",
        "std fp32 [0.5  0.5  4.25]",
    ]


def test_other_tensors_have_statistics_of_the_whole(file, capsys):
    assert npz_tool("dump", file, "float") == 0
    assert printed(capsys) == [
        "[[ 1.5 -2. ]",
        " [ 3.   0.1]]",
        "shape (2, 2)",
        "dtype float32",
        "max 3.0",
        "min -2.0",
        "mean 0.65",
        "abs mean fp32 1.65",
        "std fp32 1.84187405",
    ]


def test_the_largest_values(file, capsys):
    assert npz_tool("dump", file, "float", 3) == 0
    assert printed(capsys) == ["shape (2, 2)", "dtype float32", "Show Top-K 3", "(2, 3.0)", "(0, 1.5)", "(3, 0.1)"]


def test_the_largest_values_of_a_quantised_tensor_show_both(file, capsys):
    assert npz_tool("dump", file, "conv", 2) == 0
    assert printed(capsys) == [
        "shape (2, 2)",
        "dtype int8",
        "storage i8 scale 0.125 zero_point 4 NC",
        "Show Top-K 2",
        "(3, 15.375) stored 127",
        "(2, 2.5) stored 24",
    ]


def test_a_quantised_tensor_shows_stored_and_real_values(file, capsys):
    assert npz_tool("dump", file, "conv") == 0
    lines = printed(capsys)
    assert lines[:6] == ["stored", "[[  8 -16]", " [ 24 127]]", "real", "[[ 0.5   -2.5  ]", " [ 2.5   15.375]]"]
    assert "max 15.375" in lines


def test_long_tensors_are_shown_in_full_only_when_asked(tmp_path, capsys):
    write_npz(tmp_path / "a.npz", {"x": np.arange(5000)})
    npz_tool("dump", tmp_path / "a.npz", "x")
    short = capsys.readouterr().out
    npz_tool("dump", tmp_path / "a.npz", "x", "--all")
    assert "..." in short
    assert " 2500 " not in short
    assert " 2500 " in capsys.readouterr().out


def test_what_is_not_finite_is_told(tmp_path, capsys):
    write_npz(tmp_path / "a.npz", {"x": np.float32([1, np.nan, np.inf]), "y": np.float32([np.nan]), "z": np.zeros(0)})
    npz_tool("dump", tmp_path / "a.npz", "x")
    assert printed(capsys)[3:] == [
        "max 1.0",
        "min 1.0",
        "mean 1",
        "abs mean fp32 1",
        "std fp32 0",
        "not finite 1 NaN, 1 inf",
    ]
    npz_tool("dump", tmp_path / "a.npz", "y")
    assert printed(capsys)[3:] == ["no finite element", "not finite 1 NaN"]
    npz_tool("dump", tmp_path / "a.npz", "z")
    assert printed(capsys)[3:] == ["no element"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("conf", "did you mean 'conv'?"),
        ("weight_f32", "the same values are there as 'weight' (i8 3 scales"),
        ("out", "the same values are there as 'real_out' (f32 view of out): dump real_out"),
    ],
)
def test_an_absent_tensor(tmp_path, name, words, capsys):
    write_all(tmp_path / "a.npz")
    if name == "out":
        metadata = NpzMetadata({"real_out": TensorInfo(view_of="out")})
        write_npz(tmp_path / "a.npz", {"real_out": np.ones(1)}, metadata)
    assert npz_tool("dump", tmp_path / "a.npz", name) == 2
    error = capsys.readouterr().err
    assert f"has no tensor '{name}'" in error
    assert words in error


@pytest.mark.parametrize("count", ["0", "-1", "x", "1e3", ""])
def test_a_wrong_count(file, count, capsys):
    assert npz_tool("dump", file, "float", count) == 2


def test_text_cannot_be_shown_as_numbers(tmp_path, capsys):
    write_npz(tmp_path / "a.npz", {"labels": np.array(["cat"])})
    assert npz_tool("dump", tmp_path / "a.npz", "labels") == 2
    assert "holds <U3, not real numbers" in capsys.readouterr().err
    assert npz_tool("statistic", tmp_path / "a.npz") == 0


def test_dump_as_json(file, capsys):
    assert npz_tool("dump", file, "--json") == 0
    listed = json.loads(capsys.readouterr().out)
    assert (listed["conv"]["shape"], listed["conv"]["storage"]["scale"], listed["count"]["storage"]) == (
        [2, 2],
        0.125,
        None,
    )
    assert npz_tool("dump", file, "conv", 1, "--json") == 0
    assert json.loads(capsys.readouterr().out)["top"] == [{"index": 3, "value": 15.375, "stored": 127}]
    assert npz_tool("dump", file, "float", "--json") == 0
    assert json.loads(capsys.readouterr().out)["max"] == 3


def test_statistic_of_all_tensors(file, capsys):
    assert npz_tool("statistic", file) == 0
    lines = [line.split() for line in printed(capsys)]
    assert " ".join(lines[0]) == "name min max mean std var abs_mean range zeros NaN inf count"
    assert lines[1][:3] == ["conv", "-2.5", "15.375"]
    assert lines[5] == ["count", "3", "5", "4", "1", "1", "4", "2", "0", "0", "0", "2"]


def test_statistic_along_an_axis(file, capsys):
    assert npz_tool("statistic", file, "weight", "--axis", 1) == 0
    lines = [line.split()[:3] for line in printed(capsys)]
    assert lines[1:] == [["weight[0]", "0.0", "7.5"], ["weight[1]", "3.0", "18.0"], ["weight[2]", "12.0", "42.0"]]
    assert npz_tool("statistic", file, "weight", "--axis", 3) == 2
    assert "has no axis 3" in capsys.readouterr().err


def test_statistic_as_json(file, capsys):
    assert npz_tool("statistic", file, "count", "--json") == 0
    assert json.loads(capsys.readouterr().out)["count"] | {"min": 3, "max": 5, "var": 1.0} == {
        "min": 3, "max": 5, "mean": 4.0, "std": 1.0, "var": 1.0, "abs_mean": 4.0, "range": 2.0,
        "zeros": 0, "nan": 0, "inf": 0, "count": 2,
    }  # fmt: skip


def test_check_nan_inf(file, tmp_path, capsys):
    assert npz_tool("check_nan_inf", file) == 0
    assert printed(capsys) == ["5 tensors checked, 0 with NaN or infinities", "check_nan_inf PASSED."]
    bits = NpzMetadata({"b": TensorInfo("bf16")})
    write_npz(tmp_path / "b.npz", {"a": np.float32([[1, np.inf], [np.nan, 0]]), "b": np.uint16([0x7FC0])}, bits)
    assert npz_tool("check_nan_inf", tmp_path / "b.npz") == 1
    assert printed(capsys)[:2] == ["a: 1 NaN, 1 inf of 4, first at (0, 1)", "b: 1 NaN of 1, first at (0,)"]
    assert npz_tool("check_nan_inf", tmp_path / "b.npz", "--json") == 1
    assert json.loads(capsys.readouterr().out)["passed"] is False


def test_get_shape(file, capsys):
    assert npz_tool("get_shape", file, "weight") == 0
    assert printed(capsys) == ["[2,3,4]"]
    assert npz_tool("get_shape", file, "wait") == 2
    assert "did you mean 'weight'?" in capsys.readouterr().err
