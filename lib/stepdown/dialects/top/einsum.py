"""Sums of products in Einstein's notation."""

import string
from collections.abc import Sequence

import numpy as np

from stepdown.dialects.fields import Str
from stepdown.dialects.op import Arrays, Kind
from stepdown.dialects.top.base import Example, TopOp, top_op
from stepdown.dialects.types import Shape


@top_op
class Einsum(TopOp):
    """The sum of products that `equation` names, for example `bij,bjk->bik`. Source: ONNX Einsum, numpy.einsum.

    Without `->` the result has the letters that occur once, in order; `…` (three dots) stands for the dimensions that
    have no letter.

    C1: the equation has one term of letters an operand, and a term fits its operand's dimensions
    C2: a letter has one size in every operand, or 1
    C3: the result's letters are in the operands, none twice
    """

    kind = Kind.FLOAT
    inputs = ("input*",)
    equation = Str()

    @staticmethod
    def example(rng: np.random.Generator) -> Example:
        """Return operands and attributes for the tests."""
        return [rng.normal(size=(2, 3, 4)), rng.normal(size=(2, 4, 5))], {"equation": "...ij,...jk->...ik"}

    def shapes(self, *inputs: Shape) -> list[Shape]:
        """Return the size of every letter of the result."""
        left, arrow, right = self.equation.replace(" ", "").partition("->")
        terms = self._without_dots(left.split(","), inputs)
        sizes: dict[str, int] = {}
        for letter, size in (
            (c, n) for term, shape in zip(terms, inputs, strict=True) for c, n in zip(term, shape, strict=True)
        ):
            self.require(1 in (size, sizes.get(letter, size)) or sizes.get(letter, size) == size, "C2", letter)
            sizes[letter] = size if sizes.get(letter, 1) == 1 else sizes[letter]
        result = right.replace("...", _shared(sizes)) if arrow else _implied(terms)
        self.require(set(result) <= set(sizes) and len(set(result)) == len(result), "C3", self.equation)
        return [tuple(sizes[letter] for letter in result)]

    def compute(self, *inputs: np.ndarray) -> Arrays:
        """Return the sum of products."""
        return [np.asarray(np.einsum(self.equation, *inputs, optimize=True)).astype(inputs[0].dtype, copy=False)]

    def _without_dots(self, terms: Sequence[str], inputs: Sequence[Shape]) -> list[str]:
        """Return the terms with a digit for every dimension that three dots stand for, 0 for the last one."""
        named = []
        self.require(len(terms) == len(inputs), "C1", f"{len(inputs)} operands, {self.equation}")
        for term, shape in zip(terms, inputs, strict=True):
            free = len(shape) - len(term.replace("...", ""))
            term = term.replace("...", "".join(map(str, range(free - 1, -1, -1))), 1)
            letters = all(c in string.ascii_letters or c.isdigit() for c in term)
            self.require(letters and len(term) == len(shape), "C1", f"{shape}, {self.equation}")
            named.append(term)
        return named


def _shared(letters: dict[str, int]) -> str:
    return "".join(sorted((c for c in letters if c.isdigit()), reverse=True))


def _implied(terms: Sequence[str]) -> str:
    """Return the result's letters where the equation has no arrow."""
    every = "".join(terms)
    once = sorted(c for c in set(every) if not c.isdigit() and every.count(c) == 1)
    return _shared(dict.fromkeys(every, 0)) + "".join(once)
