"""No byte of a model file can change unnoticed, and no file ends a reader in anything but one line."""

import json
import os
import struct
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from bench import model_file_flips
from checkout import REGRESSION
from fuzz.model_files import DIGITS, packed, sealed
from model.model_files import (
    CHIP,
    header_of,
    sections_of,
    small_model,
    with_stage,
)

from stepdown.cli import tool
from stepdown.errors import InputError, StepError, UnsupportedModel
from stepdown.model import CommandRange, Provenance, Region, Step, Subnet, Tensor, Weight, read_model_file
from stepdown.model.container import MAX_HEADER_BYTES
from stepdown.model.file import write_model_file


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A good model file."""
    write_model_file(tmp_path / "a.bmodel", small_model())
    return tmp_path / "a.bmodel"


def caught(path: Path) -> str:
    """Return the message with which a file is refused."""
    try:
        read_model_file(path)
    except StepError as error:
        assert error.exit_code in (2, 3)
        assert "\n" not in str(error)
        return str(error)
    pytest.fail("the file is read")


def refusal(path: Path, data: bytes) -> str:
    """Return the message with which a file of these bytes is refused."""
    path.write_bytes(data)
    return caught(path)


def test_every_flipped_byte_is_found_and_its_section_named(path: Path) -> None:
    data, rng = path.read_bytes(), Random(5)
    places = [(begin, end, name) for name, (begin, end) in section_places(data).items()]
    with path.open("r+b", buffering=0) as stream:
        for at in range(len(data)):
            os.pwrite(stream.fileno(), bytes([data[at] ^ rng.randrange(1, 256)]), at)
            message = caught(path)
            os.pwrite(stream.fileno(), data[at : at + 1], at)
            owner = next((name for begin, end, name in places if begin <= at < end), "")
            assert (f"section '{owner}' is damaged" if owner else "its header") in message, at
    assert read_model_file(path)


def section_places(data: bytes) -> dict[str, tuple[int, int]]:
    begin = 8 + struct.unpack_from("<Q", data)[0]
    rows = {name: row["data_offsets"] for name, row in header_of(data).items() if name != "__metadata__"}
    return {name: (begin + start, begin + end) for name, (start, end) in rows.items()}


def test_every_flipped_bit_of_the_hashes_is_found(path: Path) -> None:
    data = path.read_bytes()
    for at in range(DIGITS.start, DIGITS.stop):
        for bit in range(8):
            changed = bytearray(data)
            changed[at] ^= 1 << bit
            assert "header" in refusal(path, bytes(changed))


def test_a_file_that_is_cut_or_grown_is_refused(path: Path) -> None:
    data = path.read_bytes()
    for length in [*range(0, len(data), 7), len(data) - 1]:
        refusal(path, data[:length])
    assert "is cut off: its sections take" in refusal(path, data[:-1])
    assert "goes on after its end" in refusal(path, data + b"\0")
    assert "goes on after its end" in refusal(path, data + data)


def test_no_file_and_other_files_are_one_line(tmp_path: Path) -> None:
    for what, wanted in (("no_such.bmodel", "no such file"), (".", "is a directory")):
        with pytest.raises(InputError, match=wanted):
            read_model_file(tmp_path / what)
    for content in (b"PK\3\4" * 30, b"x" * 8, b"\0" * 200, struct.pack("<Q", 2) + b"{}"):
        assert "not a model file" in refusal(tmp_path / "other.bmodel", content)


def test_a_length_that_is_not_there_allocates_nothing(path: Path) -> None:
    data = path.read_bytes()
    for length in (MAX_HEADER_BYTES + 1, 1 << 40, (1 << 64) - 1):
        assert "damaged or cut off" in refusal(path, struct.pack("<Q", length) + data[8:])


def _set(*keys: Any, to: Any) -> Callable[[Any], None]:
    """Return the change that sets `value[keys[0]][keys[1]]…`."""

    def change(value: Any) -> None:
        for key in keys[:-1]:
            value = value[key]
        value[keys[-1]] = to

    return change


def _drop(*keys: Any) -> Callable[[Any], None]:
    def change(value: Any) -> None:
        for key in keys[:-1]:
            value = value[key]
        del value[keys[-1]]

    return change


CONV = "weight/conv.weight_i8"
HEADERS: dict[str, tuple[Callable[[Any], None], str]] = {
    "another type": (_set(CONV, "dtype", to="F32"), "not bytes that follow"),
    "another shape": (_set(CONV, "shape", to=[9, 24]), "not bytes that follow"),
    "true for a size": (_set(CONV, "shape", to=[True]), "not bytes that follow"),
    "an overlap": (_set("weight/conv_bias_i32", "data_offsets", to=[0, 32]), "not bytes that follow"),
    "a gap": (_set("weight/conv_bias_i32", "data_offsets", to=[1 << 40, (1 << 40) + 32]), "not bytes that follow"),
    "backwards": (_set(CONV, "data_offsets", to=[216, 0]), "not bytes that follow"),
    "negative": (_set(CONV, "data_offsets", to=[-216, 0]), "not bytes that follow"),
    "a field more": (_set(CONV, "more", to=1), "not bytes that follow"),
    "no object": (_set(CONV, to=[]), "not bytes that follow"),
    "no section": (_drop(CONV), "lack or have 'sha256/weight/conv.weight_i8'"),
    "no hash": (_drop("__metadata__", f"sha256/{CONV}"), "lack or have"),
    "a hash more": (_set("__metadata__", "sha256/x", to="0"), "lack or have 'sha256/x'"),
    "metadata of another kind": (_set("__metadata__", "version", to=1), "no texts"),
    "another format": (_set("__metadata__", "format", to="x"), "not of the format"),
    "no version": (_set("__metadata__", "version", to="one"), "no version"),
    "version 0": (_set("__metadata__", "version", to="0"), "no version"),
    "no name": (_set("", to={"dtype": "U8", "shape": [0], "data_offsets": [0, 0]}), "lack or have 'sha256/'"),
}


@pytest.mark.parametrize("name", HEADERS)
def test_a_header_that_lies_is_refused(name: str, path: Path) -> None:
    change, wanted = HEADERS[name]
    assert wanted in refusal(path, packed(sections_of(path), change))


def test_a_later_version_is_unsupported(path: Path) -> None:
    path.write_bytes(packed(sections_of(path), _set("__metadata__", "version", to="2")))
    with pytest.raises(UnsupportedModel, match="version 2; we read up to version 1"):
        read_model_file(path)


RAW_HEADERS = {
    "a name twice": (b',"x":1,"x":2}', "has the name 'x' twice"),
    "metadata twice": (b',"__metadata__":{}}', "has the name '__metadata__' twice"),
    "NaN": (b',"x":NaN}', "NaN"),
    "an endless number": (b',"x":1e999}', "too large"),
    "a long number": (b',"x":' + b"9" * 5000 + b"}", "malformed"),
    "deep": (b',"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nests too deeply"),
    "not closed": (b',"x":', "malformed"),
    "no UTF-8": (b',"\xff":1}', "malformed"),
    "something after it": (b"} {", "malformed"),
}


@pytest.mark.parametrize("name", RAW_HEADERS)
def test_a_header_that_is_no_json_is_refused(name: str, path: Path) -> None:
    end, wanted = RAW_HEADERS[name]
    facts = json.dumps({"sha256": "0" * 64, "format": "stepdown model", "version": "1"}, separators=(",", ":"))
    assert wanted in refusal(path, sealed(b'{"__metadata__":' + facts.encode() + end, b""))


STAGE = ("networks", 0, "stages", 0)
DESCRIPTIONS: dict[str, tuple[Callable[[Any], None], str]] = {
    "a field missing": (_drop("networks", 0, "mode"), "section 'model.json' is malformed: networks[0] lacks 'mode'"),
    "an unknown field": (_set(*STAGE, "more", to=1), "networks[0].stages[0] has the unknown 'more'"),
    "text for a number": (_set(*STAGE, "streams", 0, "commands", to="3"), "is 3, want an integer"),
    "true for a number": (_set(*STAGE, "streams", 0, "commands", to=True), "is True, want an integer"),
    "a number for text": (_set("networks", 0, "name", to=5), "networks[0].name is 5, want text"),
    "an object for a list": (_set("networks", to={}), "networks is an object, want a list"),
    "a list for an object": (_set(*STAGE, to=[]), "networks[0].stages[0] is no object"),
    "a list in a scale": (_set(*STAGE, "tensors", 0, "scale", to=[[1]]), "tensors[0].scale[0] is a list"),
    "an object for a scale": (_set(*STAGE, "tensors", 0, "scale", to={}), "want a number or a list or null"),
    "a huge number": (_set(*STAGE, "weights", 0, "address", to=1 << 60), "beyond 2^53"),
    "half a character": (_set("networks", 0, "name", to="\ud800"), "half a character"),
    "nested preprocessing": (_set(*STAGE, "preprocessing", "input", "mean", to=[[1]]), "want"),
    "no network": (_set("networks", to=[]), "it has no network"),
    "no stage": (_set("networks", 0, "stages", to=[]), "has no stage"),
    "a section that is not there": (_set(*STAGE, "streams", 0, "section", to="x"), "there is no section 'x'"),
    "a section of nobody": (_set(*STAGE, "subnets", 1, "weights", to=[]), "'weight/temperature' belongs to nothing"),
    "a huge shape": (_set(*STAGE, "weights", 0, "shape", to=[1 << 50] * 60), "impossible shape"),
}


@pytest.mark.parametrize("name", DESCRIPTIONS)
def test_a_description_that_is_none_is_refused(name: str, path: Path) -> None:
    change, wanted = DESCRIPTIONS[name]
    sections = sections_of(path)
    description = json.loads(sections["model.json"])
    change(description)
    sections["model.json"] = json.dumps(description).encode()
    assert wanted in refusal(path, packed(sections))


TEXTS = {  # by section and its content, the message
    ("model.json", b"\xff"): "section 'model.json' is no UTF-8 text",
    ("model.json", b"[" * 50_000): "nests too deeply",
    ("model.json", b"null"): "it is no object",
    ("chip.toml", b"name = "): "'chip.toml' is no TOML",
    ("chip.toml", b'kind = "npu"'): "'chip.toml' names no chip",
    ("chip.toml", b"\xff"): "section 'chip.toml' is no UTF-8",
    ("chip.toml", b"x = " + b"[" * 50_000): "section 'chip.toml' is no TOML",
    ("host/small.1.mlir", b"\xff"): "section 'host/small.1.mlir' is no UTF-8",
}


@pytest.mark.parametrize("name", TEXTS, ids=lambda key: f"{key[0]} {key[1][:12]!r}")
def test_texts_that_are_none_are_refused(name: tuple[str, bytes], path: Path) -> None:
    section, content = name
    assert TEXTS[name] in refusal(path, packed({**sections_of(path), section: content}))


@pytest.mark.parametrize("name", ["model.json", "chip.toml"])
def test_a_section_that_must_be_there(name: str, path: Path) -> None:
    sections = sections_of(path)
    del sections[name]
    assert f"section '{name}' is missing" in refusal(path, packed(sections))


GOOD = small_model().networks[0].stages[0]
RULES: dict[str, tuple[dict[str, Any], str]] = {
    "two tensors": ({"tensors": GOOD.tensors + GOOD.tensors[:1]}, "two tensors 'input'"),
    "a tensor without a name": ({"tensors": (*GOOD.tensors, Tensor("", (1,), "i8"))}, "a tensor has no name"),
    "an input twice": ({"inputs": ("input", "input")}, "two inputs 'input'"),
    "no output": ({"outputs": ()}, "no output"),
    "an output that nobody makes": ({"outputs": ("conv_Conv",)}, "no subnet makes the output 'conv_Conv'"),
    "an unknown type": ({"tensors": (*GOOD.tensors, Tensor("x", (1,), "i5"))}, "unknown type 'i5'"),
    "a negative size": ({"tensors": (*GOOD.tensors, Tensor("x", (-1,), "i8"))}, "impossible shape (-1,)"),
    "a scale of zero": ({"tensors": (*GOOD.tensors, Tensor("x", (1,), "i8", 0.0))}, "not positive"),
    "scales without axis": ({"tensors": (*GOOD.tensors, Tensor("x", (2,), "i8", (1.0, 2.0)))}, "no axis"),
    "too few scales": ({"tensors": (*GOOD.tensors, Tensor("x", (3,), "i8", (1.0,), axis=0))}, "1 parameters for 3"),
    "an axis too far": ({"tensors": (*GOOD.tensors, Tensor("x", (3,), "i8", 1.0, axis=1))}, "has no axis 1"),
    "an order that is none": ({"tensors": (*GOOD.tensors, Tensor("x", (3, 2), "i8", order=(0, 0)))}, "the order"),
    "preprocessing of nothing": ({"preprocessing": {"x": {}}}, "preprocessing for 'x'"),
    "a kind of subnet": ({"subnets": (Subnet("gpu", (), ("output_Softmax",)),)}, "unknown kind 'gpu'"),
    "a host subnet without text": ({"subnets": (Subnet("host", (), ("output_Softmax",)),)}, "must have a text"),
    "a host subnet with commands": (
        {"subnets": (Subnet("host", (), ("output_Softmax",), GOOD.subnets[0].commands, GOOD.subnets[1].text),)},
        "subnet 0 has a text and commands",
    ),
    "subnets in a wrong order": ({"subnets": GOOD.subnets[::-1]}, "reads 'pool_MaxPool', which no subnet before"),
    "a command in no step": ({"steps": GOOD.steps[:2]}, "steps have 2 of the 3 commands"),
    "subnets against the order of commands": (
        {"subnets": tuple(
            Subnet("npu", ("input",), ("pool_MaxPool",), parts)
            for parts in ((CommandRange("compute", 1, 2), CommandRange("dma", 0, 4)), (CommandRange("compute", 0, 1),))
        ) + GOOD.subnets[1:]}, "command 0 of engine 'compute' is not in exactly one subnet, in order"
    ),
    "a command in two steps": (
        {"steps": (*GOOD.steps, Step("x", "x", (CommandRange("dma", 0, 1),)))}, "not in exactly one step"
    ),
    "commands of no engine": (
        {"steps": (*GOOD.steps, Step("x", "x", (CommandRange("tensor", 0, 1),)))}, "engine 'tensor', which has no"
    ),
    "a region outside": ({"memory": (Region("", "global", 4090, 7, 0, 0, 0),)}, "the memory ends at 4096"),
    "a region of no memory": ({"memory": (Region("", "attic", 0, 7, 0, 0, 0),)}, "a memory without a size"),
    "a region of nothing": ({"memory": (Region("x", "global", 0, 7, 0, 0, 0),)}, "belongs to nothing"),
    "a life backwards": ({"memory": (Region("", "local", 0, 7, 2, 1, 2),)}, "in the steps 2, 1, 2 of 3"),
    "a life too long": ({"memory": (Region("", "local", 0, 7, 0, 0, 3),)}, "in the steps 0, 0, 3 of 3"),
    "a tile outside": (
        {"memory": (Region("pool_MaxPool", "local", 0, 7, 0, 0, 0, (0, 4), (1, 5)),)}, "has the part (0, 4), (1, 5)"
    ),
    "a tile of another rank": (
        {"memory": (Region("pool_MaxPool", "local", 0, 7, 0, 0, 0, (0,), (1,)),)}, "a part of 1 dimensions"
    ),
    "strides of another rank": (
        {"memory": (Region("pool_MaxPool", "local", 0, 7, 0, 0, 0, strides=(1,)),)}, "1 strides for 2"
    ),
    "a tensor on a weight": (
        {"memory": (Region("input", "global", 200, 8, 0, 0, 0),)}, "'input' and weight 'conv.weight_i8' lie"
    ),
    "an input without a place": ({"memory": GOOD.memory[1:]}, "'input', which a subnet of commands reads"),
    "a folder in the flags": ({"provenance": Provenance(flags=("-o=/home/x",))}, "names a folder"),
    "a folder in an input": ({"provenance": Provenance({"a/b.onnx": ""})}, "names a folder"),
}  # fmt: skip


@pytest.mark.parametrize("name", RULES)
def test_what_breaks_a_rule_is_not_written(name: str, path: Path) -> None:
    changes, wanted = RULES[name]
    with pytest.raises(InputError) as refused:
        write_model_file(path, with_stage(small_model(), **changes))
    assert wanted in str(refused.value)


@pytest.mark.parametrize(
    ("address", "wanted"), [(4095, "ends at 4127"), (-1, "weight 'conv_bias_i32'"), (100, "at the same address 100"),
                            (None, "has no address")]
)  # fmt: skip
def test_a_weight_has_a_place_of_its_own(address: int | None, wanted: str, path: Path) -> None:
    bias = GOOD.weights[1]
    moved = Weight(bias.name, bias.section, bias.shape, bias.type, address)
    with pytest.raises(InputError, match=wanted):
        write_model_file(path, with_stage(small_model(), weights=(GOOD.weights[0], moved)))


def test_a_weight_may_lie_at_the_place_of_an_equal_one(path: Path) -> None:
    bias = GOOD.weights[1]
    again = Weight("again", bias.section, bias.shape, bias.type, bias.address)
    write_model_file(path, with_stage(small_model(), weights=(*GOOD.weights, again)))
    assert len(read_model_file(path).network().stages[0].weights) == 3


def test_a_tool_says_it_in_one_line(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = bytearray(path.read_bytes())
    data[section_places(bytes(data))[CONV][0]] ^= 1
    path.write_bytes(data)
    assert tool.run("model_tool", ["--info", str(path)]) == 2
    printed = capsys.readouterr()
    assert printed.out == "" and printed.err.count("\n") == 1
    assert f"section '{CONV}' is damaged (SHA-256 differs)" in printed.err
    assert CHIP not in printed.err


GENERATED = REGRESSION / "fuzz" / "corpus" / "bmodel_dis" / "net.bmodel"
READERS: dict[str, tuple[str, ...]] = {
    "model_runner": ("--model", "X", "--input", "x.npz"),
    "bmodel_dis": ("X",),
    "model_tool": ("--info", "X"),
    "model_tool --extract": ("--extract", "X", "-o", "parts"),
    "model_tool --strip": ("--strip", "X", "-o", "stripped.bmodel"),
    "model_tool --combine": ("--combine", "X", str(GENERATED), "-o", "both.bmodel"),
}


@pytest.mark.parametrize("reader", READERS)
def test_every_tool_names_the_section_that_is_damaged(
    reader: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    np.savez("x.npz", x=np.ones((1, 6, 8, 8), np.float32))
    data, rng = GENERATED.read_bytes(), Random(11)
    places = {**section_places(data), "": (0, 8 + struct.unpack_from("<Q", data)[0])}
    for section, (begin, end) in places.items():
        for at in (begin, end - 1, *(rng.randrange(begin, end) for _ in range(3))):
            changed = bytearray(data)
            changed[at] ^= rng.randrange(1, 256)
            Path("flipped.bmodel").write_bytes(changed)
            words = ["flipped.bmodel" if word == "X" else word for word in READERS[reader]]
            assert tool.run(reader.split()[0], words) == 2
            printed = capsys.readouterr()
            assert printed.out == "" and printed.err.count("\n") == 1
            named = f"section '{section}' is damaged (SHA-256 differs)" if section else "its header "
            assert "flipped.bmodel: " in printed.err and named in printed.err, at
    assert sorted(path.name for path in tmp_path.iterdir()) == ["flipped.bmodel", "x.npz"]


def test_the_bench_finds_what_a_reader_lets_through(monkeypatch: pytest.MonkeyPatch) -> None:
    size = GENERATED.stat().st_size
    counts, silent = model_file_flips.flips(GENERATED, ((place, 0x80) for place in range(0, size, 97)))
    assert not silent and counts.total() == len(range(0, size, 97))
    assert set(counts) == {"header", *section_places(GENERATED.read_bytes())}
    monkeypatch.setattr(model_file_flips, "read_model_file", lambda path: None)
    assert model_file_flips.flips(GENERATED, [(9, 1)])[1] == [(9, "read without a word")]
