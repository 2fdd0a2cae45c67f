"""Every numbered constraint of the ops that move, index and resample refuses what it says."""

from typing import Any

import pytest
from xdsl.dialects import test
from xdsl.utils.exceptions import VerifyException

from stepdown.dialects.op import constraints
from stepdown.dialects.top import TOP_OPS
from stepdown.dialects.types import tensor

CROP = {"coordinate_transformation_mode": "tf_crop_and_resize"}
# Op, constraint, operand shapes, attributes.
ROWS: list[tuple[str, str, list[tuple[int, ...]], dict[str, Any]]] = [
    ("Reshape", "C1", [(2, 3)], {"shape": [7]}),
    ("Transpose", "C1", [(2, 3)], {"order": [0, 0]}),
    ("Transpose", "C1", [(2, 3)], {"order": [0, 1, 2]}),
    ("Concat", "C1", [(2, 3), (2,)], {"axis": 0}),
    ("Concat", "C1", [(2, 3), (2, 3)], {"axis": 2}),
    ("Concat", "C1", [(2, 3), (2, 3)], {"axis": -1}),
    ("Concat", "C2", [(2, 3), (2, 4)], {"axis": 0}),
    ("Slice", "C1", [(2, 3)], {"starts": [0], "ends": [1], "steps": [1]}),
    ("Slice", "C2", [(5,)], {"starts": [0], "ends": [4], "steps": [0]}),
    ("Slice", "C2", [(5,)], {"starts": [0], "ends": [6], "steps": [1]}),
    ("Slice", "C2", [(5,)], {"starts": [3], "ends": [-2], "steps": [-1]}),
    ("Split", "C1", [(4,)], {"axis": 1, "sizes": [2, 2]}),
    ("Split", "C2", [(4,)], {"axis": 0, "sizes": [2, 3]}),
    ("Split", "C2", [(4,)], {"axis": 0, "sizes": [5, -1]}),
    ("Split", "C2", [(4,)], {"axis": 0, "sizes": []}),
    ("Pad", "C1", [(4,)], {"pads": [1]}),
    ("Pad", "C2", [(4,)], {"pads": [-3, -2]}),
    ("Pad", "C3", [(0,)], {"pads": [1, 0], "mode": "edge"}),
    ("Expand", "C1", [(2, 3)], {"shape": [2, 4]}),
    ("Expand", "C1", [(2, 3)], {"shape": [3]}),
    ("Tile", "C1", [(2, 3)], {"repeats": [2]}),
    ("Tile", "C1", [(2,)], {"repeats": [-1]}),
    ("DepthToSpace", "C1", [(1, 6, 2, 2)], {"block_size": 2}),
    ("DepthToSpace", "C1", [(4, 2, 2)], {"block_size": 2}),
    ("SpaceToDepth", "C1", [(1, 1, 3, 2)], {"block_size": 2}),
    ("SpaceToDepth", "C1", [(1, 1, 4, 4)], {"block_size": 0}),
    ("ReverseSequence", "C1", [(2, 3), (2,)], {"batch_axis": 0, "time_axis": 0}),
    ("ReverseSequence", "C1", [(2,), (2,)], {}),
    ("ReverseSequence", "C2", [(2, 3), (2,)], {}),
    ("Trilu", "C1", [(3,)], {}),
    ("Gather", "C1", [(2, 3), (4,)], {"axis": 2}),
    ("GatherElements", "C1", [(2, 3), (2, 3)], {"axis": -1}),
    ("GatherElements", "C2", [(2, 3), (2,)], {"axis": 0}),
    ("GatherElements", "C2", [(2, 3), (2, 4)], {"axis": 0}),
    ("GatherND", "C1", [(2, 3), (3, 1)], {"batch_dims": 1}),
    ("GatherND", "C2", [(2, 3), (2, 3)], {}),
    ("GatherND", "C2", [(2, 3), (2, 0)], {}),
    ("ScatterElements", "C1", [(2,), (2,), (2,)], {"axis": 1}),
    ("ScatterElements", "C2", [(2, 3), (2, 4), (2, 4)], {"axis": 0}),
    ("ScatterElements", "C3", [(2,), (2,), (1,)], {"axis": 0}),
    ("ScatterND", "C1", [(2, 3), (1, 3), (1,)], {}),
    ("ScatterND", "C2", [(2, 3), (1, 1), (1, 2)], {}),
    ("TopK", "C1", [(3,)], {"k": 1, "axis": 1}),
    ("TopK", "C2", [(3,)], {"k": 4, "axis": 0}),
    ("OneHot", "C1", [(3,), (2,)], {"depth": 2, "axis": 2}),
    ("OneHot", "C2", [(3,), (3,)], {"depth": 2, "axis": 1}),
    ("OneHot", "C3", [(3,), (2,)], {"depth": 0, "axis": 1}),
    ("Einsum", "C1", [(2, 3)], {"equation": "ij,jk->ik"}),
    ("Einsum", "C1", [(2, 3)], {"equation": "ijk"}),
    ("Einsum", "C1", [(2, 3)], {"equation": "i?->i"}),
    ("Einsum", "C2", [(2, 3), (4, 5)], {"equation": "ij,jk->ik"}),
    ("Einsum", "C3", [(2, 3)], {"equation": "ij->k"}),
    ("Einsum", "C3", [(2, 3)], {"equation": "ij->ii"}),
    ("Resize", "C1", [(2, 3)], {"shape": [4], "scales": [2]}),
    ("Resize", "C2", [(2,)], {"shape": [0], "scales": [0.1]}),
    ("Resize", "C2", [(0,)], {"shape": [2], "scales": [2]}),
    ("Resize", "C2", [(2,)], {"shape": [2], "scales": [-1]}),
    ("GridSample", "C1", [(1, 2, 4, 4), (1, 2, 2, 3)], {}),
    ("GridSample", "C1", [(1, 2, 4, 4), (2, 2, 2, 2)], {}),
    ("RoiAlign", "C1", [(1, 2, 4, 4), (3, 5), (3,)], {}),
    ("RoiAlign", "C2", [(1, 2, 4, 4), (3, 4), (3,)], {"output_width": 0}),
    ("ResizeNearest", "C3", [(2,)], {"shape": [2], "scales": [1], **CROP}),
]  # fmt: skip
CHOICES: list[tuple[str, list[tuple[int, ...]], dict[str, Any], str]] = [
    ("Pad", [(2,)], {"pads": [1, 1], "mode": "mirror"}, "mode is 'mirror', want one of constant, reflect"),
    ("Cast", [(2,)], {"to": "f8"}, "to is 'f8', want one of"),
    ("Resize", [(2,)], {"shape": [2], "scales": [1], "mode": "nearest"}, "mode is 'nearest', want one of"),
    ("ScatterND", [(2,), (1, 1), (1,)], {"reduction": "sum"}, "reduction is 'sum', want one of"),
    ("DepthToSpace", [(1, 4, 1, 1)], {}, "attribute block_size is missing, want an integer"),
]  # fmt: skip


