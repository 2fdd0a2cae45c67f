"""Whole networks: every tensor that onnxruntime makes is the same in our interpreter."""

import numpy as np
import onnx
import pytest
from checkout import REGRESSION
from light_models import LIGHT_MODELS, seeded_light_model

from stepdown.compare.metrics import similarity
from stepdown.formats.onnx.importer import import_model
from stepdown.runtimes.mlir import MlirRunner
from stepdown.runtimes.runner import Tensors

LARGE = ("bvlc_alexnet", "vgg19", "zfnet512")  # hundreds of megabytes of weights
MIN_COSINE, MIN_EUCLID = 0.9999, 0.999


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow) if n in LARGE else n for n in LIGHT_MODELS]
)  # fmt: skip
def test_light_model(name: str) -> None:
    compare_with_onnxruntime(seeded_light_model(name))


def test_mnist() -> None:
    compare_with_onnxruntime(onnx.load(REGRESSION / "model" / "mnist_cnn.onnx"))


def compare_with_onnxruntime(model: onnx.ModelProto) -> None:
    """Compare every tensor that both sides have, by name, and see that nearly all are among them."""
    inputs = seeded_inputs(model)
    ours = MlirRunner(import_model(model, "net")).run(inputs, "all")
    theirs = run_all(model, inputs)
    common = [name for name in ours if name in theirs]
    assert len(common) == len(ours) - len(inputs)
    different = [name for name in common if not _alike(ours[name], theirs[name])]
    assert not different


def _alike(target: np.ndarray, reference: np.ndarray) -> bool:
    if (target.dtype, target.shape) != (reference.dtype, reference.shape):
        return False
    found = similarity(target, reference)
    return found.cosine >= MIN_COSINE and found.euclid >= MIN_EUCLID


def seeded_inputs(model: onnx.ModelProto) -> Tensors:
    """Return values in −1…1 for the network's inputs."""
    constants, rng = {tensor.name for tensor in model.graph.initializer}, np.random.default_rng(0)
    shapes = {
        value.name: [size.dim_value for size in value.type.tensor_type.shape.dim]
        for value in model.graph.input
        if value.name not in constants
    }
    return {name: rng.uniform(-1, 1, shape).astype(np.float32) for name, shape in shapes.items()}


def run_all(model: onnx.ModelProto, inputs: Tensors) -> Tensors:
    """Return every tensor as onnxruntime computes it without fusing, named `<tensor>_<OpType>`."""
    import onnxruntime

    names = {output: f"{output}_{node.op_type}" for node in model.graph.node for output in node.output if output}
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    del copy.graph.output[:]
    copy.graph.output.extend(onnx.helper.make_value_info(name, onnx.TypeProto()) for name in names)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(copy.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return dict(zip(names.values(), session.run(list(names), inputs), strict=True))
