"""bmodel_dis.py: every command with what it comes from, in an order that runs; its text becomes the same file."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from npu.test_codegen import large, lowered, machine
from npu.test_networks import resnet8
from targets import lowering
from xdsl.context import Context
from xdsl.dialects.builtin import Builtin, MemRefType
from xdsl.dialects.func import Func
from xdsl.ir import SSAValue
from xdsl.parser import Parser

from stepdown.cli import tool
from stepdown.dialects.op import value_name
from stepdown.dialects.text import print_module
from stepdown.errors import InputError
from stepdown.model import Subnet, Tensor, read_model_file, write_model_file
from stepdown.npu.isa import BYTES, ENGINES, decode
from stepdown.npu.passes.address_assign import AddressAssign
from stepdown.npu.passes.codegen import Codegen
from stepdown.npu.passes.layer_group import LayerGroup
from stepdown.npu.passes.subnet_divide import SubnetDivide
from stepdown.npu.passes.weight_reorder import WeightReorder
from stepdown.runtimes import open_runner
from stepdown.transforms.base import Pass

RUNS = {"compute", "dma"}
CONSTANTS = ("weights", "parameters", "table")


def made(folder: Path, name: str = "Conv", mode: str = "INT8 asymmetric", local_bytes: int = 1 << 10) -> Path:
    """Write the model file of one op, for a chip with four lanes."""
    program, _ = lowered(name, mode, *large(name))
    (folder / "mine.toml").write_text(machine(lanes=4, local_bytes=local_bytes).to_toml())
    Codegen(str(folder / f"{name}.bmodel"), chip=str(folder / "mine.toml")).run(program)
    return folder / f"{name}.bmodel"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A convolution in many tiles."""
    return made(tmp_path)


