"""Traces are what scripts for such traces expect, and perf_report.py reads them and others."""

import json
import shutil
import subprocess
from collections import defaultdict
from itertools import groupby, pairwise
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from checkout import REGRESSION
from perf.accounts import host_account, mnist_account

from stepdown.errors import InputError
from stepdown.perf.trace import trace_events, write_trace
from stepdown.perf.trace_reader import read_trace
from stepdown.perf.trace_report import GROUPINGS, compare_lines, differences, report_lines, rows_of

SUM_BY_TYPE = (
    "map(select(.args.op_name != null))  | group_by(.args.op_name) "
    "| map({(.[0].args.op_name) : map(.dur) | add}) | sort_by(.[]) | add"
)
"""As users of the imagenet runner know it."""


def summed(events: list[dict]) -> dict[str, float]:
    """Return what SUM_BY_TYPE makes of events: milliseconds or microseconds, as they are, by type."""
    named = sorted((e for e in events if e.get("args", {}).get("op_name")), key=lambda e: e["args"]["op_name"])
    sums = {name: sum(e["dur"] for e in each) for name, each in groupby(named, lambda e: e["args"]["op_name"])}
    return dict(sorted(sums.items(), key=lambda item: item[1]))


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    write_trace(tmp_path / "net.json", mnist_account("INT8", "gemmini"))
    return tmp_path / "net.json"


def test_it_is_one_array_of_events(trace: Path) -> None:
    events = json.loads(trace.read_text())
    assert isinstance(events, list)
    assert {event["ph"] for event in events} == {"X", "M"}
    for event in events:
        assert {"ph", "ts", "pid", "tid", "name", "cat", "args"} <= set(event)
        assert event["ph"] == "M" or event["dur"] >= 0
    threads = {event["tid"]: event["args"]["name"] for event in events if event["name"] == "thread_name"}
    assert list(threads.values())[:2] == ["compute", "dma"]
    assert {event["tid"] for event in events if event["ph"] == "X"} <= set(threads)


def test_sums_over_ops_count_busy_time_once(trace: Path) -> None:
    made = mnist_account("INT8", "gemmini")
    wanted: dict[str, float] = defaultdict(float)
    for work in made.works:
        wanted[work.op] += made.ms(work.cycles) * 1e3
    assert summed(json.loads(trace.read_text())) == pytest.approx(wanted)


@pytest.mark.skipif(not shutil.which("jq"), reason="jq is not installed")
def test_jq_sums_them_as_it_does_for_the_imagenet_runner(trace: Path) -> None:
    ended = subprocess.run(["jq", SUM_BY_TYPE, trace], capture_output=True, text=True, check=True)
    assert json.loads(ended.stdout) == pytest.approx(summed(json.loads(trace.read_text())))
    assert list(json.loads(ended.stdout)) == list(summed(json.loads(trace.read_text())))


def test_elapsed_cycles_add_up_to_the_network(trace: Path) -> None:
    events = json.loads(trace.read_text())
    counted = sum(event["args"].get("elapsed_cycles", 0) for event in events)
    assert counted == mnist_account("INT8", "gemmini").cycles


def test_parts_lie_end_to_end_within_their_command(trace: Path) -> None:
    events = [event for event in json.loads(trace.read_text()) if event["ph"] == "X"]
    inside: dict[int, list[dict]] = {}
    for event in events:
        if "op_name" in event["args"]:
            current = inside[len(inside)] = [event]
        else:
            current.append(event)
    for command, *parts in inside.values():
        edges = [command["ts"], *(round(part["ts"] + part["dur"], 3) for part in parts)]
        assert [part["ts"] for part in parts] == edges[:-1]
        assert not parts or edges[-1] == pytest.approx(command["ts"] + command["dur"])
        assert {part["args"]["part"]: part["args"]["cycles"] for part in parts} == command["args"]["parts"]
    convolutions = [parts for command, *parts in inside.values() if command["args"]["instruction"] == "conv"]
    shown = [part["name"] for part in convolutions[0]]
    assert [part for part in shown if part in ("im2col", "bias", "matmul", "requantize")] == [
        "im2col", "bias", "matmul", "requantize",
    ]  # fmt: skip


def test_no_slice_of_a_thread_overlaps_another() -> None:
    for made in (mnist_account(), mnist_account("INT8", "gemmini"), host_account()):
        threads = defaultdict(list)
        for event in trace_events(made):
            if "op_name" in event["args"]:
                threads[event["tid"]].append(event)
        for each in threads.values():
            assert all(round(a["ts"] + a["dur"], 3) <= b["ts"] for a, b in pairwise(each))


def test_args_say_what_a_command_does() -> None:
    events = [event for event in trace_events(mnist_account()) if event["args"].get("instruction") == "conv"]
    args = events[1]["args"]
    assert args["op_name"] == "Conv"
    assert args["tensor"] == events[1]["name"].removesuffix("_kernel_time") == "conv_layers.3.relu_out_Relu"
    assert args["reads"]["input"] == "f16[1, 32, 14, 14] local"
    assert args["writes"] == {"output": "f16[1, 64, 14, 14] local"}
    assert args["macs"] == 14 * 14 * 64 * 32 * 9
    assert args["utilisation"] == pytest.approx(args["macs"] / (args["cycles"] * 8192), abs=1e-6)
    assert sum(args["parts"].values()) == args["cycles"] == round(events[1]["dur"] * 1000)
    assert "dma" in args["waits_for"]


