"""Real networks on real inputs: what they say is right, and every tensor equals that of the network's own runtime."""

import csv
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from checkout import ROOT, run
from PIL import Image
from real_data import needed

from stepdown.files.npz import read_npz, write_npz
from stepdown.runtimes.mlir import MlirRunner

pytestmark = pytest.mark.slow


def imported(
    folder: Path, model: Path, inputs: Mapping[str, np.ndarray], *flags: str, tolerance: str = "0.9999,0.999"
) -> MlirRunner:
    """Return the module that model_transform.py makes of a model, once all its tensors agree on `inputs`."""
    given = folder / "given.npz"
    write_npz(given, dict(inputs))
    done = run(
        "model_transform.py", "--model_name", "net", "--model_def", str(model), "--mlir", "net.mlir",
        "--test_input", str(given), "--tolerance", tolerance, *flags, cwd=folder,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr
    return MlirRunner(folder / "net.mlir")


def only(arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return the one array of a run."""
    (array,) = arrays.values()
    return array


HEIGHT, WIDTH = 48, 640


def text_line(path: Path) -> np.ndarray:
    """Return a picture of a line as PP-OCR wants it: [1, 3, 48, W], BGR in [-1, 1], padded with 0."""
    picture = Image.open(path).convert("RGB")
    width = min(WIDTH, round(picture.width * HEIGHT / picture.height))
    pixels = np.asarray(picture.resize((width, HEIGHT), Image.Resampling.BILINEAR), np.float32)[..., ::-1]
    line = np.zeros((1, 3, HEIGHT, WIDTH), np.float32)
    line[0, :, :, :width] = (pixels / 127.5 - 1).transpose(2, 0, 1)
    return line


def read_text(probabilities: np.ndarray, letters: list[str]) -> str:
    """Return the text of CTC probabilities [1, T, letters + 2]: 0 is the blank, the last one a space."""
    best = probabilities[0].argmax(axis=-1)
    kept = [k for i, k in enumerate(best) if k and (i == 0 or k != best[i - 1])]
    return "".join(["", *letters, " "][k] for k in kept)


def test_words_are_read(tmp_path: Path) -> None:
    import onnx

    model, labels = needed("models/ch_PP-OCRv4_rec_infer.onnx", "images/ocr_lines/labels.tsv")
    letters = {p.key: p.value for p in onnx.load(model).metadata_props}["character"].splitlines()
    lines = [(labels.parent / name, text) for name, text in csv.reader(labels.open(), delimiter="\t")]
    shape = f"[[1,3,{HEIGHT},{WIDTH}]]"
    runner = imported(tmp_path, model, {"x": text_line(lines[0][0])}, "--input_shapes", shape)
    assert [read_text(only(runner.run({"x": text_line(path)})), letters) for path, _ in lines] == [t for _, t in lines]


def test_direction_of_text_is_told(tmp_path: Path) -> None:
    model, labels = needed("models/ch_ppocr_mobile_v2.0_cls_infer.onnx", "images/ocr_lines/labels.tsv")
    picture = Image.open(labels.parent / "line00.png").convert("RGB").resize((192, 48), Image.Resampling.BILINEAR)
    upright = (np.asarray(picture, np.float32)[..., ::-1] / 127.5 - 1).transpose(2, 0, 1)[None]
    runner = imported(tmp_path, model, {"x": upright}, "--input_shapes", "[[1,3,48,192]]")
    turned = np.ascontiguousarray(upright[:, :, ::-1, ::-1])
    assert [int(only(runner.run({"x": x})).argmax()) for x in (upright, turned)] == [0, 1]


def pieces(text: str, vocabulary: Mapping[str, int]) -> list[int]:
    """Return the WordPiece tokens of lower-case words."""
    found = [vocabulary["[CLS]"]]
    for word in text.lower().split():
        start = 0
        while start < len(word):
            prefix = "##" if start else ""
            end = next(e for e in range(len(word), start, -1) if prefix + word[start:e] in vocabulary)
            found.append(vocabulary[prefix + word[start:end]])
            start = end
    return [*found, vocabulary["[SEP]"]]


def test_sentences_are_matched(tmp_path: Path) -> None:
    model, tokens = needed("models/all_minilm_l6_v2_w8.onnx", "models/all_minilm_l6_v2_tokenizer.json")
    vocabulary = json.loads(tokens.read_text(encoding="utf-8"))["model"]["vocab"]
    sentences = [
        "a cat sleeps on the warm sofa", "the stock market fell sharply today",
        "a kitten is napping on a couch", "share prices dropped a lot this morning",
    ]  # fmt: skip

    def fed(text: str) -> dict[str, np.ndarray]:
        ids = np.zeros((1, 16), np.int64)
        found = pieces(text, vocabulary)
        ids[0, : len(found)] = found
        mask = (np.arange(16) < len(found)).astype(np.int64)[None]
        return {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}

    runner = imported(tmp_path, model, fed(sentences[0]), "--input_shapes", "[[1,16],[1,16],[1,16]]")
    means = []
    for text in sentences:
        given = fed(text)
        weights = given["attention_mask"][0, :, None]
        mean = (only(runner.run(given))[0] * weights).sum(axis=0)
        means.append(mean / np.linalg.norm(mean))
    likeness = np.array(means) @ np.array(means).T - 2 * np.eye(4)
    assert likeness.argmax(axis=1).tolist() == [2, 3, 0, 1]
    assert likeness[0, 2] > 0.5 > likeness[0, 1]


def cat(size: int, mean: float, scale: float) -> np.ndarray:
    """Return the cat, its centre square, as [1, size, size, 3]."""
    picture = Image.open(ROOT / "regression" / "image" / "cat.jpg").convert("RGB")
    side = min(picture.size)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    square = picture.crop((left, top, left + side, top + side)).resize((size, size), Image.Resampling.BILINEAR)
    return ((np.asarray(square, np.float32) - mean) * scale)[None]


@pytest.mark.parametrize(
    ("name", "flags", "least"),
    [("efficientnet_lite0_fp32", [], "0.9999,0.999"), ("efficientnet_lite0_int8", ["--requantize"], "0.9,0.5")],
)
def test_tflite_sees_a_cat(name: str, flags: list[str], least: str, tmp_path: Path) -> None:
    (model,) = needed(f"models/{name}.tflite")
    given = {"serving_default_input_1:0": cat(224, 127, 1 / 128)}
    runner = imported(tmp_path, model, given, *flags, tolerance=least)
    assert only(runner.run(given)).argmax() in (281, 282, 285)


@pytest.mark.parametrize("kind", ["fp32", "int8"])
def test_small_resnet_tells_photos_apart(kind: str, tmp_path: Path) -> None:
    (photos,) = needed("images/foolbox_cifar1020.npz")
    model = ROOT / "regression" / "model" / f"mlperf_tiny_resnet8_cifar10_{kind}.tflite"
    data = read_npz(photos)
    pixels = (data["x"].astype(np.float32) - 128) / 128
    name = {"fp32": "serving_default_input_1:0", "int8": "input_1_int8"}[kind]
    runner = imported(tmp_path, model, {name: pixels[:1]})
    found = [int(only(runner.run({name: x[None]})).argmax()) for x in pixels]
    assert sum(a == b for a, b in zip(found, data["y"], strict=True)) == 18  # LiteRT's reference kernels too


def test_detector_of_half_precision(tmp_path: Path) -> None:
    (model,) = needed("models/ssd_mobilenetv2_oidv4_fp16.tflite")
    given = {"normalized_input_image_tensor": cat(300, 127.5, 1 / 127.5)}
    found = imported(tmp_path, model, given).run(given)
    assert {k: v.shape for k, v in found.items()} == {
        "raw_outputs/box_encodings": (1, 1917, 4), "raw_outputs/class_predictions": (1, 1917, 24),
    }  # fmt: skip
