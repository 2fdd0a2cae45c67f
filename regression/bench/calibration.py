"""Calibration beside other tools' on the same photos, in one run: seconds, CPU seconds, peak memory, ratios.

    python regression/bench/calibration.py --model X.onnx --calibration DIR [--nncf_python PYTHON] [--only WORD …]
        [--repeat N] [--growth] [--flags '--resize_dims 256,256 …']

Every line is a process of its own, start included; runs of different lines alternate. Seconds are wall clock, CPU
seconds those of all its processes, both the median of N runs: on a busy machine the latter mean more. Ratios are to the
first line. Memory is that of all of its processes together, sampled, with shared pages counted once.

Peers read inputs that are prepared, we the photos. NNCF's line is its whole quantisation, onnxruntime's are calibration
alone; nncf_peer.py tells how to get NNCF.

With --growth a network of ResNet-50's size is made, with random weights, and calibrated on 32 and on 1,000 samples:
memory must not differ.
"""

import argparse
import itertools
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
from chain import peak_gflops
from nncf_peer import nncf_command
from resnets import resnet

TOOLS = Path(__file__).resolve().parents[2] / "tools"
FLAGS = (
    "--input_shapes [[1,3,224,224]] --resize_dims 256,256 --pixel_format rgb "
    "--mean 123.675,116.28,103.53 --scale 0.01712475,0.017507,0.01742919"
)
PYTHON = (sys.executable,)
METHODS = ("max", "percentile", "kl", "mse", "auto")
# What a peer's process runs: model, calibration method, npy file of inputs.
PEER = """
import sys
import numpy as np
from onnxruntime.quantization import CalibrationMethod
from onnxruntime.quantization.calibrate import CalibrationDataReader, create_calibrator
import onnxruntime
model, method, inputs, scratch = sys.argv[1:]
photos = np.load(inputs, mmap_mode="r")
name = onnxruntime.InferenceSession(model).get_inputs()[0].name
class Reader(CalibrationDataReader):
    def __init__(self): self.rows = iter(photos)
    def get_next(self):
        row = next(self.rows, None)
        return None if row is None else {name: np.array(row)}
calibrator = create_calibrator(model, augmented_model_path=scratch, calibrate_method=CalibrationMethod[method])
calibrator.collect_data(Reader())
calibrator.compute_data()
"""
FORWARD = """
import sys, time
import numpy as np
import onnxruntime
model, inputs = sys.argv[1:]
session = onnxruntime.InferenceSession(model)
name = session.get_inputs()[0].name
for row in np.load(inputs, mmap_mode="r"):
    session.run(None, {name: np.array(row)})
"""


class Cost(NamedTuple):
    """What a process and those below it took."""

    seconds: float
    cpu_seconds: float
    peak_mib: float


def main() -> None:
    """Print the table."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--model", type=Path, required=True)
    options.add_argument("--calibration", type=Path, required=True)
    options.add_argument("--flags", default=FLAGS, help="of model_transform.py (default: MobileNetV2's)")
    options.add_argument("--nncf_python", type=Path, help="a Python that has nncf and onnx")
    options.add_argument(
        "--only", nargs="+", default=[""], metavar="WORD", help="lines with one of these in their names"
    )
    options.add_argument("--repeat", type=int, default=3)
    options.add_argument("--growth", action="store_true")
    given = options.parse_args()
    print(f"machine: {os.cpu_count()} CPUs, numpy float32 matrix product {peak_gflops():.0f} GFLOP/s")
    if not given.nncf_python:
        print("left out: NNCF, there is no --nncf_python")
    with tempfile.TemporaryDirectory() as folder:
        compare(given, Path(folder))
        if given.growth:
            growth(Path(folder))


def compare(given: argparse.Namespace, folder: Path) -> None:
    """Print ours, the peers', and what a table costs once the sketch is there."""
    module, inputs = folder / "net.mlir", folder / "inputs.npy"
    run([*PYTHON, TOOLS / "model_transform.py", "--model_name", "net", "--model_def", given.model, "--mlir", module,
         *shlex.split(given.flags)])  # fmt: skip
    np.save(inputs, photos(module, given.calibration))
    tool, sketch = [*PYTHON, TOOLS / "run_calibration.py", module], folder / "sketch.npz"
    run([*tool, "--dataset", given.calibration, "--sketch", sketch, "-o", folder / "first"])
    lines = {**peers(given, inputs, folder), **ours([*tool, "--dataset", given.calibration], folder)}
    for method in METHODS:
        lines[f"--from_sketch --cali_method {method}"] = [
            *tool, "--from_sketch", sketch, "--cali_method", method, "-o", folder / method,
        ]  # fmt: skip
    table({name: line for name, line in lines.items() if any(word in name for word in given.only)}, given.repeat)
    if len({path.read_bytes() for path in (folder / "first", *folder.glob("workers_?"))}) > 1:
        sys.exit("the number of workers changes the table")


