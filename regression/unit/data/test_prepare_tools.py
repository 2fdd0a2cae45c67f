import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import stepdown.data.preprocess
from stepdown.cli.preprocess_flags import PREPROCESS_FLAGS, add_preprocess_flags, preprocess_from_args, shapes
from stepdown.cli.tool import Parser, run
from stepdown.data import preprocess, resize
from stepdown.data.preprocess import Preprocess
from stepdown.errors import InputError
from stepdown.files.npz import read_npz

REGRESSION = Path(__file__).parents[2]
CAT = str(REGRESSION / "image" / "cat.jpg")
SHAPE = ["--input_shapes", "[[1,3,224,224]]"]
TUTORIAL = [
    *SHAPE, "--resize_dims", "256,256", "--mean", "123.675,116.28,103.53", "--scale", "0.0171,0.0175,0.0174",
    "--pixel_format", "rgb",
]  # fmt: skip


def parse(*flags, shape=(1, 3, 224, 224)):
    parser = Parser()
    add_preprocess_flags(parser)
    return preprocess_from_args(parser.parse_args(flags), shape)


# --- flags


def test_flags_become_a_preprocess():
    made = parse(
        "--resize_dims", "256,320", "--resize_method", "bicubic", "--keep_aspect_ratio", "--keep_ratio_mode",
        "short_side_scale", "--pad_value", "114", "--pad_type", "normal", "--mean=-1,0,1", "--scale", "1,2,3",
        "--pixel_format", "bgr", "--channel_format", "nchw",
    )  # fmt: skip
    assert made == Preprocess(
        (1, 3, 224, 224), (256, 320), "bicubic", True, "short_side_scale", 114, "normal", (-1, 0, 1), (1, 2, 3), "bgr",
        "nchw",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("shape", "layout", "pixels"),
    [((1, 3, 9, 9), "nchw", "rgb"), ((1, 9, 9, 3), "nhwc", "rgb"), ((1, 1, 9, 9), "nchw", "gray"),
     ((1, 9, 9, 1), "nhwc", "gray"), ((1, 128), "none", "rgb"), ((1, 64, 7, 7), "none", "rgb"), ((1,), "none", "gray")],
)  # fmt: skip
def test_the_shape_says_the_layout(shape, layout, pixels):
    made = parse(shape=shape)
    assert (made.channel_format, made.pixel_format) == (layout, pixels)


def test_every_field_and_choice_has_its_flag():
    parser = Parser()
    add_preprocess_flags(parser)
    flags = {action.dest: action for action in parser._actions}
    assert set(PREPROCESS_FLAGS) == set(Preprocess.__dataclass_fields__) - {"input_shape"} == set(flags) - {"help"}
    assert flags["resize_method"].choices == resize.METHODS
    assert flags["keep_ratio_mode"].choices == preprocess.KEEP_RATIO_MODES
    assert flags["pad_type"].choices == preprocess.PAD_TYPES
    assert flags["pixel_format"].choices == preprocess.PIXEL_FORMATS
    assert flags["channel_format"].choices == preprocess.CHANNEL_FORMATS


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--resize_dims", "256"], "resize_dims: 1 given, want h,w"),
        (["--resize_dims", "256,a"], "'256,a' is not like 256,256"),
        (["--resize_dims", "200,200"], "smaller than the input"),
        (["--mean", "1,2"], "2 given for 3 channels"),
        (["--mean", "1,2,x"], "'1,2,x' is not like"),
        (["--scale", "0,1,1"], "would erase a channel"),
        (["--pad_value", "300"], "not a pixel's value"),
        (["--pixel_format", "hsv"], "invalid choice"),
        (["--pixel_format", "gray"], "gray has 1 channel"),
    ],
)
def test_flag_errors_are_one_line(flags, says):
    with pytest.raises(InputError, match=says) as error:
        parse(*flags)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["[[1,3,224,224]]", "[1,3,224,224]", "1,3,224,224", "[[1, 3, 224, 224]]"])
def test_shapes_of_one_input(text):
    assert shapes(text) == [(1, 3, 224, 224)]


