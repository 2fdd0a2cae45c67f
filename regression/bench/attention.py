"""INT8 accuracy of networks with attention, by technique, beside onnxruntime's static quantisation of the same.

    python regression/bench/attention.py --data DIR [--nets NAME …] [--recipes NAME …] [--no_peers]
        [--nncf_python PYTHON]

DIR holds models/ and images/ocr_lines/. NNCF wants other versions of our packages: give the Python of an environment
of its own, with nncf, openvino and onnx. Every network is imported, calibrated and lowered by the command-line tools;
what is counted, and on what, is in `attention_data.py`. Prints a Markdown table for each network.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from attention_data import TASKS, Inputs, Task

from stepdown.dialects.op import TensorOp
from stepdown.dialects.program import Program, read_program
from stepdown.dialects.types import shape_of
from stepdown.files.npz import write_npz
from stepdown.runtimes.mlir import MlirRunner

TOOLS = Path(__file__).resolve().parents[2] / "tools"


@dataclass(frozen=True)
class Recipe:
    """What is done besides calibrating by `max` and lowering."""

    smooth: bool = False
    islands: int = 0
    """1: sums before Softmax and LayerNorm, and GELUs, stay float; 2: products that narrow into such sums, too."""
    walk: str = ""


RECIPES = {
    "plain": Recipe(),
    "SmoothQuant": Recipe(smooth=True),
    "islands": Recipe(islands=1),
    "SmoothQuant, islands": Recipe(smooth=True, islands=1),
    "wide islands": Recipe(islands=2),
    "SmoothQuant, wide islands": Recipe(smooth=True, islands=2),
    "SmoothQuant, wide islands, reconstruction": Recipe(smooth=True, islands=2, walk="reconstruct-weights"),
}
PEERS: dict[str, dict[str, Any]] = {
    "onnxruntime QDQ, s8 symmetric": {"activation_type": "QInt8", "extra_options": {"ActivationSymmetric": True}},
    "onnxruntime QDQ, u8 asymmetric": {"activation_type": "QUInt8"},
    "onnxruntime QDQ, u8, products and convolutions alone": {
        "activation_type": "QUInt8", "op_types_to_quantize": ["MatMul", "Gemm", "Conv"],
    },
}  # fmt: skip
NNCF = """
import sys
import nncf, numpy, onnx
source, target, *files = sys.argv[1:]
samples = nncf.Dataset(files, lambda file: dict(numpy.load(file)))
made = nncf.quantize(onnx.load(source), samples, subset_size=len(files), model_type=nncf.ModelType.TRANSFORMER)
onnx.save(made, target)
"""


class Bench:
    """One network with its inputs and float outputs, and a folder for what the tools write."""

    def __init__(self, task: Task, data: Path, folder: Path) -> None:
        self.task, self.folder = task, folder
        self.samples = folder / "calibration"
        self.samples.mkdir()
        for number, given in enumerate(task.calibration()):
            write_npz(self.samples / f"{number:03}.npz", given)
        self.top = folder / "net.mlir"
        _tool("model_transform.py", "--model_name", "net", "--model_def", data / "models" / task.model,
              "--mlir", self.top, *task.flags)  # fmt: skip
        self.given = task.evaluation()
        self.expected = self.run(self.top)
        self._smoothed: Path | None = None

    def run(self, module: Path) -> list[np.ndarray]:
        """Return the outputs of one of our modules."""
        runner = MlirRunner(module)
        return [next(iter(runner.run(given).values())) for given in self.given]

    def lowered(self, recipe: Recipe, asymmetric: bool) -> Path:
        """Return the INT8 module that a recipe makes."""
        top = self.smoothed() if recipe.smooth else self.top
        table, target = top.with_suffix(".table"), self.folder / f"int8_{time.monotonic_ns()}.mlir"
        if not table.exists():
            _tool("run_calibration.py", top, "--dataset", self.samples, "--cali_method", "max", "-o", table)
        symmetry = f"asymmetric={str(asymmetric).lower()}"
        qtable = self.folder / "qtable"
        qtable.write_text("\n".join(sorted({*islands(read_program(top), recipe.islands)})) + "\n")
        walk = [f"--{recipe.walk}=dataset={self.samples} chip=bm1684x {symmetry}"] if recipe.walk else []
        _tool("tpuc-opt", top, f"--import-calibration-table=file={table} {symmetry}", *walk,
              f"--convert-top-to-tpu=mode=INT8 chip=bm1684x {symmetry} qtable={qtable}", "-o", target)  # fmt: skip
        return target

    def smoothed(self) -> Path:
        """Return the float module after SmoothQuant."""
        if self._smoothed is None:
            self._smoothed = self.folder / "smooth.mlir"
            _tool("tpuc-opt", self.top, f"--smooth-quant=dataset={self.samples}", "--dce", "-o", self._smoothed)
        return self._smoothed

    def exported(self) -> Path:
        """Return the float network as ONNX."""
        import onnx

        from stepdown.formats.onnx.exporter import export_program

        path = self.folder / "float.onnx"
        onnx.save(export_program(read_program(self.top), 17), path)
        return path

    def peer(self, **settings: Any) -> list[np.ndarray]:
        """Return the outputs of onnxruntime's static quantisation."""
        from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

        target = self.folder / "qdq.onnx"
        kinds = {"activation_type": getattr(QuantType, settings["activation_type"]), "weight_type": QuantType.QInt8}
        reader = _Reader(self.task.calibration())
        quantize_static(self.exported(), target, reader, QuantFormat.QDQ, per_channel=True, **{**settings, **kinds})
        return self.run_onnx(target)

    def nncf(self, python: Path) -> list[np.ndarray]:
        """Return the outputs of NNCF's quantisation of a transformer, SmoothQuant and bias correction with it."""
        target, files = self.folder / "nncf.onnx", sorted(self.samples.iterdir())
        done = subprocess.run([python, "-c", NNCF, self.exported(), target, *files], capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(done.stderr)
        return self.run_onnx(target)

    def run_onnx(self, model: Path) -> list[np.ndarray]:
        """Return the outputs of an ONNX model."""
        import onnxruntime

        session = onnxruntime.InferenceSession(str(model))
        return [session.run(None, given)[0] for given in self.given]


class _Reader:
    """Gives the calibration inputs one by one, as onnxruntime asks for them."""

    def __init__(self, inputs: Sequence[Inputs]) -> None:
        self._inputs = iter(inputs)

    def get_next(self) -> Inputs | None:
        """Return the next sample, None after the last."""
        return next(self._inputs, None)


def islands(program: Program, level: int) -> Iterator[str]:
    """Yield the lines of the table that keeps ops float."""
    for op in program.ops if level else ():
        users = {use.operation.name for value in op.results for use in value.uses}
        summed = {u.operation for v in op.results for u in v.uses if u.operation.name == "top.Add"}
        sums = {"top.Softmax", "top.LayerNorm"}
        if op.name == "top.LayerNorm" or (op.name == "top.Add" and users & sums) or _in_gelu(op):
            yield f"{op.tensor_name} F32"
        if summed and any(sums & {u.operation.name for u in s.results[0].uses} for s in summed):
            narrows = op.name == "top.MatMul" and _narrows(op)
            if op.name == "top.Where" or (level > 1 and narrows):
                yield f"{op.tensor_name} {'F32' if op.name == 'top.Where' else 'F16'}"


def _narrows(op: TensorOp) -> bool:
    return shape_of(op.operands[0])[-1] > shape_of(op.results[0])[-1] and op.operands[1].owner.name == "top.Weight"  # type: ignore[union-attr]


def _in_gelu(op: TensorOp) -> bool:
    """Tell whether an op belongs to x/2 · (1 + erf(x / √2))."""
    if op.name == "top.Erf":
        return True
    if op.name not in ("top.Mul", "top.Add"):
        return False
    if any(use.operation.name == "top.Erf" for use in op.results[0].uses):
        return True
    above: list[Any] = [op]
    for _ in range(3):
        above = [v.owner for o in above for v in o.operands if v.owner.name in ("top.Mul", "top.Add", "top.Erf")]
        if any(o.name == "top.Erf" for o in above):
            return True
    return False


def _tool(name: str, *arguments: object) -> None:
    """Run one of the tools; what it says is shown where it fails."""
    done = subprocess.run([sys.executable, str(TOOLS / name), *map(str, arguments)], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{name} {' '.join(map(str, arguments))}\n{done.stdout}{done.stderr}")


def measure(bench: Bench, given: argparse.Namespace) -> None:
    """Print the table of one network."""
    task = bench.task
    columns = ("network", "what", *task.columns)
    print(f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}", flush=True)

    def line(what: str, outputs: Sequence[np.ndarray]) -> None:
        print(f"| {' | '.join((task.name, what, *task.judge(bench.expected, outputs)))} |", flush=True)

    for what, settings in PEERS.items() if given.peers else ():
        line(what, bench.peer(**settings))
    if given.nncf_python:
        line("NNCF, transformer", bench.nncf(given.nncf_python))
    for what in given.recipes:
        for asymmetric in (False, True):
            label = f"{what}, {'asymmetric' if asymmetric else 'symmetric'}"
            line(label, bench.run(bench.lowered(RECIPES[what], asymmetric)))
    print()


def main() -> None:
    """Measure the networks and recipes of the command line."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [task.name for task in TASKS]
    options.add_argument("--data", type=Path, required=True, help="folder of models/ and images/ocr_lines/")
    options.add_argument("--nets", nargs="+", choices=names, default=names, help="default: all")
    options.add_argument("--recipes", nargs="*", choices=RECIPES, default=list(RECIPES), help="default: all")
    options.add_argument("--no_peers", dest="peers", action="store_false", help="measure ours alone")
    options.add_argument("--nncf_python", type=Path, help="a Python that has nncf and onnx")
    given = options.parse_args()
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    for kind in TASKS:
        if kind.name in given.nets:
            with tempfile.TemporaryDirectory() as folder:
                measure(Bench(kind(given.data), given.data, Path(folder)), given)


if __name__ == "__main__":
    main()
