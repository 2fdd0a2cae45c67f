import json

import numpy as np
import pytest
from cli.npz_files import npz_tool, write_all
from PIL import Image

from stepdown.cli.npz_compare import parse_tolerance
from stepdown.compare.judge import Tolerance
from stepdown.errors import InputError
from stepdown.files.npz import write_npz


@pytest.fixture
def files(tmp_path):
    """A target with metadata, and a float reference that it resembles."""
    target = write_all(tmp_path / "t.npz")
    reference = {
        "bn": np.ones((2, 2), np.float32),
        "conv": np.float32([[0.5, -2.5], [2.5, 15.4]]),
        "weight": np.float32([[[0, 0.5, 1, 1.5], [3, 4, 5, 6], [12, 14, 16, 18]]]).repeat(2, 0),
        "float": np.float32([[1.5, -2], [3, 0.1]]),
        "count": np.array([3, 5]),
    }
    reference["weight"][1] += np.float32([6, 12, 24]).reshape(3, 1)
    write_npz(tmp_path / "r.npz", reference)
    return target, tmp_path / "r.npz"


def test_a_passing_comparison(files, capsys):
    assert npz_tool("compare", *files, "-v") == 0
    printed = capsys.readouterr().out
    assert printed.endswith("npz compare PASSED.\n")
    assert "[weight                          ]        EQUAL [PASSED]\n    (2, 3, 4) int8 against float32\n" in printed
    assert "[bn                              ]   fused into conv\n" in printed
    assert "5 compared\n5 passed\n" in printed


def test_a_failing_comparison(files, capsys):
    assert npz_tool("compare", *files, "--tolerance", "0.9999999,0.9999999") == 1
    printed = capsys.readouterr().out
    assert printed.endswith("npz compare FAILED.\n")
    assert "fused into conv" not in printed


def test_excepts_and_only(files, capsys):
    assert npz_tool("compare", *files, "--tolerance", "1,1", "--excepts", "conv") == 0
    assert "2 left out by --excepts: conv, conv_f32" in capsys.readouterr().out
    assert npz_tool("compare", *files, "--tolerance", "1,1", "--only", "float,count") == 0
    assert "2 compared" in capsys.readouterr().out


def test_the_spellings_of_other_tools_are_taken(files, tmp_path):
    assert npz_tool("compare", *files, "-a", "-s", tmp_path / "x.csv", "-k", "float", "-vvv") == 0
    assert (tmp_path / "x.csv").read_text().startswith("name,")


def test_the_largest_values_are_shown(files, capsys):
    assert npz_tool("compare", *files, "-vv", "--only", "conv") == 0
    assert "           3 15.375                        3 15.4\n" in capsys.readouterr().out


def test_json_on_stdout_is_alone(files, tmp_path, capsys):
    assert npz_tool("compare", *files, "--json", "-", "--html", tmp_path / "x.html") == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)["passed"] is True
    assert printed.err == f"wrote {tmp_path}/x.html\n"


def test_reports_are_written_also_where_the_comparison_fails(files, tmp_path, capsys):
    names = [tmp_path / name for name in ("x.json", "x.csv", "x.html")]
    options = zip(("--json", "--csv", "--html"), names, strict=True)
    assert npz_tool("compare", *files, "--tolerance", "1,1", *(word for pair in options for word in pair)) == 1
    assert json.loads(names[0].read_text())["passed"] is False
    assert all(name.stat().st_size for name in names)
    assert [line for line in capsys.readouterr().out.splitlines() if line.startswith("wrote")] == [
        f"wrote {n}" for n in names
    ]


@pytest.mark.parametrize("text", ["0.99", "0.99,0.9,3", "a,b", "", "2,0.9", "0.9,1.5", "nan,nan", "0.9,-inf"])
def test_a_wrong_tolerance_is_refused(text):
    with pytest.raises(InputError, match="tolerance"):
        parse_tolerance(text)


