"""The same bits everywhere: every integer tensor of networks on many processors, as a matrix of differing bytes.

A row is a way to compute, a column a network; each cell compares all tensors of all inputs with the reference
interpreter. Processors that this machine neither is nor can emulate are named and left out. Ends with 1 where a byte
differs.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from npu.test_networks import QUANTISED, calibrate, inputs, mnist, quantised, resnet8
from targets import lowering

from stepdown.chips import load_chip
from stepdown.dialects.program import Program
from stepdown.native.bundle import write_bundle
from stepdown.native.code import Code
from stepdown.native.machine import Machine, machine_of
from stepdown.numerics.quantize import DTYPES
from stepdown.runtimes.mlir import MlirRunner

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Row:
    """A way to compute: a chip and a processor, what links for it, what runs it, and the flag it needs here.

    One without a system has its own start and reaches our files by semihosting.
    """

    name: str
    chip: str
    processor: str = ""
    features: str = ""
    link: tuple[str, ...] = ("gcc",)
    emulator: tuple[str, ...] = ()
    flag: str = ""
    bare: bool = False

    @property
    def harness(self) -> list[str]:
        """What is compiled and linked with the bundle."""
        if not self.bare:
            return [str(HERE / "dump.c")]
        return [
            "-ffreestanding",
            "-nostdlib",
            "-nostartfiles",
            "-T",
            str(HERE / "cortex_m.ld"),
            str(HERE / "cortex_m.c"),
        ]

    def command(self, binary: Path, files: list[str]) -> list[str]:
        """Return what runs it; on a bare machine it knows the names of the files."""
        return [*self.emulator, str(binary)] if self.bare else [*self.emulator, str(binary), *files]


CORTEX_M7 = (
    "arm-none-eabi-gcc",
    "-mcpu=cortex-m7",
    "-mthumb",
    "-mfloat-abi=hard",
    "-mfpu=fpv5-d16",
    "-Wl,-z,noexecstack",
)
MPS2 = (
    "qemu-system-arm",
    "-M",
    "mps2-an500",
    "-nographic",
    "-semihosting-config",
    "enable=on,target=native",
    "-kernel",
)
AARCH64 = ("aarch64-linux-gnu-gcc", "-static")
RISCV64 = ("riscv64-linux-gnu-gcc", "-static")
ROWS = (
    Row("C, gcc", "c"),
    Row("C, gcc -O0", "c", link=("gcc", "-O0")),
    Row("x86-64", "x86_64", "x86-64", flag="sse2"),
    Row("x86-64 AVX2", "x86_64", "x86-64-v3", flag="avx2"),
    Row("x86-64 VNNI", "x86_64", "cascadelake", flag="avx512_vnni"),
    Row("aarch64 A53", "aarch64", "cortex-a53", link=AARCH64, emulator=("qemu-aarch64", "-cpu", "cortex-a53")),
    Row("aarch64 A76", "aarch64", "cortex-a76", link=AARCH64, emulator=("qemu-aarch64", "-cpu", "max")),
    Row("aarch64 C", "c", link=AARCH64, emulator=("qemu-aarch64",)),
    Row("riscv64 gc", "riscv64", link=RISCV64, emulator=("qemu-riscv64",)),
    Row("riscv64 gcv", "riscv64", features="+m,+a,+f,+d,+c,+v,+zvl128b", link=RISCV64,
        emulator=("qemu-riscv64", "-cpu", "rv64,v=true,vlen=128,vext_spec=v1.0")),
    Row("riscv64 C", "c", link=RISCV64, emulator=("qemu-riscv64",)),
    Row("Cortex-M7", "cortex_m7", link=CORTEX_M7, emulator=MPS2, bare=True),
    Row("Cortex-M7 C", "c", link=CORTEX_M7, emulator=MPS2, bare=True),
)  # fmt: skip


def networks() -> dict[str, Program]:
    """Return the lowered networks by name."""
    made = {}
    for name, build, mode in (("mnist", mnist, "INT8 asymmetric"), ("resnet8", resnet8, "INT8")):
        program = build()
        calibrate(program, inputs(program))
        lowering(mode, "x86_64").run(program)
        made[name] = program
    return made | {f"{name} (tflite)": quantised(name) for name in QUANTISED}


def missing(row: Row) -> str:
    """Return what this machine lacks to compute a row, '' where nothing."""
    flags = Path("/proc/cpuinfo").read_text().split() if Path("/proc/cpuinfo").exists() else []
    if row.flag and row.flag not in flags:
        return f"this processor has no {row.flag}"
    return next((f"no {tool}" for tool in (row.link[0], *row.emulator[:1]) if not shutil.which(tool)), "")


def differing(program: Program, row: Row, samples: int, seed: int = 1) -> tuple[int, int]:
    """Return how many bytes of integer tensors differ, and of how many."""
    machine = machine_of(load_chip(row.chip), row.processor, row.features)
    code = Code(program, machine, "net", keep_all=True)
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        binary = _linked(code, machine, row, work)
        rng = np.random.default_rng(seed)
        counts = [_compared(code, binary, row, work, _given(program, rng)) for _ in range(samples)]
    return sum(apart for apart, _ in counts), sum(total for _, total in counts)


def _linked(code: Code, machine: Machine, row: Row, work: Path) -> Path:
    source = work / ("net.c" if machine.is_c else "net.o")
    write_bundle(code, source)
    sizes = {"RUN": "net_run", "WEIGHTS": len(code.weights), "MUTABLE": code.mutable_bytes,
             "ACTIVATIONS": code.activations_bytes}  # fmt: skip
    defined = [f"-D{name}={value}" for name, value in sizes.items()]
    command = [row.link[0], "-O2", "-ffp-contract=off", *row.link[1:], *defined, *row.harness, str(source)]
    libraries = ["-lgcc"] if row.bare else ["-lm"]
    subprocess.run([*command, *libraries, "-o", str(work / "dump")], check=True, capture_output=True)
    return work / "dump"


def _given(program: Program, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Return random inputs in the type that the network stores."""
    given = {}
    for op in program.input_ops:
        (spec,) = (s for s in MlirRunner(program).inputs() if s.name == op.operands[0].location.desc.data)
        if str(spec.info.type) in DTYPES and "f32" not in str(op.results[0].type).split("!")[0]:
            limits = np.iinfo(DTYPES[spec.info.type])
            given[spec.name] = rng.integers(limits.min, limits.max + 1, spec.shape).astype(DTYPES[spec.info.type])
        else:
            given[spec.name] = rng.normal(size=spec.shape).astype(np.float32)
    return given


