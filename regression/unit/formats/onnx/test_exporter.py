"""A TOP module written as ONNX computes the same in onnxruntime."""

import numpy as np
import onnx
import onnxruntime
import pytest
from checkout import REGRESSION
from light_models import seeded_light_model

from stepdown.compare.metrics import similarity
from stepdown.dialects.program import Program
from stepdown.formats.onnx.exporter import export_program
from stepdown.formats.onnx.importer import import_model
from stepdown.runtimes.mlir import MlirRunner
from stepdown.transforms.canonicalize import Canonicalize


@pytest.mark.parametrize("name", ["mnist", "mobilenet_v2", "squeezenet", "shufflenet", "densenet121"])
def test_networks(name: str) -> None:
    paths = {"mnist": REGRESSION / "model" / "mnist_cnn.onnx", "mobilenet_v2": REGRESSION / "mobilenet_v2.onnx"}
    program = import_model(onnx.load(paths[name]) if name in paths else seeded_light_model(name), name)
    Canonicalize().run(program)
    assert_same(program)


def assert_same(program: Program) -> None:
    """Run the module and its export on the same numbers."""
    model = export_program(program)
    onnx.checker.check_model(model)
    runner, rng = MlirRunner(program), np.random.default_rng(0)
    inputs = {spec.name: rng.uniform(-1, 1, spec.shape).astype(np.float32) for spec in runner.inputs()}
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_outputs()]
    ours, theirs = runner.run(inputs), dict(zip(names, session.run(names, inputs), strict=True))
    assert list(ours) == names
    for output in names:
        found = similarity(ours[output], theirs[output])
        assert found.cosine > 0.99999 and found.euclid > 0.9999
