"""RNN, GRU and LSTM on random options, against onnxruntime; both as imported and as written back."""

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.random import Generator
from onnx import TensorProto, helper, numpy_helper

from stepdown.dialects.top.gates import GATE_FUNCTIONS
from stepdown.errors import UnsupportedModel
from stepdown.formats.onnx.exporter import export_program
from stepdown.formats.onnx.importer import import_model
from stepdown.formats.onnx.recurrent_rules import ALPHA, BETA
from stepdown.runtimes.mlir import MlirRunner

GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
FUNCTIONS = {"RNN": 1, "GRU": 2, "LSTM": 3}
COUNT = 40


def layer(op_type: str, arrays: dict[str, np.ndarray], outputs: list[str], **attributes: Any) -> onnx.ModelProto:
    """Return a model of one layer; X and the states are inputs, the rest are initializers."""
    names = ["X", "W", "R", "B", "lengths", "h", *(["c", "P"] if op_type == "LSTM" else [])]
    given = {n: a for n, a in arrays.items() if n in ("X", "lengths", "h", "c")}
    graph = helper.make_graph(
        [helper.make_node(op_type, [n if n in arrays else "" for n in names], outputs, **attributes)],
        "graph",
        [helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape) for n, a in given.items()],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in outputs if n],
        [numpy_helper.from_array(a, n) for n, a in arrays.items() if n not in given],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)


def some(rng: Generator) -> bool:
    return bool(rng.random() < 0.5)


def random_layer(op_type: str, rng: Generator) -> tuple[onnx.ModelProto, dict[str, np.ndarray]]:
    """Return a layer with random options, and its inputs."""
    direction = str(rng.choice(["forward", "reverse", "bidirectional"]))
    planes, (steps, batch, width, hidden) = 1 + (direction == "bidirectional"), rng.integers(1, 6, 4).tolist()
    rows = GATES[op_type] * hidden
    sizes = {
        "X": (steps, batch, width), "W": (planes, rows, width), "R": (planes, rows, hidden), "B": (planes, 2 * rows),
        "h": (planes, batch, hidden), "c": (planes, batch, hidden), "P": (planes, 3 * hidden),
    }  # fmt: skip
    kept = [n for n in sizes if n in "XWR" or (some(rng) and (op_type == "LSTM" or n not in "cP"))]
    arrays = {n: rng.uniform(-1, 1, sizes[n]).astype(np.float32) for n in kept}
    if some(rng):
        arrays["lengths"] = rng.integers(1, steps + 1, batch).astype(np.int32)
    attributes: dict[str, Any] = {"hidden_size": hidden, "direction": direction}
    if some(rng):
        attributes["clip"] = float(rng.uniform(0.2, 1))
    if op_type == "GRU" and some(rng):
        attributes["linear_before_reset"] = 1
    if op_type == "LSTM" and some(rng):
        attributes["input_forget"] = 1
    if some(rng):
        attributes |= random_functions(FUNCTIONS[op_type] * planes, rng)
    outputs = ["Y", "Yh", "Yc"][: 3 if op_type == "LSTM" else 2]
    return layer(op_type, arrays, outputs, **attributes), {
        n: a for n, a in arrays.items() if n in ("X", "lengths", "h", "c")
    }


def random_functions(count: int, rng: Generator) -> dict[str, Any]:
    """Return activations, in some cases with their parameters; onnxruntime has no default for ThresholdedRelu."""
    names = [str(name) for name in rng.choice(sorted(GATE_FUNCTIONS), count)]
    found: dict[str, Any] = {"activations": names}
    if some(rng) or {"Affine", "ScaledTanh", "ThresholdedRelu"} & set(names):
        found["activation_alpha"] = rng.uniform(0.1, 1, sum(n in ALPHA for n in names)).tolist()
        found["activation_beta"] = rng.uniform(0.1, 1, sum(n in BETA for n in names)).tolist()
    return {name: value for name, value in found.items() if value}


def run_onnxruntime(model: onnx.ModelProto, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, inputs)


@pytest.mark.parametrize("op_type", GATES)
def test_random_layers(op_type: str) -> None:
    onnxruntime.set_default_logger_severity(4)
    rng = np.random.default_rng(0)
    for _ in range(COUNT):
        model, inputs = random_layer(op_type, rng)
        expected, program = run_onnxruntime(model, inputs), import_model(model, "net")
        back = run_onnxruntime(export_program(program), inputs)
        for ours, again, theirs in zip(MlirRunner(program).run(inputs).values(), back, expected, strict=True):
            message = str(model.graph.node[0])
            np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=2e-6, err_msg=message)
            np.testing.assert_allclose(again, theirs, rtol=1e-4, atol=2e-6, err_msg=message)


