"""Sums of products of 8-bit integers, by the instruction that a processor has for them.

A step adds, to each 32-bit lane of a sum, the products of `group` neighbouring operands with as many weights of the
lane. Operands are kept in a copy whose type the instruction takes, weights are packed [K / group, lanes, group].
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from stepdown.native.machine import Machine
from stepdown.native.tir import Expr, Function, bits, cast, llvm, repeat, span, wrapped


@dataclass(frozen=True)
class Dot:
    """One step for `lanes` sums.

    `operand` is the type of the copied operands; a centred copy has its zero point removed. `offset` is added to what
    is stored where it is not, and compensated in the bias. Sums that `wraps` keep their low 32 bits. A step holds
    products in `between` registers before they are added. So many steps are written `in_line`, and with more than one
    the results of a block, too.
    """

    lanes: int
    group: int = 1
    operand: str = "int16"
    centred: bool = True
    sums: str = "int32"
    wraps: bool = False
    between: int = 0
    in_line: int = 1

    @property
    def text(self) -> str:
        """What it is, for the name of a workload."""
        return f"{type(self).__name__} {self.operand}x{self.lanes}"

    def plus(self, a: Expr, b: Expr) -> Expr:
        """Return a + b."""
        return wrapped(lambda x, y: x + y, a, b) if self.wraps else a + b

    def offset(self, stored: str) -> int:
        """Return what is added to a stored integer of type i8 or u8 that is copied as it is."""
        return 0

    def weights(self, f: Function, buffer: Any, index: Expr) -> Any:
        """Load the weights of one step for all lanes, from the packed ones at `index`."""
        raise NotImplementedError

    def operands(self, f: Function, buffer: Any, index: Expr) -> Expr:
        """Load the `group` operands at `index`, for all lanes."""
        raise NotImplementedError

    def add(self, f: Function, sums: Any, at: Expr, operands: Expr, weights: Any) -> None:
        """Add the products to the sums at `at`."""
        raise NotImplementedError


@dataclass(frozen=True)
class Plain(Dot):
    """Products one by one, which a compiler gives the instructions that it finds (smlal, vwmacc, mla)."""

    def weights(self, f: Function, buffer: Any, index: Expr) -> Any:
        """Return where the weights are."""
        return buffer, index

    def operands(self, f: Function, buffer: Any, index: Expr) -> Expr:
        """Return one operand."""
        return f.let(cast(self.sums, buffer[index]))

    def add(self, f: Function, sums: Any, at: Expr, operands: Expr, weights: Any) -> None:
        """Add operand · weight in each lane."""
        buffer, index = weights
        with f.loop(self.lanes, "vector") as lane:
            product = operands * cast(self.sums, buffer[index + lane])
            f.store(sums, at + lane, self.plus(sums[at + lane], product))


class _Vectors(Dot):
    """Dot products that are one instruction on vectors."""

    def add(self, f: Function, sums: Any, at: Expr, operands: Expr, weights: Any) -> None:
        """Add the products in each lane."""
        place = span(at, self.lanes)
        f.store(sums, place, self.sum(sums[place], operands, weights))

    def sum(self, total: Expr, operands: Expr, weights: Expr) -> Expr:
        """Return a vector of sums with the products added."""
        raise NotImplementedError


@dataclass(frozen=True)
class Pairs(_Vectors):
    """Two products of 16-bit integers a lane: pmaddwd, exact for every 8-bit operand less its zero point."""

    group: int = 2
    between: int = 1
    in_line: int = 2

    def weights(self, f: Function, buffer: Any, index: Expr) -> Any:
        """Return the widened weights."""
        return f.let(cast(f"int16x{2 * self.lanes}", buffer[span(index, 2 * self.lanes)]))

    def operands(self, f: Function, buffer: Any, index: Expr) -> Expr:
        """Return a pair of operands in all lanes."""
        pair = bits("int32", buffer[span(index, 2)])
        return f.let(bits(f"int16x{2 * self.lanes}", repeat(pair, self.lanes)))

    def sum(self, total: Expr, operands: Expr, weights: Expr) -> Expr:
        """Return the sums with both products added."""
        return self.plus(total, pair_sums(self.lanes, operands, weights))


@dataclass(frozen=True)
class _Quads(_Vectors):
    """Four products of bytes a lane."""

    group: int = 4
    centred: bool = False

    def weights(self, f: Function, buffer: Any, index: Expr) -> Any:
        """Return the packed weights."""
        return f.let(buffer[span(index, 4 * self.lanes)])

    def operands(self, f: Function, buffer: Any, index: Expr) -> Expr:
        """Return four operands in all lanes."""
        four = bits("int32", buffer[span(index, 4)])
        return f.let(bits(f"int8x{4 * self.lanes}", repeat(four, self.lanes)))


@dataclass(frozen=True)
class QuadsU8(_Quads):
    """Four products of an unsigned and a signed byte a lane: vpdpbusd, which does not saturate."""

    operand: str = "uint8"

    def offset(self, stored: str) -> int:
        """Return 128 for signed integers."""
        return 128 if stored == "i8" else 0

    def sum(self, total: Expr, operands: Expr, weights: Expr) -> Expr:
        """Return the sums with the four products added."""
        name = {8: "llvm.x86.avx512.vpdpbusd.256", 16: "llvm.x86.avx512.vpdpbusd.512"}[self.lanes]
        return llvm(f"int32x{self.lanes}", name, total, operands, weights)


@dataclass(frozen=True)
class QuadsS8(_Quads):
    """Four products of signed bytes a lane: sdot."""

    operand: str = "int8"

    def offset(self, stored: str) -> int:
        """Return -128 for unsigned integers."""
        return -128 if stored == "u8" else 0

    def sum(self, total: Expr, operands: Expr, weights: Expr) -> Expr:
        """Return the sums with the four products added."""
        return llvm(f"int32x{self.lanes}", "llvm.aarch64.neon.sdot.v4i32.v16i8", total, operands, weights)


PAIR_SUMS = ("pairs", "quads_u8")
"""The dots of processors that sum pairs of 16-bit products in 32 bits."""


def pair_sums(lanes: int, a: Expr, b: Expr) -> Expr:
    """Return a[2i]·b[2i] + a[2i+1]·b[2i+1] in lane i: pmaddwd."""
    name = {4: "llvm.x86.sse2.pmadd.wd", 8: "llvm.x86.avx2.pmadd.wd", 16: "llvm.x86.avx512.pmaddw.d.512"}
    return llvm(f"int32x{lanes}", name[lanes], a, b)


_DOTS: dict[str, type[Dot]] = {"plain": Plain, "pairs": Pairs, "quads_u8": QuadsU8, "quads_s8": QuadsS8}


def dot_of(machine: Machine) -> Dot:
    """Return the step of a machine."""
    return _DOTS[machine.dot](machine.lanes)


def wide_dot(machine: Machine) -> Dot:
    """Return the step of a machine for operands and weights of 16 bits; sums wrap."""
    return (Pairs if machine.dot in PAIR_SUMS else Plain)(machine.lanes, wraps=True)


def float_dot(machine: Machine) -> Dot:
    """Return the step of a machine for f32: a product and a sum, which may be one instruction that rounds once."""
    return Plain(machine.lanes, operand="float32", sums="float32")


def packed(weights: np.ndarray, dot: Dot, vectors: int) -> np.ndarray:
    """Return weights[O, K] packed for `vectors` vectors of sums side by side.

    The result is [O / (vectors·lanes)] blocks of [K / group, vectors, lanes, group], zeros where O or K end early;
    the last block has as many vectors as it needs.
    """
    channels, depth = weights.shape
    lanes, group = dot.lanes, dot.group
    full = np.zeros((-(-channels // lanes) * lanes, -(-depth // group) * group), weights.dtype)
    full[:channels, :depth] = weights
    cut = full.reshape(-1, lanes, full.shape[1] // group, group)  # [vector, lanes, K / group, group]
    blocks = [cut[i : i + vectors].transpose(2, 0, 1, 3).reshape(-1) for i in range(0, len(cut), vectors)]
    return np.concatenate(blocks)
