"""The ways to compute of the bit-identity matrix, each made of the same lowered file by `--codegen`.

A library runs in this process, a model file on the simulator, and a bundle in a program of native/examples,
which an emulator runs where its processor is another one.
"""

import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import stepdown.native
from stepdown.dialects.program import read_program
from stepdown.native.passes.codegen import Codegen
from stepdown.runtimes.bmodel import BmodelRunner
from stepdown.runtimes.mlir import MlirRunner
from stepdown.runtimes.native import NativeRunner, as_dumped, as_stored
from stepdown.runtimes.runner import Tensors

EXAMPLES = Path(stepdown.native.__file__).parent / "examples"
AARCH64, RISCV64 = ("aarch64-linux-gnu-gcc", "-static"), ("riscv64-linux-gnu-gcc", "-static")
CORTEX_M = (
    "arm-none-eabi-gcc", "-mcpu=cortex-m7", "-mthumb", "-mfloat-abi=hard", "-mfpu=fpv5-d16", "-ffreestanding",
    "-nostdlib", "-fno-tree-loop-distribute-patterns", "-Wl,-z,noexecstack",
)  # fmt: skip
MPS2 = ("qemu-system-arm", "-M", "mps2-an500", "-nographic", "-semihosting", "-kernel")
BOCHS = "bochs"


class NotEmulated(Exception):
    """The code has what the emulator runs wrongly; the text says what."""


@dataclass(frozen=True)
class Row:
    """A way to compute: a chip and a processor, the flag of this processor that it needs; of a bundle what links it,
    and what runs it.
    """

    name: str
    chip: str
    processor: str = ""
    features: str = ""
    flag: str = ""
    link: tuple[str, ...] = ()
    emulator: tuple[str, ...] = ()

    @property
    def is_simulator(self) -> bool:
        """Whether it is a machine of ours."""
        return self.chip == "bm1684x"

    @property
    def is_slow(self) -> bool:
        """Whether a large network takes minutes there; Bochs, where one instruction does 64 products, takes seconds."""
        return bool(self.emulator) and self.emulator[0] != BOCHS

    def missing(self) -> str:
        """Return what this machine lacks, '' where nothing."""
        flags = Path("/proc/cpuinfo").read_text().split() if Path("/proc/cpuinfo").exists() else []
        if self.flag and self.flag not in flags:
            return f"this processor has no {self.flag}"
        tools = (*self.link[:1], *self.emulator[:1])
        return next((f"{tool} is not installed" for tool in tools if not shutil.which(tool)), "")

    def runs(self, module: Path, given: Sequence[Tensors], folder: Path, debug: bool = True) -> Iterator[Tensors]:
        """Yield all tensors of each run, by name; without `debug` those that a network keeps."""
        return (self._bundle if self.link else self._file)(module, given, folder, debug)

    def _made(self, module: Path, target: Path, debug: bool) -> None:
        debug = debug and not self.is_simulator  # a model file of an NPU has all tensors
        Codegen(str(target), self.chip, self.processor, self.features, debug).run(read_program(module))

    def _file(self, module: Path, given: Sequence[Tensors], folder: Path, debug: bool) -> Iterator[Tensors]:
        target = folder / ("network.bmodel" if self.is_simulator else "network.so")
        self._made(module, target, debug)
        runner = BmodelRunner(target) if self.is_simulator else NativeRunner(target)
        try:
            for tensors in given:
                yield runner.run(tensors, "all")
        finally:
            runner.close()

    def _bundle(self, module: Path, given: Sequence[Tensors], folder: Path, debug: bool) -> Iterator[Tensors]:
        code = folder / ("network.c" if self.chip == "c" else "network.o")
        self._made(module, code, debug)
        described = metadata(code.with_suffix(".h"))
        (folder / "input.bin").write_bytes(b"".join(_stored(described, module, tensors) for tensors in given))
        self._run_linked(code, folder)
        made = np.fromfile(folder / "output.bin", np.uint8)
        at = 0
        for _ in given:
            dumped = {}
            for tensor in described["tensors"]:
                if tensor["role"] == "input":
                    continue
                dumped[tensor["name"]] = as_dumped(made[at : at + tensor["bytes"]], tensor)
                at += tensor["bytes"]
            yield dumped
        assert at == made.size

    def _run_linked(self, code: Path, folder: Path) -> None:
        if self.emulator[:1] == (BOCHS,):
            script = EXAMPLES / "x86_bare" / "run.sh"
            _checked(["bash", str(script), code.stem, *self.emulator[1:]], folder, refuses=3)
            return
        bare = self.emulator == MPS2
        parts = EXAMPLES / "cortex_m"
        sources = (
            [parts / f"{name}.c" for name in ("main", "startup", "semihosting")]
            if bare
            else [EXAMPLES / "run_bundle.c"]
        )
        script = ["-T", str(parts / "mps2_an500.ld")] if bare else []
        names = ["-DSD_NETWORK=network", "-DSD_UPPER=NETWORK"]
        flags = ["-O2", "-ffp-contract=off", *script, f"-I{folder}", *names, *map(str, sources), str(code)]
        program = folder / "run"
        _checked([*self.link, *flags, *(["-lgcc"] if bare else []), "-o", str(program)], folder)
        arguments = [] if bare else ["input.bin", "output.bin"]
        _checked([*self.emulator, str(program), *arguments], folder)


