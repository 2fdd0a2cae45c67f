"""What code may use of a processor, as the library asks the processor for it before it runs.

Sources: Intel 64 and IA-32 Architectures Software Developer's Manual, CPUID; AMD64 Architecture Programmer's Manual,
volume 3, appendix E; Linux, elf_hwcaps of arm64 and riscv.
"""

from dataclasses import dataclass

from stepdown.native.machine import Machine

_AVX, _AVX512 = 0x6, 0xE6
"""Registers that the system must keep, as bits of XCR0: SSE and AVX; with masks and the upper halves of AVX-512."""
_EXTENDED = 0x80000001
_HWCAP, _HWCAP2 = 16, 26


@dataclass(frozen=True)
class Need:
    """A feature, and where a processor says that it has it.

    On x86 a bit of the register `word` (eax, ebx, ecx, edx) that CPUID gives for `leaf` and `part`, and the registers
    that the system must keep; elsewhere a bit of the entry `leaf` of Linux's auxiliary vector.
    """

    name: str
    leaf: int
    part: int
    word: int
    bit: int
    state: int = 0

    def row(self) -> str:
        """Return the feature as a row of the table in C."""
        return f'    {{"{self.name}", {self.leaf:#x}, {self.part}, {self.word}, {self.bit}, {self.state:#x}}},'


_FEATURES = {
    "x86": (
        Need("sse3", 1, 0, 2, 0), Need("ssse3", 1, 0, 2, 9), Need("sse4.1", 1, 0, 2, 19), Need("sse4.2", 1, 0, 2, 20),
        Need("sse4a", _EXTENDED, 0, 2, 6),
        Need("movbe", 1, 0, 2, 22), Need("popcnt", 1, 0, 2, 23), Need("lzcnt", _EXTENDED, 0, 2, 5),
        Need("avx", 1, 0, 2, 28, _AVX), Need("f16c", 1, 0, 2, 29, _AVX), Need("fma", 1, 0, 2, 12, _AVX),
        Need("bmi", 7, 0, 1, 3), Need("bmi2", 7, 0, 1, 8), Need("avx2", 7, 0, 1, 5, _AVX),
        Need("xop", _EXTENDED, 0, 2, 11, _AVX), Need("fma4", _EXTENDED, 0, 2, 16, _AVX),
        Need("tbm", _EXTENDED, 0, 2, 21), Need("gfni", 7, 0, 2, 8), Need("avxvnni", 7, 1, 0, 4, _AVX),
        Need("avx512f", 7, 0, 1, 16, _AVX512), Need("avx512cd", 7, 0, 1, 28, _AVX512),
        Need("avx512dq", 7, 0, 1, 17, _AVX512), Need("avx512bw", 7, 0, 1, 30, _AVX512),
        Need("avx512vl", 7, 0, 1, 31, _AVX512), Need("avx512vnni", 7, 0, 2, 11, _AVX512),
        Need("avx512bf16", 7, 1, 0, 5, _AVX512), Need("avx512fp16", 7, 0, 3, 23, _AVX512),
        Need("avx512ifma", 7, 0, 1, 21, _AVX512), Need("avx512vbmi", 7, 0, 2, 1, _AVX512),
        Need("avx512vbmi2", 7, 0, 2, 6, _AVX512), Need("avx512bitalg", 7, 0, 2, 12, _AVX512),
        Need("avx512vpopcntdq", 7, 0, 2, 14, _AVX512),
    ),
    "aarch": (
        Need("dotprod", _HWCAP, 0, 0, 20), Need("fullfp16", _HWCAP, 0, 0, 10), Need("sve", _HWCAP, 0, 0, 22),
        Need("i8mm", _HWCAP2, 0, 0, 13), Need("bf16", _HWCAP2, 0, 0, 14),
        Need("sve2", _HWCAP2, 0, 0, 1),
    ),
    "riscv": (Need("v", _HWCAP, 0, 0, ord("v") - ord("a")),),
}  # fmt: skip
"""By how a triple begins, the features that compilers use for plain code, older ones first."""


def needs_of(machine: Machine) -> list[Need]:
    """Return what code for a processor may use beside what all of its kind have."""
    own = next((needs for begin, needs in _FEATURES.items() if machine.triple.startswith(begin)), ())
    has = machine.features_among(need.name for need in own)
    return [need for need in own if need.name in has]
