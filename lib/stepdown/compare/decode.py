"""What a stored tensor means: the real numbers behind quantised integers and bfloat16 bit patterns."""

import numpy as np

from stepdown.errors import InputError
from stepdown.files.npz import TensorInfo
from stepdown.numerics.floats import from_bf16_bits
from stepdown.numerics.quantize import QuantParams, dequantize

PLAIN = TensorInfo()


def is_exact(stored: np.ndarray, tensor: TensorInfo) -> bool:
    """Tell whether the elements are exact (counts, indices, flags, text) and not approximations of real numbers."""
    return stored.dtype.kind != "f" and tensor.scale is None and not _is_bf16(stored.dtype, tensor)


def real_values(stored: np.ndarray, tensor: TensorInfo, where: str = "") -> np.ndarray:
    """Return the real values of `stored`, in its shape: (stored − zero_point) × scale as float32 where it has a scale.

    Floats, and integers without a scale, are returned as they are.

    Raises:
        InputError: the metadata does not fit the tensor.
    """
    if _is_bf16(stored.dtype, tensor):
        return from_bf16_bits(stored)
    if tensor.scale is None:
        return stored
    try:
        return _dequantized(stored, tensor, tensor.scale, _axis(stored.shape, tensor, where))
    except (TypeError, ValueError) as error:
        raise InputError(f"its metadata is malformed ({error})", where, "write the file again") from error


def same_storage(one: TensorInfo, other: TensorInfo) -> bool:
    """Tell whether the same stored bytes mean the same values under both."""
    a, b = ((t.scale, t.zero_point, t.axis if isinstance(t.scale, list) else None) for t in (one, other))
    return a == b and (one.type == "bf16") == (other.type == "bf16")


def storage_text(tensor: TensorInfo | None) -> str:
    """Return how a tensor is stored, for people: `i8 scale 0.05 zero_point 3`, empty for a plain tensor."""
    if tensor is None or tensor == PLAIN:
        return ""
    words = [tensor.type]
    if isinstance(tensor.scale, list):
        low, high = min(tensor.scale, default=0.0), max(tensor.scale, default=0.0)
        words.append(f"{len(tensor.scale)} scales {low:.9g} … {high:.9g} along axis {tensor.axis}")
    elif tensor.scale is not None:
        words.append(f"scale {tensor.scale:.9g}")
    if tensor.zero_point:
        words.append(
            "zero_points by channel" if isinstance(tensor.zero_point, list) else f"zero_point {tensor.zero_point}"
        )
    words += [tensor.layout] if tensor.layout else []
    words += [f"view of {tensor.view_of}"] if tensor.view_of else []
    return " ".join(words)


def _dequantized(stored: np.ndarray, tensor: TensorInfo, scale: float | list[float], axis: int | None) -> np.ndarray:
    """Return (stored − zero_point) × scale in float32; integers are subtracted in a type in which they cannot wrap."""
    is_float = stored.dtype.kind == "f"
    zero_points = np.asarray(tensor.zero_point, np.float32 if is_float else np.int64)
    centred = stored - _along(zero_points, axis, stored.ndim)
    if is_float:
        return np.asarray(centred * _along(np.asarray(scale, np.float32), axis, stored.ndim), np.float32)
    return dequantize(centred, QuantParams(tuple(scale) if isinstance(scale, list) else scale, axis=axis))


def _is_bf16(dtype: np.dtype, tensor: TensorInfo) -> bool:
    return tensor.type == "bf16" and dtype == np.uint16


def _axis(shape: tuple[int, ...], tensor: TensorInfo, where: str) -> int | None:
    """Return the checked axis of scales or zero points that come as lists, None where there is one for all."""
    lengths = {len(v) for v in (tensor.scale, tensor.zero_point) if isinstance(v, list)}
    if not lengths:
        return None
    axis = tensor.axis
    if axis is None or not -len(shape) <= axis < len(shape) or lengths != {shape[axis]}:
        sizes = " and ".join(str(n) for n in sorted(lengths))
        raise InputError(
            f"its metadata has {sizes} scales or zero points along axis {axis}, which do not fit shape {shape}",
            where,
            "write the file again",
        )
    return axis


def _along(values: np.ndarray, axis: int | None, rank: int) -> np.ndarray:
    if axis is None or not values.ndim:
        return values
    shape = [1] * rank
    shape[axis] = -1
    return values.reshape(shape)
