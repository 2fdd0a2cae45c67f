"""Elementwise ops of tensors that are not quantised, of any storage types: what operands and results are stored as."""

from collections.abc import Sequence

import numpy as np

from stepdown.dialects.types import quant_of, storage_of
from stepdown.native.halves import HALVES, Half, laid, single_of
from stepdown.native.kernels.elementwise import Elementwise
from stepdown.native.tir import Expr

INTEGERS = ("i8", "u8", "i16", "u16", "i32", "u32", "i64", "u64")


class Typed(Elementwise):
    """A kernel that asks for the storage types of its tensors; constants lie as tensors of their type do."""

    def check(self) -> None:
        """Note the types, refuse quantised tensors and what `refused` names."""
        self.kinds = [storage_of(v) for v in self.sides]
        self.made = storage_of(self.op.results[0])
        if any(map(quant_of, (*self.sides, *self.op.results))):
            raise self.is_not_of("types without scales")
        if why := self.refused():
            raise self.refuse(why)

    def refused(self) -> str:
        """Return what there is no code for; "" where there is code."""
        return ""

    def constants(self) -> dict[str, np.ndarray]:
        """Return the constant sides as their types are stored."""
        return {name: laid(array, self.kinds[int(name[1:])]) for name, array in super().constants().items()}

    def opened(self, value: Expr, index: int) -> Expr:
        """Return an operand that code can compute with: reals of 16 bits as f32, others as they are."""
        kind = self.kinds[index]
        return self.half(kind).real(value) if kind in HALVES else value

    def reals(self, values: Sequence[Expr]) -> list[Expr]:
        """Return all operands opened, each computed once where that is work."""
        opened = [self.opened(value, i) for i, value in enumerate(values)]
        return [self.once(o) if self.kinds[i] in HALVES else o for i, o in enumerate(opened)]

    def closed(self, value: Expr) -> Expr:
        """Return a f32 as the result is stored, rounded once."""
        return self.half(self.made).closed(self.once(value)) if self.made in HALVES else value

    def as_stored(self, value: Expr, kind: str) -> Expr:
        """Return a f32 as a type of 16 bits keeps it."""
        half = self.half(kind)
        return half.real(self.once(half.closed(self.once(value))))

    def half(self, kind: str) -> Half:
        """Return how a type of 16 bits becomes f32, and back."""
        return single_of(kind, self.machine)
