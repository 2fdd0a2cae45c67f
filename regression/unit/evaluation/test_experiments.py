"""Experiments: what a plan lists, what is measured again, what a row's figures are, and what a report holds."""

import html
import os
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from stepdown.cli import run_experiments
from stepdown.dialects.program import State
from stepdown.errors import InputError, UnsupportedModel
from stepdown.evaluation.experiments import engines, session
from stepdown.evaluation.experiments.engines import lowered
from stepdown.evaluation.experiments.fingerprint import dataset_print
from stepdown.evaluation.experiments.measure import latency, quality_of
from stepdown.evaluation.experiments.plan import Plan, Row, Settings, Subject, multiplied, read_plan
from stepdown.evaluation.experiments.report import write_reports
from stepdown.evaluation.tally import Tally

PLAN = """
[settings]
dataset = "photos"
runs = 7
[model.net]
mlir = "net.mlir"
source = "net.onnx, net.tflite"
[[experiment]]
model = "net"
mode = ["F32", "INT8"]
level = [0, 3]
[[experiment]]
model = "net"
engine = ["onnxruntime", "stepdown"]
layout = ["nhwc", "nchw"]
"""
TABLE = """mlir,engine,mode,level,threads,source
a.mlir,stepdown,INT8,2,,
a.mlir,litert,F32,,2,a.tflite
"""


def test_a_plan_is_multiplied_out_and_has_each_row_once(tmp_path: Path) -> None:
    (tmp_path / "p.toml").write_text(PLAN)
    plan = read_plan(tmp_path / "p.toml", Settings(runs=50, warmup=2))
    ours = [Row("net", mode=mode, level=level) for mode in ("F32", "INT8") for level in (0, 3)]
    others = [Row("net", "onnxruntime"), Row("net", layout="nhwc"), Row("net", layout="nchw")]
    assert list(plan.rows) == ours + others
    assert plan.settings == Settings(7, 2, dataset=str(tmp_path / "photos"))
    assert plan.subjects["net"].file("F32", ".tflite") == str(tmp_path / "net.tflite")
    with pytest.raises(InputError, match=r"no quantised model \.onnx"):
        plan.subjects["net"].file("INT8", ".onnx")


def test_a_table_has_a_row_a_line(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text(TABLE)
    plan = read_plan(tmp_path / "p.csv", Settings())
    assert list(plan.rows) == [Row("a", mode="INT8", level=2), Row("a", "litert", threads=2)]


NET = '[model.net]\nmlir = "x"\n'
ROWS = NET + '[[experiment]]\nmodel = "net"\n'


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('[[experiment]]\nmodel = "net"', "there is no model 'net'"),
        (NET, "lists no experiment"),
        (ROWS + 'level = "3"', "level = '3' is not of int"),
        (ROWS + "threads = true", "threads = True is not of int"),
        (ROWS + 'engine = "tvm"', "there is no engine 'tvm'"),
        (ROWS + 'engine = ["stepdown", "litert"]\nmode = "BF16"', "mode BF16 is of stepdown alone, not of litert"),
        (ROWS + 'engine = "onnxruntime"\nmode = "INT8_ASYM"', "mode INT8_ASYM is of stepdown alone"),
        (ROWS + "threads = 0", "threads: is 0, want at least 1"),
        (ROWS + "count = -1", "count: is -1, want at least 0"),
        (NET + "[[experiment]]\nlevel = 3", r"\[\[experiment\]\]: names no model"),
        (NET + '[experiment]\nmodel = "net"', r"experiment is no list of tables; write \[\[experiment\]\]"),
        ("experiment = [1]", "experiment is no list of tables"),
        ("settings = 3", r"settings is no table; write \[settings\]"),
        ('model = "x"', r"model is no table; write \[model.NAME\]"),
        ("[model.net]\nmlir = 3", r"\[model.net\]: mlir = 3 is no name of a file"),
        ("[[model.net]]", "names no module"),
        ("[settings]\ndataset = 3", r"\[settings\]: dataset = 3 is not of str"),
        ('[settings]\nruns = "20"', "runs = '20' is not of int"),
        ("[settings]\nruns = 2.5", "runs = 2.5 is not of int"),
        ('[settings]\nseconds = "9"', "seconds = '9' is not of float"),
        ("[settings]\nruns = 0", r"\[settings\] runs: is 0, want at least 1"),
        ("[settings]\ntune = -2", "tune: is -2, want at least 0"),
        ("[settings]\nseconds = 0", "seconds: is 0, want more than 0"),
        ("model = ", "is no TOML"),
    ],
)
def test_what_a_plan_cannot_say_is_told(text, told, tmp_path: Path) -> None:
    (tmp_path / "p.toml").write_text(text)
    with pytest.raises(InputError, match=told):
        read_plan(tmp_path / "p.toml", Settings())


