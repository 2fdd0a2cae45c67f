"""Networks as machine code beside onnxruntime, one thread, in one process, turn by turn.

    python regression/bench/native.py [--rounds N] [--work FOLDER] [MODEL.onnx …]

For each network and mode: the least and the lower decile of the times of both, their ratio (above 1: ours is faster),
and what the machine can do at most: the rate of the instructions that the kernels are made of, measured in the same
run. INT8 is compared with onnxruntime's u8 × s8 (its s8 × s8 is many times slower).
"""

import argparse
import ctypes
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from calibrated import calibrate

from stepdown.chips import load_chip
from stepdown.cli import model_transform
from stepdown.dialects.program import Program, read_program
from stepdown.native.code import Code
from stepdown.native.library import write_library
from stepdown.native.machine import machine_of
from stepdown.runtimes.mlir import MlirRunner
from stepdown.runtimes.native import NativeRunner
from stepdown.transforms.convert_top_to_tpu import ConvertTopToTpu

REGRESSION = Path(__file__).resolve().parents[1]
MODES = ("INT8", "F32")

PEAK = r"""
#include <time.h>
static double now(void) { struct timespec s; clock_gettime(CLOCK_MONOTONIC, &s); return s.tv_sec + 1e-9 * s.tv_nsec; }
#define P(a, b) "vpmaddwd %%ymm14,%%ymm15,%%ymm" a "\n vpaddd %%ymm" a ",%%ymm" b ",%%ymm" b "\n"
#define F(b) "vfmadd231ps %%ymm14,%%ymm15,%%ymm" b "\n"
#define ALL "ymm0","ymm1","ymm2","ymm3","ymm4","ymm5","ymm6","ymm7","ymm8","ymm9","ymm10","ymm11","ymm12","ymm13"
void peak(double *gops) {
    double pairs = 1, fma = 1;
    for (int r = 0; r < 20000; r++) {
        double start = now();
        for (int k = 0; k < 400; k++)
            __asm__ volatile(P("10", "0") P("11", "1") P("12", "2") P("13", "3")
                             P("10", "4") P("11", "5") P("12", "6") P("13", "7") ::: ALL);
        double middle = now();
        for (int k = 0; k < 400; k++)
            __asm__ volatile(F("0")F("1")F("2")F("3")F("4")F("5")F("6")F("7")F("8")F("9"):::ALL);
        double end = now();
        if (middle - start < pairs) pairs = middle - start;
        if (end - middle < fma) fma = end - middle;
    }
    gops[0] = 400.0 * 8 * 32 / pairs / 1e9;
    gops[1] = 400.0 * 10 * 16 / fma / 1e9;
}
"""


def peaks(work: Path) -> dict[str, float]:
    """Return the most operations in a nanosecond, by mode: sums of pairs of products, and fused multiply-adds."""
    (work / "peak.c").write_text(PEAK)
    subprocess.run(["gcc", "-O2", "-shared", "-fPIC", "-o", work / "peak.so", work / "peak.c"], check=True)
    made = (ctypes.c_double * 2)()
    ctypes.CDLL(str(work / "peak.so")).peak(made)
    return dict(zip(MODES, made, strict=True))


def lowered(top: Program, mode: str, given: dict[str, np.ndarray]) -> None:
    """Calibrate a program on one input and lower it."""
    if mode == "INT8":
        calibrate(top, given)
    ConvertTopToTpu(mode=mode, chip="x86_64").run(top)


def quantised_peer(model: Path, given: dict[str, np.ndarray], work: Path) -> Path:
    """Return the model as onnxruntime quantises it: u8 activations, i8 weights a channel."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Once(CalibrationDataReader):
        def __init__(self) -> None:
            self._left = iter([given])

        def get_next(self) -> dict[str, np.ndarray] | None:  # type: ignore[override]
            return next(self._left, None)

    prepared, target = work / "prepared.onnx", work / f"{model.stem}_u8s8.onnx"
    quant_pre_process(str(model), str(prepared), skip_symbolic_shape=True)
    quantize_static(
        str(prepared), str(target), Once(), quant_format=QuantFormat.QDQ, activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8, per_channel=True,
    )  # fmt: skip
    return target


def session(model: Path, given: dict[str, np.ndarray]) -> Callable[[], object]:
    """Return what runs a model in onnxruntime with one thread."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    made = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    return lambda: made.run(None, given)


def race(first: Callable[[], object], second: Callable[[], object], rounds: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the sorted milliseconds of both, run turn by turn."""
    times = np.zeros((rounds, 2))
    for row in times:
        for at, each in enumerate((first, second)):
            start = time.perf_counter()
            each()
            row[at] = 1e3 * (time.perf_counter() - start)
    return np.sort(times[:, 0]), np.sort(times[:, 1])


def measured(model: Path, mode: str, rounds: int, work: Path, peak: float) -> str:
    """Return one row of the table."""
    name = model.stem
    if not (work / f"{name}.mlir").exists():
        flags = ["--model_name", name, "--model_def", str(model), "--mlir", str(work / f"{name}.mlir")]
        shape = [
            d.dim_value or 1
            for d in onnx.load(model, load_external_data=False).graph.input[0].type.tensor_type.shape.dim
        ]
        model_transform.run(model_transform.parser().parse_args([*flags, "--input_shapes", str([shape])]))
    program = read_program(work / f"{name}.mlir")
    (spec,) = MlirRunner(program).inputs()
    given = {spec.name: np.random.default_rng(0).normal(size=spec.shape).astype(np.float32)}
    lowered(program, mode, given)
    start = time.perf_counter()
    code = Code(program, machine_of(load_chip("x86_64")), "net")
    write_library(code, work / f"{name}_{mode}.so")
    seconds = time.perf_counter() - start
    runner = NativeRunner(work / f"{name}_{mode}.so")
    runner.run(given)
    peer = quantised_peer(model, given, work) if mode == "INT8" else model
    ours, theirs = race(runner._library.run, session(peer, given), rounds)
    macs = sum(op.cost() for op in program.ops)
    low = len(ours) // 10
    size = (work / f"{name}_{mode}.so").stat().st_size
    return (
        f"| {name} | {mode} | {ours[0]:.2f} / {ours[low]:.2f} | {theirs[0]:.2f} / {theirs[low]:.2f} "
        f"| {theirs[0] / ours[0]:.2f} / {theirs[low] / ours[low]:.2f} | {2 * macs / ours[0] / 1e6:.0f} of {peak:.0f} "
        f"| {size / 1e6:.2f} | {code.activations_bytes / 1e6:.2f} | {seconds:.1f} |"
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=[str(REGRESSION / "mobilenet_v2.onnx")])
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--work", default="")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(args.work or folder)
        limits = peaks(work)
        heads = "network", "mode", "ours, ms", "onnxruntime, ms", "ratio", "GOP/s of peak", ".so, MB", "arena, MB"
        print(f"| {' | '.join(heads)} | built in, s |")
        print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
        for model in map(Path, args.models):
            for mode in MODES:
                print(measured(model, mode, args.rounds, work, limits[mode]), flush=True)


if __name__ == "__main__":
    main()
