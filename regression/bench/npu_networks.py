"""The networks on which the NPU is judged: imported, calibrated on one input and lowered, each kept in a folder."""

import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

import numpy as np
from calibrated import calibrate
from PIL import Image

from stepdown.cli import model_transform
from stepdown.dialects.program import Program, read_program
from stepdown.dialects.types import Shape
from stepdown.runtimes.mlir import MlirRunner
from stepdown.transforms.convert_top_to_tpu import ConvertTopToTpu

REGRESSION = Path(__file__).resolve().parents[1]
PHOTO = REGRESSION / "image" / "cat.jpg"
MODES = ("F32", "F16", "BF16", "INT8", "INT8 asymmetric")


@dataclass(frozen=True)
class Source:
    """A model file, and the flags that import it; a name without a suffix is a light network with seeded weights."""

    model: str
    flags: tuple[str, ...] = ()


NETWORKS = {
    "mnist_cnn": Source("mnist_cnn.onnx"),
    "resnet8": Source("mlperf_tiny_resnet8_cifar10_fp32.tflite"),
    "vww": Source("mlperf_tiny_vww_mobilenetv1_025_fp32.tflite"),
    "kws": Source("mlperf_tiny_kws_dscnn_fp32.tflite"),
    "ad": Source("mlperf_tiny_ad_autoencoder_fp32.tflite"),
    "mobilenet_v2": Source("mobilenet_v2.onnx", ("--input_shapes", "[[1,3,224,224]]")),
    "efficientnet_lite0": Source("efficientnet_lite0_fp32.tflite"),
    "ssd": Source("ssd_mobilenetv2_oidv4_fp16.tflite"),
    "ppocr_cls": Source("ch_ppocr_mobile_v2.0_cls_infer.onnx", ("--input_shapes", "[[1,3,48,192]]")),
    "ppocr_det": Source("ch_PP-OCRv4_det_infer.onnx", ("--input_shapes", "[[1,3,320,320]]")),
    "light_squeezenet": Source("squeezenet"),
    "light_shufflenet": Source("shufflenet"),
    "light_resnet50": Source("resnet50"),
}


class Networks:
    """Modules of NETWORKS in a work folder; what is there already is read."""

    def __init__(self, models: Path, work: Path) -> None:
        self._models, self._work = models, work
        work.mkdir(parents=True, exist_ok=True)

    def top(self, name: str) -> Program:
        """Return a network in float."""
        return read_program(self._kept(f"{name}.mlir", lambda path: self._import(NETWORKS[name], path)))

    def lowered(self, name: str, mode: str, chip: str) -> Path:
        """Return the module of a network lowered to `F16`, `INT8 asymmetric`, … for a chip of the package."""
        file = f"{name}_{mode.lower().replace(' ', '_')}_{chip}.mlir"
        return self._kept(file, lambda path: self._lower(name, mode, chip, path))

    def _kept(self, name: str, make: Callable[[Path], object]) -> Path:
        path = self._work / name
        if not path.exists():
            make(path)
        return path

    def _import(self, source: Source, path: Path) -> None:
        words = ["--model_name", path.stem, "--model_def", str(self._model(source)), "--mlir", str(path)]
        with redirect_stdout(StringIO()):
            model_transform.run(model_transform.parser().parse_args([*words, *source.flags]))

    def _model(self, source: Source) -> Path:
        if Path(source.model).suffix:
            return next((p for p in (REGRESSION / "model" / source.model, REGRESSION / source.model) if p.exists()),
                        self._models / source.model)  # fmt: skip
        return self._kept(f"light_{source.model}.onnx", lambda path: _write_light(source.model, path))

    def _lower(self, name: str, mode: str, chip: str, path: Path) -> None:
        program = self.top(name)
        if "INT8" in mode:
            calibrate(program, inputs(program))
        ConvertTopToTpu(mode=mode.split()[0], chip=chip, asymmetric="asymmetric" in mode).run(program)
        program.write(path)


def inputs(program: Program, seed: int = 3) -> dict[str, np.ndarray]:
    """Return an input: the photo where there are three channels and room, else random numbers."""
    rng = np.random.default_rng(seed)
    return {spec.name: _input(tuple(size or 1 for size in spec.shape), rng) for spec in MlirRunner(program).inputs()}


def _input(shape: Shape, rng: np.random.Generator) -> np.ndarray:
    if len(shape) != 4 or 3 not in (shape[1], shape[3]):
        return rng.normal(size=shape).astype(np.float32)
    first = shape[1] == 3
    height, width = shape[2:] if first else shape[1:3]
    with Image.open(PHOTO) as photo:
        pixels = np.asarray(photo.convert("RGB").resize((width, height)), np.float32) / 64 - 2
    return np.broadcast_to(pixels.transpose(2, 0, 1) if first else pixels, shape).copy()


def _write_light(name: str, path: Path) -> None:
    """Write a light network of the onnx wheel with seeded weights."""
    import onnx

    sys.path.append(str(REGRESSION / "unit"))
    from light_models import seeded_light_model  # type: ignore[import-not-found]

    onnx.save(seeded_light_model(name), path)
