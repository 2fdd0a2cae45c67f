"""Every TOP op that ONNX has, written as a model of one op, computes the same in onnxruntime."""

import numpy as np
import onnx
import onnxruntime
import pytest
from dialects.test_top_registry import OPS, sample

from stepdown.errors import UnsupportedModel
from stepdown.formats.onnx.exporter import export_program
from stepdown.runtimes.mlir import MlirRunner

onnxruntime.set_default_logger_severity(4)
# Ops that no operator of the set written stands for, and what is said of them.
REFUSED = {"BitCast": "operator set before 26", "DetectionOutput": "cannot be written as ONNX"}


@pytest.mark.parametrize("name", sorted(OPS))
def test_op(name: str) -> None:
    made = sample(OPS[name])
    if name in REFUSED:
        with pytest.raises(UnsupportedModel, match=REFUSED[name]):
            export_program(made.program)
        return
    model = export_program(made.program)
    onnx.checker.check_model(model)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    arrays = [array for array in made.arrays if array is not None]
    inputs = {spec.name: array for spec, array in zip(session.get_inputs(), arrays, strict=True)}
    ours = MlirRunner(made.program).run(inputs)
    for wanted, actual in zip(session.run(None, inputs), ours.values(), strict=True):
        np.testing.assert_allclose(actual, wanted, rtol=1e-4, atol=1e-5)