def ours(command: list[object], folder: Path) -> dict[str, list[object]]:
    """Return the whole of our calibration, by what it is called."""
    return {
        f"run_calibration.py, {count} workers": [*command, "--workers", count, "-o", folder / f"workers_{count}"]
        for count in (1, 2)
    }


def peers(given: argparse.Namespace, inputs: Path, folder: Path) -> dict[str, list[object]]:
    """Return other tools' commands, by what they are called."""
    commands: dict[str, list[object]] = {}
    if given.nncf_python:
        target = folder / "nncf.onnx"
        commands["NNCF, whole quantisation"] = nncf_command(given.nncf_python, given.model, inputs, target)
    commands["onnxruntime, plain forward"] = [*PYTHON, "-c", FORWARD, given.model, inputs]
    for method in ("MinMax", "Entropy"):
        commands[f"onnxruntime {method}"] = [*PYTHON, "-c", PEER, given.model, method, inputs, folder / "peer.onnx"]
    return commands


def table(lines: dict[str, list[object]], repeat: int) -> None:
    """Print the median seconds and the peak memory of every command; the first one is what others are divided by."""
    found: dict[str, list[Cost]] = {what: [] for what in lines}
    for _ in range(repeat):
        for what, command in lines.items():
            found[what].append(run(command))
    print(f"{'what':40} {'s':>7} {'ratio':>6} {'CPU s':>7} {'ratio':>6} {'peak MiB':>9}")
    first: Cost | None = None
    for what, runs in found.items():
        cost = Cost(*(statistics.median(values) for values in zip(*runs, strict=True)))
        first = first or cost
        print(
            f"{what:40} {cost.seconds:7.2f} {cost.seconds / first.seconds:6.2f} {cost.cpu_seconds:7.2f} "
            f"{cost.cpu_seconds / first.cpu_seconds:6.2f} {max(run.peak_mib for run in runs):9.0f}",
            flush=True,
        )


def photos(module: Path, folder: Path) -> np.ndarray:
    """Return the network's inputs [photos, 1, C, H, W]."""
    from stepdown.calibration.samples import SampleReader
    from stepdown.data.dataset import scan_folder
    from stepdown.dialects.program import read_program

    files = scan_folder(folder)
    reader = SampleReader(read_program(module), files)
    return np.stack([next(iter(reader.read(file).values())) for file in files])


def run(command: list[object]) -> Cost:
    """Run a command; return what it took."""
    start, before, peak = time.monotonic(), os.times(), 0.0
    with tempfile.TemporaryFile() as said:
        running = subprocess.Popen([*map(str, command)], stdout=said, stderr=said)
        while running.poll() is None:
            peak = max(peak, memory_mib(running.pid))
            time.sleep(0.1)
        said.seek(0)
        if running.returncode:
            sys.exit(f"{' '.join(map(str, command))[:200]} failed: {said.read().decode()[-300:]}")
    after = os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return Cost(time.monotonic() - start, cpu, peak)


def memory_mib(process: int) -> float:
    """Return the memory of a process and of all below it, a shared page in equal parts (PSS)."""
    try:
        rollup = Path(f"/proc/{process}/smaps_rollup").read_text()
        children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    except (OSError, ValueError):
        return 0.0
    own = next((int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:")), 0) / 1024
    return own + sum(memory_mib(int(child)) for child in children)


def growth(folder: Path) -> None:
    """Print peak memory on 32 and on 1,000 samples of a network of ResNet-50's shapes."""
    import onnx

    from stepdown.files.npz import write_npz

    onnx.save(resnet(50), folder / "resnet50.onnx")
    run([*PYTHON, TOOLS / "model_transform.py", "--model_name", "resnet50", "--model_def", folder / "resnet50.onnx",
         "--mlir", folder / "resnet50.mlir"])  # fmt: skip
    sample = np.random.default_rng(0).standard_normal((1, 3, 224, 224)).astype(np.float32)
    write_npz(folder / "sample.npz", {"x": sample})
    for count, engine, workers in itertools.product((32, 1000), ("ort", "reference"), (1, 2)):
        (folder / "list").write_text("sample.npz\n" * count)
        cost = run([
            *PYTHON, TOOLS / "run_calibration.py", folder / "resnet50.mlir", "--data_list", folder / "list",
            "--workers", workers, "--engine", engine, "-o", folder / "table",
        ])  # fmt: skip
        what = f"ResNet-50's shapes, {count} samples, {engine}, {workers} workers"
        print(f"{what:56} {cost.seconds:7.1f} s {cost.peak_mib:6.0f} MiB", flush=True)


if __name__ == "__main__":
    main()