def test_a_whole_number_of_seconds_and_no_dataset_are_settings(tmp_path: Path) -> None:
    (tmp_path / "p.toml").write_text('[settings]\nseconds = 5\ndataset = ""\n' + ROWS)
    assert read_plan(tmp_path / "p.toml", Settings()).settings == Settings(seconds=5)


def asked_for(*flags: str) -> tuple[Row, ...]:
    args = run_experiments.parser().parse_args(["--mlir", "net.mlir", "-o", "report", *flags])
    return run_experiments._plan(args, Settings()).rows


def test_features_of_a_row_are_parted_at_their_signs() -> None:
    rows = asked_for("--features=+gfni-fma,-fma,+gfni+avxvnni")
    assert [row.features for row in rows] == ["+gfni,-fma", "-fma", "+gfni,+avxvnni"]
    assert [row.features for row in asked_for()] == [""]


@pytest.mark.parametrize("flag", ["--mlir", "--table", "--source", "--quantised", "--threads"])
def test_a_plan_says_all_rows(flag) -> None:
    args = run_experiments.parser().parse_args(["p.toml", "-o", "report", flag, "2"])
    with pytest.raises(InputError, match=f"p.toml: says all rows; leave out {flag}"):
        run_experiments._plan(args, Settings())


class Module(dict[str, str]):
    path = "net.mlir"


def test_only_what_a_cpu_can_run_is_measured(monkeypatch) -> None:
    for chip, told in (("bm1684x", "is an NPU"), ("cortex_m7", "has no system")):
        with pytest.raises(UnsupportedModel, match=f"chip {chip} {told}, and loads no library"):
            lowered(Subject("net", "net.mlir"), Row("net", mode="INT8", chip=chip))
    foreign = Module(state=State.TPU_LOWERED, profile="other")
    monkeypatch.setattr(engines, "read_program", lambda path: foreign)
    with pytest.raises(UnsupportedModel, match="has the arithmetic of profile other"):
        lowered(Subject("net", "net.mlir"), Row("net", mode="INT8", chip="x86_64"))


def test_figures_of_classes_are_means_over_classes() -> None:
    confusion = Counter({(0, 0): 8, (0, 1): 2, (1, 1): 5, (1, 2): 5, (2, 2): 1})
    tally = Tally(samples=21, top1=14, accepted1=14, accepted5=21, confusion=confusion)
    found = quality_of(tally)
    assert found["accuracy"] == pytest.approx(14 / 21)
    assert found["recall"] == pytest.approx((0.8 + 0.5 + 1) / 3)
    assert found["precision"] == pytest.approx((1 + 5 / 7 + 1 / 6) / 3)
    assert found["g_mean"] == pytest.approx((0.8 * 0.5 * 1) ** (1 / 3))
    assert quality_of(Tally(samples=2, confusion=Counter({(0, 0): 1, (1, 0): 1})))["g_mean"] == 0


def test_runs_are_timed_after_the_warm_up() -> None:
    calls: list[int] = []
    runner: Any = SimpleNamespace(again=lambda: calls.append(1))
    assert latency(runner, Settings(runs=6, warmup=2))["runs"] == 6
    assert len(calls) == 8
    assert latency(runner, Settings(runs=10**9, warmup=0, seconds=1e-9))["runs"] == 3


def done(milliseconds: float) -> dict[str, Any]:
    notes = {
        "effort": {"level": 3, "layout": "nchw"},
        "reorders": [{"tensor": "x", "before": "nhwc", "after": "nchw", "bytes": 4096}],
        "fallbacks": [{"op": "tpu.Resize", "name": "r", "order": "nhwc"}] * 2,
    }
    return {
        "status": "done", "notes": notes,
        "latency": {"median_ms": milliseconds, "p90_ms": 2 * milliseconds, "least_ms": 0.9 * milliseconds},
        "artefact_bytes": 2_000_000, "source_bytes": 8_000_000, "compile_s": 1.5,
        "quality": {"samples": 4, "accuracy": 0.75, "top5": 1, "precision": 0.7, "recall": 0.8, "g_mean": 0.6},
        "confusion": [[0, 0, 3], [1, 0, 1]],
    }  # fmt: skip


