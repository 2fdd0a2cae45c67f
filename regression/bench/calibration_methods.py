"""What INT8 networks are worth by the method that chose their ranges: agreement and SQNR against the float network.

    python regression/bench/calibration_methods.py --models DIR --calibration DIR --photos val.txt
        [--nets NAME …] [--methods NAME …] [--check N] [--keep DIR]

Ranges are taken once, as sketches, from the photos of --calibration. Two tables are printed. The first, over N of those
same photos, is what a default method may be chosen by. The second, over the photos of --photos, only tells what came
of it: nothing is ever chosen by them.
"""

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from accuracy import NETWORKS

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
METHODS = ("max", "percentile", "kl", "mse")
SYMMETRIES = {"sym": "false", "asym": "true"}


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
        """Return [photos, modules, classes] of both."""
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
        yield seen[self._output[0]].reshape(-1)
        for runner in self._lowered:
            (logits,) = runner.run(sample).values()
            yield logits.astype(np.float32).reshape(-1)


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
    options.add_argument("--photos", type=Path, required=True)
    options.add_argument("--nets", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    options.add_argument("--methods", nargs="+", default=METHODS)
    options.add_argument("--check", type=int, default=40, help="calibration photos that are counted (default 40)")
    options.add_argument("--keep", type=Path, help="existing folder for modules, sketches, tables and finished shards")
    return options.parse_args()


def _report(net: str, given: argparse.Namespace, folder: Path) -> None:
    modules = {f"{m} {s}": _lowered(net, m, s, given, folder) for m in given.methods for s in SYMMETRIES}
    every = -(-len(scan_folder(given.calibration)) // given.check)
    photos = {
        "calibration photos": scan_folder(given.calibration)[::every],
        "unseen photos": open_list(given.photos).read.files,  # type: ignore[attr-defined]
    }
    for what, files in photos.items():
        job = Logits(folder / f"{net}.mlir", tuple(modules.values()), tuple(files))
        logits = run_shards(job, len(files), folder=folder / "shards", resume=True)["logits"].astype(np.float64)
        print(
            f"\n{net}, {len(files)} {what}\n\n| method | agreement | SQNR dB, mean | SQNR dB, all |\n|---|---|---|---|"
        )
        for number, name in enumerate(modules, 1):
            print(f"| {name} | {_row(logits[:, 0], logits[:, number])} |", flush=True)


def _row(reference: np.ndarray, logits: np.ndarray) -> str:
    """Return agreement of the first class, and SQNR, of logits[photos, classes]."""
    agreement = np.mean(reference.argmax(axis=1) == logits.argmax(axis=1))
    signal = np.square(reference - reference.mean(axis=1, keepdims=True)).sum(axis=1)
    noise = np.square(logits - reference).sum(axis=1)
    return f"{agreement:.3f} | {np.mean(10 * np.log10(signal / noise)):.2f} | {_db(signal.sum() / noise.sum()):.2f}"


def _db(ratio: float) -> float:
    return float(10 * np.log10(ratio))


def _lowered(net: str, method: str, symmetry: str, given: argparse.Namespace, folder: Path) -> Path:
    """Return the INT8 module of a method; `tune:METHOD` is METHOD with --tune."""
    top, table = folder / f"{net}.mlir", folder / f"{net}_{method.replace(':', '_')}.table"
    target = table.with_name(f"{table.stem}_{symmetry}.mlir")
    if not top.exists():
        network = NETWORKS[net]
        _tool("model_transform.py", "--model_name", net, "--model_def", given.models / network.model, "--mlir", top,
              *network.flags)  # fmt: skip
    sketch = folder / f"{net}_sketch.npz"
    if not sketch.exists():
        _tool("run_calibration.py", top, "--dataset", given.calibration, "--sketch", sketch, "-o", folder / "first")
    if not table.exists():
        tune = ["--tune", "--dataset", given.calibration] if method.startswith("tune:") else []
        _tool("run_calibration.py", top, "--from_sketch", sketch, "--cali_method", method.removeprefix("tune:"), *tune,
              "-o", table)  # fmt: skip
    if not target.exists():
        asymmetric = f"asymmetric={SYMMETRIES[symmetry]}"
        _tool("tpuc-opt", top, f"--import-calibration-table=file={table} {asymmetric}",
              f"--convert-top-to-tpu=mode=INT8 chip=bm1684x {asymmetric}", "-o", target)  # fmt: skip
    return target


def _tool(name: str, *arguments: object) -> None:
    ended = subprocess.run([sys.executable, TOOLS / name, *map(str, arguments)], capture_output=True, text=True)
    if ended.returncode:
        sys.exit(f"{name} failed: {ended.stderr.strip().splitlines()[-1]}")


if __name__ == "__main__":
    main()
