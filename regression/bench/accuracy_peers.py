"""INT8 networks of other tools, for `accuracy.py`: onnxruntime's static quantisation, NNCF, TensorFlow's files.

Those with QuantizeLinear and DequantizeLinear are run as they are written, each operator in float between two of them:
onnxruntime's fused integer kernels saturate sums of two products on processors without VNNI, which is no fault of the
network (MobileNetV2 loses 6 dB by it).
"""

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from nncf_peer import run_nncf


@dataclass(frozen=True)
class PeerTask:
    """What a peer gets: the float module, a file quantised elsewhere, inputs as npy files, and a folder to write in."""

    top: Path
    quantised: Path
    calibration: Path
    photos: Path
    folder: Path
    nncf_python: Path | None = None


@dataclass(frozen=True)
class Peer:
    """A tool in one setting; `logits` returns [photos, classes]."""

    name: str
    logits: Callable[[PeerTask], np.ndarray]
    available: Callable[[PeerTask], bool]


class _Reader:
    """Gives the calibration inputs one by one, as onnxruntime asks for them."""

    def __init__(self, name: str, path: Path) -> None:
        self._name, self._inputs, self._next = name, np.load(path, mmap_mode="r"), 0

    def get_next(self) -> dict[str, np.ndarray] | None:
        """Return the next sample, None after the last."""
        if self._next == len(self._inputs):
            return None
        self._next += 1
        return {self._name: np.array(self._inputs[self._next - 1])}


def onnxruntime_peer(name: str, **settings: Any) -> Peer:
    """Return quantize_static with `settings`, weights by channel unless they say otherwise."""

    def logits(task: PeerTask) -> np.ndarray:
        import onnxruntime
        from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

        plain = exported(task.top, task.folder)
        target = plain.with_name(f"{plain.stem}_qdq.onnx")
        types = {k: getattr(QuantType, settings.get(k, "QInt8")) for k in ("activation_type", "weight_type")}
        given = {"per_channel": True, "quant_format": QuantFormat.QDQ, **_method(settings), **types}
        extra = settings.get("extra_options", {})
        first = onnxruntime.InferenceSession(str(plain)).get_inputs()[0].name
        quantize_static(str(plain), str(target), _Reader(first, task.calibration), extra_options=extra, **given)
        return run_onnx(target, task.photos, fused=False)

    return Peer(name, logits, lambda task: importlib.util.find_spec("onnxruntime") is not None)


def nncf_peer(name: str, **settings: object) -> Peer:
    """Return nncf.quantize with `settings`."""

    def logits(task: PeerTask) -> np.ndarray:
        assert task.nncf_python is not None
        plain = exported(task.top, task.folder)
        target = plain.with_name(f"{plain.stem}_nncf.onnx")
        run_nncf(task.nncf_python, plain, task.calibration, target, **settings)
        return run_onnx(target, task.photos, fused=False)

    return Peer(name, logits, lambda task: task.nncf_python is not None)


def _method(settings: dict[str, Any]) -> dict[str, Any]:
    from onnxruntime.quantization import CalibrationMethod

    kept = {k: v for k, v in settings.items() if k == "per_channel"}
    return kept | {"calibrate_method": getattr(CalibrationMethod, settings.get("calibrate_method", "MinMax"))}


def exported(top: Path, folder: Path) -> Path:
    """Return the float network as ONNX, its batch normalisations folded."""
    import onnx

    from stepdown.dialects.program import read_program
    from stepdown.formats.onnx.exporter import export_program

    path = folder / f"{top.stem}_float.onnx"
    onnx.save(export_program(read_program(top), 13), path)
    return path


def run_onnx(path: Path, photos: Path, fused: bool = True) -> np.ndarray:
    """Return the first output [photos, …] of a network on onnxruntime."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    if not fused:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    name, inputs = session.get_inputs()[0].name, np.load(photos, mmap_mode="r")
    return np.stack([session.run(None, {name: np.array(x)})[0].reshape(-1) for x in inputs])


def _tflite_logits(task: PeerTask) -> np.ndarray:
    """Run the quantised file on LiteRT's built-in kernels; logits are what its last Softmax reads."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    interpreter = Interpreter(
        str(task.quantised), experimental_preserve_all_tensors=True,
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )  # fmt: skip
    interpreter.allocate_tensors()
    source, name = interpreter.get_input_details()[0], _logits_name(task.quantised)
    wanted = next(d for d in interpreter.get_tensor_details() if d["name"] == name)
    rows = []
    for x in np.load(task.photos, mmap_mode="r"):
        placed = x if x.shape == tuple(source["shape"]) else x.transpose(0, 2, 3, 1)
        scale, zero_point = source["quantization"]
        stored = np.clip(np.rint(placed / np.float32(scale)) + zero_point, -128, 127).astype(np.int8)
        interpreter.set_tensor(source["index"], stored)
        interpreter.invoke()
        scale, zero_point = wanted["quantization"]
        rows.append((interpreter.get_tensor(wanted["index"]).reshape(-1).astype(np.float64) - zero_point) * scale)
    return np.stack(rows)


def _logits_name(path: Path) -> str:
    """Return the name of the tensor that the network's last op reads where that is a Softmax, else its output's."""
    from stepdown.dialects.op import value_name
    from stepdown.formats.tflite.importer import import_tflite
    from stepdown.formats.tflite.loader import load_tflite

    last = import_tflite(load_tflite(path), path.stem).results[0].owner
    while last.name in ("top.Softmax", "top.Dequantize"):
        last = last.operands[0].owner
    return value_name(last.results[0])


_PEERS = (
    onnxruntime_peer("onnxruntime QDQ, s8 asymmetric, MinMax"),
    onnxruntime_peer("onnxruntime QDQ, u8 asymmetric, MinMax", activation_type="QUInt8"),
    onnxruntime_peer("onnxruntime QDQ, s8 symmetric, MinMax", extra_options={"ActivationSymmetric": True}),
    onnxruntime_peer("onnxruntime QDQ, s8 asymmetric, Percentile", calibrate_method="Percentile"),
    nncf_peer("NNCF", preset="performance"),
    nncf_peer("NNCF, mixed", preset="mixed"),
    nncf_peer("NNCF, full bias correction", preset="performance", fast_bias_correction=False),
    nncf_peer("NNCF, mixed, full bias correction", preset="mixed", fast_bias_correction=False),
    Peer("TensorFlow INT8 on LiteRT", _tflite_logits, lambda task: task.quantised.is_file()),
)
PEERS = {peer.name: peer for peer in _PEERS}
