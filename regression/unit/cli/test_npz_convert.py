import math

import numpy as np
import pytest
from cli.npz_files import CONV, FLOAT, METADATA, VIEW, npz_tool, write_all

from stepdown.files.npz import NpzFile, NpzMetadata, TensorInfo, read_npz, write_npz


@pytest.fixture
def file(tmp_path):
    return write_all(tmp_path / "a.npz")


def raw(tmp_path, *words):
    assert npz_tool("to_bin", *words[:2], tmp_path / "x.bin", *words[2:]) == 0
    return (tmp_path / "x.bin").read_bytes()


def test_to_bin(file, tmp_path, capsys):
    assert raw(tmp_path, file, "float") == FLOAT.astype("<f4").tobytes()
    assert capsys.readouterr().out == f"4 elements of f32 (2, 2), 16 bytes; wrote {tmp_path}/x.bin\n"
    assert raw(tmp_path, file, "conv") == CONV.tobytes()
    assert raw(tmp_path, file, "count", "--type", "i8") == bytes([3, 5])
    assert raw(tmp_path, file, "count", "--type", "float32") == np.array([3, 5], "<f4").tobytes()
    assert raw(tmp_path, file, "float", "--type", "bf16") == np.array([0x3FC0, 0xC000, 0x4040, 0x3DCD], "<u2").tobytes()


def test_to_bin_of_a_quantised_tensor(file, tmp_path):
    assert raw(tmp_path, file, "conv", "--type", "f32") == VIEW.tobytes()
    assert raw(tmp_path, file, "conv", "--type", "i32") == CONV.astype("<i4").tobytes()


def test_to_bin_of_what_is_no_number(tmp_path, capsys):
    write_npz(tmp_path / "a.npz", {"x": np.array(["cat"])})
    assert npz_tool("to_bin", tmp_path / "a.npz", "x", tmp_path / "x.bin", "--type", "f32") == 2
    assert "holds <U3, not real numbers" in capsys.readouterr().err


def test_to_bin_is_little_endian(tmp_path):
    write_npz(tmp_path / "a.npz", {"x": np.array([1, 2], ">i2")})
    assert raw(tmp_path, tmp_path / "a.npz", "x") == bytes([1, 0, 2, 0])


@pytest.mark.parametrize(("name", "kind"), [("float", "i8"), ("count", "bool"), ("conv", "u8")])
def test_to_bin_refuses_an_integer_type_that_loses_values(file, tmp_path, name, kind, capsys):
    assert npz_tool("to_bin", file, name, tmp_path / "x.bin", "--type", kind) == 2
    assert f"has values that {kind} cannot hold" in capsys.readouterr().err
    assert not (tmp_path / "x.bin").exists()


def test_to_bin_refuses_a_type_and_a_tensor_that_it_does_not_know(file, tmp_path, capsys):
    assert npz_tool("to_bin", file, "float", tmp_path / "x.bin", "--type", "float31") == 2
    assert "unknown type 'float31'" in capsys.readouterr().err
    assert npz_tool("to_bin", file, "flaot", tmp_path / "x.bin") == 2
    assert "did you mean 'float'?" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["f32", "f16", "f64", "i8", "u16", "i64", "bool"])
def test_there_and_back(tmp_path, kind):
    x = np.array([[0, 1, 1], [1, 0, 1]])
    write_npz(tmp_path / "a.npz", {"x": x})
    raw(tmp_path, tmp_path / "a.npz", "x", "--type", kind)
    words = "from_bin", tmp_path / "x.bin", "y", tmp_path / "b.npz", "--type", kind, "--shape", "2,3"
    assert npz_tool(*words) == 0
    assert np.array_equal(read_npz(tmp_path / "b.npz")["y"], x)


def test_bf16_there_and_back(file, tmp_path):
    raw(tmp_path, file, "float", "--type", "bf16")
    assert npz_tool("from_bin", tmp_path / "x.bin", "y", tmp_path / "b.npz", "--type", "bf16") == 0
    with_bits = NpzFile(tmp_path / "b.npz").metadata
    assert with_bits and with_bits.tensors == {"y": TensorInfo("bf16")}
    assert raw(tmp_path, tmp_path / "b.npz", "y") == raw(tmp_path, file, "float", "--type", "bf16")
    assert np.frombuffer(raw(tmp_path, tmp_path / "b.npz", "y", "--type", "f32"), "<f4")[:3].tolist() == [1.5, -2, 3]


def test_from_bin_into_a_file(file, tmp_path, capsys):
    (tmp_path / "x.bin").write_bytes(FLOAT.tobytes())
    assert npz_tool("from_bin", tmp_path / "x.bin", "new", file) == 0
    assert read_npz(file)["new"].shape == (4,)
    assert NpzFile(file).metadata == METADATA
    assert npz_tool("from_bin", tmp_path / "x.bin", "count", file) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert npz_tool("from_bin", tmp_path / "x.bin", "count", file, "--overwrite") == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--shape", "2,3"], "has 16 bytes, but f32 (2, 3) takes 24"),
        (["--shape", "[-4]"], "has 16 bytes, but f32 (-4,) takes"),
        (["--type", "f31"], "unknown type"),
        (["--shape", "x"], "is not a list of integers"),
    ],
)
def test_from_bin_refuses(tmp_path, words, message, capsys):
    (tmp_path / "x.bin").write_bytes(FLOAT.tobytes())
    assert npz_tool("from_bin", tmp_path / "x.bin", "x", tmp_path / "o.npz", *words) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "o.npz").exists()


