"""TPU ops are TOP ops whose tensors have storage types: the types decide how an op is executed.

A result in f32 is computed as TOP computes it; one in f16 or bf16 is computed in float64 and rounded once; a quantised
one is computed with integers, by the op's kind.
"""

from typing import Any, ClassVar

import numpy as np
from xdsl.ir import SSAValue

from stepdown.dialects.fields import Field, Int, IntOrInts, Ints, Texts, named
from stepdown.dialects.op import Arrays, TensorOp
from stepdown.dialects.types import is_float, is_none, quant_of, storage_of
from stepdown.numerics.floats import ROUND
from stepdown.numerics.quantize import DTYPES, QuantParams
from stepdown.numerics.tflite.tables import activation_bounds


class TpuOp(TensorOp):
    """An op of the TPU dialect; mixed in front of the TOP op that it executes."""

    notes: ClassVar[dict[str, Field[Any]]] = named(
        images=Texts(), subnet=Int(), layer_group=Int(), layer_tile=Ints(), address=IntOrInts()
    )
    """By the passes of the NPU: weight keys by constant, subnet, group, how that is cut, places of the results."""

    def run(self, *inputs: Any) -> Arrays:
        """Execute on arrays as the interpreter holds them, by the type of the results."""
        if any(quant_of(result) for result in self.results):
            return self.run_integer(*inputs)
        if storage_of(self.results[0]) in ("f16", "bf16"):
            return self.run_rounded(*inputs)
        return self.compute(*inputs)

    def run_integer(self, *inputs: Any) -> Arrays:
        """Compute quantised results with integers."""
        raise NotImplementedError(self.name)

    def run_rounded(self, *inputs: Any) -> Arrays:
        """Compute in float64 and round every float result once to its format."""
        wide = [_widened(x, v) for x, v in zip(inputs, self.operands, strict=True)]
        return [rounded(y, v) for y, v in zip(self.compute(*wide), self.results, strict=True)]

    # --- what integer code asks

    def params(self, index: int) -> QuantParams:
        """Return the quantised parameters of an operand."""
        return _params(self.operands[index])

    @property
    def result_params(self) -> QuantParams:
        """The quantised parameters of the first result."""
        return _params(self.results[0])

    def bounds(self) -> tuple[int, int]:
        """Return the least and greatest result: those of the storage type, narrowed by a fused ReLU."""
        params = self.result_params
        low, high = params.bounds
        if getattr(self, "do_relu", False):
            limit: float = self.relu_limit  # type: ignore[attr-defined]
            if getattr(self, "rounding", "single") in ("double", "away"):
                return activation_bounds(params, 0.0, limit if limit >= 0 else None)
            low = max(low, params.zero_point)
            if limit >= 0:
                high = min(high, params.zero_point + round(limit / float(params.scale)))  # type: ignore[arg-type]
        return low, high

    @property
    def result_dtype(self) -> type:
        """The numpy type of the first result."""
        return DTYPES[self.result_params.type]


class FloatOp(TpuOp):
    """An op that has no integer code: INT8 lowering puts casts around it."""


def rounded(y: np.ndarray, value: SSAValue) -> np.ndarray:
    """Return a result rounded to its storage type where that is a float, else as it is."""
    return ROUND[storage_of(value)](y) if storage_of(value) in ROUND else y


def centred(q: np.ndarray, params: QuantParams, dtype: type) -> np.ndarray:
    """Return q − zero_point in `dtype`."""
    x: np.ndarray = q.astype(dtype)
    if params.zero_point:
        x -= dtype(params.zero_point)
    return x


def _widened(x: Any, value: SSAValue) -> Any:
    return x if is_none(value) or not is_float(value) else x.astype(np.float64)


def _params(value: SSAValue) -> QuantParams:
    params = quant_of(value)
    assert params is not None
    return params