def test_loads_and_stores_are_called_so() -> None:
    names = [event["name"] for event in trace_events(mnist_account()) if event["args"].get("provider") == "dma"]
    assert {name.split()[-1] for name in names} == {"load_kernel_time", "store_kernel_time"}


def test_a_trace_is_read_back(trace: Path) -> None:
    made, read = mnist_account("INT8", "gemmini"), read_trace(trace)
    assert read.has_elapsed
    assert read.span_ms == pytest.approx(made.ms(made.cycles))
    for by in ("type", "op"):
        rows = rows_of(read, by)
        assert sum(row.elapsed_ms or 0.0 for row in rows) == pytest.approx(read.span_ms)
        assert sum(row.macs for row in rows) == sum(work.macs for work in made.works)
    busy = {row.name: row.ms for row in rows_of(read, "engine")}
    assert busy["compute"] == pytest.approx(made.ms(sum(w.cycles for w in made.works if w.engine == "compute")))
    assert sum(row.ms for row in rows_of(read, "part")) == pytest.approx(sum(busy.values()))


def test_a_profile_of_onnxruntime_is_read(tmp_path: Path) -> None:
    options = onnxruntime.SessionOptions()
    options.enable_profiling, options.profile_file_prefix = True, str(tmp_path / "ort")
    model = REGRESSION / "model" / "mnist_cnn.onnx"
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    session.run(None, {session.get_inputs()[0].name: np.ones((1, 1, 28, 28), np.float32)})
    profile = Path(session.end_profiling())
    read = read_trace(profile)
    sums = {name: us / 1e3 for name, us in summed(json.loads(profile.read_text())).items()}
    assert {row.name: row.ms for row in rows_of(read, "type")} == pytest.approx(sums)
    assert not read.has_elapsed
    assert not any(row.name.endswith("_kernel_time") for row in rows_of(read, "op"))
    assert [row.name for row in rows_of(read, "engine")] == ["CPUExecutionProvider"]
    assert all("elapsed" not in line and "MACs" not in line for line in report_lines(read, GROUPINGS, 5))


EVENT = {"ph": "X", "ts": 1, "dur": 2.5, "name": "n", "args": {"op_name": "Conv"}}


def saved(folder: Path, text: str) -> Path:
    (folder / "t.json").write_text(text)
    return folder / "t.json"


@pytest.mark.parametrize(
    "text",
    [json.dumps([EVENT, {}]), json.dumps({"traceEvents": [EVENT]}), "[" + json.dumps(EVENT) + ",\n"],
    ids=["a list", "a table", "a list without its end"],
)
def test_all_forms_of_a_trace_are_read(text: str, tmp_path: Path) -> None:
    read = read_trace(saved(tmp_path, text))
    assert [(each.name, each.op, each.ms) for each in read.slices] == [("n", "Conv", 0.0025)]
    assert read.span_ms == 0.0025


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is no JSON"),
        ("\x00\x01", "is no JSON"),
        ("[" * 5000, "is no JSON"),
        ("3", "holds no list of events"),
        ("[3]", "holds no list of events"),
        ('{"traceEvents": {}}', "holds no list of events"),
        ("[]", "no event has both dur and args.op_name"),
        (json.dumps([{**EVENT, "args": []}]), "no event has both dur and args.op_name"),
        (json.dumps([{**EVENT, "dur": "long"}]), "event 'n' has dur 'long', want microseconds"),
        (json.dumps([{**EVENT, "dur": -1}]), "event 'n' has dur -1, want microseconds"),
        (json.dumps([{**EVENT, "ts": True}]), "event 'n' has ts True"),
        ('[{"dur": NaN, "args": {"op_name": "x"}}]', "has dur nan"),
        ('[{"dur": 1e999, "args": {"op_name": "x"}}]', "has dur inf"),
    ],
)
def test_what_is_no_trace_is_refused_in_one_line(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        read_trace(saved(tmp_path, text))
    assert message in str(caught.value)
    assert str(caught.value).startswith(str(tmp_path / "t.json"))


def test_two_traces_are_compared(trace: Path, tmp_path: Path) -> None:
    write_trace(tmp_path / "other.json", mnist_account())
    a, b = read_trace(trace), read_trace(tmp_path / "other.json")
    found = {each.name: each for each in differences(a, b, "type")}
    assert sum(each.difference_ms for each in found.values()) == pytest.approx(b.span_ms - a.span_ms)
    assert found["Conv"].ratio == pytest.approx((found["Conv"].b_ms or 0) / (found["Conv"].a_ms or 1))
    parts = {each.name: each for each in differences(a, b, "part")}
    assert (parts["compute im2col"].b_ms, parts["compute im2col"].ratio) == (None, None)
    lines = list(compare_lines(a, b, ["op"], 3))
    assert "the 3 that differ most" in " ".join(lines)
