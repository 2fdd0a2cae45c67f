"""What a processor can do at most: the rate of the instructions of which the kernels are made, from registers alone."""

import ctypes
import shutil
import subprocess
from functools import cache
from pathlib import Path

KINDS = {
    "FMA": ("F32", "fma", 16, "vfmadd231ps %%ymm14,%%ymm15,%%ymm{0}"),
    "FMA, 512 bits": ("F32", "avx512f", 32, "vfmadd231ps %%zmm14,%%zmm15,%%zmm{0}"),
    "pairs of products (vpmaddwd, vpaddd)": (
        "INT8", "avx2", 32, "vpmaddwd %%ymm14,%%ymm15,%%ymm{1}\\n vpaddd %%ymm{1},%%ymm{0},%%ymm{0}"),
    "vpdpbusd, 512 bits": ("INT8", "avx512_vnni", 128, "vpdpbusd %%zmm14,%%zmm15,%%zmm{0}"),
    "vpdpbusd, 256 bits": ("INT8", "avx_vnni", 64, "%{{vex%}} vpdpbusd %%ymm14,%%ymm15,%%ymm{0}"),
    "vdpbf16ps, 512 bits": ("BF16", "avx512_bf16", 64, "vdpbf16ps %%zmm14,%%zmm15,%%zmm{0}"),
}  # fmt: skip
"""By name: the mode, the processor's flag in Linux, operations (a product and a sum are two) and the instruction."""
_SUMS = 10
"""Registers of sums: so many instructions are under way at a time."""
_SOURCE = r"""
#include <time.h>
static double now(void) {{ struct timespec s; clock_gettime(CLOCK_MONOTONIC, &s); return s.tv_sec + 1e-9 * s.tv_nsec; }}
double peak(void) {{
    double least = 1, end = now() + 0.3;
    while (now() < end) {{
        double start = now();
        for (int k = 0; k < 400; k++)
            __asm__ volatile({text} ::: {used});
        double took = now() - start;
        if (took < least) least = took;
    }}
    return 400.0 * {rounds} * {operations} / least / 1e9;
}}
"""


@cache
def flags() -> frozenset[str]:
    """Return what Linux says that the processor has."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return frozenset(next((line.split(":")[1] for line in lines if line.startswith(("flags", "Features"))), "").split())


class NotAssembled(Exception):
    """There is no program of an instruction; the text says why."""


def peaks(work: Path) -> dict[str, tuple[str, float]]:
    """Return by instruction the mode and the most operations in a nanosecond, of those that the processor has.

    What cannot be assembled is named and left out.
    """
    found = {}
    for name, (mode, flag, *_) in KINDS.items():
        if flag in flags():
            try:
                found[name] = (mode, _rate(assembled(name, work)))
            except NotAssembled as why:
                print(f"left out: the most of {name}: {why}")
    return found


def assembled(name: str, work: Path) -> Path:
    """Return a library that has the rate of an instruction measured.

    Raises:
        NotAssembled: there is no gcc, or it does not know the instruction.
    """
    _, _, operations, instruction = KINDS[name]
    text = " ".join(f'"{instruction.format(at, _SUMS + at % 4)}\\n"' for at in range(_SUMS))
    used = ",".join(f'"xmm{at}"' for at in range(14))
    path = work / f"peak{list(KINDS).index(name)}"
    path.with_suffix(".c").write_text(_SOURCE.format(text=text, used=used, rounds=_SUMS, operations=operations))
    if not shutil.which("gcc"):
        raise NotAssembled("gcc is not installed")
    command = ["gcc", "-O2", "-shared", "-fPIC", "-o", str(path.with_suffix(".so")), str(path.with_suffix(".c"))]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise NotAssembled(f"gcc: {ended.stderr.strip()[-200:]}")
    return path.with_suffix(".so")


def _rate(library: Path) -> float:
    function = ctypes.CDLL(str(library)).peak
    function.restype = ctypes.c_double
    return float(function())
