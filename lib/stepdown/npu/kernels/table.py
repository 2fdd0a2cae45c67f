"""Which kernel an op has."""

from collections.abc import Mapping

import numpy as np
from xdsl.ir import SSAValue

from stepdown.dialects.op import Kind, TensorOp
from stepdown.errors import UnsupportedModel
from stepdown.npu.kernels.base import Kernel
from stepdown.npu.kernels.multiply import MultiplyKernel, ProductKernel, TransposeKernel
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


def kernel_of(op: TensorOp, weights: Mapping[SSAValue, np.ndarray]) -> Kernel:
    """Return the kernel of an op.

    Raises:
        UnsupportedModel: it has none.
    """
    found = KERNELS.get(op.name.split(".")[1])
    if found is None and op.kind is Kind.LUT:
        found = TableKernel
    if found is None:
        raise UnsupportedModel("no command computes it", f'{op.name} loc("{op.tensor_name}")')
    return found(op, weights)
