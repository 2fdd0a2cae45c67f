"""Second moments of what a convolution or matrix product reads, and of what it should give: all that rounding needs.

Samples are added one at a time; memory is that of the moments, whatever the number of samples.
"""

import math
from dataclasses import dataclass

import numpy as np

from stepdown.dialects.op import TensorOp
from stepdown.dialects.top.mac import Conv
from stepdown.numerics.convolve import pad_spatial, windows


def has_moments(op: TensorOp) -> bool:
    """Tell whether `op` is a sum of products whose weight can be read as rows[G, O, K]."""
    return isinstance(op, Conv) or type(op).__name__ == "MatMul"


def weight_rows(op: TensorOp, weight: np.ndarray) -> np.ndarray:
    """Return a weight as [G, O / G, K]: its groups, the outputs of each, and what each output sums over."""
    if isinstance(op, Conv):
        return weight.reshape(op.group, len(weight) // op.group, -1)
    return (weight if op.right_transpose else weight.T)[None]  # type: ignore[attr-defined]


def from_rows(op: TensorOp, rows: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return rows[G, O / G, K] as a weight of `shape`: the inverse of `weight_rows`."""
    if isinstance(op, Conv):
        return np.ascontiguousarray(rows.reshape(shape))
    return np.ascontiguousarray(rows[0] if op.right_transpose else rows[0].T)  # type: ignore[attr-defined]


def patches(op: TensorOp, x: np.ndarray) -> np.ndarray:
    """Return the columns [G, K, P] that the outputs of `op` sum over, P of them, from its input."""
    if not isinstance(op, Conv):
        return np.ascontiguousarray(x.reshape(-1, x.shape[-1]).T)[None]
    padded, kernel = pad_spatial(x, op.pads), op.operands[1].type.get_shape()[2:]  # type: ignore[attr-defined]
    view = windows(padded, kernel, op.strides, op.dilations)  # [N, C, *S, *K]
    rank = len(kernel)
    ordered = view.transpose(1, *range(2 + rank, 2 + 2 * rank), 0, *range(2, 2 + rank))
    return ordered.reshape(op.group, x.shape[1] // op.group * math.prod(kernel), -1)


@dataclass
class Moments:
    """Sums over columns x[K] and targets y[O], a group each: Σx xᵀ, Σy xᵀ, Σx, Σy, Σy² and their count.

    They are taken about the means of the first columns that come: where values lie far from 0 and close together, sums
    of their own squares would lose what covariances are made of.
    """

    xx: np.ndarray
    yx: np.ndarray
    x: np.ndarray
    y: np.ndarray
    yy: np.ndarray
    count: int = 0
    about: tuple[np.ndarray, np.ndarray] | None = None
    """Columns [G, K, 1] and [G, O, 1], in float32."""

    @classmethod
    def zero(cls, groups: int, outputs: int, terms: int) -> "Moments":
        """Return the moments of no samples."""
        return cls(
            np.zeros((groups, terms, terms)), np.zeros((groups, outputs, terms)), np.zeros((groups, terms)),
            np.zeros((groups, outputs)), np.zeros((groups, outputs)),
        )  # fmt: skip

    def add(self, x: np.ndarray, y: np.ndarray) -> None:
        """Add columns x[G, K, P] with their targets y[G, O, P]; products in float32, sums over samples in float64."""
        if self.about is None:
            self.about = x.mean(axis=2, keepdims=True), y.mean(axis=2, keepdims=True)
        x, y = x - self.about[0], y - self.about[1]
        turned = x.swapaxes(1, 2)
        self.xx += np.matmul(x, turned)
        self.yx += np.matmul(y, turned)
        self.x += x.sum(axis=2, dtype=np.float64)
        self.y += y.sum(axis=2, dtype=np.float64)
        self.yy += np.square(y).sum(axis=2, dtype=np.float64)
        self.count += x.shape[2]

    def centred(self) -> "Centred":
        """Return covariances about the means."""
        n = max(1, self.count)
        x, y = self.x / n, self.y / n
        about = [0.0, 0.0] if self.about is None else [column[:, :, 0].astype(np.float64) for column in self.about]
        return Centred(
            self.xx / n - x[:, :, None] * x[:, None, :], self.yx / n - y[:, :, None] * x[:, None, :], x + about[0],
            y + about[1], self.yy / n - y * y, self.count,
        )  # fmt: skip


@dataclass(frozen=True)
class Centred:
    """Covariances h[G, K, K] of the columns and c[G, O, K] with the targets, means, variances of the targets."""

    h: np.ndarray
    c: np.ndarray
    x: np.ndarray
    y: np.ndarray
    variance: np.ndarray
    count: int

    def __add__(self, other: "Centred") -> "Centred":
        """Return what both have seen."""
        n = max(1, self.count + other.count)
        mine, theirs, both = self.count / n, other.count / n, self.count * other.count / n**2
        x, y = other.x - self.x, other.y - self.y
        return Centred(
            mine * self.h + theirs * other.h + both * x[:, :, None] * x[:, None, :],
            mine * self.c + theirs * other.c + both * y[:, :, None] * x[:, None, :],
            mine * self.x + theirs * other.x, mine * self.y + theirs * other.y,
            mine * self.variance + theirs * other.variance + both * np.square(y), n,
        )  # fmt: skip

    def error(self, rows: np.ndarray) -> np.ndarray:
        """Return the mean squared error [G, O] of rows[G, O, K] with the best bias."""
        explained = np.matmul(rows, self.h) - 2 * self.c
        return np.asarray(self.variance + (explained * rows).sum(axis=2))
