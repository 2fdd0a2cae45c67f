"""TOP on onnxruntime: every float32 tensor, as the reference interpreter computes it."""

import numpy as np
import onnx
import pytest

from stepdown.calibration.engines import ORT, REFERENCE, choose_engine
from stepdown.dialects.program import Program
from stepdown.errors import UnsupportedModel
from stepdown.formats.onnx import exporter
from stepdown.formats.onnx.importer import import_model
from stepdown.runtimes import top_onnx
from stepdown.runtimes.top_onnx import TopOnnx

TEXT = """
    <ir_version: 8, opset_import: ["" : 13]>
    g (float[2, 64] x, int64[3] i, float[64, 80] w) => (float[2, 80] y, float[3, 64] r)
    <float[64, 80] k = {KERNEL}> {
        m = MatMul(x, k)  n = MatMul(x, w)  a = Relu(m)  y = Add(a, n)
        t = Gather <axis = 0> (x, i)  r = Neg(t) }"""


def program() -> Program:
    values = ", ".join(str(round(float(v), 3)) for v in np.random.default_rng(1).standard_normal(64 * 80))
    return import_model(onnx.parser.parse_model(TEXT.replace("KERNEL", values)), "net")


def inputs(seed: int = 0) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    x, w = (random.standard_normal(shape).astype(np.float32) for shape in ((2, 64), (64, 80)))
    return {"x": x, "i": np.array([1, 0, 1]), "w": w}


def tensors(engine: object, given: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    seen: dict[str, np.ndarray] = {}
    engine.run(given, lambda name, array: seen.update({name: np.array(array)}))  # type: ignore[attr-defined]
    return seen


@pytest.mark.parametrize("most_copied", [top_onnx._MOST_COPIED_BYTES, 0], ids=["constants", "inputs"])
def test_every_float_tensor_is_told_again_and_again(most_copied: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(top_onnx, "_MOST_COPIED_BYTES", most_copied)
    net = program()
    fast, exact = TopOnnx(net), choose_engine(net, REFERENCE)[1]
    for seed in range(3):
        mine, wanted = tensors(fast, inputs(seed)), tensors(exact, inputs(seed))
        assert set(mine) == {name for name, array in wanted.items() if array.dtype == np.float32}
        for name, array in mine.items():
            np.testing.assert_allclose(array, wanted[name], rtol=1e-5, atol=1e-4, err_msg=name)


def test_large_weights_are_shared_and_not_copied_into_the_model() -> None:
    net = program()
    apart: dict[str, np.ndarray] = {}
    model = exporter.export_program(net, apart=apart)
    assert any(array is net.weights[key] for key, array in apart.items())
    assert model.ByteSize() < 64 * 80 * 4 < exporter.export_program(net).ByteSize()


def test_many_weights_are_inputs_of_the_session(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(top_onnx, "_MOST_COPIED_BYTES", 0)
    taken = onnx.load_from_string(TopOnnx(program())._model).graph
    assert [value.name for value in taken.input if value.name not in {"x", "i", "w"}]
    assert not [constant for constant in taken.initializer if np.prod(constant.dims) > 1024]


def test_the_reference_runs_what_cannot_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    net = program()
    assert choose_engine(net)[0] == ORT
    monkeypatch.delitem(exporter.WRITERS, "Gather")
    assert choose_engine(net)[0] == REFERENCE
    with pytest.raises(UnsupportedModel, match="Gather"):
        choose_engine(net, ORT)
