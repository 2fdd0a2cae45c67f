"""Commands survive bytes and text, hostile bytes are refused in one line, docs/isa.md is the table."""

import random
from dataclasses import replace

import pytest
from bench import isa as manual
from hypothesis import given, settings
from hypothesis import strategies as st
from npu.commands import COMMANDS, random_command

from stepdown.errors import InputError
from stepdown.npu.isa import ENGINES, INSTRUCTIONS, Fill, decode, disassemble, encode, packed, parse
from stepdown.npu.isa.code import size_bytes
from stepdown.npu.isa.command import runs_on

SEEDS = st.integers(0, 2**32)
MNEMONICS = sorted(COMMANDS)


def test_every_instruction_is_tried() -> None:
    assert {instruction.mnemonic for instruction in INSTRUCTIONS.values()} == set(COMMANDS)


@pytest.mark.parametrize("mnemonic", MNEMONICS)
@given(seed=SEEDS)
@settings(max_examples=25, deadline=None)
def test_commands_survive_bytes_and_text(mnemonic: str, seed: int) -> None:
    command = random_command(mnemonic, random.Random(seed))
    stream = encode([command, command])
    assert len(stream) == 2 * size_bytes(type(command))
    assert decode(stream, command.engine) == [command, command]
    assert parse(disassemble([command])) == [command]


@given(seed=SEEDS, places=st.lists(st.integers(0, 10**6), min_size=1, max_size=4), cut=st.integers(0, 3))
@settings(max_examples=300, deadline=None)
def test_hostile_bytes_are_refused_or_are_a_command(seed: int, places: list[int], cut: int) -> None:
    rng = random.Random(seed)
    command = random_command(rng.choice(MNEMONICS), rng)
    stream = bytearray(encode([command]))
    for at in places:
        stream[at % len(stream)] = rng.randrange(256)
    try:
        commands = decode(bytes(stream[: len(stream) - cut]), command.engine)
    except InputError as error:
        assert "command 0 of" in str(error)
        assert "\n" not in str(error)
    else:
        assert encode(commands) == bytes(stream)


def test_what_is_refused_is_named() -> None:
    fill = Fill(target=packed("i8", (1, 4, 2, 2), 64))
    stream = encode([fill, fill])
    with pytest.raises(InputError, match=r"command 1 of dma \(byte \d+\): the stream ends within a header"):
        decode(stream[: len(stream) // 2 + 2], "dma")
    with pytest.raises(InputError, match="no instruction 0x42 of this engine"):
        decode(stream, "compute")
    with pytest.raises(InputError, match=r"command 1 of dma \(fill, layer 7\): the value 0x100 \(I1\)"):
        encode([fill, replace(fill, value=256, layer=7)])
    with pytest.raises(InputError, match="target has a stride of 0"):
        encode([replace(fill, target=replace(fill.target, strides=(0, 0, 2, 1)))])
    with pytest.raises(InputError, match=r"target is misaligned: 65 is no multiple of 2 \(C2: f16\)"):
        encode([replace(fill, target=packed("f16", (1, 4, 2, 2), 65))])
    with pytest.raises(InputError, match="a value does not fit its field"):
        encode([replace(fill, layer=2**32)])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("halt", "line 1: no instruction 'halt'"),
        ("fill", "line 1: fill lacks target"),
        ("fill target=local:i8[1,4,2](4,4,2,1)@0x40", "line 1: target is 'local:i8"),
        ("# nothing\nfill size=3", "line 2: fill has no field 'size'"),
        ("fill target=global:f16[1,4,2,2](16,4,2,1)@0x40", "line 1, fill: target is misaligned: 1 is no multiple of 2"),
    ],
)
def test_text_that_is_no_command_is_named(text: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        parse(text)
    assert str(caught.value).startswith(message)


def test_both_dma_engines_have_the_same_instructions() -> None:
    sets = {engine: {i for i in INSTRUCTIONS.values() if runs_on(i, engine)} for engine in ENGINES}
    assert sets["dma"] == sets["dma2"]
    assert sets["compute"] | sets["dma"] == set(INSTRUCTIONS.values())
    assert not sets["compute"] & sets["dma"]


def test_the_manual_is_the_table() -> None:
    assert manual.document() == manual.DOCUMENT.read_text(encoding="utf-8"), f"run {manual.COMMAND}"
