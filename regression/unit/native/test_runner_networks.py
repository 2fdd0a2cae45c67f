"""The C++ runner on real networks as machine code: the classes and probabilities that Python finds."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from checkout import PACKAGE, REGRESSION
from native.compiled import PORTABLE
from native.cxx_runner import Program
from npu.test_networks import calibrate
from PIL import Image
from targets import lowering

from stepdown.chips import load_chip
from stepdown.data.labels import read_labels, top_k
from stepdown.data.preprocess import Preprocess
from stepdown.formats.onnx.importer import import_model
from stepdown.native.code import Code
from stepdown.native.library import write_library
from stepdown.native.machine import Machine, machine_of
from stepdown.runtimes.native import NativeRunner
from stepdown.transforms.canonicalize import Canonicalize

CAT = REGRESSION / "image" / "cat.jpg"
LABELS = PACKAGE / "data" / "imagenet_labels.txt"
IMAGENET = Preprocess((1, 3, 224, 224), (256, 256), mean=(123.675, 116.28, 103.53), scale=(0.0171, 0.0175, 0.0174))
DIGIT = Preprocess((1, 1, 28, 28), scale=(1 / 255,), pixel_format="gray")
PORTABLE_X86 = machine_of(load_chip("x86_64"), "x86-64")


def network(path: Path, model: Path, preprocess: Preprocess, mode: str, machine: Machine) -> NativeRunner:
    """Compile a network whose one input is `input`, calibrated on the cat; return Python's runner of it."""
    attributes = {"input": preprocess.to_attributes()}
    program = import_model(onnx.load(model), path.stem, attributes)
    Canonicalize().run(program)
    if mode != "F32":
        calibrate(program, {"input": preprocess.preprocess_file(CAT)})
    lowering(mode, "x86_64").run(program)
    write_library(Code(program, machine, "net"), path)
    return NativeRunner(path)


def probabilities(runner: NativeRunner, preprocess: Preprocess, photo: Path) -> np.ndarray:
    (scores,) = runner.run({"input": preprocess.preprocess_file(photo)}).values()
    powers = np.exp(scores.ravel() - scores.max(), dtype=np.float64)
    return powers / powers.sum()


@pytest.mark.parametrize("mode", ["F32", "INT8", "INT8 asymmetric"])
def test_digits(run_model: Program, mode: str, tmp_path: Path) -> None:
    path, model = tmp_path / "digits.so", REGRESSION / "model" / "mnist_cnn.onnx"
    wanted = top_k(probabilities(network(path, model, DIGIT, mode, PORTABLE), DIGIT, CAT))
    found = run_model.result(path, CAT)["top"]
    assert run_model.result(path, CAT, "--threads", "3")["top"] == found
    assert [c["id"] for c in found] == [i for i, _ in wanted]
    assert np.allclose([c["p"] for c in found], [p for _, p in wanted], rtol=0, atol=1e-7)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["F32", "INT8"])
def test_the_cat(run_model: Program, mode: str, tmp_path: Path) -> None:
    """As PNG and as JPEG, in both orders of arguments."""
    path, png = tmp_path / "mobilenet_v2.so", tmp_path / "cat.png"
    Image.open(CAT).convert("RGB").save(png)
    runner = network(path, REGRESSION / "mobilenet_v2.onnx", IMAGENET, mode, PORTABLE_X86)
    wanted, names = top_k(probabilities(runner, IMAGENET, png)), read_labels(LABELS)
    for arguments in ([path, png, LABELS], [path, CAT, LABELS], ["mobilenet_v2", tmp_path, png, LABELS, "input"]):
        found = run_model.result(*arguments)["top"]
        assert [c["id"] for c in found] == [i for i, _ in wanted]
        assert [c["label"] for c in found] == [names[i] for i, _ in wanted]
        assert np.allclose([c["p"] for c in found], [p for _, p in wanted], rtol=0, atol=1e-7)
    best = [i for i, _ in wanted[:3]]
    assert best == [285, 282, 281] if mode == "F32" else sorted(best) == [281, 282, 285]
