"""The figures by which code for CPUs is judged, but for times: each beside its limit; ends with 1 where one is missed.

Memory of a run, sizes of libraries, time of code generation, bundles of a microcontroller, the C++ runner on a photo.
What this computer lacks for a figure is named and left out.
"""

import argparse
import importlib
import json
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from types import ModuleType

from checkout import PACKAGE, REGRESSION
from native.identity import compared, network
from native.identity_networks import random_inputs
from native.identity_rows import ROWS, Reference, Row, run_row
from native.test_runner_networks import CAT, IMAGENET, probabilities
from native.test_runner_networks import network as compiled_network
from npu.test_networks import quantised
from PIL import Image

from stepdown.chips import load_chip
from stepdown.data.labels import top_k
from stepdown.dialects.program import Program
from stepdown.native.bundle import write_bundle
from stepdown.native.code import Code
from stepdown.native.library import RUNTIME
from stepdown.native.machine import machine_of
from stepdown.transforms.native_io import NativeIo

ARENAS = {"resnet8_cifar10": 32_768, "vww_mobilenetv1_025": 55_296, "kws_dscnn": 16_000, "ad_autoencoder": 768}
"""What the tensors in use together take of the networks of MLPerf Tiny; ResNet-8's are 49,152 where no op is joined."""
PEAK_ROOM = 10 << 20


def _bench() -> ModuleType:
    """Return the networks of the benchmark, whose folder comes last: its native.py has the name of this folder."""
    sys.path.append(str(REGRESSION / "bench"))
    return importlib.import_module("native_networks")


BENCH = _bench()
LeftOut, Networks = BENCH.LeftOut, BENCH.Networks
MACHINE = machine_of(load_chip("x86_64"), BENCH.processor())


@dataclass(frozen=True)
class Figure:
    """What was measured, beside what it may be; `exact` figures have to be just that."""

    what: str
    value: float
    limit: float
    unit: str = ""
    exact: bool = False

    @property
    def met(self) -> bool:
        """Whether it is as it should be."""
        return self.value == self.limit if self.exact else self.value <= self.limit

    def line(self) -> str:
        """Return it as it is printed."""
        sign = "=" if self.exact else "<"
        shown = [f"{n:,.0f}" if float(n).is_integer() else f"{n:.3g}" for n in (self.value, self.limit)]
        return (
            f"{self.what:<64}{shown[0]:>12} {sign} {shown[1]:>12} {self.unit:<8}{'' if self.met else 'MISSED'}".rstrip()
        )


def checked(*command: str | Path, cwd: Path | None = None) -> str:
    """Run a command and return what it prints."""
    ended = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=900, cwd=cwd)
    if ended.returncode:
        raise SystemExit(f"{command[0]} fails: {ended.stderr[-400:]}")
    return ended.stdout


def weight_bytes(program: Program) -> int:
    """Return the bytes of the arrays that a module reads."""
    keys = {op.attributes["key"].data for op in program.ops if op.name == "tpu.Weight"}
    return sum(program.weights[key].nbytes for key in keys)


# --- figures


def memory(networks: Networks, work: Path) -> Iterator[Figure]:
    """Yield the most memory of a C program that runs MobileNetV2."""
    for mode in ("INT8", "F32"):
        library = networks.library("mobilenet_v2", mode)
        code = networks.code("mobilenet_v2", mode)
        program = work / f"peak_{mode}"
        source = REGRESSION / "native" / "peak.c"
        checked("gcc", "-O2", f"-I{RUNTIME}", source, library, f"-Wl,-rpath,{library.parent}", "-o", program)
        held = code.mutable_bytes + code.activations_bytes + code.scratch_bytes + len(code.weights)
        yield Figure(f"peak memory, MobileNetV2 {mode}", int(checked(program)), held + PEAK_ROOM, "bytes")


def sizes(networks: Networks, work: Path) -> Iterator[Figure]:
    """Yield the sizes of libraries beside the weights of their lowered modules."""
    for name in BENCH.NETWORKS:
        for mode in ("INT8", "F32"):
            try:
                networks.top(name)
            except LeftOut as why:
                print(f"library / weights, {name} {mode}: left out: {why}")
                continue
            ratio = networks.library(name, mode).stat().st_size / weight_bytes(networks.lowered(name, mode))
            yield Figure(f"library / weights, {name} {mode}", round(ratio, 3), 1.5)