def build(name: str, shapes: list[tuple[int, ...]], attributes: dict[str, Any]) -> None:
    operands = test.TestOp(result_types=[tensor(shape) for shape in shapes]).results
    TOP_OPS[name].build("y", operands, **attributes)


@pytest.mark.parametrize(("name", "label", "shapes", "attributes"), ROWS)
def test_constraint(name: str, label: str, shapes: list[tuple[int, ...]], attributes: dict[str, Any]) -> None:
    with pytest.raises(VerifyException) as caught:
        build(name, shapes, attributes)
    assert str(caught.value).startswith(f"{constraints(TOP_OPS[name])[label]} ({label}: ")


@pytest.mark.parametrize(("name", "shapes", "attributes", "message"), CHOICES)
def test_attribute(name: str, shapes: list[tuple[int, ...]], attributes: dict[str, Any], message: str) -> None:
    with pytest.raises(VerifyException, match=message):
        build(name, shapes, attributes)


def test_every_constraint_has_a_row() -> None:
    named = {row[:2] for row in ROWS}
    base = {("ResizeNearest", label) for label in ("C1", "C2")} | {("Resize", "C3")}  # of the class that they share
    wanted = {(name, label) for name in {row[0] for row in ROWS} for label in constraints(TOP_OPS[name])}
    assert wanted - base == named - base