def test_a_tolerance_is_parsed():
    assert parse_tolerance("0.97, -1.5") == Tolerance(0.97, -1.5)


def test_print_diff(files, capsys):
    assert npz_tool("print_diff", *files, "conv_f32", 2) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[2:5] == [
        "1 of 4 elements differ; the largest differences:",
        "index   TARGET  REFERENCE     difference",
        "(1, 1)  15.375       15.4  -0.0249996185",
    ]
    assert lines[1].endswith("r.npz 'conv' (2, 2) float32")
    assert lines[7].startswith("[conv_f32                        ]      SIMILAR [PASSED] against conv")


def test_print_diff_of_equal_tensors_and_of_nan(tmp_path, capsys):
    write_npz(tmp_path / "a.npz", {"x": np.float32([1, np.nan, np.inf, np.inf]), "n": np.array([1, 2])})
    write_npz(tmp_path / "b.npz", {"x": np.float32([1, 5, np.inf, 2]), "n": np.array([1, 2])})
    assert npz_tool("print_diff", tmp_path / "a.npz", tmp_path / "b.npz", "n") == 0
    assert "0 of 2 elements differ\n" in capsys.readouterr().out
    assert npz_tool("print_diff", tmp_path / "a.npz", tmp_path / "b.npz", "x") == 0
    printed = capsys.readouterr().out
    assert "2 of 4 elements differ" in printed
    assert "(1,)      nan        5.0         nan\n" in printed
    assert "not finite: 1 NaN, 1 inf" in printed


@pytest.mark.parametrize(
    ("name", "count", "words"),
    [
        ("bn", 3, "t.npz: has no tensor 'bn'"),
        ("float", 0, "N '0' is not a positive integer"),
        ("float", "many", "N 'many'"),
        ("shape", 3, "shape (2, 2) against (4,)"),
        ("text", 3, "holds <U3, not real numbers"),
    ],
)
def test_print_diff_refuses(files, tmp_path, name, count, words, capsys):
    write_npz(tmp_path / "t.npz", {"float": np.ones(1), "shape": np.ones((2, 2)), "text": np.array(["cat"])})
    write_npz(
        tmp_path / "r.npz", {"float": np.ones(1), "shape": np.ones(4), "text": np.array(["cat"]), "bn": np.ones(1)}
    )
    assert npz_tool("print_diff", *files, name, count) == 2
    assert words in capsys.readouterr().err


def test_a_picture_of_one_tensor(files, tmp_path, capsys):
    assert npz_tool("visualize_diff", *files, "conv", "-o", tmp_path / "one.png") == 0
    assert Image.open(tmp_path / "one.png").size == (1240, 980)
    assert capsys.readouterr().out == f"wrote {tmp_path}/one.png\n"


def test_pictures_of_all_tensors(tmp_path, capsys):
    odd = {"a/b": np.ones(2), "a_b": np.ones(2), "../up": np.ones(2), "shape": np.ones(2), "only": np.ones(1)}
    write_npz(tmp_path / "t.npz", odd)
    write_npz(tmp_path / "r.npz", {**odd, "shape": np.ones(3)})
    assert npz_tool("visualize_diff", tmp_path / "t.npz", tmp_path / "r.npz", "-o", tmp_path / "pictures") == 0
    assert sorted(p.name for p in (tmp_path / "pictures").iterdir()) == ["_up.png", "a_b.png", "a_b_2.png", "only.png"]
    assert "not drawn: " in capsys.readouterr().out


def test_pictures_that_cannot_be(files, tmp_path, capsys):
    assert npz_tool("visualize_diff", *files, "-o", tmp_path / "one.png") == 2
    assert "one picture cannot show 5 tensors" in capsys.readouterr().err
    write_npz(tmp_path / "other.npz", {"z": np.ones(1)})
    assert npz_tool("visualize_diff", files[0], tmp_path / "other.npz", "-o", tmp_path) == 2
    assert "no tensor in common" in capsys.readouterr().err
