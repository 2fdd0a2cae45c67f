"""The whole tool: killed and resumed, skipped photos, and the accuracies known of real networks."""

import csv
import json
import signal
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from checkout import REGRESSION, ROOT, environment, run
from evaluation.classifiers import brightness, echo, photo
from PIL import Image
from real_data import DATA, needed

from stepdown.files.npz import write_npz

TOOL = ROOT / "tools" / "model_eval_imagenet.py"
DIGITS = [
    "--model", str(REGRESSION / "model" / "mnist_cnn.onnx"), "--mean", "33.3285", "--scale", "0.012728",
    "--dataset", str(REGRESSION / "dataset" / "digits_200.npz"),
]  # fmt: skip


def evaluate(folder: Path, *flags: str | Path) -> dict:
    """Return the record of an evaluation."""
    ended = run(TOOL, *flags, "--json", folder / "found.json", cwd=folder, timeout_s=600)
    assert ended.returncode == 0, ended.stderr
    return json.loads((folder / "found.json").read_text())


def shares(found: dict) -> list[float]:
    """Return top-1 and top-5 by accepted and by primary labels, as they are published: with four digits."""
    names = ("top1_accepted", "top5_accepted", "top1", "top5")
    return [round(found["figures"][name]["share"], 4) for name in names]


DIES = """
import os, signal
replace, kept = os.replace, []
def counting(source, target):
    replace(source, target)
    kept.append(target)
    if len(kept) == 3:
        os.kill(os.getpid(), signal.SIGKILL)
os.replace = counting
"""
"""What Python runs at its start: the process ends when it has written its third file."""


