"""Networks fed sample by sample: what goes in, what is judged, and that no sample depends on another."""

import math
import pickle
from collections import Counter
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from evaluation.classifiers import brightness, echo, one_hot, photo

from stepdown.data.preprocess import Preprocess
from stepdown.distributed.engine import run_shards
from stepdown.distributed.job import identity_hash
from stepdown.distributed.progress import Progress
from stepdown.errors import InputError
from stepdown.evaluation.evaluate import Evaluation
from stepdown.evaluation.job import EvaluationJob, Live, tally_of
from stepdown.evaluation.network import Network, Plan, facts_of, input_shape, make_network, only_input, relaid
from stepdown.evaluation.photo_list import open_list
from stepdown.evaluation.progress import clock_text, meter_line
from stepdown.evaluation.samples import ArrayRows, LabelledSet
from stepdown.evaluation.summary import reference_figures, summary_lines
from stepdown.evaluation.tally import Tally
from stepdown.runtimes import RunnerOptions, open_runner


def network(path: Path, batch: int = 0, output: str = "") -> Network:
    """Open a model whose photos are values 0..255."""
    runner = open_runner(path)
    shape = input_shape(only_input(runner, str(path)), str(path))
    layout = {(1, 3, 4, 4): "nchw", (1, 4, 4, 3): "nhwc"}.get(shape, "none")
    return make_network(runner, str(path), Preprocess(shape, channel_format=layout), output, batch)


def rows(x: np.ndarray, *labels: int) -> LabelledSet:
    """Return a set of array rows."""
    return LabelledSet("set", tuple(f"set[{i}]" for i in range(len(x))), labels, ArrayRows(x))


def test_scores_are_judged(tmp_path: Path) -> None:
    samples = rows(one_hot(4, 0, 1, 2, 3, 3), 0, 1, 1, 3, 0)
    tally = Evaluation(samples, network(echo(tmp_path / "m.onnx"))).run(range(5))
    assert (tally.samples, tally.top1) == (5, 3)
    assert tally.confusion == Counter({(0, 0): 1, (1, 1): 1, (1, 2): 1, (3, 3): 1, (0, 3): 1})


@pytest.mark.parametrize(("fixed", "asked"), [("N", 1), ("N", 2), ("N", 3), ("N", 64), (3, 0), (7, 7)])
def test_batches_change_nothing(tmp_path: Path, fixed: int | str, asked: int) -> None:
    x = np.random.default_rng(1).standard_normal((8, 5)).astype(np.float32)
    samples = rows(x, *range(5), 0, 1, 2)
    one = Evaluation(samples, network(echo(tmp_path / "one.onnx", 5)), list_wrong=True).run(range(8))
    many = Evaluation(samples, network(echo(tmp_path / "m.onnx", 5, fixed), asked), list_wrong=True).run(range(8))
    assert many == one
    assert one.wrong


def test_parts_sum_to_the_whole(tmp_path: Path) -> None:
    x = np.random.default_rng(2).standard_normal((9, 4)).astype(np.float32)
    x[4, 2] = math.nan
    reference = network(echo(tmp_path / "r.onnx"))
    work = Evaluation(rows(x, *[i % 4 for i in range(9)]), network(echo(tmp_path / "m.onnx")), reference)
    parts = [work.run(indices) for indices in ([8, 0, 3], [1], [], [2, 4, 5, 6, 7])]
    whole = work.run(range(9))
    assert sum(parts, Tally()) == whole
    assert (whole.nan, whole.compared, whole.agreed, whole.finite, whole.identical) == (1, 9, 8, 8, 8)


