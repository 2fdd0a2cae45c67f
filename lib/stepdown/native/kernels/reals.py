"""Reals of 16 and 32 bits as kernels compute with them: all in f32, those of 16 bits rounded once."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from xdsl.ir import SSAValue

from stepdown.dialects.types import is_none, shape_of, storage_of
from stepdown.native.halves import HALVES, REALS, Half, single_of
from stepdown.native.kernels.base import SAME, Buffers, Kernel
from stepdown.native.kernels.slices import Folded, Slice
from stepdown.native.tensors import DTYPES, Tensor, logical
from stepdown.native.tir import Expr


@dataclass(frozen=True)
class View:
    """A buffer of reals: the elements from one to the next along the dimensions of what is gone through."""

    buffer: Any
    strides: tuple[int, ...]
    half: Half | None = None

    def __getitem__(self, place: Expr) -> Expr:
        """Return an element in f32."""
        stored = self.buffer[place]
        return self.half.real(stored) if self.half else stored

    def closed(self, value: Expr) -> Expr:
        """Return a value in f32 as it is stored."""
        return self.half.closed(value) if self.half else value

    def tell(self, each: Slice, number: int, made: Folded) -> None:
        """Store one value of each slice; `number` is that of this buffer's place."""
        each.once(lambda at, lane: each.f.store(self.buffer, at[number], self.closed(each.f.once(made(lane)))))


class RealKernel(Kernel):
    """A kernel of reals; constants are read in f32."""

    layout = SAME

    def check(self) -> None:
        """Refuse other types."""
        values = [*self.op.operands, *self.op.results]
        if not all(is_none(v) or storage_of(v) in REALS for v in values if self.is_real(v)):
            raise self.is_not_of("f32, f16 or bf16")

    def is_real(self, value: SSAValue) -> bool:
        """Tell whether a tensor has to be of reals."""
        return True

    def constants(self) -> dict[str, np.ndarray]:
        """Return the constant operands."""
        held = {f"c{i}": array for i, array in enumerate(self.weights) if array is not None}
        return {name: np.asarray(array).astype(np.float32) for name, array in held.items()}

    def half(self, kind: str) -> Half | None:
        """Return how a type of 16 bits is made wide."""
        return single_of(kind, self.machine) if kind in HALVES else None

    def view(self, tensor: Tensor, buffer: Any, strides: Sequence[int] = ()) -> View:
        """Return a tensor, with strides of its own unless others are given."""
        return View(buffer, tuple(strides) or tensor.strides, self.half(tensor.type))

    def views(self, inputs: Sequence[Any], results: Sequence[Any]) -> list[View]:
        """Return the inputs and then the results, each with its own strides."""
        return [self.view(t, b) for t, b in zip((*self.tensors, *self.results), (*inputs, *results), strict=True)]

    def computed(self, tensor: Tensor) -> str:
        """Return the type in which elements of a tensor are computed with: reals in f32, integers as they are."""
        return "float32" if tensor.type in REALS else DTYPES[tensor.type]

    def given(self, inputs: Sequence[Any], constants: Buffers) -> list[tuple[Tensor, Any] | None]:
        """Return the operands, constants among them, with their buffers; None for those that are absent."""
        found: list[tuple[Tensor, Any] | None] = []
        tensors = iter(zip(self.tensors, inputs, strict=True))
        for i, value in enumerate(self.op.operands):
            if is_none(value):
                found.append(None)
            elif self.weights[i] is not None:
                shape = shape_of(value)
                found.append((Tensor("f32", shape, logical(len(shape))), constants[f"c{i}"]))
            else:
                found.append(next(tensors))
        return found