def run(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    code = tool.run("bmodel_dis", [str(word) for word in words])
    printed = capsys.readouterr()
    return code, printed.out, printed.err


def commands(path: Path, capsys: pytest.CaptureFixture[str], *words: str) -> list[dict]:
    code, out, _ = run(capsys, path, "--format", "json", *words)
    assert code == 0
    return [row for subnet in json.loads(out)["stages"][0]["subnets"] for row in subnet["commands"]]


def test_every_command_is_there_once_in_an_order_that_runs(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows, stage = commands(path, capsys, "--cycles"), read_model_file(path).network().stages[0]
    assert len(rows) == sum(stream.commands for stream in stage.streams) > 40
    done, ends = dict.fromkeys(ENGINES, 0), {}
    for row in rows:
        waits = dict(zip(ENGINES, row["fields"]["wait"], strict=True))
        assert row["index"] == done[row["engine"]]
        assert all(done[engine] >= count for engine, count in waits.items())
        assert all(row["start"] >= ends[engine, count - 1] for engine, count in waits.items() if count)
        done[row["engine"]] += 1
        ends[row["engine"], row["index"]] = row["start"] + row["cycles"]
        assert row["cycles"] == sum(row["parts"].values())
        step = stage.steps[row["step"]]
        assert (row["name"], row["op"]) == (step.name, step.op)
        assert any(p.engine == row["engine"] and p.first <= row["index"] < p.first + p.count for p in step.commands)


@pytest.mark.parametrize("name", ["Conv", "AveragePool", "Add", "MatMul"])
def test_what_is_stored_of_a_tensor_is_all_of_it(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = made(tmp_path, name)
    rows = [row for row in commands(path, capsys) if row["name"] == "out"]
    tensor = read_model_file(path).network().stages[0].tensor("out")
    shape = (*tensor.shape, 1, 1)[:4]
    stores = [row["labels"]["target"] for row in rows if row["fields"].get("target", {}).get("space") == "global"]
    outputs = [row["labels"]["output"] for row in rows if row["engine"] == "compute"]
    assert sorted(stores) == sorted(outputs)
    times = np.zeros(shape, int)
    for label in stores:
        match = re.fullmatch(r"out(?:\[(.*)\])?", label)
        assert match, label
        cuts = (match[1] or ":, :, :, :").split(", ")
        box = [slice(*(int(n) for n in cut.split(":"))) if cut != ":" else slice(None) for cut in cuts]
        times[tuple(box)] += 1
    assert (times == 1).all()


def test_operands_have_the_names_of_weights_and_tensors(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [row for row in commands(path, capsys, "--layer", "out") if row["command"] == "conv"]
    assert rows
    for row in rows:
        assert row["labels"]["input"].startswith("in0"), row
        assert row["labels"]["weights"].startswith("out.weights")
        assert row["labels"]["parameters"].startswith("out.records")


def called(value: SSAValue) -> set[str]:
    """Return the names of a value and of what it is a reshape of."""
    reshaped = value.owner.name == "tpu.Reshape"  # type: ignore[union-attr]
    return {value_name(value)} | (called(value.owner.operands[0]) if reshaped else set())  # type: ignore[union-attr]


@pytest.mark.parametrize("passes", [(), (WeightReorder(), SubnetDivide(), LayerGroup(), AddressAssign())])
def test_operands_are_those_of_the_op(
    passes: tuple[Pass, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    program = resnet8()
    for step in (lowering("F16", "bm1684x"), *passes):
        step.run(program)
    Codegen(str(tmp_path / "net.bmodel")).run(program)
    ops = {op.tensor_name: op for op in program.ops}
    works = [row for row in commands(tmp_path / "net.bmodel", capsys) if row["engine"] == "compute"]
    assert len({row["name"] for row in works}) > 12
    for row in works:
        read = {name for value in ops[row["name"]].operands for name in called(value)}
        for operand, label in row["labels"].items():
            name = label.partition("[")[0]
            constants = {f"{row['name']}.{constant}" for constant in ("weights", "records", "table")}
            allowed = {row["name"]} if operand == "output" else constants if operand in CONSTANTS else read
            assert name in allowed, (row["name"], operand, label)
        assert row["labels"].keys() >= {field for field, value in row["fields"].items() if isinstance(value, dict)}


def test_flags_choose_commands(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    every = commands(path, capsys)
    for engine in RUNS:
        chosen = commands(path, capsys, "--engine", engine)
        assert chosen == [row for row in every if row["engine"] == engine] != []
    assert commands(path, capsys, "--layer", "out", "--engine", "dma") == [
        row for row in every if row["engine"] == "dma" and row["name"] == "out"
    ]
    for words, message in (
        (("--layer", "ou"), "no command makes 'ou'; did you mean 'out'?"),
        (("--engine", "dna"), "no engine 'dna'; one of compute, dma, dma2"),
        (("--network", "x"), "has no network 'x'"),
        (("-o", "x.bmodel"), "--assemble and -o belong together"),
    ):
        code, out, err = run(capsys, path, *words)
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert message in err


@pytest.mark.parametrize("mode", ["F16", "INT8 asymmetric"])
@pytest.mark.parametrize("name", ["Conv", "AveragePool", "Add", "Sigmoid", "Transpose", "ResizeNearest"])
def test_its_text_becomes_the_same_file(
    name: str, mode: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = made(tmp_path, name, mode, 1 << 17)
    for words in ((), ("--cycles",)):
        (tmp_path / "net.txt").write_text(run(capsys, path, *words)[1])
        code, out, _ = run(capsys, path, "--assemble", tmp_path / "net.txt", "-o", tmp_path / "again.bmodel")
        assert code == 0 and "wrote " in out
        assert (tmp_path / "again.bmodel").read_bytes() == path.read_bytes()


def edited(path: Path, capsys: pytest.CaptureFixture[str], pattern: str, changed: str) -> tuple[int, str, Path]:
    """Assemble the text of a file with a change in it; returns code, message and the file."""
    text, count = re.subn(pattern, changed, run(capsys, path)[1], count=1, flags=re.MULTILINE)
    assert count == 1
    path.with_suffix(".txt").write_text(text)
    code, _, err = run(capsys, path, "--assemble", path.with_suffix(".txt"), "-o", path.with_name("changed.bmodel"))
    return code, err, path.with_name("changed.bmodel")


def test_a_changed_command_is_changed_and_the_difference_is_shown(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(capsys, path, "--diff", path)[:2] == (
        0,
        f"--- {path}\n+++ {path}\nthe commands are the same: {len(commands(path, capsys))}.\n",
    )
    _, _, changed = edited(path, capsys, r"^dma 9: move(?: wait=[\d,]+)? ", "dma 9: move wait=1,0,0 ")
    before, after = (
        decode(bytes(model.sections[model.network().stages[0].streams[1].section]), "dma")
        for model in map(read_model_file, (path, changed))
    )
    assert [at for at, pair in enumerate(zip(before, after, strict=True)) if pair[0] != pair[1]] == [9]
    code, out, _ = run(capsys, path, "--diff", changed)
    lines = out.splitlines()
    assert code == 1 and lines[-1] == "the commands DIFFER."
    assert lines[2:4] == ["network one, stage 0", "@@ dma: A 7..11, B 7..11 @@"]
    assert [line[0] for line in lines[4:-1]] == [" ", " ", "-", "+", " ", " "]
    assert "wait=1,0,0" in lines[7] and "wait=1,0,0" not in lines[6]


@pytest.mark.parametrize(
    ("pattern", "changed", "message"),
    [
        (r"^dma 9: .*\n", "", "command 9 of dma is missing; give all commands of a stage"),
        (r"^dma 9: ", "dma 8: ", "command 8 of dma is there twice"),
        (r"^dma 9: move", "dma 9: mova", "no instruction 'mova'"),
        (r"^dma 9: ", "compute 9999: ", "is missing"),
        (r"^dma 9: ", "dma9: ", "is no command of a stage"),
        (r'^network "one"', 'network "two"', "has no network 'two' with a stage 0"),
        (r"^network .*\n", "", "is no command of a stage"),
        (r'^network "one"', 'network "o\\\\q"', "is no name in quotes"),
        (r"^dma 0: (.*)", r"dma 0: fill target=local:i8[1,1,1,1](1,1,1,1)@0x0 value=300", "the value 0x12c"),
        (r"\Z", "dma 0: move", "is there twice"),
    ],
)
def test_text_that_is_no_stream_is_refused(
    pattern: str, changed: str, message: str, path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, err, _ = edited(path, capsys, pattern, changed)
    assert (code, err.count("\n")) == (2, 1)
    assert message in err


def test_one_command_less_does_not_agree_with_the_description(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    last = sum(row["engine"] == "dma" for row in commands(path, capsys)) - 1
    code, err, _ = edited(path, capsys, rf"^dma {last}: .*\n", "")
    assert (code, err.count("\n")) == (2, 1)


def test_commands_that_cannot_run_are_listed_all_the_same(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, _, changed = edited(path, capsys, r"^dma 0: move ", "dma 0: move wait=9,0,0 ")
    code, out, _ = run(capsys, changed, "--cycles")
    assert code == 0
    assert re.search(
        r"^# cannot run: command 0 of .* and never starts: ended are 0 of compute, 0 of dma", out, re.MULTILINE
    )
    found = re.findall(r"^(\w+) (\d+): ", out, re.MULTILINE)
    assert len(set(found)) == len(found) == len(commands(path, capsys))
    assert "cycles 0.." not in out and "cycles " in out


def parsed(text: str):  # type: ignore[no-untyped-def]
    context = Context(allow_unregistered=True)
    for dialect in (Builtin, Func):
        context.load_dialect(dialect)
    module = Parser(context, text).parse_module()
    module.verify()
    return module


@pytest.mark.parametrize("name", ["Conv", "AveragePool", "Add"])
def test_mlir_says_the_same(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = made(tmp_path, name)
    rows = commands(path, capsys)
    module = parsed(run(capsys, path, "--format", "mlir", "--cycles")[1])
    ops = [op for op in module.walk() if "step" in op.attributes]
    for op, row in zip(ops, rows, strict=True):
        assert op.op_name.data == f"npu.{row['command']}"
        assert op.attributes["step"].value.data == row["step"]
        for field, value in row["fields"].items():
            if isinstance(value, dict):
                held = op.attributes[field]
                assert isinstance(held, MemRefType) and list(held.get_shape()) == value["shape"]
                assert held.layout.offset.data * BYTES[value["type"]] == value["address"]
        waits = sum(count > 0 for count in row["fields"]["wait"])
        assert len(op.operands) in (waits, waits + 1)


def with_host(path: Path) -> Path:
    """Add a subnet of the host, whose name and text hold what could be taken for commands."""
    model = read_model_file(path)
    program, _ = lowered("Sigmoid", "F32", *large("Sigmoid"))
    stage = model.network().stages[0]
    tensors = (*stage.tensors, Tensor('x\ndma 0: move "', (1,), "f32"))
    subnet = Subnet("host", stage.outputs, (tensors[-1].name,), text="host/one.1.mlir")
    changed = replace(stage, tensors=tensors, subnets=(*stage.subnets, subnet), outputs=(tensors[-1].name,))
    sections = {**model.sections, "host/one.1.mlir": print_module(program.module).encode()}
    networks = (replace(model.network(), stages=(changed,)),)
    write_model_file(path.with_name("host.bmodel"), replace(model, networks=networks, sections=sections))
    return path.with_name("host.bmodel")


def test_the_host_says_its_module(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    host = with_host(path)
    code, out, _ = run(capsys, host)
    assert code == 0 and '#         %2 = "tpu.Sigmoid"(%1)' in out
    host.with_suffix(".txt").write_text(out)
    assert run(capsys, host, "--assemble", host.with_suffix(".txt"), "-o", host.with_name("again.bmodel"))[0] == 0
    assert host.with_name("again.bmodel").read_bytes() == host.read_bytes()
    module = parsed(run(capsys, host, "--format", "mlir")[1])
    assert any("Sigmoid" in str(op) for op in module.walk())
    code, out, _ = run(capsys, path, "--diff", host)
    assert code == 1 and "+ subnet 1, host: ['out_f32'] -> " in out


def test_a_damaged_file_is_one_line(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    for words in ((path,), (path, "--diff", path), (path, "--assemble", __file__, "-o", path.with_name("x.bmodel"))):
        code, out, err = run(capsys, *words)
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert "is damaged (SHA-256 differs)" in err


def test_a_stream_of_noise_is_named(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = read_model_file(path)
    sections = dict(model.sections)
    section = model.network().stages[0].streams[0].section
    sections[section] = b"\xff" + bytes(sections[section])[1:]
    write_model_file(path, replace(model, sections=sections))
    code, _, err = run(capsys, path)
    assert (code, err.count("\n")) == (2, 1)
    assert f"section '{section}': command 0 of compute (byte 0): no instruction 0xff of this engine" in err


def test_more_commands_than_are_described_are_refused(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = read_model_file(path)
    stream = model.network().stages[0].streams[1]
    sections = {**model.sections, stream.section: bytes(model.sections[stream.section]) * 2}
    write_model_file(path, replace(model, sections=sections))
    code, _, err = run(capsys, path)
    assert (code, err.count("\n")) == (2, 1)
    wanted = f"has {2 * stream.commands} commands, and the description says {stream.commands}"
    assert f"section '{stream.section}': {wanted}" in err
    with pytest.raises(InputError, match=wanted):
        open_runner(str(path))
