"""What an account is of: every command with its source, one stage, also of files that say little of themselves."""

from dataclasses import replace
from pathlib import Path

import pytest
from perf.accounts import host_account, mnist_account, write_mnist

from stepdown.chips import parse_chip
from stepdown.errors import InputError
from stepdown.model import read_model_file, write_model_file
from stepdown.model.strip import strip
from stepdown.perf import account_of
from stepdown.perf.lifetimes import lifetimes
from stepdown.perf.tables import text_lines
from stepdown.perf.totals import totals_of
from stepdown.sim import load_stage, timeline


def test_work_is_the_time_line_with_sources(tmp_path: Path) -> None:
    path = write_mnist(tmp_path / "net.bmodel")
    made, model = account_of(path), read_model_file(path)
    stage, chip = model.network().stages[0], parse_chip(model.chip)
    events = timeline(load_stage(model, stage, chip), chip)
    assert [(w.engine, w.index, w.start, w.end, w.bytes, w.macs) for w in made.works] == [
        (e.engine, e.index, e.start, e.end, e.cost.bytes, e.cost.macs) for e in events
    ]
    for number, step in enumerate(stage.steps):
        mine = [work for work in made.works if work.step == number]
        assert {(work.name, f"tpu.{work.op}") for work in mine} == {(step.name, step.op)}
        assert len(mine) == sum(part.count for part in step.commands)


def test_the_host_reads_what_the_engines_made_and_they_go_on_with_its_result() -> None:
    made = host_account()
    (softmax,) = (work for work in made.works if work.engine == "host")
    assert (softmax.name, softmax.op) == ("softmax", "Softmax")
    assert (softmax.reads, softmax.writes) == ({"relu": "f16[4, 256]"}, {"softmax": "f16[4, 256]"})
    before, after = ([work.op for work in made.works if side(work)] for side in (
        lambda work: work.end <= softmax.start, lambda work: work.start >= softmax.end
    ))  # fmt: skip
    assert set(before) == {"Convert", "Relu"}
    assert set(after) == {"Add", "Convert"}


def test_a_stripped_file_is_profiled_by_instructions(tmp_path: Path) -> None:
    whole = account_of(write_mnist(tmp_path / "net.bmodel"))
    write_model_file(tmp_path / "bare.bmodel", strip(read_model_file(tmp_path / "net.bmodel")))
    bare = account_of(tmp_path / "bare.bmodel")
    assert bare.cycles == whole.cycles
    totals = totals_of(bare)
    assert {"conv", "move", "pool"} <= {each.op for each in totals.ops}
    assert sum(each.cycles for each in totals.ops) == whole.cycles
    assert list(text_lines(totals))
    assert len(lifetimes(bare)) == len(bare.stage.memory)


def test_of_several_stages_one_must_be_given(tmp_path: Path) -> None:
    model = read_model_file(write_mnist(tmp_path / "net.bmodel"))
    network = model.networks[0]
    renamed = replace(network.stages[0], provenance=replace(network.stages[0].provenance, flags=("--other",)))
    sizes = tuple(
        replace(tensor, shape=(2, *tensor.shape[1:])) if tensor.name in renamed.inputs else tensor
        for tensor in renamed.tensors
    )
    second = replace(renamed, tensors=sizes)
    both = replace(model, networks=(replace(network, stages=(network.stages[0], second)),))
    write_model_file(tmp_path / "both.bmodel", both)
    with pytest.raises(InputError, match="has 2 stages; give --input"):
        account_of(tmp_path / "both.bmodel")
    title = account_of(tmp_path / "both.bmodel", stage=second).title
    assert "inputs 2x1x28x28" in title
    assert "inputs" not in mnist_account().title


def test_a_chip_that_is_no_npu_is_refused(tmp_path: Path) -> None:
    model = read_model_file(write_mnist(tmp_path / "net.bmodel"))
    other = replace(model, chip=model.chip.replace('kind = "npu"', 'kind = "cpu"', 1))
    write_model_file(tmp_path / "cpu.bmodel", other)
    with pytest.raises(InputError, match="is for chip bm1684x, which is no NPU"):
        account_of(tmp_path / "cpu.bmodel")
