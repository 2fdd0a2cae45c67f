"""The state of one import, in every format: which tensor of the source is which value of the program."""

from collections.abc import Iterable, MutableMapping, Sequence
from dataclasses import dataclass

import numpy as np
from xdsl.ir import SSAValue
from xdsl.rewriter import Rewriter

from stepdown.dialects.op import TensorOp, absorb
from stepdown.dialects.program import Program
from stepdown.dialects.top.move import Reshape
from stepdown.dialects.top.source import Absent, Weight
from stepdown.dialects.types import quant_of, shape_of, storage_of, storage_of_dtype, tensor
from stepdown.errors import UnsupportedModel
from stepdown.numerics.quantize import QuantParams


@dataclass(eq=False)
class Folded:
    """A tensor that became a constant: the name that its node gives it, and the constants that it was made of."""

    name: str
    sources: Sequence["Folded"]
    claimed: bool = False
    """Whether an op has noted the name, and those of the sources."""


def claim(tensors: Iterable[Folded]) -> list[str]:
    """Return the names behind constants that no op has noted, those of sources first; from now on they are noted."""
    names, waiting = [], [(tensor, False) for tensor in tensors][::-1]
    while waiting:
        tensor, is_last = waiting.pop()
        if is_last:
            names.append(tensor.name)
        elif not tensor.claimed:
            tensor.claimed = True
            waiting += [(tensor, True), *((source, False) for source in reversed(tensor.sources))]
    return names


class Graph:
    """The state of one import: the program made so far and which tensor of the source is which value."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.values: MutableMapping[str, SSAValue] = {}
        self.aliases: dict[str, str] = {}
        """Tensors that are another tensor itself (Identity), with the name their node gives them."""
        self.folded: MutableMapping[str, Folded] = {}
        """Tensors that became constants."""
        self._fused: dict[TensorOp, list[Sequence[str]]] = {}
        self.quantised: dict[str, QuantParams] = {}
        """Tensors that the source model stores quantised: the op that makes one gets that type."""
        self._none: SSAValue | None = None
        self._keys: set[str] = set()

    def fuse(self, op: TensorOp, names: Sequence[str]) -> None:
        """Note that an op also stands for the tensors `names`; `note_fused` writes it down."""
        self._fused.setdefault(op, []).append(names)

    def note_fused(self) -> None:
        """Write the fused names of every op into its location, once: there may be thousands of them."""
        for op, groups in self._fused.items():
            absorb(op, [name for names in reversed(groups) for name in names])
        self._fused.clear()

    @property
    def none(self) -> SSAValue:
        """The absent operand, made once."""
        if self._none is None:
            self._none = self.program.add(Absent.make())
        return self._none

    def weight(self, array: np.ndarray, key: str, params: QuantParams | None = None) -> SSAValue:
        """Add a constant, stored with `params` where it is quantised; a key taken by another one gets a number."""
        array = np.asarray(array)
        try:
            kind = tensor(array.shape, params or storage_of_dtype(array.dtype))
        except KeyError:
            raise UnsupportedModel(f"has elements of type {array.dtype}", f"tensor '{key}'") from None
        if array.dtype.name == "bfloat16":
            array = array.astype(np.float32)
        free = self.program.weights.free_key(key, array)
        self.program.weights[free] = array
        return self.program.add(Weight.of(free, kind))

    def copy(self, value: SSAValue, name: str) -> SSAValue:
        """Add a tensor `name` that repeats `value`."""
        made = self.program.add(Reshape.build(name, [value], shape=shape_of(value)))
        return self.retyped(made, quant_of(value))

    def copy_name(self, name: str, value: SSAValue) -> str:
        """Return what the copy is called that makes `value` the network's output `name`."""
        return f"{name}_Identity"

    def retyped(self, value: SSAValue, params: QuantParams | None) -> SSAValue:
        """Return a new value, stored with `params` from now on where they are given."""
        return Rewriter.replace_value_with_new_type(value, tensor(shape_of(value), params)) if params else value

    def constant(self, value: SSAValue) -> np.ndarray | None:
        """Return the array of a value that is a weight, else None."""
        if not isinstance(value.owner, Weight):
            return None
        array = self.program.weights[value.owner.key]
        return array.astype(numpy_type("bf16", array.dtype)) if storage_of(value) == "bf16" else array


def numpy_type(storage: str, computed: np.dtype) -> np.dtype:
    """Return the type of a constant that is stored so, of what was computed in the type `computed`."""
    if storage == "bf16":
        from ml_dtypes import bfloat16

        return np.dtype(bfloat16)
    return np.dtype(np.float16) if storage == "f16" else computed
