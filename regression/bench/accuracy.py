"""Accuracy of INT8 networks by technique, alone and together, beside other tools' on the same photos in one run.

    python regression/bench/accuracy.py --models DIR --calibration DIR --photos val.txt [--nets NAME …]
        [--recipes NAME …] [--no_peers] [--nncf_python PYTHON]

Every network is imported, calibrated and lowered by the command-line tools. Nothing looks at the photos of --photos (a
list, `file class` a line) before the last step, which counts. Prints a Markdown table: agreement of the first class
with the float network's, SQNR of the logits in dB (mean of the photos', and of all as one signal), and top-1.
`--models` holds the networks of NETWORKS. Peers that are not there are left out; nncf_peer.py tells how to get NNCF.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from accuracy_peers import PEERS, PeerTask, exported, run_onnx

from stepdown.data.dataset import scan_folder
from stepdown.data.preprocess import Preprocess
from stepdown.evaluation.photo_list import open_list

TOOLS = Path(__file__).resolve().parents[2] / "tools"
BOTH = (False, True)


@dataclass(frozen=True)
class Network:
    """A float model, the flags that import it up to its logits, and the peer's file that another tool quantised."""

    model: str
    flags: tuple[str, ...]
    quantised: str = ""


@dataclass(frozen=True)
class Recipe:
    """What is done besides calibrating and lowering; `{samples}` stands for the calibration photos' folder."""

    float_passes: tuple[str, ...] = ()
    """On the float module, before it is calibrated."""
    calibration: tuple[str, ...] = ()
    passes: tuple[str, ...] = ()
    """On the calibrated module, before it is lowered."""


NETWORKS = {
    "mobilenet_v2": Network(
        "mobilenet_v2.onnx",
        ("--input_shapes", "[[1,3,224,224]]", "--resize_dims", "256,256", "--pixel_format", "rgb",
         "--mean", "123.675,116.28,103.53", "--scale", "0.01712475,0.017507,0.01742919"),
        "mobilenet_v2_int8.tflite",
    ),
    "efficientnet_lite0": Network(
        "efficientnet_lite0_fp32.tflite",
        ("--resize_dims", "256,256", "--pixel_format", "rgb", "--mean", "127,127,127",
         "--scale", "0.0078125,0.0078125,0.0078125", "--resize_method", "bicubic",
         "--output_names", "model/dense/MatMul;model/dense/BiasAdd"),
        "efficientnet_lite0_int8.tflite",
    ),
}  # fmt: skip
_MAX = ("--cali_method", "max")
_TUNED = (*_MAX, "--tune", "--tune_num", "50")
_SHIFTED = ("--shift-channels=dataset={samples}",)
_EQUAL = ("--equalize-channels=dataset={samples}", "--dce")
_EQUAL_BEFORE = ("--equalize-channels=dataset={samples} rounding=0.1", "--dce")
_WALK = "dataset={samples} chip=bm1684x {symmetry}"
_RECONSTRUCTED = (f"--reconstruct-weights={_WALK}",)
RECIPES = {
    "plain": Recipe(),
    "ranges by max": Recipe(calibration=_MAX),
    "tuned ranges": Recipe(calibration=_TUNED),
    "bias correction": Recipe(calibration=_MAX, passes=(f"--correct-bias={_WALK}",)),
    "weight reconstruction": Recipe(calibration=_MAX, passes=_RECONSTRUCTED),
    "channel shifts": Recipe((*_SHIFTED, "--dce"), _MAX),
    "channel equalisation": Recipe(_EQUAL, _MAX),
    "shifts, equalisation": Recipe((*_SHIFTED, *_EQUAL), _MAX),
    "equalisation, bias correction": Recipe(_EQUAL, _MAX, (f"--correct-bias={_WALK}",)),
    "equalisation, weight reconstruction": Recipe(_EQUAL_BEFORE, _MAX, _RECONSTRUCTED),
    "equalisation, tuned ranges, weight reconstruction": Recipe(_EQUAL_BEFORE, _TUNED, _RECONSTRUCTED),
    "all": Recipe((*_SHIFTED, *_EQUAL_BEFORE), _TUNED, _RECONSTRUCTED),
}
"""Weights have a scale a channel in all of them."""


