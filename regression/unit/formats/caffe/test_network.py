"""Which layers, inputs and outputs a net has in the test phase, and what its tensors are called."""

from pathlib import Path

import numpy as np
import pytest
from formats.caffe.caffe_files import declared, imported, layer, old_caffemodel, read, run

from stepdown.errors import InputError, StepError
from stepdown.formats.caffe.importer import import_network
from stepdown.formats.caffe.network import bind_input_shapes, cut_outputs

ONES = np.ones((1, 2, 3, 3), np.float32)
TRAINED = """
name: "trained"
layer { name: "mnist" type: "Data" top: "data" top: "label" include { phase: TRAIN } data_param { batch_size: 64 } }
layer { name: "mnist" type: "Data" top: "data" top: "label" include { phase: TEST } data_param { batch_size: 100 } }
layer { name: "twice" type: "Power" bottom: "data" top: "twice" power_param { scale: 2 } }
layer { name: "noise" type: "Dropout" bottom: "twice" top: "twice" }
layer { name: "aside" type: "Exp" bottom: "twice" top: "aside" exclude { phase: TEST } }
layer { name: "unused" type: "Sigmoid" bottom: "twice" top: "unused" }
layer { name: "quiet" type: "Silence" bottom: "unused" }
layer { name: "score" type: "ReLU" bottom: "twice" top: "score" include { phase: TEST not_stage: "deploy" } }
layer { name: "accuracy" type: "Accuracy" bottom: "score" bottom: "label" top: "accuracy" include { phase: TEST } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "score" bottom: "label" top: "loss" }
"""


def test_a_training_net_is_what_it_is_in_the_test_phase(tmp_path: Path) -> None:
    network = read(tmp_path, TRAINED)
    assert [one.name for one in network.layers] == ["twice", "score"]
    assert network.input_shapes == {"data": None}
    assert [tensor.name for tensor in network.outputs] == ["score"]
    assert network.dropped == ["quiet (Silence)", "accuracy (Accuracy)", "loss (SoftmaxWithLoss)"]
    bind_input_shapes(network, [(1, 2, 3, 3)])
    assert (run(import_network(network, None, "net"), {"data": ONES})["score"] == 2).all()


def test_rules_go_by_level_and_stage(tmp_path: Path) -> None:
    rules = [
        "include { min_level: 2 }",
        "include { max_level: 2 stage: 'deploy' }",
        "exclude { stage: 'deploy' }",
        "include { not_stage: 'deploy' } include { min_level: 1 }",
        "exclude { stage: 'deploy' stage: 'other' }",
    ]
    layers = [layer(f"l{i}", "ReLU", "x", f"y{i}", rule) for i, rule in enumerate(rules)]
    network = read(tmp_path, "\n".join(["state { level: 1 stage: 'deploy' }", declared(x=(2,)), *layers]))
    assert [one.name for one in network.layers] == ["l1", "l3", "l4"]


@pytest.mark.parametrize(
    "inputs",
    [
        'input: "x" input: "z" input_dim: 1 input_dim: 2 input_dim: 3 input_dim: 3 '
        "input_dim: 1 input_dim: 2 input_dim: 3 input_dim: 3",
        'input: "x" input: "z" input_shape { dim: 1 dim: 2 dim: 3 dim: 3 } '
        "input_shape { dim: 1 dim: 2 dim: 3 dim: 3 }",
        'layer { name: "i" type: "Input" top: "x" top: "z" '
        "input_param { shape { dim: 1 dim: 2 dim: 3 dim: 3 } } }",
        'layer { name: "d" type: "DummyData" top: "x" top: "z" dummy_data_param { '
        "num: 1 channels: 2 height: 3 width: 3 } }",
    ],
)  # fmt: skip
def test_inputs_in_every_spelling(tmp_path: Path, inputs: str) -> None:
    text = inputs + "\n" + layer("sum", "Eltwise", "x z", "y")
    assert read(tmp_path, text).input_shapes == {"x": (1, 2, 3, 3), "z": (1, 2, 3, 3)}
    assert (run(imported(tmp_path, text), {"x": ONES, "z": ONES})["y"] == 2).all()


def test_every_state_of_a_blob_has_a_name(tmp_path: Path) -> None:
    text = declared(data=(1, 2, 3, 3)) + "".join((
        layer("conv", "Power", "data", "conv", "power_param { shift: -3 }"),
        layer("abs", "AbsVal", "conv", "conv"),
        layer("side", "Power", "conv", "abs", "power_param { scale: 10 }"),
        layer("double", "Power", "conv", "conv", "power_param { scale: 2 }"),
        layer("noise", "Dropout", "conv", "conv"),
        layer("sum", "Eltwise", "conv abs", "sum"),
    ))  # fmt: skip
    found = run(imported(tmp_path, text), {"data": ONES})
    assert {name: float(values[0, 0, 0, 0]) for name, values in found.items()} == {
        "data": 1, "conv_Power": -2, "abs_AbsVal": 2, "abs": 20, "conv": 4, "sum": 24,
    }  # fmt: skip


