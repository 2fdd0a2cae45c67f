"""Running TFLite files: the outputs that are no tensors of their own."""

from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from formats.tflite.tflite_models import Op, Tensor, model

from stepdown.formats.tflite.importer import import_tflite
from stepdown.formats.tflite.loader import parse_tflite
from stepdown.runtimes.mlir import MlirRunner
from stepdown.runtimes.tflite import TfliteRunner

X = np.float32([[-1, 2, 3]])


@pytest.mark.parametrize("wanted", ["all", "outputs"])
def test_an_output_that_is_an_input_or_an_output_already(wanted: str, tmp_path: Path) -> None:
    tensors = [Tensor("x", X.shape, "float32"), Tensor("y", X.shape, "float32")]
    content = model([Op("RELU", ["x"], ["y"])], tensors, ["x"], ["y", "x", "y"])
    (tmp_path / "net.tflite").write_bytes(content)
    ours = MlirRunner(import_tflite(parse_tflite(content, "case"), "net"))
    with closing(TfliteRunner(tmp_path / "net.tflite")) as runner:
        assert [spec.name for spec in runner.outputs()] == [spec.name for spec in ours.outputs()]
        right, left = runner.run({"x": X}, wanted), ours.run({"x": X}, wanted)
    assert left.keys() == right.keys() == {"y", "x_copy", "y_copy"} | ({"x"} if wanted == "all" else set())
    for name in left:
        np.testing.assert_array_equal(left[name], right[name])


def test_a_quantised_output_that_is_an_output_already(tmp_path: Path) -> None:
    tensors = [Tensor("x", X.shape, "float32"), Tensor("y", X.shape, "int8", 0.5, 1)]
    (tmp_path / "net.tflite").write_bytes(model([Op("QUANTIZE", ["x"], ["y"])], tensors, ["x"], ["y", "y"]))
    with closing(TfliteRunner(tmp_path / "net.tflite")) as runner:
        found = runner.run({"x": X})
    assert found.keys() == {"y_f32", "y_copy_f32"}
    np.testing.assert_array_equal(found["y_copy_f32"], X)