def test_killed_and_resumed_gives_the_same_bytes(tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole.json", tmp_path / "killed.json"
    assert run(TOOL, *DIGITS, "--workers", "1", "--json", whole).returncode == 0
    (tmp_path / "sitecustomize.py").write_text(DIES)
    shards, environs = tmp_path / "killed.json.shards", environment(PYTHONPATH=str(tmp_path))
    ended = run(TOOL, *DIGITS, "--workers", "1", "--json", killed, fresh=True, env=environs)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    assert len(list(shards.glob("*.npz"))) == 3
    assert not killed.exists()
    resumed = run(TOOL, *DIGITS, "--workers", "2", "--json", killed, "--resume")
    assert resumed.returncode == 0, resumed.stderr
    assert killed.read_bytes() == whole.read_bytes()
    assert not shards.exists()


def test_the_background_class_is_asked_for(tmp_path: Path) -> None:
    model = echo(tmp_path / "m.onnx", 1001)
    x = np.zeros((2, 1001), np.float32)
    x[0, 8] = x[1, 282] = 1
    write_npz(tmp_path / "set.npz", {"x": x, "y": np.array([7, 281])})
    asked = run(TOOL, "--model", model, "--dataset", tmp_path / "set.npz")
    assert asked.returncode == 2
    assert "give --label_offset 1 if class 0 is the background, else --label_offset 0" in asked.stderr
    found = evaluate(tmp_path, "--model", model, "--dataset", tmp_path / "set.npz", "--label_offset", "1",
                     "--per_class", tmp_path / "classes.csv")  # fmt: skip
    assert found["figures"]["top1"]["hits"] == 2
    rows = list(csv.DictReader((tmp_path / "classes.csv").open()))
    assert [(row["class"], row["name"]) for row in rows] == [("8", "cock"), ("282", "tabby")]


def test_scores_of_nan_are_told(tmp_path: Path) -> None:
    x = np.eye(4, dtype=np.float32)
    x[0, 2] = np.nan
    write_npz(tmp_path / "set.npz", {"x": x, "y": np.arange(4)})
    ended = run(
        TOOL, "--model", echo(tmp_path / "m.onnx"), "--dataset", tmp_path / "set.npz", "--wrong", tmp_path / "w.csv",
        "--confusion_matrix", tmp_path / "m.csv",
    )  # fmt: skip
    assert "NaN        1 of 4 samples have a NaN among their scores: they count as wrong" in ended.stdout
    assert " * Acc@1 75.00 Acc@5 75.00" in ended.stdout
    assert (tmp_path / "m.csv").read_text().splitlines()[:2] == ["true\\predicted,0,1,2,3,none", "0,0,0,0,0,1"]
    assert (tmp_path / "w.csv").read_text().splitlines()[1:] == ["set.npz[0],0,0,0"]


def test_photos_of_a_module_and_of_a_tree(tmp_path: Path) -> None:
    for name, colour in (("0/a.png", (9, 0, 0)), ("1/b.png", (0, 9, 0)), ("1/c.png", (9, 0, 0))):
        photo(tmp_path / "val" / name, colour)
    brightness(tmp_path / "m.onnx")
    made = run("model_transform.py", "--model_name", "m", "--model_def", "m.onnx", "--mlir", "m.mlir", cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    found = evaluate(tmp_path, "--model", tmp_path / "m.mlir", "--dataset", tmp_path / "val")
    assert found["dataset"]["files"] == ["0/a.png", "1/b.png", "1/c.png"]
    assert found["tally"]["confusion"] == [[0, 0, 1], [1, 0, 1], [1, 1, 1]]


IMAGENET = ["--mean", "123.675,116.28,103.53", "--scale", "0.017124754,0.017507003,0.017429194"]
LITE = ["--mean", "127,127,127", "--scale", "0.0078125,0.0078125,0.0078125"]
COVER = ["--resize_dims", "256,256", "--keep_aspect_ratio", "--keep_ratio_mode", "short_side_scale"]
# Published top-1 and top-5 by accepted, then by primary labels.
KNOWN = [
    ("mobilenet_v2.onnx", "bilinear", IMAGENET, [0.7947, 0.9735, 0.7417, 0.9669]),
    ("mobilenet_v2_int8.tflite", "bilinear", IMAGENET, [0.8079, 0.9338, 0.7616, 0.9272]),
    ("efficientnet_lite0_fp32.tflite", "bicubic", LITE, [0.8212, 0.9404, 0.7682, 0.9404]),
    ("efficientnet_lite0_int8.tflite", "bicubic", LITE, [0.8278, 0.9404, 0.7748, 0.9404]),
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "kernel", "flags", "known"), KNOWN)
def test_networks_on_photos(
    tmp_path: Path, name: str, kernel: str, flags: Sequence[str], known: Sequence[float]
) -> None:
    """By our own preprocessing top-1 is the published one; top-5 is that of at most one or two photos more or less."""
    model, _, _ = needed(f"models/{name}", "images/val.txt", "images/imagenet")
    found = evaluate(
        tmp_path, "--model", model, "--dataset", DATA / "images", *COVER, "--resize_method", f"{kernel}_u8", *flags
    )
    assert shares(found)[::2] == known[::2]
    assert max(abs(have - want) * 151 for have, want in zip(shares(found), known, strict=True)) < 1.01


def published_crops(folder: Path, kernel: str) -> Path:
    """Write photos as the published figures had them: the long side rounded to the nearest, the crop's corner down."""
    (folder / "photos").mkdir()
    lines = (DATA / "images" / "val.txt").read_text().splitlines()
    for name in (line.rpartition(" ")[0] for line in lines):
        image = Image.open(DATA / "images" / "imagenet" / name).convert("RGB")
        size = tuple(round(side * 256 / min(image.size)) for side in image.size)
        left, top = ((side - 224) // 2 for side in size)
        cropped = image.resize(size, Image.Resampling[kernel.upper()]).crop((left, top, left + 224, top + 224))
        cropped.save(folder / "photos" / f"{name}.png")
    (folder / "val.txt").write_text("".join(f"{a}.png {b}\n" for a, _, b in (line.rpartition(" ") for line in lines)))
    head, *table = (DATA / "images" / "val_accept.tsv").read_text().splitlines()
    (folder / "val_accept.tsv").write_text("\n".join([head, *(row.replace("\t", ".png\t", 1) for row in table)]))
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(("name", "kernel", "flags", "known"), KNOWN)
def test_networks_on_the_crops_of_the_published_figures(
    tmp_path: Path, name: str, kernel: str, flags: Sequence[str], known: Sequence[float]
) -> None:
    model, _, _ = needed(f"models/{name}", "images/val.txt", "images/imagenet")
    found = evaluate(tmp_path, "--model", model, "--dataset", published_crops(tmp_path, kernel), *flags)
    assert found["model"]["engine"].endswith("kernels xnnpack" if name.endswith(".tflite") else "optimisation")
    assert shares(found) == known


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "data", "flags", "top1"),
    [
        ("mnist_cnn.onnx", "digits_28x28", ["--mean", "33.3285", "--scale", "0.012728"], 0.9707),
        ("mlperf_tiny_resnet8_cifar10_fp32.tflite", "foolbox_cifar1020", ["--mean", "128,128,128"], 0.9),
        ("mlperf_tiny_resnet8_cifar10_int8.tflite", "foolbox_cifar1020", ["--mean", "128,128,128"], 0.95),
    ],
)
def test_small_networks_on_arrays(tmp_path: Path, name: str, data: str, flags: Sequence[str], top1: float) -> None:
    model, samples = needed(f"models/{name}", f"images/{data}.npz")
    scale = [] if "--scale" in flags else ["--scale", "0.0078125,0.0078125,0.0078125"]
    assert shares(evaluate(tmp_path, "--model", model, "--dataset", samples, *flags, *scale))[0] == top1
