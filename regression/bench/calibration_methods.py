"""What INT8 networks are worth by the method that chose their ranges, on samples that the ranges were not taken from.

    python regression/bench/calibration_methods.py --models DIR --calibration DIR [--photos val.txt]
        [--nets NAME …] [--methods NAME …] [--keep DIR]

Two tables a network. In the first, ranges are taken from every second calibration sample, and the others are counted:
a default is chosen by that, over all networks, and by nothing else. In the second, ranges are taken from all of them
and the photos of --photos are counted, for networks that were trained on such: it only tells what came of the choice.
Columns: agreement of the first class with the float network's, where the output is classes; SQNR of the output in dB,
the mean of the samples', and of all as one signal. `tune:METHOD` is METHOD with --tune.
"""

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from accuracy import NETWORKS, Network

from stepdown.calibration.samples import SampleReader
from stepdown.data.dataset import scan_folder
from stepdown.dialects.program import read_program
from stepdown.distributed.engine import run_shards
from stepdown.distributed.job import Arrays
from stepdown.evaluation.photo_list import open_list
from stepdown.files.hashes import sha256_file
from stepdown.runtimes.mlir import MlirRunner
from stepdown.runtimes.top_onnx import TopOnnx

TOOLS = Path(__file__).resolve().parents[2] / "tools"
METHODS = ("max", "percentile", "kl", "mse", "auto")
SYMMETRIES = {"sym": "false", "asym": "true"}
HELD_OUT, ALL = "half", "all"
_IMAGENET = ("--mean", "123.675,116.28,103.53", "--scale", "0.01712475,0.017507,0.01742919")
_HALVES = ("--mean", "127.5,127.5,127.5", "--scale", "0.00784314,0.00784314,0.00784314")


@dataclass(frozen=True)
class Net:
    """A float model up to what its last function is given, and where its samples are, from --calibration."""

    network: Network
    samples: str = "."
    classes: bool = True
    imagenet: bool = False


def _net(model: str, output: str, *flags: str, **settings: Any) -> Net:
    return Net(Network(model, ("--output_names", output, *flags)), **settings)


