"""Speed of the chain's steps against its peers, in one run: medians, ratios, and what the machine can do.

    python regression/bench/chain.py [--repeat N]

Prints ours, the peer's, the ratio ours ÷ peer, and the matrix-product rate numpy reaches on this machine.
"""

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

REGRESSION = Path(__file__).resolve().parents[1]
TOOLS = REGRESSION.parent / "tools"
FLAGS = [
    "--input_shapes", "[[1,3,224,224]]", "--resize_dims", "256,256", "--mean", "123.675,116.28,103.53",
    "--scale", "0.0171,0.0175,0.0174", "--pixel_format", "rgb",
]  # fmt: skip


def main() -> None:
    """Run the benchmarks in a temporary folder."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--repeat", type=int, default=7, help="timed runs of each side (default 7)")
    repeat = options.parse_args().repeat
    print(f"machine: numpy float32 matrix product {peak_gflops():.0f} GFLOP/s")
    print(f"{'what':34} {'ours ms':>9} {'peer ms':>9} {'ratio':>6}  peer")
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        shutil.copy(REGRESSION / "mobilenet_v2.onnx", work)
        prepare(work)
        for what, ours, peer, name in benchmarks(work):
            report(what, ours, peer, name, repeat)


def benchmarks(work: Path) -> list[tuple[str, Callable[[], object], Callable[[], object], str]]:
    """Return what is measured: name, ours, the peer's, the peer's name."""
    image = dict(np.load(REGRESSION / "mobilenet_v2_in_f32.npz"))
    onnx = ort_run(work / "mobilenet_v2.onnx", image)
    return [
        ("npz_tool.py --help", lambda: tool("npz_tool.py", "--help"), bare_python, "python -c pass"),
        ("model_transform.py with validation", lambda: transform(work), bare_onnxsim, "onnxsim on the same model"),
        ("TOP reference, an image", runner(work / "net.mlir", image), onnx, "onnxruntime f32"),
        ("INT8 reference, an image", runner(work / "net_int8_sym_bm1684x.mlir", image), onnx, "onnxruntime f32"),
    ]


def prepare(work: Path) -> None:
    """Make the modules that are run."""
    transform(work)
    tool(
        "run_calibration.py",
        str(work / "net.mlir"),
        "--dataset",
        str(REGRESSION / "image"),
        "--input_num",
        "4",
        "-o",
        str(work / "table"),
    )
    tool(
        "model_deploy.py",
        "--mlir",
        str(work / "net.mlir"),
        "--quantize",
        "INT8",
        "--chip",
        "bm1684x",
        "--calibration_table",
        str(work / "table"),
    )


def transform(work: Path) -> None:
    """Import MobileNetV2 and compare every tensor with onnxruntime."""
    tool(
        "model_transform.py", "--model_name", "net", "--model_def", str(work / "mobilenet_v2.onnx"), *FLAGS,
        "--test_input", str(REGRESSION / "image" / "cat.jpg"), "--test_result", str(work / "top.npz"),
        "--mlir", str(work / "net.mlir"),
    )  # fmt: skip


def tool(name: str, *arguments: str) -> None:
    """Run a tool of the project; its failure ends the benchmark."""
    subprocess.run([sys.executable, str(TOOLS / name), *arguments], check=True, capture_output=True)


def bare_python() -> None:
    """Start Python and do nothing."""
    subprocess.run([sys.executable, "-c", "pass"], check=True)


def bare_onnxsim() -> None:
    """Simplify the same model with onnxsim alone."""
    code = f"import onnx, onnxsim; onnxsim.simplify(onnx.load({str(REGRESSION / 'mobilenet_v2.onnx')!r}))"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def runner(path: Path, image: dict[str, np.ndarray]) -> Callable[[], object]:
    """Return a run of a module on the reference interpreter."""
    from stepdown.runtimes import open_runner

    opened = open_runner(path)
    return lambda: opened.run(image)


def ort_run(path: Path, image: dict[str, np.ndarray]) -> Callable[[], object]:
    """Return a run of a model in onnxruntime."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return lambda: session.run(None, image)


def report(what: str, ours: Callable[[], object], peer: Callable[[], object], name: str, repeat: int) -> None:
    """Time both sides in turn and print their medians."""
    times: tuple[list[float], list[float]] = ([], [])
    for side in (ours, peer):
        side()
    for _ in range(repeat):
        for side, taken in zip((ours, peer), times, strict=True):
            start = time.perf_counter()
            side()
            taken.append(1000 * (time.perf_counter() - start))
    a, b = (statistics.median(taken) for taken in times)
    print(f"{what:34} {a:9.1f} {b:9.1f} {a / b:6.2f}  {name}")


def peak_gflops() -> float:
    """Return the best rate of a large float32 matrix product."""
    a = np.ones((1024, 1024), np.float32)
    best = min(timed(lambda: a @ a) for _ in range(5))
    return 2 * 1024**3 / best / 1e9


def timed(run: Callable[[], object]) -> float:
    """Return the seconds of one call."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
