"""docs/model_file.md lists every field of the schema, in its order, and which may be left out."""

import re
from dataclasses import MISSING, fields, is_dataclass

import pytest
from checkout import ROOT

from stepdown.model import schema
from stepdown.model.arrays import STORED
from stepdown.model.container import FORMAT, VERSION

TEXT = (ROOT / "docs" / "model_file.md").read_text()
RECORDS = {name: kind for name, kind in vars(schema).items() if is_dataclass(kind) and name != "TensorInfo"}


def _rows(name: str) -> list[list[str]]:
    """Return the rows of the table under a heading."""
    section = re.search(rf"^### {name}$(.*?)(?=^##)", TEXT, re.MULTILINE | re.DOTALL)
    assert section, f"docs/model_file.md says nothing of {name}"
    return [
        [cell.strip() for cell in row.split("|")[1:-1]] for row in re.findall(r"^\| `.*$", section[1], re.MULTILINE)
    ]


@pytest.mark.parametrize("name", RECORDS)
def test_every_field_is_documented(name: str) -> None:
    rows = _rows(name)
    wanted = fields(RECORDS[name])
    assert [row[0].strip("`") for row in rows] == [field.name for field in wanted]
    for row, field in zip(rows, wanted, strict=True):
        optional = field.default is not MISSING or field.default_factory is not MISSING
        assert optional == bool(re.search(r"(^| )\([^()]+\)$|has none$", row[2])), (name, field.name)


def test_the_version_and_the_types_are_documented() -> None:
    assert f"`{FORMAT}` and `{VERSION}`" in TEXT
    assert set(_rows("Tensor")[2][2].split(", ")) == set(STORED)