def test_progress_is_told_batch_by_batch(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    work = Evaluation(rows(one_hot(4, 0, 1, 2), 0, 0, 2), network(echo(tmp_path / "m.onnx", 4, "N"), 2))
    work.run(range(3), lambda part, total: told.append((part.samples, total.top1)))
    assert told == [(2, 1), (1, 2)]


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("layout", ["hwc", "chw"])
def test_pixels_of_any_layout(tmp_path: Path, channels_last: bool, layout: str) -> None:
    pixels = np.zeros((3, 6, 6, 3), np.uint8)
    for colour in range(3):
        pixels[colour, :, :, colour] = 200
    x = pixels if layout == "hwc" else pixels.transpose(0, 3, 1, 2)
    tally = Evaluation(rows(x, 0, 1, 2), network(brightness(tmp_path / "m.onnx", channels_last))).run(range(3))
    assert tally.top1 == 3


@pytest.mark.parametrize("size", [(1, 9), (9, 1), (3, 9)])
def test_a_photo_of_one_row_or_column_keeps_its_colours(tmp_path: Path, size: tuple[int, int]) -> None:
    photos = network(brightness(tmp_path / "m.onnx"))
    made = photos.tensor(np.broadcast_to(np.array([10, 20, 30], np.uint8), (*size, 3)))
    assert made[0, :, 1, 2].tolist() == [10, 20, 30]


def test_gray_pixels_of_any_layout(tmp_path: Path) -> None:
    gray = np.arange(16, dtype=np.uint8).reshape(4, 4)
    photos = network(brightness(tmp_path / "m.onnx"))
    preprocess = Preprocess((1, 1, 4, 4), pixel_format="gray")
    for sample in (gray, gray[None], gray[..., None]):
        made = replace(photos, preprocess=preprocess).tensor(sample)
        assert made.shape == (1, 1, 4, 4)
        assert made[0, 0].tolist() == gray.tolist()
    with pytest.raises(InputError, match=r"\[h, w\], \[h, w, 3\] or \[3, h, w\]"):
        photos.tensor(np.zeros((4, 4, 2), np.uint8))


def test_floats_are_the_input_itself(tmp_path: Path) -> None:
    made = network(echo(tmp_path / "m.onnx", 4)).tensor(np.arange(4.0, dtype=np.float32).reshape(1, 4, 1))
    assert made.tolist() == [[0, 1, 2, 3]]
    photos = network(brightness(tmp_path / "b.onnx"))
    assert photos.tensor(np.zeros((3, 4, 4), np.float32)).shape == (1, 3, 4, 4)
    with pytest.raises(InputError, match=r"a sample has shape \[4, 4, 3\], the input \[1,3,4,4\]"):
        photos.tensor(np.zeros((4, 4, 3), np.float32))
    with pytest.raises(InputError, match="pixels cannot become the input"):
        network(echo(tmp_path / "m.onnx", 4)).tensor(np.zeros((4, 4), np.uint8))


def listed(folder: Path) -> LabelledSet:
    """Return a red, a broken and a blue photo."""
    photo(folder / "red.png", (255, 0, 0))
    photo(folder / "blue.png", (0, 0, 255))
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (folder / "val.txt").write_text("red.png 0\nbroken.png 1\nblue.png 2\n")
    return open_list(folder / "val.txt")


def test_a_broken_photo_is_named(tmp_path: Path) -> None:
    samples, model = listed(tmp_path), network(brightness(tmp_path / "m.onnx"))
    with pytest.raises(InputError, match=r"broken\.png: .*image"):
        Evaluation(samples, model).run(range(3))
    tally = Evaluation(samples, model, skip=True).run(range(3))
    assert (tally.samples, tally.top1, list(tally.skipped)) == (2, 2, [1])
    assert "broken.png" in tally.skipped[1]
    assert any("1 samples cannot be read" in line for line in summary_lines(tally, False))


def test_what_is_no_classifier(tmp_path: Path) -> None:
    two = echo(tmp_path / "two.onnx", outputs=2)
    with pytest.raises(InputError, match="has 2 outputs: out0_Identity, out1_Identity; name the scores by --scores"):
        network(two)
    assert network(two, output="out1_Identity").output.name == "out1_Identity"
    with pytest.raises(InputError, match="has no output 'x', only out0_Identity"):
        network(two, output="x")
    with pytest.raises(InputError, match="fixed at 1, not 2"):
        network(echo(tmp_path / "m.onnx"), 2)
    with pytest.raises(InputError, match=r"\[1,1\] is not one score a class"):
        network(echo(tmp_path / "m.onnx", 1))


def test_preprocessing_of_another_layout() -> None:
    found = relaid(Preprocess((1, 3, 4, 4), (8, 8), mean=(1, 2, 3)), (1, 4, 4, 3), "nhwc")
    assert (found.input_shape, found.channel_format, found.resize_dims) == ((1, 4, 4, 3), "nhwc", (8, 8))
    with pytest.raises(InputError, match="is for 4×4 pixels, the input takes 6×6"):
        relaid(Preprocess((1, 3, 4, 4), (8, 8)), (1, 6, 6, 3), "nhwc")


def test_a_reference_of_another_layout_sees_the_same(tmp_path: Path) -> None:
    samples = listed(tmp_path)
    first, last = (network(brightness(tmp_path / f"{i}.onnx", bool(i))) for i in range(2))
    tally = Evaluation(samples, first, last).run([0, 2])
    assert (tally.agreed, tally.identical) == (2, 2)
    assert reference_figures(tally)["sqnr_db"] == "inf"


def test_figures_of_a_reference_by_hand() -> None:
    sums = {"signal": Fraction(2000), "noise": Fraction(2), "decibels": Fraction(50), "cosine": Fraction(1)}
    tally = Tally(compared=4, agreed=3, finite=2, measured=2, **sums)
    found = reference_figures(tally)
    assert found["sqnr_db"] == pytest.approx(30.0)
    assert (found["mean_sqnr_db"], found["mean_cosine"], found["top1_agreement"]["share"]) == (25.0, 0.5, 0.75)


def test_lines_in_the_familiar_form() -> None:
    tally = Tally(samples=151, top1=112, top5=146, accepted1=120, accepted5=147)
    lines = summary_lines(tally, True)
    assert lines[0] == " * Acc@1 79.47 Acc@5 97.35"
    assert lines[1].startswith("accepted   top-1 79.47 % (120 of 151, 95 % interval 72.34 to 85.14); top-5 97.35 %")
    assert lines[2].startswith("primary    top-1 74.17 % (112 of 151")
    assert summary_lines(replace(tally, accepted1=112, accepted5=146), False)[0] == " * Acc@1 74.17 Acc@5 96.69"


def test_progress_in_the_familiar_form() -> None:
    live = Live(np.array([4, 1, 3, 0]), np.array([150, 120, 147, 2]))
    assert meter_line(Progress(1000, 250, 100), live, 2.0, 8, 30.0).split("\t") == [
        "Test: [ 250/1000]", "Time  0.250 ( 0.200)", "Acc@1  25.00 ( 80.00)", "Acc@5  75.00 ( 98.00)", "5.0 img/s",
        "ETA 2:30",
    ]  # fmt: skip
    assert "Acc@1      - (     -)" in meter_line(Progress(10), Live(), 0.0, 0, 0.0)
    assert [clock_text(s) for s in (0, 4.4, 750, 3723)] == ["0:00", "0:04", "12:30", "1:02:03"]


def job(folder: Path, x: np.ndarray) -> EvaluationJob:
    """Return the work of judging rows by an echo, with an echo for a reference."""
    plans, facts = [], []
    for name in ("m", "r"):
        opened = network(echo(folder / f"{name}.onnx", x.shape[1]))
        plans.append(Plan(opened.name, opened.preprocess, RunnerOptions(threads=1)))
        facts.append(facts_of(opened))
    labels = [i % x.shape[1] for i in range(len(x))]
    return EvaluationJob(rows(x, *labels), tuple(range(len(x))), plans[0], plans[1], tuple(facts), list_wrong=True)


@pytest.mark.parametrize(("workers", "size"), [(1, 0), (1, 23), (2, 5)])
def test_workers_and_shards_change_nothing(tmp_path: Path, workers: int, size: int) -> None:
    x = np.random.default_rng(3).standard_normal((23, 4)).astype(np.float32)
    x[7, 1] = math.nan
    work = job(tmp_path, x)
    plain = Evaluation(work.samples, work.model.open(), work.model.open(), list_wrong=True).run(range(23))
    found = run_shards(work, 23, workers=workers, shard_size=size)
    assert tally_of(found) == plain
    assert found["counts"].tolist() == [23, plain.accepted1, plain.accepted5, 0]


def test_other_samples_or_models_are_another_job(tmp_path: Path) -> None:
    x = np.eye(4, dtype=np.float32)
    one = job(tmp_path, x)
    other_labels = replace(one, samples=replace(one.samples, labels=(0, 1, 2, 2)))
    other_rows = replace(one, samples=replace(one.samples, read=ArrayRows(x + 1)))
    fewer, skipping = replace(one, indices=(0, 1)), replace(one, skip=True)
    other_model = replace(one, facts=(replace(one.facts[0], sha256="0"), one.facts[1]))
    jobs = [one, other_labels, other_rows, fewer, skipping, other_model]
    assert len({identity_hash(work) for work in jobs}) == len(jobs)
    assert identity_hash(job(tmp_path, x)) == identity_hash(one)


def test_a_job_can_be_sent_to_another_machine(tmp_path: Path) -> None:
    one = job(tmp_path, np.eye(4, dtype=np.float32))
    sent = pickle.loads(pickle.dumps(one))
    assert identity_hash(sent) == identity_hash(one)
    assert tally_of(run_shards(sent, 4, workers=1)) == tally_of(run_shards(one, 4, workers=1))
