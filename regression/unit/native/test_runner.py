"""The C++ runner: what it prints and writes of a run, and how it ends."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from native.cxx_runner import Port, Program, library
from PIL import Image

from stepdown.data.preprocess import Preprocess
from stepdown.numerics.quantize import QuantParams
from stepdown.runtimes.native import NativeRunner

RNG = np.random.default_rng(2)
SHAPE = (1, 3, 4, 5)
CHANNELS_LAST = (0, 2, 3, 1)
LOGITS = np.float32([[1.5, -2, 4.25, 0, 4.25, 3]])


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """A picture of 4×6 pixels: 5, 6, 7 and so on."""
    path = tmp_path / "photo.png"
    Image.fromarray(np.arange(5, 5 + 72, dtype=np.uint8).reshape(4, 6, 3)).save(path)
    return path


def given(folder: Path, array: np.ndarray, name: str = "image") -> Path:
    np.savez(folder / "in.npz", **{name: array})
    return folder / "in.npz"


def labelled(folder: Path, *names: str) -> Path:
    (folder / "labels.txt").write_text("\r\n".join(names) + "\n")
    return folder / "labels.txt"


def softmax(values: np.ndarray) -> np.ndarray:
    powers = np.exp(values.astype(np.float64) - values.max())
    return powers / powers.sum()


# --- what it prints

REPORT = """\
Original image: 6x4x3
Resized to: 6x4
Final image size: 2x2x3
Color order: BGR
Pixel scaling: 0.0 to 1.0 (PyTorch-style)
Mean (B,G,R): [0.2, 0.4, 0.6]
Std (B,G,R):  [0.5, 0.25, 0.125]
Input tensor range: {range}
Output shape: 1 3 2 2
Logits range: {range}

===== Running net =====
Top-2 Predictions:
  1) id=3  p={first:g}  four
  2) id=2  p={second:g}  three
