"""The layers of SSD on cases computed by hand."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from formats.caffe.caffe_files import declared, imported, layer, run
from xdsl.dialects import test
from xdsl.utils.exceptions import VerifyException

from stepdown.dialects.op import constraints
from stepdown.dialects.top.detection import DetectionOutput
from stepdown.dialects.types import tensor
from stepdown.errors import StepError

IMAGE = np.zeros((1, 3, 20, 40), np.float32)


def priors_of(folder: Path, parameters: str, height: int = 1, width: int = 2) -> np.ndarray:
    """Return what PriorBox gives for a map of that size in a picture of 20 x 40 pixels."""
    text = declared(map=(1, 4, height, width), image=(1, 3, 20, 40))
    text += layer("p", "PriorBox", "map image", "y", f"prior_box_param {{ {parameters} }}")
    return run(imported(folder, text), {"map": np.zeros((1, 4, height, width), np.float32), "image": IMAGE})[
        "y_Identity"
    ]


def test_priors_by_hand(tmp_path: Path) -> None:
    found = priors_of(tmp_path, "min_size: 4 max_size: 9 aspect_ratio: 4")
    # Cells of 20 x 20 pixels: the centres are (10, 10) and (30, 10). Widths x heights: 4 x 4, 6 x 6, 8 x 2, 2 x 8.
    pixels = [
        [(8, 8, 12, 12), (7, 7, 13, 13), (6, 9, 14, 11), (9, 6, 11, 14)],
        [(28, 8, 32, 12), (27, 7, 33, 13), (26, 9, 34, 11), (29, 6, 31, 14)],
    ]
    assert found.shape == (1, 2, 32)
    np.testing.assert_allclose(found[0, 0].reshape(2, 4, 4) * [40, 20, 40, 20], pixels, rtol=1e-6)
    np.testing.assert_allclose(found[0, 1], 0.1, rtol=1e-6)


@pytest.mark.parametrize(
    ("parameters", "width", "first"),
    [
        ("min_size: 4.9 flip: false aspect_ratio: 4", 4, (8 / 40, 8 / 20, 12 / 40, 12 / 20)),  # sizes are cut off
        ("min_size: 4 step: 8", 4, (2 / 40, 2 / 20, 6 / 40, 6 / 20)),
        ("min_size: 4 step_w: 8 step_h: 16 offset: 0.25", 4, (0 / 40, 2 / 20, 4 / 40, 6 / 20)),
        ("min_size: 4 img_w: 80 img_h: 10", 4, (18 / 80, 3 / 10, 22 / 80, 7 / 10)),
        ("min_size: 30 clip: true", 4, (0, 0, 25 / 40, 1)),
        ("min_size: 30", 4, (-5 / 40, -5 / 20, 25 / 40, 25 / 20)),
    ],
)
def test_prior_parameters(tmp_path: Path, parameters: str, width: int, first: tuple[float, ...]) -> None:
    found = priors_of(tmp_path, parameters)
    np.testing.assert_allclose(found[0, 0, :width], first, rtol=1e-6, atol=1e-7)


def test_each_ratio_counts_once_and_four_variances_repeat(tmp_path: Path) -> None:
    found = priors_of(tmp_path, "min_size: 2 min_size: 4 aspect_ratio: 1 aspect_ratio: 2 aspect_ratio: 0.5 "
                                "variance: 0.1 variance: 0.2 variance: 0.3 variance: 0.4")  # fmt: skip
    assert found.shape == (1, 2, 2 * 2 * 3 * 4)
    np.testing.assert_allclose(found[0, 1].reshape(-1, 4), np.tile([0.1, 0.2, 0.3, 0.4], (12, 1)), rtol=1e-6)


@pytest.mark.parametrize("parameters", ["", "min_size: 4 variance: 1 variance: 2", "min_size: 4 aspect_ratio: -1",
                                        "min_size: 4 max_size: 5 max_size: 6"])  # fmt: skip
def test_wrong_priors_are_refused(tmp_path: Path, parameters: str) -> None:
    with pytest.raises(StepError, match=r"layer 'p' \(PriorBox\)"):
        priors_of(tmp_path, parameters)


# Four priors in a unit picture; the second overlaps the first by 0.8, the fourth lies elsewhere.
CORNERS = [(0.0, 0.0, 0.4, 0.5), (0.0, 0.0, 0.4, 0.4), (0.0, 0.0, 0.2, 0.2), (0.6, 0.6, 0.8, 1.0)]
PRIORS = np.array([[np.ravel(CORNERS), [0.5, 0.5, 0.25, 0.25] * 4]], np.float32)
STILL = np.zeros((1, 16), np.float32)
# Rows: background, cat, dog.
SCORES = np.array([[0.1, 0.6, 0.3, 0.1, 0.9, 0.0, 0.6, 0.4, 0.0, 0.0, 0.2, 0.8]], np.float32)


def detected(**attributes: Any) -> np.ndarray:
    """Return the rows for boxes that stay where their priors are, −1 cut off."""
    operands = attributes.pop("operands", [STILL, SCORES, PRIORS])
    values = test.TestOp(result_types=[tensor(a.shape) for a in operands]).results
    op = DetectionOutput.build("y", list(values), **{"num_classes": 3, "code_type": "CENTER_SIZE", **attributes})
    (rows,) = op.compute(*operands)
    assert rows.shape == op.shapes(*(a.shape for a in operands))[0]
    kept = int((rows[0, 0, :, 1] >= 0).sum())
    assert (rows[0, 0, kept:] == -1).all()
    return rows[0, 0, :kept]


def row(label: int, score: float, prior: int) -> list[float]:
    """Return the row of a box that is its prior."""
    return [0, label, score, *CORNERS[prior]]


APART = [row(1, 0.9, 1), row(1, 0.6, 2), row(2, 0.8, 3), row(2, 0.4, 2), row(2, 0.3, 0)]


@pytest.mark.parametrize(
    ("attributes", "wanted"),
    [
        # of the cats, 0.9 takes the 0.6 of prior 0, which overlaps it by 0.8, not that of prior 2 (0.25)
        ({"confidence_threshold": 0.25, "nms_threshold": 0.5}, APART),
        ({"confidence_threshold": 0.25, "nms_threshold": 0.84}, [APART[0], row(1, 0.6, 0), *APART[1:]]),
        # the threshold falls to 0.42 after the first box, and to no less
        ({"confidence_threshold": 0.25, "nms_threshold": 0.84, "eta": 0.5}, APART),
        ({"confidence_threshold": 0.5, "nms_threshold": 0.5, "keep_top_k": 2}, [row(1, 0.9, 1), row(2, 0.8, 3)]),
        ({"confidence_threshold": 0.1, "nms_threshold": 0.9, "top_k": 1}, [row(1, 0.9, 1), row(2, 0.8, 3)]),
        ({"confidence_threshold": 0.85, "background_label_id": 1}, []),
    ],
)  # fmt: skip
def test_detections_by_hand(attributes: dict[str, Any], wanted: list[list[float]]) -> None:
    scores = SCORES.copy()
    scores[0, 7], scores[0, 8] = 0.6, 0.4  # cat and dog of the third prior
    found = detected(operands=[STILL, scores, PRIORS], **attributes)
    np.testing.assert_allclose(found, np.reshape(wanted, (-1, 7)), rtol=1e-6)


@pytest.mark.parametrize(
    ("code", "encoded", "wanted"),
    [
        ("CORNER", False, (0.5, 1.0, 0.75 + 0.4, 1.0 + 0.5)),
        ("CORNER", True, (1.0, 2.0, 3.4, 4.5)),
        ("CORNER_SIZE", True, (0.4, 1.0, 0.4 + 1.2, 0.5 + 2.0)),
        ("CENTER_SIZE", True, (0.6 - np.exp(3) / 5, 1.25 - np.exp(4) / 4, 0.6 + np.exp(3) / 5, 1.25 + np.exp(4) / 4)),
        ("CENTER_SIZE", False, (0.4 - np.exp(0.75) / 5, 0.75 - np.exp(1) / 4,
                                0.4 + np.exp(0.75) / 5, 0.75 + np.exp(1) / 4)),
    ],
)  # fmt: skip
def test_decoding_by_hand(code: str, encoded: bool, wanted: tuple[float, ...]) -> None:
    moves = np.array([[1, 2, 3, 4]], np.float32)
    scores = np.array([[0, 1]], np.float32)
    found = detected(
        operands=[moves, scores, PRIORS[:, :, :4].copy()], num_classes=2, code_type=code,
        variance_encoded_in_target=encoded,
    )  # fmt: skip
    np.testing.assert_allclose(found[0, 3:], wanted, rtol=1e-5)


@pytest.mark.parametrize(("keep_top_k", "top_k", "rows"), [(5, -1, 5), (-1, -1, 8), (-1, 3, 6), (1 << 30, 3, 6)])
def test_there_are_never_more_rows_than_boxes(keep_top_k: int, top_k: int, rows: int) -> None:
    values = test.TestOp(result_types=[tensor(a.shape) for a in (STILL, SCORES, PRIORS)]).results
    op = DetectionOutput.build("y", list(values), num_classes=3, keep_top_k=keep_top_k, top_k=top_k)
    assert op.shapes(STILL.shape, SCORES.shape, PRIORS.shape) == [(1, 1, rows, 7)]


def test_classes_with_locations_of_their_own_and_two_samples() -> None:
    moves = np.zeros((2, 4, 3, 4), np.float32)
    moves[1, 3, 2] = 1  # dogs of the second sample have moved
    scores = np.zeros((2, 4, 3), np.float32)
    scores[0, 0, 1], scores[1, 3, 2] = 0.9, 0.8
    operands = [moves.reshape(2, -1), scores.reshape(2, -1), PRIORS]
    found = detected(
        operands=operands, share_location=False, code_type="CORNER", variance_encoded_in_target=True,
        confidence_threshold=0.5, keep_top_k=3,
    )  # fmt: skip
    moved = [c + 1 for c in CORNERS[3]]
    np.testing.assert_allclose(found, [row(1, 0.9, 0), [1, 2, 0.8, *moved]], rtol=1e-6)


def test_the_layer_has_a_fixed_number_of_rows(tmp_path: Path) -> None:
    text = declared(loc=(1, 16), conf=(1, 12), prior=(1, 2, 16)) + layer(
        "d", "DetectionOutput", "loc conf prior", "y", "detection_output_param { num_classes: 3 share_location: true "
        "nms_param { nms_threshold: 0.5 top_k: 400 } code_type: CENTER_SIZE keep_top_k: 5 confidence_threshold: 0.5 }",
    )  # fmt: skip
    found = run(imported(tmp_path, text), {"loc": STILL, "conf": SCORES, "prior": PRIORS})["y"]
    assert found.shape == (1, 1, 5, 7)
    wanted = [row(1, 0.9, 1), row(2, 0.8, 3), *[[-1] * 7] * 3]
    np.testing.assert_allclose(found[0, 0], wanted, rtol=1e-6)


@pytest.mark.parametrize(
    ("label", "shapes", "attributes"),
    [
        ("C1", [(1, 15), (1, 12), (1, 2, 16)], {}),
        ("C1", [(1, 16), (1, 12), (2, 2, 16)], {}),
        ("C1", [(1, 16), (1, 12), (1, 1, 16)], {}),
        ("C2", [(1, 16), (1, 12), (1, 2, 16)], {"keep_top_k": 0}),
        ("C2", [(1, 16), (1, 0), (1, 2, 16)], {"num_classes": 0}),
    ],
)
def test_constraint(label: str, shapes: list[tuple[int, ...]], attributes: dict[str, Any]) -> None:
    values = test.TestOp(result_types=[tensor(shape) for shape in shapes]).results
    with pytest.raises(VerifyException) as caught:
        DetectionOutput.build("y", list(values), **{"num_classes": 3, **attributes})
    assert str(caught.value).startswith(f"{constraints(DetectionOutput)[label]} ({label}: ")
