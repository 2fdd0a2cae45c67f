"""Elementary functions of one tensor, as numpy has them. INT8 lowering turns each into a 256-entry table."""

from typing import ClassVar

import numpy as np

from stepdown.dialects.top.base import Unary, top_op


class Elementary(Unary):
    """A function that numpy has: give `ufunc`."""

    ufunc: ClassVar[np.ufunc]

    def function(self, x: np.ndarray) -> np.ndarray:
        """Return the function of every element."""
        return np.asarray(self.ufunc(x))


@top_op
class Abs(Elementary):
    """|x|. Source: ONNX Abs."""

    ufunc = np.abs


@top_op
class Acos(Elementary):
    """arccos x. Source: ONNX Acos."""

    ufunc = np.arccos
    domain = (-1.0, 1.0)


@top_op
class Acosh(Elementary):
    """arcosh x. Source: ONNX Acosh."""

    ufunc = np.arccosh
    domain = (1.0, 8.0)


@top_op
class Asin(Elementary):
    """arcsin x. Source: ONNX Asin."""

    ufunc = np.arcsin
    domain = (-1.0, 1.0)


@top_op
class Asinh(Elementary):
    """arsinh x. Source: ONNX Asinh."""

    ufunc = np.arcsinh


@top_op
class Atan(Elementary):
    """arctan x. Source: ONNX Atan."""

    ufunc = np.arctan


@top_op
class Atanh(Elementary):
    """artanh x. Source: ONNX Atanh."""

    ufunc = np.arctanh
    domain = (-0.99, 0.99)


@top_op
class Ceil(Elementary):
    """The smallest integer ≥ x. Source: ONNX Ceil."""

    ufunc = np.ceil


@top_op
class Cos(Elementary):
    """cos x. Source: ONNX Cos."""

    ufunc = np.cos


@top_op
class Cosh(Elementary):
    """cosh x. Source: ONNX Cosh."""

    ufunc = np.cosh


@top_op
class Exp(Elementary):
    """e^x. Source: ONNX Exp."""

    ufunc = np.exp


@top_op
class Floor(Elementary):
    """The largest integer ≤ x. Source: ONNX Floor."""

    ufunc = np.floor


@top_op
class Log(Elementary):
    """The natural logarithm of x. Source: ONNX Log."""

    ufunc = np.log
    domain = (0.1, 8.0)


@top_op
class Neg(Elementary):
    """−x. Source: ONNX Neg."""

    ufunc = np.negative


@top_op
class Reciprocal(Elementary):
    """1 / x. Source: ONNX Reciprocal."""

    ufunc = np.reciprocal
    domain = (0.25, 4.0)


@top_op
class Round(Elementary):
    """The nearest integer, ties to even. Source: ONNX Round."""

    ufunc = np.rint


@top_op
class Sign(Elementary):
    """−1, 0 or 1. Source: ONNX Sign."""

    ufunc = np.sign


@top_op
class Sin(Elementary):
    """sin x. Source: ONNX Sin."""

    ufunc = np.sin


@top_op
class Sinh(Elementary):
    """sinh x. Source: ONNX Sinh."""

    ufunc = np.sinh


@top_op
class Sqrt(Elementary):
    """√x. Source: ONNX Sqrt."""

    ufunc = np.sqrt
    domain = (0.0, 8.0)


@top_op
class Tan(Elementary):
    """tan x. Source: ONNX Tan."""

    ufunc = np.tan
    domain = (-1.3, 1.3)


@top_op
class Tanh(Elementary):
    """tanh x. Source: ONNX Tanh."""

    ufunc = np.tanh
