"""Chips as data: those of the package are complete, a user's own is read, a wrong one is refused in one line."""

import pytest

from stepdown.chips import chip_names, load_chip
from stepdown.errors import InputError


@pytest.mark.parametrize("name", chip_names())
def test_every_chip_of_the_package_loads_with_its_sources(name):
    chip = load_chip(name)
    assert chip.name == name and chip.modes and chip.sources
    assert all(chip.sources.values())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("lanes", "wheels"), "engine is 'wheels', want one of"),
        (('"INT8"', '"INT9"'), "unknown mode INT9"),
        (("asymmetric = true\n", ""), "lacks asymmetric"),
        (('kind = "npu"', 'kind = "npu"\nwings = 2'), "unknown wings"),
        (('kind = "npu"', "kind ="), "not a chip description"),
    ],
)
def test_wrong_descriptions_are_refused(tmp_path, change, message):
    from pathlib import Path

    import stepdown.chips

    text = (Path(stepdown.chips.__file__).parent / "bm1684x.toml").read_text()
    path = tmp_path / "mine.toml"
    path.write_text(text.replace(*change, 1))
    with pytest.raises(InputError, match=message):
        load_chip(path)


def test_an_unknown_chip_names_those_there_are():
    with pytest.raises(InputError, match="did you mean 'bm1684x'"):
        load_chip("bm1684")
