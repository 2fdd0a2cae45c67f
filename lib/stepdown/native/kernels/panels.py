"""Products of two tensors, neither a constant matrix, over copies of the right side.

Some neighbouring columns of it, a panel, are copied in the type that is multiplied, as `dots.packed` lays weights out.
Over it go blocks of rows of the left side, whose sums stay in registers for the whole depth. Threads share the matrices
of a stack, or the panels.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from stepdown.native.effort import FROM_BLOCKS
from stepdown.native.kernels.base import Buffers, kernel
from stepdown.native.kernels.image import cuts
from stepdown.native.kernels.pair_products import OfFloats, OfHalves, OfIntegers, PairProduct
from stepdown.native.kernels.results import Run
from stepdown.native.tir import Expr, Function, const

_MOST_ROWS = 6


class Panels(PairProduct):
    """Sums over panels of the right side; mixed in front of numbers."""

    levels = FROM_BLOCKS

    def check(self) -> None:
        """Refuse what does not fit in the memory for copies."""
        super().check()
        over, spare = self.over, self.machine.registers - 1 - self.dot.between
        self._vectors = 2 if over.columns > self.dot.lanes else 1
        self._rows = max(1, min(over.rows, _MOST_ROWS, (spare - self._vectors) // self._vectors))
        size = np.dtype(self.dot.operand).itemsize
        if self.scratch[1] * size > self.machine.scratch_bytes:
            raise self.refuse("has a panel that is too large to be copied")

    @property
    def _steps(self) -> int:
        """Steps of the dot product along the depth."""
        return -(-self.over.depth // self.dot.group)

    @property
    def _line(self) -> int:
        """Elements of a copied row."""
        return self._steps * self.dot.group

    @property
    def _width(self) -> int:
        return self._vectors * self.dot.lanes

    @property
    def scratch(self) -> tuple[str, int]:
        """The panel, and the rows of a block."""
        return self.dot.operand, self._line * (self._width + self._rows)

    def _columns(
        self, f: Function, buffers: Sequence[Any], at: Sequence[Expr], constants: Buffers, column: Expr, width: int
    ) -> None:
        """Copy the panel, then write the sums of blocks of rows."""
        (left, right, y), (a, b, first) = buffers, at
        self._copy_panel(f, right, constants["scratch"], b, width)
        for part in cuts(self.over.rows, self._rows):
            with f.loop(part.count) as i:
                row = f.let(i * part.width + part.first)
                self._copy_rows(f, left, constants["scratch"], a + row * self.over.depth, part.width)
                sums = self._sums(f, constants, column, width, part.width)
                for r in range(part.width):
                    run = Run(r * self._width, first + (row + r) * self.over.columns, column)
                    self._store(f, sums, y, run, width, constants)

    def _copy_panel(self, f: Function, right: Any, scratch: Any, first: Expr, width: int) -> None:
        """Copy `width` columns as [depth / group, vectors · lanes, group], zeros where there are none."""
        (down, across), group, zero = self.over.right, self.dot.group, const(0, self.dot.operand)
        whole, rest = divmod(self.over.depth, group)

        def step(k: Expr, used: int) -> None:
            for g in range(group):
                with f.loop(width, "vector") as lane:
                    value = self.opened(right[first + (k * group + g) * down + lane * across], 1) if g < used else zero
                    f.store(scratch, (k * self._width + lane) * group + g, value)
                if width < self._width:
                    with f.loop(self._width - width) as lane:
                        f.store(scratch, (k * self._width + lane + width) * group + g, zero)

        with f.loop(whole) as k:
            step(k, group)
        if rest:
            step(const(whole), rest)

    def _copy_rows(self, f: Function, left: Any, scratch: Any, first: Expr, rows: int) -> None:
        """Copy rows of the left side behind the panel, with zeros behind each that is no whole number of steps."""
        begin, depth = self._line * self._width, self.over.depth
        for r in range(rows):
            for part in cuts(depth, 4 * self.dot.lanes):
                with f.loop(part.count) as i, f.loop(part.width, "vector") as lane:
                    k = i * part.width + part.first + lane
                    f.store(scratch, begin + r * self._line + k, self.opened(left[first + r * depth + k], 0))
            for k in range(depth, self._line):
                f.store(scratch, begin + r * self._line + k, const(0, self.dot.operand))

    def _sums(self, f: Function, constants: Buffers, column: Expr, width: int, rows: int) -> Any:
        """Return the sums of a block of rows, `_width` each, of which `width` are to be stored."""
        dot, scratch, begin = self.dot, constants["scratch"], self._line * self._width
        sums = f.local(dot.sums, rows * self._width)
        for r in range(rows):
            self._start(f, sums, r * self._width, constants, column, width)
            for lane in range(width, self._width):
                f.store(sums, r * self._width + lane, const(0, dot.sums))
        with f.loop(self._steps) as k:
            panel = k * (self._width * dot.group)
            columns = [dot.weights(f, scratch, panel + v * (dot.lanes * dot.group)) for v in range(self._vectors)]
            for r in range(rows):
                operands = dot.operands(f, scratch, begin + r * self._line + k * dot.group)
                for v, weights in enumerate(columns):
                    dot.add(f, sums, r * self._width + v * dot.lanes, operands, weights)
        made = f.local(dot.sums, rows * self._width)
        with f.loop(rows * self._vectors, "unroll") as i, f.loop(dot.lanes, "vector") as lane:
            f.store(made, i * dot.lanes + lane, sums[i * dot.lanes + lane])
        return made


@kernel("MatMul", first=True)
class IntegerPanels(Panels, OfIntegers):
    """Integers, over panels."""


@kernel("MatMul", first=True)
class FloatPanels(Panels, OfFloats):
    """f32, over panels."""


@kernel("MatMul", first=True)
class HalfPanels(Panels, OfHalves):
    """f16 or bf16, over panels."""
