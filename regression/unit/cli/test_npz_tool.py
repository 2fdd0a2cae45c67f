"""The command line as a whole; the commands are tested in the files named after their modules."""

import re
import subprocess
import sys

import pytest
from cli.npz_files import npz_tool, write_all

from stepdown.cli.npz_tool import parser

COMMANDS = parser()._subparsers._group_actions[0].choices


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_help_with_an_example_of_itself(command, capsys):
    assert npz_tool(command, "--help") == 0
    printed = capsys.readouterr().out
    assert f"npz_tool.py {command} " in printed.split("example:")[1]


def test_the_commands_that_users_know_are_there():
    known = (
        "compare print_diff visualize_diff dump extract remove insert merge rename reshape bf16_to_fp32 fp16_to_fp32 "
        "fp32_to_bf16 fp32_to_fp16 permute get_shape to_bin to_npy statistic check_nan_inf"
    )
    assert set(known.split()) <= set(COMMANDS)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "COMMAND"),
        (["cmp"], "invalid choice: 'cmp'"),
        (["dump"], "required: FILE; see npz_tool.py dump --help"),
        (["dump", "a.npz", "--tolerance", "1"], "unrecognized arguments: --tolerance"),
        (["dump", "nowhere.npz"], "nowhere.npz: no such file"),
        (["compare", "a", "b", "--tolerance"], "expected one argument"),
    ],
)
def test_a_wrong_command_line_is_one_line_on_stderr(arguments, words, capsys):
    assert npz_tool(*arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert words in printed.err
    assert printed.err.count("\n") == 1


def test_options_may_stand_anywhere(tmp_path, capsys):
    path = write_all(tmp_path / "a.npz")
    assert npz_tool("compare", "-v", path, "--excepts", "weight", path, "--tolerance", "0.9,0.9") == 0
    assert npz_tool("visualize_diff", path, path, "-o", tmp_path / "x.png", "float") == 0
    assert npz_tool("dump", path, "--all", "float", "1") == 0
    assert "(2, 3.0)" in capsys.readouterr().out


def test_debug_may_stand_after_the_command(tmp_path):
    with pytest.raises(Exception, match="no such file"):
        npz_tool("dump", tmp_path / "nowhere.npz", "--debug")


def test_help_imports_neither_numpy_nor_a_command():
    script = "import sys; from stepdown.cli.npz_tool import parser; parser().format_help(); print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    assert "numpy" not in modules
    assert [m for m in modules if re.match(r"stepdown\.(compare|files|cli\.npz_(?!tool))", m)] == []


def test_every_reading_command_names_a_broken_file(tmp_path, capsys):
    broken = tmp_path / "broken.npz"
    broken.write_bytes(b"PK not a zip")
    for words in (
        ["compare", broken, broken], ["dump", broken], ["statistic", broken], ["check_nan_inf", broken],
        ["get_shape", broken, "x"], ["extract", broken, "o.npz", "x"], ["remove", broken, "x"],
        ["merge", broken, broken, "o.npz"], ["to_npy", broken, "x", "o.npy"], ["fp32_to_fp16", broken, "o.npz"],
    ):  # fmt: skip
        assert npz_tool(*words) == 2, words
        assert f"{broken}: not an npz file" in capsys.readouterr().err