def test_an_input_written_in_place_keeps_its_name_for_callers(tmp_path: Path) -> None:
    text = declared(data=(2,)) + layer("relu", "ReLU", "data", "data") + layer("abs", "AbsVal", "data", "data")
    assert list(read(tmp_path, text).input_shapes) == ["data"]
    found = run(imported(tmp_path, text), {"data": np.array([-1, 2], np.float32)})
    assert {name: values.tolist() for name, values in found.items()} == {"data": [-1, 2], "relu": [0, 2], "abs": [0, 2]}


def test_the_format_of_2014(tmp_path: Path) -> None:
    text = """
input: "data" input_dim: 1 input_dim: 2 input_dim: 3 input_dim: 3
layers { name: "conv" type: CONVOLUTION bottom: "data" top: "conv" blobs_lr: 1 weight_decay: 1
  convolution_param { num_output: 3 kernel_size: 3 weight_filler { type: "xavier" } } }
layers { name: "relu" type: RELU bottom: "conv" top: "conv" relu_param { negative_slope: 0.5 } }
layers { name: "fc" type: INNER_PRODUCT bottom: "conv" top: "fc" inner_product_param { num_output: 2 } }
layers { name: "loss" type: SOFTMAX_LOSS bottom: "fc" bottom: "label" include { phase: TRAIN } }
layers { name: "prob" type: SOFTMAX bottom: "fc" top: "prob" }
"""
    rng = np.random.default_rng(0)
    shapes = {"conv": [(3, 2, 3, 3), (3,)], "fc": [(2, 3), (2,)]}
    w = {name: [rng.normal(size=shape).astype(np.float32) for shape in each] for name, each in shapes.items()}
    found = run(imported(tmp_path, text, old_caffemodel(w)), {"data": ONES})
    hidden = (w["conv"][0] * ONES).sum((1, 2, 3)) + w["conv"][1]
    score = w["fc"][0] @ np.where(hidden > 0, hidden, 0.5 * hidden) + w["fc"][1]
    np.testing.assert_allclose(found["fc"][0], score, rtol=1e-5)
    np.testing.assert_allclose(found["prob"].sum(), 1, rtol=1e-5)


def test_double_and_legacy_blobs(tmp_path: Path) -> None:
    from formats.caffe.caffe_files import blob, layer_blobs

    text = declared(x=(1, 2)) + layer("fc", "InnerProduct", "x", "y", "inner_product_param { num_output: 1 }")
    blobs = [blob(np.array([[2.0, 3.0]]), legacy=True), blob(np.array([0.5]), double=True)]
    found = run(imported(tmp_path, text, layer_blobs("fc", blobs)), {"x": np.ones((1, 2), np.float32)})
    assert found["y"].item() == 5.5


def test_a_net_cut_at_a_tensor_needs_no_more(tmp_path: Path) -> None:
    text = declared(x=(2,)) + layer("a", "ReLU", "x", "x2") + layer("b", "LSTM", "x2", "y")
    network = read(tmp_path, text)
    cut_outputs(network, ["x2"])
    assert import_network(network, None, "net").output_names == ["x2"]
    with pytest.raises(InputError, match=r"no layer makes the tensor 'x3'.*x2"):
        cut_outputs(network, ["x3"])


@pytest.mark.parametrize(
    ("shapes", "message"),
    [([], "0 shapes for the 1 inputs"), ([(1, 2)], "has 1 dimensions"), ([(1,), (2,)], "2 shapes for the 1 inputs")],
)
def test_input_shapes_fit_the_net(tmp_path: Path, shapes: list[tuple[int, ...]], message: str) -> None:
    with pytest.raises(InputError, match=message):
        bind_input_shapes(read(tmp_path, declared(x=(2,)) + layer("a", "ReLU", "x", "y")), shapes)


def test_all_layers_we_do_not_know_are_named_at_once(tmp_path: Path) -> None:
    text = declared(x=(2,)) + "".join(
        layer(f"l{i}", kind, "x", f"y{i}") for i, kind in enumerate(["Python", "LSTM", "Whatever", "LSTM", "ReLU"])
    )
    with pytest.raises(StepError) as caught:
        imported(tmp_path, text)
    message = str(caught.value)
    assert caught.value.exit_code == 3
    assert "LSTM ×2 (recurrent" in message
    assert "Python ×1 (it runs code" in message
    assert "Whatever ×1" in message
    assert "ReLU" not in message