def test_shapes_of_several_inputs():
    assert shapes("[[1,3,8,8],[1,10]]") == [(1, 3, 8, 8), (1, 10)]
    for text in ("", "[[]]", "[[1,x]]", "[[1,0]]", "1;2"):
        with pytest.raises(Exception, match="is not like"):
            shapes(text)


# --- prepare_input


def test_the_bundled_input_is_what_the_tool_makes(tmp_path, capsys):
    output = tmp_path / "mobilenet_v2_in_f32.npz"
    assert run("prepare_input", ["--input", CAT, *TUTORIAL, "--output", str(output)]) == 0
    assert output.read_bytes() == (REGRESSION / "mobilenet_v2_in_f32.npz").read_bytes()
    said = capsys.readouterr().out.splitlines()
    assert said[-1] == f"next: model_runner.py --model MODEL --input {output} --output outputs.npz"


def test_the_bundled_network_sees_a_cat():
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(str(REGRESSION / "mobilenet_v2.onnx"))
    (scores,) = session.run(None, read_npz(REGRESSION / "mobilenet_v2_in_f32.npz"))
    assert np.argsort(-scores[0])[:3].tolist() == [285, 282, 281]


def test_a_file_for_each_photo(tmp_path, capsys):
    photos = [str(REGRESSION / "image" / name) for name in ("cow.jpg", "duck.jpg")]
    target = tmp_path / "made"
    arguments = ["--input", *photos, *TUTORIAL, "--output_dir", str(target), "--name", "x", "--json"]
    assert run("prepare_input", arguments) == 0
    rows = json.loads(capsys.readouterr().out)["written"]
    assert [Path(row["output"]).name for row in rows] == ["cow.npz", "duck.npz"]
    assert rows[0]["shape"] == [1, 3, 224, 224]
    assert rows[0]["min"] == float(read_npz(target / "cow.npz")["x"].min())


def test_photos_stacked_to_a_batch(tmp_path):
    shape = ["--input_shape", "2,8,8,3", "--output", str(tmp_path / "x.npz")]
    assert run("prepare_input", ["--input", CAT, CAT, *shape]) == 0
    batch = read_npz(tmp_path / "x.npz")["input"]
    assert batch.shape == (2, 8, 8, 3)
    assert (batch[0] == batch[1]).all()


def test_the_contact_sheet_shows_every_photo(tmp_path):
    sheet = tmp_path / "sheet.png"
    arguments = ["--input", *[CAT] * 3, "--input_shape", "3,3,64,64", "--output", str(tmp_path / "x.npz")]
    assert run("prepare_input", [*arguments, "--contact_sheet", str(sheet)]) == 0
    drawn = np.asarray(Image.open(sheet))
    tensor = read_npz(tmp_path / "x.npz")["input"][0]
    assert drawn.shape == (2 * (128 + 16 + 4) + 4, 2 * (128 + 4) + 4, 3)
    assert np.abs(drawn[4:132:2, 4:132:2].transpose(2, 0, 1) - tensor).max() <= 0.5
    assert (drawn[4 + 148 : 4 + 148 + 128, 4 + 132 :] == 255).all()


def test_a_models_own_preprocessing(tmp_path, monkeypatch):
    inputs = {"ids": Preprocess((1, 9), channel_format="none"), "photo": Preprocess((1, 3, 8, 8))}
    monkeypatch.setattr(stepdown.data.preprocess, "from_model", lambda path: inputs)
    output = tmp_path / "x.npz"
    assert run("prepare_input", ["--input", CAT, "--model", "m.mlir", "--output", str(output)]) == 0
    assert list(read_npz(output)) == ["photo"]