Predicted class: 3 (four)
"""


def test_a_report_of_a_photo(run_model: Program, photo: Path, tmp_path: Path) -> None:
    preprocess = Preprocess(
        (1, 3, 2, 2), (4, 6), mean=(51, 102, 153), scale=(2 / 255, 4 / 255, 8 / 255), pixel_format="bgr"
    )
    network = library(tmp_path / "net.so", Port("x", (1, 3, 2, 2)), preprocessing=preprocess.to_attributes())
    labels = labelled(tmp_path, "one", "two", "three", "four", *"56789abc")
    ended = run_model(network, photo, labels, "--top", "2")
    assert (ended.returncode, ended.stderr) == (0, "")
    tensor = preprocess.preprocess_file(photo)
    ends = f"[{tensor.min():g}, {tensor.max():g}], mean: {tensor.mean(dtype=np.float64):g}"
    first, second = softmax(tensor).ravel()[[3, 2]]
    assert ended.stdout == REPORT.format(range=ends, first=first, second=second)


def test_the_order_of_arguments_of_tvms_guide(run_model: Program, photo: Path, tmp_path: Path) -> None:
    (tmp_path / "artifacts").mkdir()
    network = library(tmp_path / "artifacts" / "net_tvm.so", Port("x", (1, 3, 4, 6)))
    labels = labelled(tmp_path, *map(str, range(72)))
    wanted = run_model(network, photo, labels, "--normalize").stdout.replace("Running net_tvm", "Running net")
    assert "Mean (R,G,B): [0.485, 0.456, 0.406]\nStd (R,G,B):  [0.229, 0.224, 0.225]\n" in wanted
    arguments = ("net", tmp_path / "artifacts", photo, labels)
    for named in ([], ["x"], ["image"]):
        assert run_model(*arguments, *named, "--normalize").stdout == wanted
    ended = run_model(*arguments, "input0", "--normalize")
    assert (ended.returncode, "the model has no input 'input0'; its inputs: image" in ended.stderr) == (2, True)


def test_classes_and_their_probabilities(run_model: Program, tmp_path: Path) -> None:
    network = library(tmp_path / "net.so", Port("x", LOGITS.shape))
    found = run_model.result(network, given(tmp_path, LOGITS), labelled(tmp_path, *"abcdef"))
    assert [(c["id"], c["label"]) for c in found["top"]] == [(2, "c"), (4, "e"), (5, "f"), (0, "a"), (3, "d")]
    assert np.allclose([c["p"] for c in found["top"]], softmax(LOGITS)[0, [2, 4, 5, 0, 3]], rtol=1e-8)
    assert found["outputs"] == [
        {"name": "made", "shape": [1, 6], "range": [-2, 4.25], "mean": pytest.approx(11 / 6, rel=1e-8)}
    ]


@pytest.mark.parametrize(
    ("values", "flags", "wanted"),
    [
        ([0.5, 0.25, 0.25], [], [0.5, 0.25, 0.25]),
        ([0.5, 0.25, 0.25], ["--softmax", "yes"], softmax(np.array([0.5, 0.25, 0.25])).tolist()),
        ([0.25, 0.75, 0.75], [], softmax(np.array([0.75, 0.75, 0.25])).tolist()),
        ([3, np.nan, 4], ["--softmax=no"], [4, 3, None]),
    ],
)
def test_probabilities_stay(run_model: Program, values: Any, flags: Any, wanted: Any, tmp_path: Path) -> None:
    network = library(tmp_path / "net.so", Port("x", (3,)))
    found = run_model.result(network, given(tmp_path, np.float32(values)), *flags)
    assert [c["p"] for c in found["top"]] == [w and pytest.approx(w, rel=1e-7) for w in wanted]


def test_labels_that_do_not_fit_are_told(run_model: Program, tmp_path: Path) -> None:
    network = library(tmp_path / "net.so", Port("x", LOGITS.shape))
    ended = run_model(network, given(tmp_path, LOGITS), labelled(tmp_path, "a", "b", "c"))
    assert ended.returncode == 0
    assert ended.stderr.endswith("labels.txt: 3 labels, the output has 6 values\n")
    assert "  1) id=2  p=0.422542  c\n  2) id=4  p=0.422542\n" in ended.stdout


def test_timed_runs_are_counted(run_model: Program, tmp_path: Path) -> None:
    network = library(tmp_path / "net.so", Port("x", LOGITS.shape))
    found = run_model.result(network, given(tmp_path, LOGITS), "--repeat", "7", "--warmup=0")["time"]
    assert (found["runs"], found["threads"]) == (7, 1)
    assert 0 <= found["median_ms"] <= found["p90_ms"]
    text = run_model(network, given(tmp_path, LOGITS), "--repeat", "7").stdout
    assert "(7 runs after 10 to warm up, threads: 1)" in text


# --- tensors

PARAMS = {"i8": QuantParams(0.5, 3, "i8"), "u8": QuantParams(0.3, 128, "u8"), "i16": QuantParams(0.01, 0, "i16")}
KINDS = {
    **{kind: Port("x", SHAPE, kind, params=params) for kind, params in PARAMS.items()},
    **{kind: Port("x", SHAPE, kind) for kind in ("f16", "bf16", "f32", "f64", "i32", "i1")},
    "channels last": Port("x", SHAPE, "f32", CHANNELS_LAST),
    "shown in another layout": Port("x", SHAPE, "f32", CHANNELS_LAST, CHANNELS_LAST),
    "rows last": Port("x", SHAPE, "i8", (3, 0, 1, 2), (2, 0, 1, 3), PARAMS["i8"]),
}


def fitting(port: Port) -> np.ndarray:
    """Return values for a tensor, some of which must be rounded, or do not fit its integers."""
    values = RNG.normal(0, 70, port.shape)
    if port.type in ("i32", "i1"):
        return values.astype(np.int64) if port.type == "i32" else values > 0
    values.flat[:8] = [np.nan, np.inf, -np.inf, 0.25, 0.75, 1e-7, -0.0, 65519]
    return values.astype(np.float32)


@pytest.mark.parametrize("name", KINDS)
def test_tensors_are_given_and_shown_as_python_does(run_model: Program, name: str, tmp_path: Path) -> None:
    network, tensor = library(tmp_path / "net.so", KINDS[name]), fitting(KINDS[name])
    ended = run_model(network, given(tmp_path, tensor), "--output", tmp_path / "out.npz")
    assert ended.returncode == 0, ended.stderr
    wanted = NativeRunner(network).run({"image": tensor})["made"]
    with np.load(tmp_path / "out.npz") as out:
        assert (out["made"].dtype, out["made"].shape) == (wanted.dtype, wanted.shape)
        assert out["made"].tobytes() == wanted.tobytes()


def test_an_order_moves_the_bytes(run_model: Program, tmp_path: Path) -> None:
    made = Port("made", tuple(SHAPE[at] for at in CHANNELS_LAST))
    network = library(tmp_path / "net.so", Port("x", SHAPE, "f32", CHANNELS_LAST), made)
    tensor = RNG.normal(size=SHAPE).astype(np.float32)
    assert run_model(network, given(tmp_path, tensor), "--output", tmp_path / "out.npz").returncode == 0
    with np.load(tmp_path / "out.npz") as out:
        assert (out["made"] == tensor.transpose(CHANNELS_LAST)).all()


def test_scores_of_integers_are_made_real(run_model: Program, tmp_path: Path) -> None:
    network = library(tmp_path / "net.so", Port("x", (4,), "i8", params=QuantParams(0.25, -3, "i8")))
    found = run_model.result(network, given(tmp_path, np.int8([0, 5, -128, 1])), "--softmax", "no")
    assert [(c["id"], c["p"]) for c in found["top"]] == [(1, 2.0), (3, 1.0), (0, 0.75), (2, -31.25)]


# --- how it ends


def test_help_names_all_flags(run_model: Program) -> None:
    ended = run_model("--help")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert {"--normalize", "--mean", "--std", "--bgr", "--top", "--threads", "--repeat"} <= set(ended.stdout.split())


WRONG = {
    "": "want MODEL.so IMAGE [LABELS]",
    "net.so": "want MODEL.so IMAGE [LABELS]",
    "a b c d e f": "want MODEL.so IMAGE [LABELS]",
    "net.so photo.png --tpo 3": "unrecognized arguments: --tpo; see run_model --help",
    "net.so photo.png --top": "--top: expected one argument",
    "net.so photo.png --top=0": "--top: '0' is not a whole number from 1",
    "net.so photo.png --top 2.5": "--top: '2.5' is not a whole number from 1",
    "net.so photo.png --bgr=yes": "--bgr: takes no value",
    "net.so photo.png --mean 1,x": "--mean: 'x' is not a number",
    "net.so photo.png --mean 1,2": "mean: 2 given for 3 channels; give one each",
    "net.so photo.png --std 0": "--std: '0' has a value that is not above 0",
    "net.so photo.png --resize_dims 3,3": "resize_dims: 3,3 is smaller than the input, 4,6",
    "net.so photo.png --resize_method nearest": "resize_method: 'nearest' is none of bilinear, bicubic, bilinear_u8",
    "net.so photo.png --keep_ratio_mode no": "keep_ratio_mode: 'no' is none of letterbox, short_side_scale",
    "net.so photo.png --pad_value 256": "--pad_value: '256' is not a pixel's value",
    "net.so photo.png --softmax maybe": "--softmax: 'maybe' is none of auto, yes, no",
    "net.so photo.png --output out.txt": "--output: does not end in .npz",
    "net.so photo.png --output no/out.npz": "no/out.npz: cannot be written",
    "old.so photo.png --threads 2": "old.so: is no library of a network for this processor "
    "(it has no sd_create_threads",
    "net.so photo.png --threads 0": "--threads: '0' is not a whole number from 1 to 1024",
    "net.so photo.png --threads=1025": "--threads: '1025' is not a whole number from 1 to 1024",
    "net.so none.png": "none.png: no such file",
    "net.so .": ".: is a directory",
    "net.so text.txt": "text.txt: not an image (unknown image type)",
    "net.so photo.png none.txt": "none.txt: no such file",
    "net.so photo.png empty.txt": "empty.txt: holds no labels; give one a line",
    "net.so empty.npz": "empty.npz: broken npz file",
    "net.so other.npz": "other.npz: input 'image' is missing (given: other)",
    "net.so shape.npz": "net.so: input 'image' has shape (2, 2), want (1, 3, 4, 6)",
    "net.so complex.npz": "complex.npz: holds no numbers",
    "mute.so photo.png": "photo.png: nothing says how a photo becomes an input of this network; give --normalize",
    "none.so photo.png": "none.so: no such file",
    "text.txt photo.png": "text.txt: is no library of a network for this processor",
    "bare.so photo.png": "bare.so: is no library of a network for this processor (it has no sd_tensors)",
    "words.so photo.png": "words.so: is no JSON at byte 3",
    "poor.so in.npz": "poor.so: has no memory to run in",
    "new.so in.npz": "new.so: is code for wonder-1, and this processor has no avx512vnni; name this one (or",
    "illegal.so in.npz": "illegal.so: holds instructions that this processor lacks; it is made for 'wonder-1'",
}  # fmt: skip
CODES = {"poor.so in.npz": 4}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files, most of which are wrong."""
    made, port = tmp_path_factory.mktemp("wrong"), Port("x", LOGITS.shape)
    Image.new("RGB", (6, 4)).save(made / "photo.png")
    (made / "text.txt").write_text("a text that is neither a picture nor a library")
    for name in ("empty.txt", "empty.npz"):
        (made / name).touch()
    np.savez(made / "in.npz", image=LOGITS)
    np.savez(made / "other.npz", other=LOGITS)
    np.savez(made / "shape.npz", image=np.zeros((2, 2), np.float32))
    np.savez(made / "complex.npz", image=np.zeros(3, np.complex64), text=np.array(["a"]))
    library(made / "net.so", Port("x", (1, 3, 4, 6)), preprocessing=Preprocess((1, 3, 4, 6)).to_attributes())
    library(made / "mute.so", Port("x", (1, 3, 4, 6)))
    library(made / "words.so", port, METADATA='"[1 2]"')
    library(made / "poor.so", port, CREATED="0")
    library(made / "new.so", port, MISSING='"avx512vnni"')
    library(made / "illegal.so", port, ENDED="raise(SIGILL)")
    library(made / "bare.so", port, sd_tensors="tables")
    library(made / "old.so", port, sd_create_threads="sd_create_team")
    return made


@pytest.mark.parametrize("line", WRONG)
def test_what_is_wrong_is_told_in_one_line(run_model: Program, folder: Path, line: str) -> None:
    ended = run_model(*line.split(), cwd=folder)
    assert ended.returncode == CODES.get(line, 2)
    assert ended.stderr.startswith(f"run_model: error: {WRONG[line]}"), ended.stderr
    assert (ended.stderr.count("\n"), ended.stdout) == (1, "")


def test_a_message_holds_nothing_that_a_terminal_obeys(run_model: Program, tmp_path: Path) -> None:
    ended = run_model(tmp_path / "none\n\x1b[31mé.so", "x")
    assert ended.returncode == 2
    assert "none\\x0a\\x1b[31mé.so: no such file" in ended.stderr
