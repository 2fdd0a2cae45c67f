"""The sums of a profile are those of the time line, whoever adds them up."""

import csv
import io
import json
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from perf.accounts import account, host_account, mnist_account, random_account, work

from stepdown.perf.elapsed import elapsed, length, union
from stepdown.perf.tables import csv_text, json_text, table, text_lines
from stepdown.perf.totals import totals_of

ACCOUNTS = [("F16", "bm1684x"), ("INT8", "gemmini"), ("host", "")]


def given(mode: str, chip: str):
    return host_account() if mode == "host" else mnist_account(mode, chip)


@pytest.mark.parametrize(("mode", "chip"), ACCOUNTS)
def test_elapsed_cycles_of_the_ops_add_up_to_the_network(mode: str, chip: str) -> None:
    made = given(mode, chip)
    totals = totals_of(made)
    assert sum(each.cycles for each in totals.ops) == made.cycles == totals.all.cycles
    assert sum(each.cycles for each in totals.types) == made.cycles


@pytest.mark.parametrize("seed", range(20))
def test_elapsed_cycles_are_the_time_in_which_anything_is_busy(seed: int) -> None:
    made = random_account(seed)
    line = np.zeros(made.cycles, bool)
    for each in made.works:
        line[each.start : each.end] = True
    assert sum(sum(cycles.values()) for cycles in elapsed(made.works)) == line.sum()


def test_time_belongs_to_what_computes_then_to_the_host_then_to_transfers() -> None:
    made = account(
        work("dma", 0, {"start": 10, "transfer": 50}, "load"),
        work("compute", 20, {"start": 5, "matmul": 15}, "conv"),
        work("host", 35, {"host_work": 10}, "soft"),
        work("dma2", 40, {"transfer": 30}, "store"),
    )
    assert elapsed(made.works) == [
        {"wait": 10, "dma": 10 + 15}, {"wait": 5, "compute": 15}, {"host": 5}, {"dma": 10},
    ]  # fmt: skip
    found = {each.name: each for each in totals_of(made).ops}
    assert {name: each.bound for name, each in found.items()} == {
        "load": "dma", "conv": "compute", "soft": "host", "store": "dma",
    }  # fmt: skip


def test_what_runs_wholly_beside_others_is_hidden() -> None:
    made = account(work("compute", 0, {"matmul": 50}, "conv"), work("dma", 10, {"transfer": 20}, "load"))
    totals = totals_of(made)
    assert [each.bound for each in totals.ops] == ["compute", "hidden"]
    assert (totals.overlap, totals.transfers) == (20, 20)


@pytest.mark.parametrize(("mode", "chip"), ACCOUNTS)
def test_engines_do_one_thing_at_a_time_and_all_is_counted(mode: str, chip: str) -> None:
    made = given(mode, chip)
    for each in totals_of(made).engines:
        mine = [work for work in made.works if work.engine == each.engine]
        assert all(a.end <= b.start for a, b in pairwise(mine))
        assert each.busy == sum(work.cycles for work in mine) == sum(each.parts.values())
        assert each.busy + each.idle == made.cycles
        assert each.idle == sum(work.idle for work in mine) + made.cycles - max((work.end for work in mine), default=0)


def test_utilisation_is_work_over_what_the_engine_could_have_done() -> None:
    made = account(
        work("dma", 0, {"transfer": 100}, "conv", bytes=640, per_cycle=64),
        work("compute", 100, {"matmul": 300}, "conv", macs=128 * 300, per_cycle=256),
    )
    assert [each.utilisation for each in made.works] == [0.1, 0.5]
    (op,) = totals_of(made).ops
    assert op.utilisation == 128 * 300 / (256 * 400)


def test_the_array_has_its_parts_and_the_macs_are_those_of_the_layers() -> None:
    made = mnist_account("INT8", "gemmini")
    totals = totals_of(made)
    compute = next(each for each in totals.engines if each.engine == "compute")
    assert {"im2col", "bias", "matmul", "requantize"} <= set(compute.parts)
    macs = [28 * 28 * 32 * 9, 14 * 14 * 64 * 32 * 9, 7 * 7 * 128 * 64 * 9, 1152 * 256, 256 * 10]
    assert [each.macs for each in totals.ops if each.macs] == macs


def test_the_host_is_an_engine_whose_time_nothing_else_overlaps() -> None:
    made = host_account()
    host = [work for work in made.works if work.engine == "host"]
    assert "Softmax" in [each.op for each in host]
    softmax = next(each for each in host if each.op == "Softmax")
    assert softmax.cycles == 4 * 256 // made.chip.host_operations_per_cycle
    others = [each for each in made.works if each.engine != "host"]
    assert all(each.end <= host[0].start or each.start >= host[-1].end for each in others)
    assert any(each.start >= host[-1].end for each in others)


def test_spans_are_joined() -> None:
    joined = union(np.array([[5, 7], [0, 3], [3, 4], [6, 9], [8, 8]]))
    assert joined.tolist() == [[0, 4], [5, 9]]
    assert length(joined) == 8


def test_csv_and_json_say_the_same() -> None:
    totals = totals_of(mnist_account())
    rows = list(csv.DictReader(io.StringIO(csv_text(totals))))
    said = json.loads(json_text(totals))
    assert sum(int(row["cycles"]) for row in rows) == said["cycles"] == totals.account.cycles
    assert [row["name"] for row in rows] == [row["name"] for row in said["ops"]]
    kinds = ("compute_cycles", "dma_cycles", "host_cycles", "wait_cycles")
    assert all(int(row["cycles"]) == sum(int(row[kind]) for kind in kinds) for row in rows)
    assert said["ms"] == pytest.approx(said["cycles"] * 1e3 / said["clock_hz"])


def test_text_has_a_line_an_op_a_type_and_an_engine() -> None:
    totals = totals_of(mnist_account())
    lines = list(text_lines(totals))
    for name in [*(each.name for each in totals.ops), *(each.op for each in totals.types), "dma"]:
        assert any(line.split()[:1] == [name] for line in lines)


def test_a_table_is_aligned() -> None:
    lines = list(table({"a": "", "n": ",", "x": ".1f"}, [("one", 1000, None), ("eleven", 2, 0.25)], ""))
    assert lines == ["a           n    x", "one     1,000    -", "eleven      2  0.2"]


def test_ops_are_in_the_order_of_the_network_whatever_is_fetched_first() -> None:
    made = account(
        replace(work("dma", 0, {"transfer": 5}, "late"), step=2),
        replace(work("dma", 5, {"transfer": 5}, "early"), step=0),
        replace(work("compute", 10, {"matmul": 5}, "early"), step=0),
        work("host", 15, {"host_work": 5}, "host"),
        replace(work("compute", 20, {"matmul": 5}, "later"), step=3),
    )
    assert [each.name for each in totals_of(made).ops] == ["early", "late", "host", "later"]
