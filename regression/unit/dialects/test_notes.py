"""Notes: what later passes write on ops of the TPU dialect, no part of what an op means."""

from pathlib import Path

import numpy as np
import pytest

from stepdown.dialects.program import Program, Weights, read_program
from stepdown.dialects.text import parse_module, print_module
from stepdown.errors import InputError
from stepdown.runtimes.mlir import MlirRunner

TEXT = """
module @m attributes {module.state = "TPU_LOWERED"} {
  func.func @main(%x: tensor<1x4xf16> loc("x")) -> tensor<1x2xf16> {
    %0 = "tpu.Input"(%x) {subnet = 0 : i64} : (tensor<1x4xf16>) -> tensor<1x4xf16> loc("x")
    %1, %2 = "tpu.Split"(%0) {address = array<i64: 64, -1>, axis = 1 : i64, images = {a = "A", b = "B"},
        layer_group = 3 : i64, layer_tile = array<i64: 1, 2>, sizes = array<i64: 2, 2>, subnet = 1 : i64}
        : (tensor<1x4xf16>) -> (tensor<1x2xf16>, tensor<1x2xf16>) loc(fused["p", "q"])
    func.return %1 : tensor<1x2xf16>
  }
}
"""


def program() -> Program:
    return Program(parse_module(TEXT), Weights())


def test_notes_are_read_written_and_printed() -> None:
    split = program().ops[1]
    found = {name: split.note(name) for name in split.notes}
    assert found == {
        "images": {"a": "A", "b": "B"}, "subnet": 1, "layer_group": 3, "layer_tile": (1, 2), "address": (64, -1)
    }  # fmt: skip
    for name, value in found.items():
        split.set_note(name, None)
        assert split.note(name) is None
        split.set_note(name, value)
    made = Program(split.get_toplevel_object(), Weights())  # type: ignore[arg-type]
    text = print_module(made.module)
    assert print_module(parse_module(text)) == text == print_module(program().module)
    split.set_note("address", (64,))
    assert "address = 64 : i64" in str(split)


def test_notes_are_no_part_of_what_an_op_means() -> None:
    noted = program()
    assert noted.ops[1].attribute_values() == {"axis": 1, "sizes": (2, 2)}
    x = np.arange(4, dtype=np.float32)[None]
    assert MlirRunner(noted).run({"x": x})["p"].tolist() == [[0, 1]]


@pytest.mark.parametrize(
    ("given", "changed", "wanted"),
    [
        ("subnet = 1 : i64", 'subnet = "one"', "attribute subnet"),
        ("array<i64: 64, -1>", "1.0 : f64", "attribute address"),
        ('{a = "A", b = "B"}', "{a = 1 : i64}", "attribute images"),
        ("layer_group", "layer_groups", "has no attribute layer_groups"),
    ],
)
def test_what_is_no_note_is_refused(given: str, changed: str, wanted: str) -> None:
    assert given in TEXT
    with pytest.raises(InputError, match=wanted):
        parse_module(TEXT.replace(given, changed))


def test_images_are_kept_with_the_weights(tmp_path: Path) -> None:
    made = program()
    made.weights["A"], made.weights["B"] = np.arange(3, dtype=np.int8), np.ones(2, np.uint16)
    made.write(tmp_path / "m.mlir")
    again = read_program(tmp_path / "m.mlir")
    assert again.weights["A"].tolist() == [0, 1, 2] and again.weights["B"].dtype == np.uint16
    text = (tmp_path / "m.mlir").read_text()
    (tmp_path / "m.mlir").write_text(text.replace('b = "B"', 'b = "C"'))
    with pytest.raises(InputError, match=r"weight 'C' is not in m_weight\.npz"):
        read_program(tmp_path / "m.mlir")