def test_what_is_done_is_kept_and_what_failed_is_tried_again(tmp_path: Path, monkeypatch) -> None:
    rows = multiplied({"model": ["net"], "level": [2, 3], "mode": ["F32", "INT8"]})
    asked: list[Row] = []

    def measured(subject: Subject, row: Row, settings: Settings) -> dict[str, Any]:
        asked.append(row)
        if row.mode == "F32":
            return done(row.level)
        return {"status": "failed" if row.level == 2 else "skipped", "message": "no table"}

    monkeypatch.setattr(session, "in_a_process", measured)
    (tmp_path / "net.mlir").write_text("a module")
    (tmp_path / "photos").mkdir()
    photo = tmp_path / "photos" / "cat.jpg"
    photo.write_text("a cat")

    dataset = str(tmp_path / "photos")

    def run(again: bool = False, runs: int = 50) -> list[str]:
        asked.clear()
        plan = Plan(tuple(rows), {"net": Subject("net", str(tmp_path / "net.mlir"))}, Settings(runs, dataset=dataset))
        lines: list[str] = []
        session.Session(plan, tmp_path / "results.json", again).run(lines.append)
        return lines

    assert "FAILED: no table" in run()[1]
    assert asked == rows
    run()
    assert asked == rows[1::2]
    run(again=True)
    assert asked == rows
    run(runs=9)
    assert asked == rows
    (tmp_path / "net.mlir").write_text("another module")
    run(runs=9)
    assert asked == rows
    photo.write_text("a larger cat")
    run(runs=9)
    assert asked == rows
    for name in ("this_processor", "sources_print"):
        monkeypatch.setattr(session, name, lambda: "another")
        run(runs=9)
        assert asked == rows
    run(runs=9)
    assert asked == rows[1::2]
    (tmp_path / "results.json").write_text("[]")
    with pytest.raises(InputError, match="no results of experiments"):
        run()


def test_a_list_of_photos_is_known_by_the_photos_and_their_labels(tmp_path: Path) -> None:
    photo, listed, other = tmp_path / "cat.jpg", tmp_path / "val.txt", tmp_path / "results.json"
    photo.write_text("a cat")
    listed.write_text("cat.jpg 3\n")
    seen = [dataset_print(str(listed))]
    other.write_text("not one of them")
    assert dataset_print(str(listed)) == seen[0]
    for path, text in ((photo, "a dog"), (tmp_path / "val_accept.tsv", "file\taccepted_ids\ncat.jpg\t3,4\n")):
        path.write_text(text)
        os.utime(path, ns=(0, 1))
        seen.append(dataset_print(str(listed)))
    listed.write_text("none of a list")
    assert len({*seen, dataset_print(str(listed)), dataset_print(""), dataset_print(str(tmp_path))}) == 6


def test_a_report_has_all_that_was_measured_and_why_the_rest_was_not(tmp_path: Path) -> None:
    failed = {"status": "failed", "message": "no <table> | here"}
    found = [(Row("net"), done(0.5)), (Row("net", level=0), done(40.0)), (Row("net", "litert"), failed)]
    results = [session.Result(*pair) for pair in found]
    names = write_reports(tmp_path, results, Settings(dataset="photos"))
    text, page = (tmp_path / "report.md").read_text(), (tmp_path / "report.html").read_text()
    table = [line for line in text.splitlines() if line.startswith("| net")]
    assert [line.count(" | ") for line in table] == [table[0].count(" | ")] * 3
    assert "| 0.500 | 0.450 | 1.000 | 4 | 75.00 |" in table[0]
    assert "- net, litert, F32, 1 thread: no <table> | here" in text
    assert "no &lt;table&gt; | here" in page
    for told in ("'x' from nhwc to nchw, 4,096 bytes", "2 × tpu.Resize without code in this layout: in nhwc"):
        assert told in text
        assert html.escape(told) in page
    pictures = [name for name in names if name.endswith(".png")]
    assert len(pictures) == 4
    assert all(Image.open(tmp_path / name).width > 400 for name in pictures)
    assert page.count("data:image/png;base64,") == len(pictures)
