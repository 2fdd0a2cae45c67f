"""Transforms of signals."""

import numpy as np

from stepdown.dialects.fields import Bool, Int
from stepdown.dialects.op import Arrays, Kind
from stepdown.dialects.top.base import Example, TopOp, top_op
from stepdown.dialects.types import Shape


@top_op
class Dft(TopOp):
    """The discrete Fourier transform of `length` points along `axis`. Source: ONNX DFT, STFT.

    The last dimension holds real, or real and imaginary parts. More points than `length` are cut off, missing ones
    are 0. The inverse is divided by `length`. With `onesided` the spectrum holds the frequencies 0 … length // 2 of a
    real signal: the result forward, the operand of the inverse.

    C1: axis counts from the front and lies before the last dimension, which holds 1 or 2 values
    C2: length is at least 1
    C3: onesided takes a real signal forward, a complex spectrum for the inverse
    """

    kind = Kind.FLOAT
    axis = Int()
    length = Int()
    inverse = Bool(False)
    onesided = Bool(False)

    @staticmethod
    def example(rng: np.random.Generator) -> Example:
        """Return operands and attributes for the tests."""
        return [rng.normal(size=(2, 6, 3, 1))], {"axis": 1, "length": 8, "onesided": True}

    def shapes(self, input: Shape) -> list[Shape]:
        """Return the operand's shape with the new number of points, and of parts."""
        self.require(0 <= self.axis < len(input) - 1 and input[-1] in (1, 2), "C1", f"{input}, axis {self.axis}")
        self.require(self.length >= 1, "C2", f"{self.length}")
        self.require(not self.onesided or input[-1] == 1 + self.inverse, "C3", f"{input}")
        parts = 1 if self.onesided and self.inverse else 2
        points = self.length // 2 + 1 if self.onesided and not self.inverse else self.length
        return [(*input[: self.axis], points, *input[self.axis + 1 : -1], parts)]

    def compute(self, input: np.ndarray) -> Arrays:
        """Return the transform."""
        signal = input[..., 0] if input.shape[-1] == 1 else input[..., 0] + 1j * input[..., 1]
        if self.onesided and self.inverse:
            return [np.fft.irfft(signal, self.length, self.axis)[..., None].astype(input.dtype)]
        transform = np.fft.rfft if self.onesided else np.fft.ifft if self.inverse else np.fft.fft
        y = transform(signal, self.length, self.axis)
        return [np.stack([y.real, y.imag], -1).astype(input.dtype)]
