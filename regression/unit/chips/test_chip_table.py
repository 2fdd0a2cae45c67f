"""docs/chips.md is what the TOMLs of the package say."""

import re
from dataclasses import replace

from bench import chips

from stepdown.chips import chip_names, load_chip
from stepdown.chips.facts import FACTS

TEXT = chips.DOCUMENT.read_text(encoding="utf-8")


def test_the_document_is_that_of_the_descriptions() -> None:
    assert chips.document() == TEXT, f"run {chips.COMMAND}"


def test_every_fact_has_a_row_and_every_chip_a_column() -> None:
    row = r"^\| `(\w+)` \| [^|]+ \|" + r" [^|]+ \|" * len(chip_names()) + "$"
    assert re.findall(row, TEXT, re.MULTILINE) == [name for name in FACTS if name not in ("name", "macs_per_cycle")]
    assert all(f"## Sources of {name}\n" in TEXT for name in chip_names())


def test_an_assumed_number_is_in_italics_and_a_missing_one_is_told() -> None:
    chip = next(chip for chip in map(load_chip, chip_names()) if chip.engine == "lanes")
    assumed = replace(chip, sources={**chip.sources, "local_bytes": "assumption: for this test"})
    assert chips.value_of(chip, "local_bytes") == "262,144 bytes"
    assert chips.value_of(assumed, "local_bytes") == "*262,144 bytes*"
    assert chips.value_of(chip, "array_rows") == "–"
