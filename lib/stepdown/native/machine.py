"""What a kernel must know of the processor that it is written for, as LLVM knows it."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from stepdown.chips import Chip
from stepdown.errors import InputError
from stepdown.native.effort import STANDARD, Effort
from stepdown.native.schedules import Schedule, Schedules, shipped

_REGISTER_BYTES = (
    ("avx512bw", 64), ("avx2", 32), ("sse2", 16), ("neon", 16), ("v", 16),
)  # fmt: skip
"""The widest vector registers by feature, the first that a processor has."""
_DOTS = (
    ("avx512vnni", "quads_u8"), ("avxvnni", "quads_u8"), ("avx2", "pairs"), ("sse2", "pairs"), ("dotprod", "quads_s8"),
)  # fmt: skip
"""By feature, the instruction that sums products of neighbouring integers."""

SUMS = ("f32", "f64")
"""How f16 and bf16 are summed: in f32 where there are vectors, or in f64 everywhere, with the reference's bits."""


@dataclass(frozen=True)
class Machine:
    """A processor: its name for LLVM, and what its chip says of memory."""

    triple: str
    processor: str
    features: tuple[str, ...] = ()
    abi: str = ""
    scratch_bytes: int = 1 << 16
    language: str = "llvm"
    effort: Effort = STANDARD
    shares: bool = False
    """Whether several threads may share the work of a kernel."""
    schedules: Schedules = field(default_factory=dict[str, Schedule], compare=False)
    """How the work of kernels is cut where their rules do not decide."""
    sums: str = "f32"
    """One of SUMS."""

    @cached_property
    def target(self) -> Any:
        """TVM's target."""
        from tvm.target import Target

        if self.language == "c":
            return Target({"kind": "c"})
        described: dict[str, Any] = {"kind": "llvm", "mtriple": self.triple, "mcpu": self.processor}
        if self.features:
            described["mattr"] = list(self.features)
        if self.abi:
            described["mfloat-abi"] = self.abi
        described["opt-level"] = OPT_LEVELS[self.effort.makes_vectors]
        if not self.triple.startswith(tuple(_FAMILIES)):
            described["vector-width"] = 128  # of a processor without vectors, which TVM would warn of
        return Target(described)

    @property
    def is_c(self) -> bool:
        """Whether the code is C, where loops are left to the compiler."""
        return self.language == "c"

    @cached_property
    def _known(self) -> frozenset[str]:
        """The features that the processor has, in LLVM's words."""
        return self.features_among(next((n for begin, n in _FAMILIES.items() if self.triple.startswith(begin)), ()))

    def features_among(self, names: Iterable[str]) -> frozenset[str]:
        """Return those of some features, in LLVM's words, that code for the processor may use."""
        from tvm.target.codegen import target_has_features

        return frozenset() if self.is_c else frozenset(n for n in names if target_has_features(n, self.target))

    @property
    def register_bytes(self) -> int:
        """Bytes of a vector register; of an element where there are none. C compilers make vectors of such loops."""
        if self.is_c:
            return _C_LOOP_BYTES
        return next((size for name, size in _REGISTER_BYTES if name in self._known), 4)

    @property
    def lanes(self) -> int:
        """32-bit elements of a vector register."""
        return self.register_bytes // 4

    @property
    def registers(self) -> int:
        """How many vector registers there are."""
        return 32 if self._known & {"avx512bw", "neon", "v"} else 16

    @property
    def has_even_products(self) -> bool:
        """Whether an instruction multiplies every second lane, as int64: pmuldq."""
        return bool(self._known & {"avx2", "avx512bw"})

    @property
    def half_sums(self) -> str:
        """The type in which f16 and bf16 are summed."""
        return "float32" if self.sums == "f32" and self.lanes > 1 else "float64"

    @property
    def has_bf16_pairs(self) -> bool:
        """Whether an instruction sums products of pairs of bf16, in f32: vdpbf16ps."""
        sums = self.half_sums == "float32" and self.effort.blocks_registers
        return sums and self.lanes == _PAIRED_LANES and bool(self.features_among(("avx512bf16",)))

    @property
    def converts_f16(self) -> bool:
        """Whether there are instructions from f16 to f32 and back."""
        return bool(self.features_among(("f16c",)) if self.triple.startswith("x86") else ())

    @property
    def dot(self) -> str:
        """How products of integers are summed: `plain`, or the kind of instruction that does it (see `dots`)."""
        if not self.effort.blocks_registers:
            return "plain"
        return next((kind for name, kind in _DOTS if name in self._known), "plain")


_C_LOOP_BYTES = 32
_PAIRED_LANES = 16
OPT_LEVELS = {True: 3, False: 1}
"""The level of LLVM by whether there are vectors: at 1 it makes none of loops."""

_FAMILIES = {
    "x86": ("avx512bw", "avx512vnni", "avxvnni", "avx2", "sse2"), "aarch": ("neon", "dotprod"), "riscv": ("v",),
}  # fmt: skip
"""By how a triple begins, the features that may be asked for."""


def machine_of(
    chip: Chip, processor: str = "", features: str = "", effort: Effort = STANDARD, sums: str = "f32"
) -> Machine:
    """Return the processor of a chip; `processor` takes the place of its own, as `-mcpu` of a compiler.

    Raises:
        InputError: LLVM does not know the processor, or there are no such sums.
    """
    if sums not in SUMS:
        raise InputError(f"there are no sums in '{sums}'", "--codegen", f"choose one of {', '.join(SUMS)}")
    own = tuple(features.split(",")) if features else chip.features
    machine = Machine(
        chip.triple, processor or chip.processor, own, chip.float_abi, chip.scratch_bytes,
        "c" if chip.kind == "c" else "llvm", effort, sums=sums,
    )  # fmt: skip
    if machine.is_c:
        return machine
    _check(machine)
    return replace(machine, schedules=shipped(machine.processor)) if effort.fuses else machine


def _check(machine: Machine) -> None:
    from tvm.target import Target, codegen

    triple = Target({"kind": "llvm", "mtriple": machine.triple})
    known = [str(name) for name in codegen.llvm_get_cpu_archlist(triple)]
    if machine.processor not in known:
        from stepdown.files.npz import closest

        hint = closest(machine.processor, known)
        raise InputError(f"LLVM knows no processor '{machine.processor}' of {machine.triple}", "--codegen", hint)
