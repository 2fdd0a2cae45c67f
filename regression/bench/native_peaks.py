"""What a processor can do at most: the rate of the instructions of which the kernels are made, from registers alone."""

import ctypes
import subprocess
from functools import cache
from pathlib import Path

KINDS = {
    "FMA": ("F32", "fma", 16, "vfmadd231ps %%ymm14,%%ymm15,%%ymm{0}"),
    "FMA, 512 bits": ("F32", "avx512f", 32, "vfmadd231ps %%zmm14,%%zmm15,%%zmm{0}"),
    "pairs of products (vpmaddwd, vpaddd)": (
        "INT8", "avx2", 32, "vpmaddwd %%ymm14,%%ymm15,%%ymm{1}\\n vpaddd %%ymm{1},%%ymm{0},%%ymm{0}"),
    "vpdpbusd, 512 bits": ("INT8", "avx512_vnni", 128, "vpdpbusd %%zmm14,%%zmm15,%%zmm{0}"),
    "vpdpbusd, 256 bits": ("INT8", "avx_vnni", 64, "{{vex}} vpdpbusd %%ymm14,%%ymm15,%%ymm{0}"),
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


def peaks(work: Path) -> dict[str, tuple[str, float]]:
    """Return by instruction the mode and the most operations in a nanosecond, of those that the processor has."""
    return {name: (kind[0], _rate(name, work)) for name, kind in KINDS.items() if kind[1] in flags()}


def _rate(name: str, work: Path) -> float:
    _, _, operations, instruction = KINDS[name]
    text = " ".join(f'"{instruction.format(at, _SUMS + at % 4)}\\n"' for at in range(_SUMS))
    used = ",".join(f'"xmm{at}"' for at in range(14))
    source = _SOURCE.format(text=text, used=used, rounds=_SUMS, operations=operations)
    path = work / f"peak{list(KINDS).index(name)}"
    path.with_suffix(".c").write_text(source)
    command = ["gcc", "-O2", "-shared", "-fPIC", "-o", path.with_suffix(".so"), path.with_suffix(".c")]
    subprocess.run([str(word) for word in command], check=True)
    function = ctypes.CDLL(str(path.with_suffix(".so"))).peak
    function.restype = ctypes.c_double
    return float(function())