@pytest.mark.parametrize(
    ("inputs", "flags", "says"),
    [
        ({"a": Preprocess((1, 9), channel_format="none")}, [], "says of none of its inputs"),
        ({"a": Preprocess((1, 3, 8, 8)), "b": Preprocess((1, 3, 8, 8))}, [], "says of several inputs"),
        ({"a": Preprocess((1, 3, 8, 8))}, ["--mean", "1,2,3"], "would contradict"),
        ({"a": Preprocess((1, 3, 8, 8))}, ["--name", "b"], "its inputs: a"),
    ],
)
def test_models_that_do_not_fit(tmp_path, monkeypatch, capsys, inputs, flags, says):
    monkeypatch.setattr(stepdown.data.preprocess, "from_model", lambda path: inputs)
    arguments = ["--input", CAT, "--model", "m.mlir", "--output", str(tmp_path / "x.npz"), *flags]
    assert run("prepare_input", arguments) == 2
    assert says in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([CAT, CAT, *SHAPE, "--output", "x.npz"], "takes 1 photo, not 2"),
        ([CAT, "--input_shape", "2,3,8,8", "--output_dir", "d"], "does not fill a batch of 2"),
        ([CAT, CAT, *SHAPE, "--output_dir", "d"], "same name"),
        ([CAT, "--input_shapes", "[[1,3,8,8],[1,9]]", "--output", "x.npz"], "2 shapes"),
        ([CAT, "--input_shapes", "[[1,9]]", "--output", "x.npz"], "is not an image's shape"),
        (["none.jpg", *SHAPE, "--output", "x.npz"], "none.jpg: no such file"),
        ([CAT, *SHAPE], "one of the arguments --output --output_dir is required"),
        ([CAT, "--output", "x.npz"], "one of the arguments --model --input_shapes"),
    ],
)
def test_prepare_input_errors(tmp_path, monkeypatch, capsys, arguments, says):
    monkeypatch.chdir(tmp_path)
    assert run("prepare_input", ["--input", *arguments]) == 2
    said = capsys.readouterr().err
    assert says in said
    assert said.count("\n") == 1
    assert not list(tmp_path.glob("*.npz"))


# --- prepare_dataset


def test_a_list_of_chosen_files(tmp_path, capsys):
    target = tmp_path / "list.txt"
    arguments = ["--dataset", str(REGRESSION / "image"), "--input_num", "4", "--seed", "7", "-o", str(target)]
    assert run("prepare_dataset", arguments) == 0
    head, *names = target.read_text().splitlines()
    assert re.match(r"# 4 of 12 files of .*, seed 7", head)
    assert len(names) == 4
    assert all(Path(name).is_file() for name in names)
    said = capsys.readouterr().out
    assert f"--data_list {target} --input_num 4" in said.splitlines()[-1]
    first = target.read_bytes()
    assert run("prepare_dataset", arguments) == 0
    assert target.read_bytes() == first


def test_copies_keep_their_folders(tmp_path, capsys):
    arguments = ["--dataset", str(REGRESSION / "dataset"), "--copy_to", str(tmp_path / "cali"), "--json"]
    assert run("prepare_dataset", [*arguments, "-o", str(tmp_path / "cali" / "list.txt")]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["found"] == len(result["files"]) == 21
    assert (tmp_path / "cali" / "imagenet_mini" / "koala.jpg").is_file()
    assert all(name.startswith(str(tmp_path)) for name in result["files"])


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--dataset", "none"], "none: no such folder"),
        (["--dataset", ".", "--input_num", "-1"], "is negative"),
        (["--dataset", ".", "--copy_to", "sub"], "lies inside the dataset"),
    ],
)
def test_prepare_dataset_errors(tmp_path, monkeypatch, capsys, arguments, says):
    Image.new("RGB", (2, 2)).save(tmp_path / "a.png")
    monkeypatch.chdir(tmp_path)
    assert run("prepare_dataset", [*arguments, "-o", "list.txt"]) == 2
    assert says in capsys.readouterr().err


def test_too_few_files_are_told(tmp_path, capsys):
    Image.new("RGB", (2, 2)).save(tmp_path / "a.png")
    arguments = ["--dataset", str(tmp_path), "--input_num", "5", "-o", str(tmp_path / "list.txt")]
    assert run("prepare_dataset", arguments) == 0
    assert "holds only 1 files, not 5" in capsys.readouterr().err
