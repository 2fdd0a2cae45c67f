"""The networks on which code for CPUs is judged, as files for ours and for every peer, kept in a work folder."""

import hashlib
import os
import time
from collections.abc import Callable, Iterable
from contextlib import redirect_stdout
from dataclasses import dataclass
from functools import cache
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from calibrated import calibrate
from native_peaks import flags
from npu_networks import inputs
from resnets import resnet

import stepdown.native
from stepdown.chips import load_chip
from stepdown.cli import model_transform
from stepdown.dialects.program import Program, read_program
from stepdown.formats.onnx.exporter import export_program
from stepdown.native.code import Code
from stepdown.native.library import write_library
from stepdown.native.machine import machine_of
from stepdown.transforms.convert_top_to_tpu import ConvertTopToTpu

REGRESSION = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("STEPDOWN_DATA", REGRESSION.parents[1] / "shared" / "data"))
MODELS = DATA / "models" if (DATA / "models").exists() else REGRESSION / "model"
CHIP = "x86_64"


class LeftOut(Exception):
    """Something is not measured; the text says why."""


@dataclass(frozen=True)
class Source:
    """A network: its file in float, and the file that TensorFlow Lite quantised."""

    model: str
    quantised: str = ""
    flags: tuple[str, ...] = ()


NETWORKS = {
    "mobilenet_v2": Source("mobilenet_v2.onnx", "mobilenet_v2_int8.tflite", ("--input_shapes", "[[1,3,224,224]]")),
    "efficientnet_lite0": Source("efficientnet_lite0_fp32.tflite", "efficientnet_lite0_int8.tflite"),
    "resnet18": Source("resnet18"),
    "resnet8": Source("mlperf_tiny_resnet8_cifar10_fp32.tflite", "mlperf_tiny_resnet8_cifar10_int8.tflite"),
    "vww": Source("mlperf_tiny_vww_mobilenetv1_025_fp32.tflite", "mlperf_tiny_vww_mobilenetv1_025_int8.tflite"),
    "kws": Source("mlperf_tiny_kws_dscnn_fp32.tflite", "mlperf_tiny_kws_dscnn_int8.tflite"),
}
"""Of a name without a suffix the weights are random."""


def processor() -> str:
    """Return what LLVM calls the level of this computer's processor."""
    levels = {"avx512_bf16": "cooperlake", "avx512_vnni": "cascadelake", "avx2": "x86-64-v3"}
    return next((level for flag, level in levels.items() if flag in flags()), "x86-64")


@cache
def _version() -> str:
    """Return a name of the code that makes code: a library that it made before is not made again."""
    folder = Path(stepdown.native.__file__).parent
    files = sorted(p for p in folder.rglob("*") if p.suffix in (".py", ".c", ".h", ".toml"))
    return hashlib.sha256(b"".join(p.read_bytes() for p in files)).hexdigest()[:12]


