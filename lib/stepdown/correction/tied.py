"""Numbers that stand for unknown factors, some of them equal to or the inverse of others."""

from collections.abc import Iterable

import numpy as np

FIXED = 0
"""The number whose factor is 1."""


class Tied:
    """A union-find over factors; each is that of its root, or the root's inverse."""

    def __init__(self) -> None:
        self._parent, self._sign = [FIXED], [1]

    def fresh(self, count: int) -> np.ndarray:
        """Return `count` new numbers, tied to nothing."""
        first = len(self._parent)
        self._parent += range(first, first + count)
        self._sign += [1] * count
        return np.arange(first, first + count)

    def root(self, number: int) -> tuple[int, int]:
        """Return the number that this one is tied to, and 1 or -1 where it is its inverse."""
        path, sign = [], 1
        while (parent := self._parent[number]) != number:
            path.append(number)
            number = parent
        for child in reversed(path):
            sign *= self._sign[child]
            self._parent[child], self._sign[child] = number, sign
        return number, sign

    def tie(self, a: np.ndarray, b: np.ndarray, sign: int = 1) -> None:
        """Make the factors of `a`, broadcast against `b`, those of `b`, or their inverses where `sign` is -1."""
        pairs = np.stack([np.ravel(x) for x in np.broadcast_arrays(a, b)], axis=1)
        for first, second in np.unique(pairs, axis=0).tolist():
            self._tie(first, second, sign)

    def fix(self, numbers: np.ndarray) -> None:
        """Make factors 1."""
        self.tie(np.unique(numbers), np.array(FIXED))

    def roots(self, numbers: Iterable[int]) -> tuple[np.ndarray, np.ndarray]:
        """Return the root and the sign of each number."""
        found = np.array([self.root(number) for number in numbers]).reshape(-1, 2)
        return found[:, 0], found[:, 1]

    def _tie(self, first: int, second: int, sign: int) -> None:
        (a, a_sign), (b, b_sign) = self.root(first), self.root(second)
        sign *= a_sign * b_sign
        if a == b:
            if sign < 0:
                self._parent[a] = FIXED
        elif a == FIXED:
            self._parent[b] = FIXED
        else:
            self._parent[a], self._sign[a] = b, sign