def generation(networks: Networks, work: Path) -> Iterator[Figure]:
    """Yield the time of a processor in which code of MobileNetV2 is made, from the lowered module to the library."""
    module = work / "lowered.mlir"
    networks.lowered("mobilenet_v2", "INT8").write(module)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    checked(
        sys.executable, REGRESSION.parent / "tools" / "tpuc-opt", module, f"--codegen=model_file={work / 'timed.so'}"
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    yield Figure("time of code generation, MobileNetV2 INT8", round(seconds, 1), 30, "s")


def bundles(networks: Networks, work: Path) -> Iterator[Figure]:
    """Yield what bundles of MLPerf Tiny's networks take of a Cortex-M7, and whether they give the right bytes."""
    (row,) = (row for row in ROWS if row.name == "Cortex-M7")
    for name, arena in ARENAS.items():
        yield from _bundle(row, name, arena, work)
    if lacking := row.missing():
        raise LeftOut(lacking)
    for name in ARENAS:
        yield _emulated(row, name, work)


def _bundle(row: Row, name: str, arena: int, work: Path) -> Iterator[Figure]:
    program = quantised(name)
    NativeIo().run(program)
    code = Code(program, machine_of(load_chip(row.chip)), "net", bundle=True)
    yield Figure(f"arena, {name} on a Cortex-M7", code.mutable_bytes + code.activations_bytes, arena, "bytes", True)
    write_bundle(code, work / "net.o")
    if shutil.which("arm-none-eabi-nm"):
        needed = set(checked("arm-none-eabi-nm", "-u", work / "net.o").split()) - {"U", "memcpy", "memset"}
        yield Figure(f"undefined symbols, {name}", len(needed), 0, "", True)


def _emulated(row: Row, name: str, work: Path) -> Figure:
    column = network(name.split("_")[0], work)
    given = random_inputs(column.module, 2)
    (cell,) = compared(
        column, Reference().runs(column.module, given), [run_row(row, column.module, given, debug=False)]
    )
    assert cell.bytes
    return Figure(f"differing bytes of outputs, {name} in qemu-system-arm", cell.differing, 0, "", True)


def photo(networks: Networks, work: Path) -> Iterator[Figure]:
    """Yield the classes of the C++ runner on the cat as PNG, and how far its probabilities are from Python's."""
    if lacking := [tool for tool in ("cmake", "make", "g++") if not shutil.which(tool)]:
        raise LeftOut(f"{', '.join(lacking)} not installed")
    Image.open(CAT).convert("RGB").save(work / "cat.png")
    checked("cmake", "-S", PACKAGE / "native" / "runner", "-B", work / "runner")
    checked("cmake", "--build", work / "runner")
    labels = PACKAGE / "data" / "imagenet_labels.txt"
    for mode in ("F32", "INT8"):
        library = work / f"photo_{mode}.so"
        runner = compiled_network(library, REGRESSION / "mobilenet_v2.onnx", IMAGENET, mode, MACHINE)
        wanted = top_k(probabilities(runner, IMAGENET, work / "cat.png"))
        printed = checked(work / "runner" / "run_model", library, work / "cat.png", labels, "--json")
        found = json.loads(printed)["top"]
        apart = max(abs(mine["p"] - p) for mine, (_, p) in zip(found, wanted, strict=True))
        yield Figure(f"probabilities of the cat, C++ against Python, {mode}", apart, 1e-5)
        for place, class_ in enumerate((285, 282, 281) if mode == "F32" else (285,), 1):
            yield Figure(f"class {place} of the cat, {mode}", found[place - 1]["id"], class_, "", True)


FIGURES: dict[str, Callable[[Networks, Path], Iterator[Figure]]] = {
    "memory": memory, "sizes": sizes, "generation": generation, "bundles": bundles, "photo": photo,
}  # fmt: skip


def main() -> int:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(FIGURES), help="some of them, with commas")
    parser.add_argument("--models", type=Path, default=BENCH.MODELS, help="folder of the networks' files")
    parser.add_argument("--work", type=Path, help="folder that keeps lowered networks and libraries")
    args = parser.parse_args()
    missed = 0
    with tempfile.TemporaryDirectory() as folder:
        networks = Networks(args.models, args.work or Path(folder) / "networks")
        for name in args.only.split(","):
            missed += _printed(FIGURES[name], networks, Path(folder), name)
    print(f"{missed} missed")
    return int(missed > 0)


def _printed(figures: Callable[[Networks, Path], Iterator[Figure]], networks: Networks, folder: Path, name: str) -> int:
    """Print figures and return how many are missed; of a part that cannot be measured here, why.

    What is said on stderr meanwhile is printed where the part fails.
    """
    missed, said = 0, StringIO()
    try:
        with redirect_stderr(said):
            for figure in figures(networks, folder):
                print(figure.line(), flush=True)
                missed += not figure.met
    except LeftOut as why:
        print(f"{name}: left out: {why}")
    except BaseException:
        print(said.getvalue(), end="", file=sys.stderr)
        raise
    return missed


if __name__ == "__main__":
    sys.exit(main())