NETS = {
    **{name: Net(network, imagenet=True) for name, network in NETWORKS.items()},
    "resnet8": _net(
        "mlperf_tiny_resnet8_cifar10_fp32.tflite", "model/model/dense/MatMul;model/model/dense/BiasAdd",
        "--resize_dims", "32,32", "--pixel_format", "rgb", *_HALVES,
    ),
    "vww": _net(
        "mlperf_tiny_vww_mobilenetv1_025_fp32.tflite", "model_1/model/dense/MatMul;model_1/model/dense/BiasAdd",
        "--resize_dims", "96,96", "--pixel_format", "rgb", "--mean", "0,0,0",
        "--scale", "0.00392157,0.00392157,0.00392157",
    ),
    "ppocr_det": _net(
        "ch_PP-OCRv4_det_infer.onnx", "p2o.Add.281", "--input_shapes", "[[1,3,320,320]]", "--resize_dims", "320,320",
        "--pixel_format", "bgr", *_IMAGENET, classes=False,
    ),
    "ppocr_cls": _net(
        "ch_ppocr_mobile_v2.0_cls_infer.onnx", "linear_1.tmp_1", "--input_shapes", "[[1,3,48,192]]", "--resize_dims",
        "48,192", "--pixel_format", "bgr", *_HALVES,
    ),
    "ppocr_rec": _net(
        "ch_PP-OCRv4_rec_infer.onnx", "p2o.Add.277", "--input_shapes", "[[1,3,48,320]]", "--resize_dims", "48,320",
        "--pixel_format", "bgr", *_HALVES, samples="../ocr_lines",
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Logits:
    """The logits of a float module and of lowered ones, photo by photo; for the shard engine."""

    top: Path
    lowered: tuple[Path, ...]
    files: tuple[Path, ...]

    def identity(self) -> Mapping[str, Any]:
        """Return the hashes of modules and photos."""
        return {
            "modules": [sha256_file(p) for p in (self.top, *self.lowered)],
            "files": [*map(sha256_file, self.files)],
        }

    def open(self) -> "LogitsTask":
        """Load the modules."""
        return LogitsTask(self)

    def merge(self, total: Arrays, more: Arrays) -> Arrays:
        """Return [samples, modules, rows, classes] of both."""
        return {"logits": np.concatenate([total["logits"], more["logits"]])}


class LogitsTask:
    """The modules of `Logits`, loaded."""

    def __init__(self, job: Logits) -> None:
        self._files, program = job.files, read_program(job.top)
        self._reader, self._top, self._output = SampleReader(program, job.files), TopOnnx(program), program.output_names
        self._lowered = [MlirRunner(path) for path in job.lowered]

    def run(self, samples: range, on_sample: Callable[[], None]) -> Arrays:
        """Return the logits of some photos."""
        rows = []
        for number in samples:
            rows.append(np.stack([*self._logits(self._reader.read(self._files[number]))]))
            on_sample()
        return {"logits": np.array(rows)}

    def close(self) -> None:
        """Nothing to release."""

    def _logits(self, sample: dict[str, np.ndarray]) -> Iterator[np.ndarray]:
        seen: dict[str, np.ndarray] = {}
        self._top.run(sample, lambda name, array: seen.update({name: array.copy()}) if name in self._output else None)
        yield _rows(seen[self._output[0]])
        for runner in self._lowered:
            (logits,) = runner.run(sample).values()
            yield _rows(logits.astype(np.float32))


def _rows(output: np.ndarray) -> np.ndarray:
    """Return an output as [rows, classes]."""
    return output.reshape(-1, output.shape[-1])


def main() -> None:
    """Print the tables of all networks."""
    given = _options()
    with tempfile.TemporaryDirectory() as folder:
        for net in given.nets:
            _report(net, given, given.keep or Path(folder))


def _options() -> argparse.Namespace:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--models", type=Path, required=True)
    options.add_argument("--calibration", type=Path, required=True)
    options.add_argument("--photos", type=Path, help="list of unseen photos")
    options.add_argument("--nets", nargs="+", choices=NETS, default=list(NETS))
    options.add_argument("--methods", nargs="+", default=METHODS)
    options.add_argument("--keep", type=Path, help="existing folder for modules, sketches, tables and finished shards")
    return options.parse_args()


def _report(net: str, given: argparse.Namespace, folder: Path) -> None:
    samples = scan_folder(given.calibration / NETS[net].samples)
    bench = Bench(net, given.models, folder)
    bench.tables(f"{len(samples) // 2} calibration samples", samples[1::2], samples[::2], HELD_OUT, given.methods)
    if given.photos and NETS[net].imagenet:
        photos = open_list(given.photos).read.files  # type: ignore[attr-defined]
        bench.tables(f"{len(photos)} unseen photos", photos, samples, ALL, given.methods)


@dataclass(frozen=True)
class Bench:
    """A network, where models are, and a folder for what the tools write."""

    net: str
    models: Path
    folder: Path

    def tables(
        self, what: str, counted: Sequence[Path], ranged: Sequence[Path], label: str, methods: Sequence[str]
    ) -> None:
        """Print a row a method and symmetry over `counted`, with ranges from `ranged`."""
        chosen = self.folder / f"{self.net}_{label}.list"
        chosen.write_text("".join(f"{file.resolve()}\n" for file in ranged))
        modules = {f"{m} {s}": self._lowered(m, s, chosen) for m in methods for s in SYMMETRIES}
        job = Logits(self._top, tuple(modules.values()), tuple(counted))
        found = run_shards(job, len(counted), folder=self.folder / "shards", resume=True)["logits"].astype(np.float64)
        print(f"\n{self.net}, {what}\n\n| method | agreement | SQNR dB, mean | SQNR dB, all |\n|---|---|---|---|")
        for number, name in enumerate(modules, 1):
            print(f"| {name} | {_row(found[:, 0], found[:, number], NETS[self.net].classes)} |", flush=True)

    @property
    def _top(self) -> Path:
        """The float module."""
        path, network = self.folder / f"{self.net}.mlir", NETS[self.net].network
        if not path.exists():
            _tool("model_transform.py", "--model_name", self.net, "--model_def", self.models / network.model,
                  "--mlir", path, *network.flags)  # fmt: skip
        return path

    def _lowered(self, method: str, symmetry: str, samples: Path) -> Path:
        """Return the INT8 module of a method, with ranges from a list of samples."""
        table = samples.with_name(f"{samples.stem}_{method.replace(':', '_')}.table")
        sketch, target = samples.with_suffix(".npz"), table.with_name(f"{table.stem}_{symmetry}.mlir")
        given = ["--data_list", samples]
        if not sketch.exists():
            _tool("run_calibration.py", self._top, *given, "--sketch", sketch, "-o", self.folder / "first")
        if not table.exists():
            tune = ["--tune", *given] if method.startswith("tune:") else []
            _tool("run_calibration.py", self._top, "--from_sketch", sketch, "--cali_method",
                  method.removeprefix("tune:"), *tune, "-o", table)  # fmt: skip
        if not target.exists():
            asymmetric = f"asymmetric={SYMMETRIES[symmetry]}"
            _tool("tpuc-opt", self._top, f"--import-calibration-table=file={table} {asymmetric}",
                  f"--convert-top-to-tpu=mode=INT8 chip=bm1684x {asymmetric}", "-o", target)  # fmt: skip
        return target


def _row(reference: np.ndarray, logits: np.ndarray, classes: bool) -> str:
    """Return agreement of the first class, and SQNR, of logits[samples, rows, classes]."""
    if not classes:
        reference, logits = (values.reshape(len(values), 1, -1) for values in (reference, logits))
    agreement = f"{np.mean(reference.argmax(axis=-1) == logits.argmax(axis=-1)):.3f}" if classes else "—"
    signal = np.square(reference - reference.mean(axis=-1, keepdims=True)).sum(axis=(1, 2))
    noise = np.square(logits - reference).sum(axis=(1, 2))
    return f"{agreement} | {np.mean(10 * np.log10(signal / noise)):.2f} | {_db(signal.sum() / noise.sum()):.2f}"


def _db(ratio: float) -> float:
    return float(10 * np.log10(ratio))


def _tool(name: str, *arguments: object) -> None:
    ended = subprocess.run([sys.executable, TOOLS / name, *map(str, arguments)], capture_output=True, text=True)
    if ended.returncode:
        sys.exit(f"{name} failed: {ended.stderr.strip().splitlines()[-1]}")


if __name__ == "__main__":
    main()