def small(op_type: str = "RNN", **attributes: Any) -> onnx.ModelProto:
    rows = GATES[op_type] * 2
    arrays = {"X": np.ones((3, 1, 2)), "W": np.ones((1, rows, 2)), "R": np.ones((1, rows, 2))}
    return layer(op_type, {n: a.astype(np.float32) for n, a in arrays.items()}, ["Y"], **attributes)


@pytest.mark.parametrize("op_type", GATES)
def test_batch_first_is_the_same_turned_round(op_type: str) -> None:
    rng, rows = np.random.default_rng(1), GATES[op_type] * 3
    sizes = {"X": (4, 2, 5), "W": (2, rows, 5), "R": (2, rows, 3), "h": (2, 2, 3)}
    arrays = {n: rng.uniform(-1, 1, size).astype(np.float32) for n, size in sizes.items()}
    options: dict[str, Any] = {"hidden_size": 3, "direction": "bidirectional"}
    turned = {n: a.swapaxes(0, 1) if n in "Xh" else a for n, a in arrays.items()}
    plain = layer(op_type, arrays, ["Y", "Yh"], **options)
    program = import_model(layer(op_type, turned, ["Y", "Yh"], layout=1, **options), "net")
    expected = run_onnxruntime(plain, {n: arrays[n] for n in "Xh"})
    inputs = {n: turned[n] for n in "Xh"}
    for results in (list(MlirRunner(program).run(inputs).values()), run_onnxruntime(export_program(program), inputs)):
        np.testing.assert_allclose(results[0], expected[0].transpose(2, 0, 1, 3), rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(results[1], expected[1].swapaxes(0, 1), rtol=1e-5, atol=1e-6)


def test_an_empty_sequence_gives_zeros() -> None:
    arrays = {"X": np.ones((2, 2, 1)), "W": np.ones((1, 1, 1)), "R": np.ones((1, 1, 1)), "h": np.ones((1, 2, 1))}
    given = {n: a.astype(np.float32) for n, a in arrays.items()} | {"lengths": np.array([2, 0], np.int32)}
    model, inputs = layer("RNN", given, ["Y", "Yh"], hidden_size=1), {n: given[n] for n in ("X", "lengths", "h")}
    for ours, theirs in zip(
        MlirRunner(import_model(model, "net")).run(inputs).values(), run_onnxruntime(model, inputs), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6)
        assert (ours[:, :, 1] if ours.ndim == 4 else ours[:, 1]).max() == 0


def test_state_in_state_out_is_one_long_sequence() -> None:
    rng = np.random.default_rng(2)
    sizes = {"X": (6, 1, 2), "W": (1, 12, 2), "R": (1, 12, 3), "h": (1, 1, 3), "c": (1, 1, 3)}
    arrays = {n: rng.uniform(-1, 1, size).astype(np.float32) for n, size in sizes.items()}
    whole = import_model(layer("LSTM", arrays, ["Y", "Yh", "Yc"]), "net")
    expected = MlirRunner(whole).run({n: arrays[n] for n in "Xhc"})
    step = MlirRunner(import_model(layer("LSTM", arrays | {"X": arrays["X"][:1]}, ["Y", "Yh", "Yc"]), "net"))
    state = {"h": arrays["h"], "c": arrays["c"]}
    for at, x in enumerate(arrays["X"]):
        made = step.run({"X": x[None], **state})
        state = {"h": made["Yh_LSTM"], "c": made["Yc_LSTM"]}
        np.testing.assert_allclose(made["Y_LSTM"][0], expected["Y_LSTM"][at], rtol=1e-6, atol=1e-7)


REFUSED = {
    "an unknown function": (small(activations=["Gelu"]), "RNN: the activation 'Gelu' is none of Affine, Elu, "),
    "no parameter": (small(activations=["Affine"]), "RNN: activation_alpha says nothing for Affine"),
    "two functions for one": (small(activations=["Tanh", "Tanh"]), "each direction has its gate functions"),
    "another hidden size": (small(hidden_size=3), r"hidden_size is 3, the recurrence weight has shape \(1, 2, 2\)"),
    "two directions, one plane": (small(direction="bidirectional"), "weight and recurrence have a plane a direction"),
    "an unknown direction": (small(direction="sideways"), "direction is 'sideways', want one of forward, reverse"),
    "another layer's weights": (
        onnx.ModelProto.FromString(small("GRU").SerializeToString().replace(b"GRU", b"RNN")), r"a row a gate and unit"
    ),
}  # fmt: skip


@pytest.mark.parametrize(("model", "reason"), REFUSED.values(), ids=REFUSED.keys())
def test_refused(model: onnx.ModelProto, reason: str) -> None:
    with pytest.raises(UnsupportedModel, match=reason):
        import_model(model, "net")
