"""TensorFlow Lite's own integer formulas, byte for byte those of its reference kernels.

Every operator rounds in its own way; the texts say how. Source: TensorFlow Lite, `kernels/internal/reference/` and
`kernels/internal/quantization_util.cc`, and gemmlowp's `fixedpoint.h`, which they use.
"""
