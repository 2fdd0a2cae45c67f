"""weight-reorder: constants as the engine reads them, among the weights."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from xdsl.ir import SSAValue

from stepdown.dialects.op import TensorOp
from stepdown.dialects.program import Program
from stepdown.errors import UnsupportedModel
from stepdown.npu.cost import local_memory
from stepdown.npu.images import constants_of, digest, raw, stored
from stepdown.npu.kernels import Constant, Kernel, kernel_of
from stepdown.npu.target import npu_of
from stepdown.npu.weights import held_weight
from stepdown.transforms.base import Pass


@dataclass(frozen=True)
class WeightReorder(Pass):
    """Lay constants out as the engine reads them; chip=X.toml where the chip does not come with Stepdown.

    Ops whose constants lie otherwise in memory than their weights get the note `images`: by constant, the key of an
    array with the bytes of that constant in memory, new only where no weight of the op has them.
    """

    chip: str = ""

    def run(self, program: Program) -> None:
        """Add arrays to the weights and notes to ops; what the module means stays as it is.

        Raises:
            InputError: the module is not lowered, or for another chip.
            UnsupportedModel: the chip is no NPU.
        """
        lanes = local_memory(npu_of(program, self.chip)).lanes
        weights: dict[SSAValue, TensorOp] = {op.results[0]: op for op in program.ops if op.name.endswith(".Weight")}
        images = _Images(program, weights)
        kernels = list(_kernels(program, weights))
        for kernel in kernels:
            kernel.op.set_note("images", None)
            images.note(kernel, kernel.constants(lanes))
        for kernel in kernels:
            constants_of(kernel, program, lanes)


def _kernels(program: Program, weights: Mapping[SSAValue, TensorOp]) -> Iterator[Kernel]:
    """Yield the kernels of all ops that have one."""
    held = {value: held_weight(program, op) for value, op in weights.items()}
    for op in program.ops:
        if op.results and op.results[0] not in weights:
            try:
                yield kernel_of(op, held)
            except UnsupportedModel:
                continue


class _Images:
    """Arrays by their bytes."""

    def __init__(self, program: Program, weights: Mapping[SSAValue, TensorOp]) -> None:
        self._program, self._weights = program, weights
        self._keys: dict[bytes, str] = {}

    def note(self, kernel: Kernel, constants: Mapping[str, Constant]) -> None:
        """Note the images of an op where one is no array of its operands."""
        own = [self._weights[v].key for v in kernel.op.operands if v in self._weights]  # type: ignore[attr-defined]
        known = {digest(raw(self._program.weights[key])): key for key in own}
        contents = {name: stored(constant.values, constant.type) for name, constant in constants.items()}
        found = {name: known.get(digest(content)) for name, content in contents.items()}
        if None not in found.values():
            return
        keys = {
            name: found[name] or self._key(f"{kernel.op.tensor_name}_{name}", contents[name], constants[name])
            for name in contents
        }
        kernel.op.set_note("images", keys)

    def _key(self, wanted: str, content: np.ndarray, constant: Constant) -> str:
        """Return the key of an array of these bytes, which is put among the weights."""
        same = digest(content) + constant.type.encode()
        if same not in self._keys:
            array = content.view(_held_as(constant)).reshape(constant.values.shape)
            self._keys[same] = self._program.weights.free_key(wanted, array)
            self._program.weights[self._keys[same]] = array
        return self._keys[same]


def _held_as(constant: Constant) -> np.dtype:
    """Return the type in which a weight file has a constant: bf16 as its bits."""
    return np.dtype(
        {"f16": "f2", "bf16": "u2", "f32": "f4"}.get(constant.type)
        or f"{constant.type[0]}{int(constant.type[1:]) // 8}"
    )