def _compared(code: Code, binary: Path, row: Row, work: Path, given: dict[str, np.ndarray]) -> tuple[int, int]:
    memory = np.zeros(code.mutable_bytes, np.uint8)
    for op, place in zip(code.program.input_ops, code.network.inputs, strict=True):
        raw = given[op.operands[0].location.desc.data].reshape(-1).view(np.uint8)
        where = code.where(place)
        memory[where.offset : where.offset + raw.size] = raw
    (work / "weights.bin").write_bytes(code.weights)
    (work / "memory.bin").write_bytes(memory.tobytes())
    files = [str(work / name) for name in ("weights.bin", "memory.bin", "result.bin")]
    subprocess.run(row.command(binary, files), check=True, capture_output=True, timeout=600, cwd=work)
    result = np.fromfile(files[2], np.uint8)
    wanted = MlirRunner(code.program).run(given, "all")
    apart = total = 0
    for name, (value, held) in code.network.tensors.items():
        if held.tensor.type in ("i8", "u8", "i32") and name in wanted and (where := code.where(held.place)):
            start = where.offset + (code.mutable_bytes if where.memory == "activations" else 0)
            mine = result[start : start + held.tensor.bytes]
            other = _lying(wanted[name], value, held.tensor.order)
            apart, total = apart + int((mine != other).sum()), total + other.size
    return apart, total


def _lying(array: np.ndarray, value: object, order: tuple[int, ...]) -> np.ndarray:
    """Return a dumped tensor as it lies in memory, as bytes."""
    from stepdown.dialects.op import layout_of

    back = layout_of(value)
    stored = array.transpose(np.argsort(back)) if back else array
    return np.ascontiguousarray(stored.transpose(order)).reshape(-1).view(np.uint8)


def main() -> int:
    """Print the matrix."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=5)
    parser.add_argument("--only", default="", help="rows whose names hold this text")
    args = parser.parse_args()
    programs = networks()
    print(f"{'differing bytes':<18}" + "".join(f"{name:>30}" for name in programs))
    worst = 0
    for row in ROWS:
        if args.only not in row.name:
            continue
        if why := missing(row):
            print(f"{row.name:<18}left out: {why}")
            continue
        counts = [differing(program, row, args.samples) for program in programs.values()]
        worst = max(worst, *(apart for apart, _ in counts))
        print(f"{row.name:<18}" + "".join(f"{f'{apart} of {total}':>30}" for apart, total in counts), flush=True)
    print("identical" if not worst else "NOT identical")
    return int(worst > 0)


if __name__ == "__main__":
    sys.exit(main())