@dataclass(frozen=True)
class Result:
    """Counts over the photos."""

    agreement: float
    mean_db: float
    pooled_db: float
    top1: int


class Bench:
    """One network with its photos, its float logits, and a folder for what the tools write."""

    def __init__(self, name: str, given: argparse.Namespace, folder: Path) -> None:
        self.name, self.network, self.folder = name, NETWORKS[name], folder
        self.samples, self.jobs = given.calibration.resolve(), given.jobs
        self.source = given.models / self.network.model
        self.top = folder / f"{name}.mlir"
        _tool("model_transform.py", "--model_name", name, "--model_def", self.source, "--mlir", self.top,
              *self.network.flags)  # fmt: skip
        self.labelled = open_list(given.photos)
        self.photos = self._prepared("photos", self.labelled.read.files)  # type: ignore[attr-defined]
        self.calibration = self._prepared("calibration", scan_folder(self.samples))
        self._calibrated: dict[tuple[tuple[str, ...], ...], tuple[Path, Path]] = {}
        self.float_logits = run_onnx(exported(self.top, folder), self.photos)

    def _prepared(self, name: str, files: Sequence[Path]) -> Path:
        """Return an npy file of the network's inputs [photos, …]."""
        from stepdown.dialects.program import read_program
        from stepdown.dialects.types import shape_of

        program = read_program(self.top)
        attributes = next(iter(program.preprocessing.values()))
        prepare = Preprocess.from_attributes(attributes, shape_of(program.input_ops[0].results[0]))
        path = self.folder / f"{self.name}_{name}.npy"
        np.save(path, np.stack([prepare.preprocess_file(file) for file in files]))
        return path

    def logits(self, model: Path) -> np.ndarray:
        """Return the logits [photos, classes] of one of our modules, from `jobs` processes."""
        count = len(self.labelled.labels)
        parts = [(model, self.photos, range(i, count, self.jobs)) for i in range(self.jobs)]
        found = np.empty((count, 1000), np.float64)
        with ProcessPoolExecutor(self.jobs, get_context("spawn")) as pool:
            for (_, _, rows), part in zip(parts, pool.map(_run_part, parts), strict=True):
                found[rows] = part
        return found

    def lowered(self, recipe: Recipe, asymmetric: bool) -> Path:
        """Return the INT8 module that a recipe makes."""
        key = (recipe.float_passes, recipe.calibration)
        if key not in self._calibrated:
            self._calibrated[key] = self._calibrate(recipe)
        top, table = self._calibrated[key]
        target = self.folder / f"{self.name}_{time.monotonic_ns()}.mlir"
        symmetry = f"asymmetric={str(asymmetric).lower()}"
        _tool("tpuc-opt", top, f"--import-calibration-table=file={table} {symmetry}",
              *(p.replace("{symmetry}", symmetry) for p in self._filled(recipe.passes)),
              f"--convert-top-to-tpu=mode=INT8 chip=bm1684x {symmetry}", "-o", target)  # fmt: skip
        return target

    def _calibrate(self, recipe: Recipe) -> tuple[Path, Path]:
        """Return the float module that a recipe makes and its table, which serve both symmetries."""
        stem, top = self.folder / f"{self.name}_{time.monotonic_ns()}", self.top
        if recipe.float_passes:
            top = Path(f"{stem}_float.mlir")
            _tool("tpuc-opt", self.top, *self._filled(recipe.float_passes), "-o", top)
        _tool("run_calibration.py", top, "--dataset", self.samples, *recipe.calibration, "-o", f"{stem}.table")
        return top, Path(f"{stem}.table")

    def _filled(self, passes: Iterable[str]) -> list[str]:
        return [text.replace("{samples}", str(self.samples)) for text in passes]

    def judge(self, logits: np.ndarray) -> Result:
        """Return how logits compare with the float network's."""
        reference, classes = self.float_logits, logits.argmax(axis=1)
        signal = np.square(reference - reference.mean(axis=1, keepdims=True)).sum(axis=1)
        noise = np.square(logits - reference).sum(axis=1)
        with np.errstate(divide="ignore"):
            mean_db = float(np.mean(10 * np.log10(signal / noise)))
            pooled_db = float(10 * np.log10(signal.sum() / noise.sum()))
        accepted = self.labelled.accepted or [{label} for label in self.labelled.labels]
        top1 = sum(int(c) in right for c, right in zip(classes, accepted, strict=True))
        return Result(float(np.mean(classes == reference.argmax(axis=1))), mean_db, pooled_db, top1)


