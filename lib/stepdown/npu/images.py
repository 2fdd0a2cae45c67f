"""Images: the constants of an op as they lie in memory, kept among the weights under keys that the op's note names."""

import hashlib

import numpy as np

from stepdown.dialects.program import Program
from stepdown.errors import InputError
from stepdown.npu.kernels import Constant, Kernel
from stepdown.numerics.floats import bf16_bits
from stepdown.numerics.quantize import DTYPES

_STORED: dict[str, type] = {**DTYPES, "f16": np.float16, "f32": np.float32}


def stored(values: np.ndarray, type: str) -> np.ndarray:
    """Return the bytes of an array as it lies in memory."""
    return raw(bf16_bits(values) if type == "bf16" else np.ascontiguousarray(values).astype(_STORED[type]))


def raw(array: np.ndarray) -> np.ndarray:
    """Return the bytes of an array."""
    return np.ascontiguousarray(array).view(np.uint8).reshape(-1)


def digest(content: np.ndarray) -> bytes:
    """Return what stands for bytes where equal ones are looked for."""
    return hashlib.sha256(content.data).digest()


def constants_of(kernel: Kernel, program: Program, lanes: int) -> dict[str, Constant]:
    """Return the constants of a kernel by name, for a machine with so many lanes; images of them are what they say.

    Raises:
        InputError: the op's images are not those of its constants, as after a change of weights or of the chip.
    """
    constants, images = kernel.constants(lanes), kernel.op.note("images") or {}
    for name in images.keys() | constants.keys() if images else ():
        image = program.weights.get(images.get(name, ""))
        if name not in constants or image is None or not _same(image, constants[name]):
            what = f"{kernel.op.name} loc(\"{kernel.op.tensor_name}\"): its image '{name}' is not what the engine reads"
            raise InputError(what, program.path, "run --weight-reorder again")
    return constants


def _same(image: np.ndarray, constant: Constant) -> bool:
    return np.array_equal(raw(image), stored(constant.values, constant.type))