def _checked(command: list[str], folder: Path, refuses: int = 0) -> None:
    ended = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=3600, check=False)
    if refuses and ended.returncode == refuses:
        raise NotEmulated(ended.stderr.strip().split("error: ")[-1])
    if ended.returncode:
        raise SystemExit(f"{command[0]} fails: {ended.stderr[-400:]}")


def metadata(header: Path) -> dict:
    """Return what the header of a bundle says of the network."""
    (text,) = re.findall(r'_METADATA "(.*)"$', header.read_text(), re.MULTILINE)
    plain = re.sub(rb"\\([0-7]{3}|.)", _unescaped, text.encode())
    return json.loads(plain)


def _unescaped(found: re.Match[bytes]) -> bytes:
    letter = found[1]
    return bytes([int(letter, 8)]) if len(letter) == 3 else letter


def _stored(described: dict, module: Path, tensors: Tensors) -> bytes:
    """Return the bytes of the inputs as the network takes them."""
    kinds = {tensor["name"]: tensor for tensor in described["tensors"]}
    return b"".join(
        as_stored(tensors[given_as], given_as, kinds[name], str(module)).tobytes()
        for name, given_as in described["inputs"].items()
    )


class Reference:
    """The interpreter, in the place of a row."""

    name = "reference"

    def runs(self, module: Path, given: Sequence[Tensors]) -> Iterator[Tensors]:
        """Yield all tensors of each run, by name."""
        runner = MlirRunner(read_program(module))
        for tensors in given:
            yield runner.run(tensors, "all")


def newer_x86(name: str, processor: str, flag: str, emulated: str) -> Row:
    """Return a row that runs on this processor where it has the flag, else on one that Bochs emulates."""
    here = Row(name, "x86_64", processor, flag=flag)
    if not here.missing() or not shutil.which(BOCHS):
        return here
    return Row(name, "x86_64", processor, link=("gcc",), emulator=(BOCHS, emulated))


ROWS = (
    Row("simulator bm1684x", "bm1684x"),
    Row("x86-64 SSE2", "x86_64", "x86-64", flag="sse2"),
    Row("x86-64 AVX2", "x86_64", "x86-64-v3", flag="avx2"),
    newer_x86("x86-64 AVX-512", "skylake-avx512", "avx512bw", "corei7_skylake_x"),
    newer_x86("x86-64 VNNI", "cascadelake", "avx512_vnni", "corei7_icelake_u"),
    Row("x86-64 bundle", "x86_64", "x86-64", flag="sse2", link=("gcc",)),
    Row("C gcc -O2", "c"),
    Row("C gcc -O0 bundle", "c", link=("gcc", "-O0")),
    Row("aarch64 A53", "aarch64", "cortex-a53", link=AARCH64, emulator=("qemu-aarch64", "-cpu", "cortex-a53")),
    Row("aarch64 A76", "aarch64", "cortex-a76", link=AARCH64, emulator=("qemu-aarch64", "-cpu", "max")),
    Row("aarch64 C", "c", link=AARCH64, emulator=("qemu-aarch64",)),
    Row("riscv64 GC", "riscv64", link=RISCV64, emulator=("qemu-riscv64",)),
    Row("riscv64 GCV", "riscv64", features="+m,+a,+f,+d,+c,+v,+zvl128b", link=RISCV64,
        emulator=("qemu-riscv64", "-cpu", "rv64,v=true,vlen=128,vext_spec=v1.0")),
    Row("riscv64 C", "c", link=RISCV64, emulator=("qemu-riscv64",)),
    Row("Cortex-M7", "cortex_m7", link=CORTEX_M, emulator=MPS2),
    Row("Cortex-M7 C", "c", link=CORTEX_M, emulator=MPS2),
)  # fmt: skip


def run_row(row: Row, module: Path, given: Sequence[Tensors], debug: bool = True) -> Iterator[Tensors]:
    """Yield all tensors of each run in a folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        yield from row.runs(module, given, Path(folder), debug)