class Networks:
    """The files of NETWORKS in a work folder; what is there already is taken as it is."""

    def __init__(self, models: Path, work: Path) -> None:
        self._models, self._work = models, work
        work.mkdir(parents=True, exist_ok=True)

    def kept(self, name: str, make: Callable[[Path], object]) -> Path:
        """Return a file of the work folder, made if it is not there."""
        path = self._work / name
        if not path.exists():
            make(path)
        return path

    def top(self, name: str) -> Program:
        """Return a network in float."""
        return read_program(self.kept(f"{name}.mlir", lambda path: self._import(name, path)))

    def library(self, name: str, mode: str) -> Path:
        """Return our code; beside it a text says in how many seconds it was made."""
        file = f"{name}_{mode}_{processor()}_{_version()}.so"
        return self.kept(file, lambda path: self._write_library(name, mode, path))

    def onnx(self, name: str) -> Path:
        """Return the network in float as peers read it, channels first."""
        return self.kept(f"{name}_float.onnx", lambda path: _export(self.top(name), path))

    def u8s8(self, name: str) -> Path:
        """Return the network as onnxruntime quantises it: u8 activations, i8 weights a channel, QDQ."""
        return self.kept(f"{name}_u8s8.onnx", lambda path: quantised(self.onnx(name), path))

    def tflite(self, name: str, mode: str) -> Path:
        """Return the file of TensorFlow Lite.

        Raises:
            LeftOut: there is none.
        """
        source = NETWORKS[name]
        file = source.quantised if mode == "INT8" else source.model
        if not file.endswith(".tflite"):
            raise LeftOut("there is no .tflite of it")
        return self._found(file)

    def _found(self, file: str) -> Path:
        places = (self._models / file, REGRESSION / "model" / file, REGRESSION / file)
        found = next((path for path in places if path.exists()), None)
        if found is None:
            raise LeftOut(f"{file} is not in {self._models}; give its folder with --models")
        return found

    def _import(self, name: str, path: Path) -> None:
        source = NETWORKS[name]
        model = self._found(source.model) if Path(source.model).suffix else self.kept(f"{name}.onnx", _save_resnet)
        words = ["--model_name", name, "--model_def", str(model), "--mlir", str(path), *source.flags]
        with redirect_stdout(StringIO()):
            model_transform.run(model_transform.parser().parse_args(words))

    def lowered(self, name: str, mode: str) -> Program:
        """Return a network as the chip computes it."""
        program = self.top(name)
        if mode == "INT8":
            calibrate(program, inputs(program))
        ConvertTopToTpu(mode=mode, chip=CHIP).run(program)
        return program

    def code(self, name: str, mode: str, each_apart: bool = False) -> Code:
        """Return our code for this computer."""
        program = self.lowered(name, mode)
        return Code(program, machine_of(load_chip(CHIP), processor()), "net", each_apart=each_apart)

    def _write_library(self, name: str, mode: str, path: Path) -> None:
        start = time.perf_counter()
        write_library(self.code(name, mode), path)
        path.with_suffix(".seconds").write_text(f"{time.perf_counter() - start:.1f}")


def _save_resnet(path: Path) -> None:
    onnx.save(resnet(int(path.stem.removeprefix("resnet"))), path)


def _export(program: Program, path: Path) -> None:
    """Write a program as ONNX; an input that is turned channels first is given so, as peers like it best."""
    model = export_program(program, 17)
    graph, (given,) = model.graph, model.graph.input
    (first,) = [node for node in graph.node if given.name in node.input]
    if first.op_type == "Transpose":
        order = list(first.attribute[0].ints)
        sizes = [given.type.tensor_type.shape.dim[at].dim_value for at in order]
        for size, dim in zip(sizes, given.type.tensor_type.shape.dim, strict=True):
            dim.dim_value = size
        _rename(graph, first.output[0], given.name)
        graph.node.remove(first)
    onnx.save(model, path)


def _rename(graph: Any, old: str, new: str) -> None:
    for node in graph.node:
        node.input[:] = [new if name == old else name for name in node.input]


def given_of(model: Path) -> dict[str, np.ndarray]:
    """Return the input of an ONNX model of peers: that of ours, in its order of dimensions."""
    (given,) = onnx.load(model, load_external_data=False).graph.input
    shape = tuple(dim.dim_value for dim in given.type.tensor_type.shape.dim)
    return {given.name: sample(shape)}


def sample(shape: tuple[int, ...]) -> np.ndarray:
    """Return an input that is the same for both orders of dimensions: of four, channels are the first inner or last."""
    last = len(shape) == 4 and shape[3] in (1, 3)
    first = (shape[0], shape[3], *shape[1:3]) if last else shape
    made = np.random.default_rng(3).normal(size=first).astype(np.float32)
    return np.ascontiguousarray(made.transpose(0, 2, 3, 1)) if last else made


def quantised(model: Path, target: Path, samples: Iterable[dict[str, np.ndarray]] = ()) -> None:
    """Write a model as onnxruntime's own tools quantise it: u8 activations, i8 weights a channel.

    Its ranges are those of the samples, or of one random input, by MinMax.
    """
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Samples(CalibrationDataReader):
        def __init__(self) -> None:
            self._left = iter(samples or [given_of(model)])

        def get_next(self) -> dict[str, np.ndarray] | None:  # type: ignore[override]
            return next(self._left, None)

    prepared = target.with_suffix(".prepared")
    quant_pre_process(str(model), str(prepared), skip_symbolic_shape=True)
    quantize_static(
        str(prepared), str(target), Samples(), quant_format=QuantFormat.QDQ, activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8, per_channel=True,
    )  # fmt: skip
    prepared.unlink()
