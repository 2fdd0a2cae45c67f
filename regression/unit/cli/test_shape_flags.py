"""Shapes of inputs, in order or by name, and sizes by name."""

import argparse
from pathlib import Path

import numpy as np
import onnx
import pytest
from checkout import REGRESSION, run
from onnx import TensorProto, helper

from stepdown.cli.shape_flags import dims, fixed_shapes, input_shapes
from stepdown.errors import InputError

TOOL = REGRESSION.parent / "tools" / "model_transform.py"


def test_parsed() -> None:
    assert input_shapes("[[1,3,224,224],[1,10]]") == [(1, 3, 224, 224), (1, 10)]
    assert input_shapes("x:1x3x224x224,mask:1x10") == {"x": (1, 3, 224, 224), "mask": (1, 10)}
    assert input_shapes("serving_x:0:7") == {"serving_x:0": (7,)}
    assert input_shapes("a,b:1x2,c:3") == {"a,b": (1, 2), "c": (3,)}
    assert dims("batch=1,n + 1=128") == {"batch": 1, "n + 1": 128}


@pytest.mark.parametrize(
    "text", ["x:", "x:1x", "x:1x2,", "x:0x2", "x:1,2", ":1x2", "x:1x-2", "x:99999999999", "[[1:2]]"]
)
def test_shapes_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=r"is not like x:1x3x224x224,mask:1x10"):
        input_shapes(text)


@pytest.mark.parametrize("text", ["", "batch", "batch=", "batch=0", "batch=1,", "batch=-1", "=1"])
def test_dims_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="is not like batch=1,sequence=128"):
        dims(text)


def test_fixed_shapes() -> None:
    stated = {"x": (None, 3), "mask": (1, 10)}
    assert fixed_shapes([], stated) == stated
    assert fixed_shapes([(2, 3), (1, 4)], stated) == {"x": (2, 3), "mask": (1, 4)}
    assert fixed_shapes({"x": (2, 3)}, stated) == {"x": (2, 3), "mask": (1, 10)}
    with pytest.raises(InputError, match=r"1 shapes for the 2 inputs \(x, mask\)"):
        fixed_shapes([(2, 3)], stated)
    with pytest.raises(InputError, match=r"there is no input 'y' \(there are x, mask\)"):
        fixed_shapes({"y": (1,)}, stated)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model of two inputs with open sizes."""
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", size]) for name, size in (("x", "n"), ("w", 3))
    ]
    made = [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", None])]
    graph = helper.make_graph([helper.make_node("Concat", ["x", "w"], ["y"], axis=1)], "graph", ends, made)
    path = tmp_path / "open.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def transform(model: Path, *flags: str) -> tuple[int, str]:
    """Return how the tool ends and the last line of what it says."""
    done = run(TOOL, "--model_name", "m", "--model_def", model, "--mlir", model.with_name("m.mlir"), *flags)
    return done.returncode, (done.stderr or done.stdout).splitlines()[-1]


@pytest.mark.parametrize(
    "flags",
    [
        ["--input_shapes", "[[2,5],[2,3]]"],
        ["--input_shapes", "w:2x3,x:2x5"],
        ["--dims", "batch=2,n=5"],
        ["--dims", "batch=2", "--input_shapes", "x:2x5"],
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("simplify", [[], ["--no_simplify"]], ids=["simplified", "as it is"])
def test_sizes_are_bound(model: Path, flags: list[str], simplify: list[str]) -> None:
    np.savez(model.with_name("in.npz"), x=np.ones((2, 5), np.float32), w=np.zeros((2, 3), np.float32))
    code, said = transform(model, *flags, *simplify, "--test_input", str(model.with_name("in.npz")))
    assert code == 0, said
    assert "tensor<2x8xf32>" in model.with_name("m.mlir").read_text()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "input 'x' has the open shape ['batch', 'n']; give --input_shapes, or --dims batch=N,n=N"),
        (["--dims", "batch=2"], "input 'x' has the open shape [2, 'n']; give --input_shapes, or --dims n=N"),
        (["--dims", "bach=2"], "--dims: no input has an open size 'bach' (there are batch, n); did you mean 'batch'"),
        (["--input_shapes", "z:2x5"], "--input_shapes: there is no input 'z'"),
        (["--input_shapes", "x:2x5x1,w:2x3"], "input 'x' has 2 dimensions (batch, n), not 3"),
        (["--input_shapes", "[[2,5],[4,3]]"], "the given --input_shapes do not fit the network"),
        (["--input_shapes", "x:2x5,w:1x3"], "the given --input_shapes do not fit the network"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_the_users(model: Path, flags: list[str], message: str) -> None:
    code, said = transform(model, *flags)
    assert (code, message in said) == (2, True), said