def _run_part(part: tuple[Path, Path, range]) -> np.ndarray:
    """Return the logits of some photos; one process of a pool."""
    from stepdown.runtimes.mlir import MlirRunner

    model, inputs, rows = part
    runner, photos = MlirRunner(model), np.load(inputs, mmap_mode="r")
    name, output = runner.inputs()[0].name, runner.outputs()[0].name
    return np.stack([runner.run({name: np.array(photos[row])})[output].reshape(-1) for row in rows])


def _tool(name: str, *arguments: object) -> None:
    """Run one of the tools; what it says is shown where it fails."""
    done = subprocess.run([sys.executable, str(TOOLS / name), *map(str, arguments)], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{name} {' '.join(map(str, arguments))}\n{done.stdout}{done.stderr}")


def table_row(bench: Bench, what: str, measure: Callable[[], np.ndarray]) -> None:
    """Print a line of the table."""
    start = time.monotonic()
    result = bench.judge(measure())
    count, seconds = len(bench.labelled.labels), time.monotonic() - start
    print(f"| {bench.name} | {what} | {result.agreement:.3f} | {result.mean_db:.2f} | {result.pooled_db:.2f} "
          f"| {result.top1 / count:.3f} ({result.top1}) | {seconds:.0f} |", flush=True)  # fmt: skip


def run_network(name: str, given: argparse.Namespace, folder: Path) -> None:
    """Print the lines of one network: float, peers, and our recipes."""
    bench = Bench(name, given, folder)
    table_row(bench, "float", lambda: bench.float_logits)
    quantised = given.models / bench.network.quantised
    task = PeerTask(bench.top, quantised, bench.calibration, bench.photos, folder, given.nncf_python)
    for peer in PEERS.values() if given.peers else ():
        if peer.available(task):
            table_row(bench, peer.name, lambda peer=peer: peer.logits(task))  # type: ignore[misc]
    for what in given.recipes or RECIPES:
        for asymmetric in BOTH:
            label = f"{what}, {'asymmetric' if asymmetric else 'symmetric'}"
            table_row(bench, label, lambda w=what, a=asymmetric: bench.logits(bench.lowered(RECIPES[w], a)))  # type: ignore[misc]


def main() -> None:
    """Measure the networks and recipes of the command line."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--models", type=Path, required=True, help="folder of the models")
    options.add_argument("--calibration", type=Path, required=True, help="folder of unlabelled photos")
    options.add_argument("--photos", type=Path, required=True, help="list of labelled photos, `file class` a line")
    options.add_argument("--nets", nargs="+", choices=NETWORKS, default=list(NETWORKS), help="default: all")
    options.add_argument("--recipes", nargs="*", choices=RECIPES, help="default: all")
    options.add_argument("--no_peers", dest="peers", action="store_false", help="measure ours alone")
    options.add_argument("--nncf_python", type=Path, help="a Python that has nncf and onnx")
    options.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes that evaluate")
    given = options.parse_args()
    os.environ["OPENBLAS_NUM_THREADS"] = "1"  # of the pool's processes, which are as many as there are cores
    print("| network | what | agreement | SQNR, mean | SQNR, pooled | top-1 | s |\n|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for name in given.nets:
            run_network(name, given, Path(folder))


if __name__ == "__main__":
    main()
