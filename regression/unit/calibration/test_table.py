"""The table's text: what is written reads back, what is malformed is told with its line."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepdown.calibration.table import Row, format_table, read_table, write_table
from stepdown.errors import InputError

FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)
ROWS = st.builds(lambda t, a, b: Row(abs(t), min(a, b), max(a, b)), FLOATS, FLOATS, FLOATS)
NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)


@given(rows=st.dictionaries(NAMES, ROWS))
def test_rows_of_any_name_read_back(rows: dict[str, Row], tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / "any_table"
    write_table(path, rows, ["how it\nwas made"])
    assert read_table(path) == rows


def test_text_is_the_shortest(tmp_path: Path) -> None:
    third = float(np.float32(1 / 3))
    text = format_table({"conv 1": Row(third, -1e-7, 6.0)}, ["made by hand"])
    assert text == "# made by hand\n# name threshold min max\nconv 1 0.33333334 -1e-07 6.0\n"


def test_any_form_of_a_number_is_read(tmp_path: Path) -> None:
    path = tmp_path / "table"
    path.write_text("# made elsewhere\n\nx 1e+05 -.5 100000\n  y 1 -1.0000000  1E0\r\n")
    assert read_table(path) == {"x": Row(1e5, -0.5, 1e5), "y": Row(1, -1, 1)}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("x 1 2", "'x 1 2' is malformed; want: name threshold min max"),
        ("x one -1 1", "is malformed"),
        ('"x 1 -1 1', "is malformed"),
        ("x nan -1 1", "no usable range"),
        ("x 1e39 -1 1", "no usable range"),
        ("x 1 2 1", "no usable range"),
        ("x -1 -1 1", "no usable range"),
        ("first 1 -1 1", "tensor 'first' has a line already; keep one of them"),
    ],
)
def test_a_bad_line_is_told_with_its_number(line: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "table"
    path.write_text(f"# made by hand\nfirst 1 -1 1\n{line}\n")
    with pytest.raises(InputError) as caught:
        read_table(path)
    assert said in str(caught.value)
    assert str(caught.value).startswith(f"{path}:3: ")


def test_a_file_that_is_not_text(tmp_path: Path) -> None:
    (tmp_path / "table").write_bytes(b"\xff\xfe\x00")
    for name in ("table", "no_such_table"):
        with pytest.raises(InputError, match="cannot read the calibration table"):
            read_table(tmp_path / name)
