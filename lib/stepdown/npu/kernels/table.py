"""Which kernel an op has."""

from collections.abc import Mapping

import numpy as np
from xdsl.ir import SSAValue

from stepdown.dialects.op import Kind, TensorOp
from stepdown.dialects.types import storage_of
from stepdown.errors import UnsupportedModel
from stepdown.npu.kernels.base import Kernel
from stepdown.npu.kernels.multiply import MultiplyKernel, ProductKernel, TransposeKernel
from stepdown.npu.kernels.stepwise import CLIPS, STEPS, ClipKernel, StepwiseKernel
from stepdown.npu.kernels.vector import (
    ConvertKernel,
    EltwiseKernel,
    MeanKernel,
    PoolKernel,
    ReduceKernel,
    RescaleKernel,
    TableKernel,
)

KERNELS: dict[str, type[Kernel]] = {
    "Conv": MultiplyKernel,
    "ConvTranspose": TransposeKernel,
    "MatMul": ProductKernel,
    "MaxPool": PoolKernel,
    "AveragePool": MeanKernel,
    **dict.fromkeys(("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin"), ReduceKernel),
    **dict.fromkeys(("Add", "Sub", "Mul", "Max", "Min"), EltwiseKernel),
    "Convert": ConvertKernel,
    "Rescale": RescaleKernel,
    "Lut": TableKernel,
}
"""By the name of the op."""
_F32: dict[str, type[Kernel]] = {**dict.fromkeys(CLIPS, ClipKernel), **dict.fromkeys(STEPS, StepwiseKernel)}


def kernel_of(op: TensorOp, weights: Mapping[SSAValue, np.ndarray]) -> Kernel:
    """Return the kernel of an op.

    Raises:
        UnsupportedModel: it has none.
    """
    name = op.name.split(".")[1]
    found = KERNELS.get(name)
    if name in _F32 and storage_of(op.results[0]) == "f32":
        found = _F32[name]
    if found is None and op.kind is Kind.LUT:
        found = TableKernel
    if found is None:
        raise UnsupportedModel("no command computes it", f'{op.name} loc("{op.tensor_name}")')
    return found(op, weights)