def test_from_bin_of_a_file_that_is_no_whole_number_of_elements(tmp_path, capsys):
    (tmp_path / "x.bin").write_bytes(b"abc")
    assert npz_tool("from_bin", tmp_path / "x.bin", "x", tmp_path / "o.npz") == 2
    assert npz_tool("from_bin", tmp_path / "nowhere.bin", "x", tmp_path / "o.npz") == 2
    errors = capsys.readouterr().err
    assert "not whole elements of f32" in errors
    assert "nowhere.bin: no such file" in errors


def test_npy_there_and_back(file, tmp_path, capsys):
    assert npz_tool("to_npy", file, "conv", tmp_path / "x.npy") == 0
    assert np.array_equal(np.load(tmp_path / "x.npy"), CONV)
    assert npz_tool("from_npy", tmp_path / "x.npy", "y", tmp_path / "o.npz") == 0
    assert np.array_equal(read_npz(tmp_path / "o.npz")["y"], CONV)
    assert npz_tool("from_npy", file, "y", tmp_path / "o.npz") == 2
    assert "is not named .npy" in capsys.readouterr().err


def test_fp16(tmp_path, capsys):
    x = np.float32([1, 1 + 2**-11, 1 + 3 * 2**-11, 65519, 65520, -1e9, math.inf, math.nan])
    write_npz(tmp_path / "a.npz", {"x": x, "n": np.array([70000])})
    assert npz_tool("fp32_to_fp16", tmp_path / "a.npz", tmp_path / "h.npz") == 0
    found = read_npz(tmp_path / "h.npz")
    assert found["x"].dtype == np.float16
    assert found["x"][:-1].tolist() == [1, 1, 1 + 2**-9, 65504, math.inf, -math.inf, math.inf]
    assert np.isnan(found["x"][-1])
    assert found["n"].tolist() == [70000]
    printed = capsys.readouterr().out
    assert "warning: x: 2 finite values became infinite\n1 tensor converted, 1 kept as they were" in printed
    assert npz_tool("fp16_to_fp32", tmp_path / "h.npz", tmp_path / "s.npz") == 0
    assert read_npz(tmp_path / "s.npz")["x"].dtype == np.float32


def test_bf16(tmp_path, capsys):
    x = np.float32([1, 1 + 2**-8, 1 + 3 * 2**-8, 3.4e38, -math.inf, math.nan])
    write_npz(tmp_path / "a.npz", {"x": x})
    assert npz_tool("fp32_to_bf16", tmp_path / "a.npz", tmp_path / "b.npz") == 0
    assert read_npz(tmp_path / "b.npz")["x"].dtype == np.uint16
    assert "warning: x: 1 finite value became infinite" in capsys.readouterr().out
    assert npz_tool("bf16_to_fp32", tmp_path / "b.npz", tmp_path / "c.npz") == 0
    found = read_npz(tmp_path / "c.npz")["x"]
    assert found[:-1].tolist() == [1, 1, 1 + 2**-6, math.inf, -math.inf]
    assert np.isnan(found[-1])


def test_a_bf16_file_compares_with_its_source(tmp_path):
    write_npz(tmp_path / "a.npz", {"x": np.linspace(-3, 3, 100, dtype=np.float32)})
    assert npz_tool("fp32_to_bf16", tmp_path / "a.npz", tmp_path / "b.npz") == 0
    assert npz_tool("compare", tmp_path / "b.npz", tmp_path / "a.npz", "--tolerance", "0.9999,0.99") == 0


def test_conversion_keeps_what_the_metadata_says(tmp_path):
    meaning = TensorInfo(layout="NC", fused=("bn",))
    write_npz(
        tmp_path / "a.npz", {"x": FLOAT, "q": CONV}, NpzMetadata({"x": meaning, "q": TensorInfo("i8", 0.5)}, ("x",))
    )
    assert npz_tool("fp32_to_bf16", tmp_path / "a.npz", tmp_path / "b.npz") == 0
    found = NpzFile(tmp_path / "b.npz").metadata
    assert found and found.tensors["x"] == TensorInfo("bf16", layout="NC", fused=("bn",))
    assert found.outputs == ("x",)


def test_uint16_is_bf16_in_a_plain_file_and_nowhere_else(tmp_path, capsys):
    write_npz(tmp_path / "plain.npz", {"x": np.uint16([0x3F80])})
    assert npz_tool("bf16_to_fp32", tmp_path / "plain.npz", tmp_path / "o.npz") == 0
    assert read_npz(tmp_path / "o.npz")["x"].tolist() == [1]
    write_npz(tmp_path / "known.npz", {"x": np.uint16([0x3F80])}, NpzMetadata())
    assert npz_tool("bf16_to_fp32", tmp_path / "known.npz", tmp_path / "o.npz") == 2
    assert "has no tensor for bf16_to_fp32" in capsys.readouterr().err
