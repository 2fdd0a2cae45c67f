"""Stacks of matrices that are multiplied: their sizes, and where each begins."""

from dataclasses import dataclass

import numpy as np

from stepdown.native.kernels.spread import merged
from stepdown.native.tensors import broadcast_steps, strides_of


@dataclass(frozen=True)
class Matrices:
    """Two stacks of matrices that are multiplied: [rows, depth] by [depth, columns].

    `stack` are the sizes over which they are stacked, `steps` by operand and result the elements from one matrix to the
    next of each; `right` the elements from one row of the right side to the next, and from one column to the next.
    """

    rows: int
    depth: int
    columns: int
    stack: tuple[int, ...]
    steps: tuple[tuple[int, ...], ...]
    right: tuple[int, int]

    @staticmethod
    def of(a: tuple[int, ...], b: tuple[int, ...], right_transpose: bool) -> "Matrices":
        """Return those of shapes as `top.MatMul` has them."""
        left, right = (1, *a)[-2:], b if len(b) > 1 else (*b, 1)
        turned = right_transpose and len(b) > 1
        depth, columns = right[:-3:-1] if turned else right[-2:]
        stack = np.broadcast_shapes(a[:-2], right[:-2])
        strides = [_stack_steps(s, len(stack)) for s in ((*a[:-2], *left), right, (*stack, left[0], columns))]
        joined, steps = merged(stack, strides)
        return Matrices(
            left[0], depth, columns, tuple(joined), tuple(map(tuple, steps)), (1, depth) if turned else (columns, 1)
        )


def _stack_steps(shape: tuple[int, ...], rank: int) -> tuple[int, ...]:
    """Return the elements from one matrix to the next along each of `rank` dimensions, 0 where it is the same one."""
    return broadcast_steps(shape[:-2], strides_of(shape)[:-2], rank)
