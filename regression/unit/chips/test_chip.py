"""Chips as data: those of the package are complete, a user's own is read, a wrong one is refused in one line."""

from dataclasses import fields, replace
from pathlib import Path

import pytest

import stepdown.chips
from stepdown.chips import Chip, chip_names, load_chip, parse_chip
from stepdown.chips.facts import FACTS, Number, facts_of
from stepdown.cli.diagnosis_flags import checked_modes
from stepdown.diagnosis.relower import Recipe
from stepdown.errors import InputError

FOLDER = Path(stepdown.chips.__file__).parent


def text_of(name: str) -> str:
    return (FOLDER / f"{name}.toml").read_text()


@pytest.mark.parametrize("name", chip_names())
def test_every_chip_of_the_package_is_complete_and_named_as_its_file(name):
    chip = load_chip(name)
    assert chip.name == name and chip.modes
    assert set(chip.sources) == set(facts_of(chip.engine)) - {"name"}


@pytest.mark.parametrize("name", chip_names())
def test_a_chip_survives_its_own_text(name):
    chip = load_chip(name)
    assert parse_chip(chip.to_toml()) == chip
    memory = {"lanes": "local_bytes", "systolic": "scratchpad_bytes", "cpu": "scratch_bytes"}[chip.engine]
    smaller = replace(chip, **{memory: 32768})
    assert parse_chip(smaller.to_toml()) == smaller != chip


def test_the_two_engines_are_there_with_published_figures():
    by_engine = {chip.engine: chip for chip in map(load_chip, chip_names())}
    lanes, systolic = by_engine["lanes"], by_engine["systolic"]
    assert (lanes.lanes, lanes.vector_bytes, lanes.local_bytes, lanes.banks) == (64, 64, 256 << 10, 16)
    assert 2 * lanes.macs_per_cycle["INT8"] * lanes.clock_hz == pytest.approx(32e12, rel=0.05)
    assert (systolic.array_rows, systolic.array_columns) == (16, 16)
    assert (systolic.scratchpad_bytes, systolic.accumulator_bytes) == (256 << 10, 64 << 10)
    assert (systolic.modes, systolic.profile, systolic.asymmetric) == (("INT8",), "float_scale", False)


def test_single_ops_may_have_the_modes_of_the_processor_beside_the_engine():
    chip = next(chip for chip in map(load_chip, chip_names()) if chip.engine == "systolic")
    assert chip.op_modes == ("F32", "INT8")
    assert Recipe("INT8", chip.name, False).best_float == "F32"
    assert checked_modes("", chip) == ["INT8", "F32"]
    with pytest.raises(InputError, match=r"has no mode F16.*choose F32, INT8"):
        checked_modes("INT8,F16", chip)


def test_every_fact_is_a_field_and_every_field_a_fact():
    assert [field.name for field in fields(Chip) if field.name != "sources"] == sorted(
        FACTS, key=[field.name for field in fields(Chip)].index
    )


def test_integers_have_their_unit_in_the_name():
    counts = ("lanes", "banks", "rows", "columns", "engines", "ports", "channels_per_scale", "per_cycle")
    units = ("_bytes", "_cycles", "_hz", "_percent", *counts)
    assert not [name for name, fact in FACTS.items() if isinstance(fact, Number) and not name.endswith(units)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (('engine = "lanes"', 'engine = "wheels"'), "engine is 'wheels', want one of"),
        (('engine = "lanes"\n', ""), "lacks engine"),
        (('"INT8"]', '"INT9"]'), "modes is .* want a list of some of F32"),
        (('"INT8"]', '"F32"]'), "modes is"),
        (("asymmetric = true\n", ""), "lacks asymmetric"),
        (("asymmetric = true", "asymmetric = 1"), "asymmetric is 1, want true or false"),
        (('kind = "npu"', 'kind = "npu"\nlane = 2'), r"unknown lane \(did you mean 'lanes'"),
        (('kind = "npu"', 'kind = "npu"\narray_rows = 2'), "has array_rows, which an engine 'lanes' has not"),
        (("lanes = 64", "lanes = 63"), "lanes is 63, want a power of two"),
        (("lanes = 64", "lanes = true"), "lanes is True, want a power of two"),
        (("dma_engines = 1", "dma_engines = 0"), "dma_engines is 0, want an integer of at least 1"),
        (("dma_engines = 1", "dma_engines = 1.5"), "dma_engines is 1.5"),
        (("INT8 = 16384", ""), "macs_per_cycle wants a rate for each of"),
        (("INT8 = 16384", "INT8 = 0"), "macs_per_cycle is"),
        (("host_modes = []", 'host_modes = ["F32"]'), "F32 is in modes and in host_modes"),
        (("local_bytes = 262144", "local_bytes = 512"), "local_bytes is 512, too little for 16 banks"),
        (('name = "bm1684x"', 'name = "two words"'), "name is 'two words'"),
        (('kind = "npu"', "kind ="), "not a chip description"),
    ],
)
def test_wrong_descriptions_are_refused(tmp_path, change, message):
    path = tmp_path / "mine.toml"
    assert change[0] in text_of("bm1684x")
    path.write_text(text_of("bm1684x").replace(*change, 1))
    with pytest.raises(InputError, match=message) as failure:
        load_chip(path)
    assert "mine.toml" in str(failure.value) and "\n" not in str(failure.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (('\nbanks = "tpu', '\nvanes = "tpu'), r"sources has the unknown vanes \(did you mean 'lanes'"),
        (('\nbanks = "tpu-mlir, BM1684X.h: LMEM_BANKS"', ""), "banks has no source"),
        (('\nbanks = "tpu-mlir, BM1684X.h: LMEM_BANKS"', '\nbanks = " "'), "banks has no source"),
        (('\nbanks = "tpu-mlir, BM1684X.h: LMEM_BANKS"', '\nbanks = "assumption: "'), "without its reason"),
        (('\nbanks = "tpu-mlir, BM1684X.h: LMEM_BANKS"', "\nbanks = 3"), "sources is not a table of texts"),
    ],
)
def test_every_number_has_a_source_or_a_reason(change, message):
    assert change[0] in text_of("bm1684x")
    with pytest.raises(InputError, match=message):
        parse_chip(text_of("bm1684x").replace(*change, 1))


def test_an_unknown_chip_names_those_there_are():
    with pytest.raises(InputError, match="did you mean 'bm1684x'"):
        load_chip("bm1684")


def test_a_processor_needs_no_accelerator_memory():
    facts = facts_of("cpu")
    values = {"name": "k9", "kind": "cpu", "engine": "cpu", "profile": "tosa", "modes": ("F32", "INT8"),
              "host_modes": (), "asymmetric": True, "unsigned_activations": True, "channels_per_scale": 1,
              "triple": "k9-linux-gnu", "processor": "k9", "features": ("+fast",), "float_abi": "hard"}  # fmt: skip
    chip = Chip(**values, sources={name: "assumption: a chip for this test" for name in facts if name != "name"})
    assert parse_chip(chip.to_toml()) == chip and chip.lanes == 0
