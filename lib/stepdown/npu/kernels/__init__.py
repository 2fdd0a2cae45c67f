"""What an op is in commands: its constants in memory, what a tile of it reads, and what computes the tile."""

from stepdown.npu.kernels.base import Constant, Kernel, Region
from stepdown.npu.kernels.table import KERNELS, kernel_of

__all__ = ["KERNELS", "Constant", "Kernel", "Region", "kernel_of"]
