"""Our instruction set: one table that encodes, decodes, disassembles, parses and documents (docs/isa.md)."""

from stepdown.npu.isa.code import decode, encode
from stepdown.npu.isa.command import COMPUTE, DMA, DMA2, ENGINES, INSTRUCTIONS, Command
from stepdown.npu.isa.dma import Fill, Gather, Move
from stepdown.npu.isa.multiply import Conv, Depthwise, Multiply
from stepdown.npu.isa.tensor import BYTES, Tensor, packed
from stepdown.npu.isa.text import disassemble, parse
from stepdown.npu.isa.vector import Convert, Eltwise, Pool, Rescale, Table

__all__ = [
    "BYTES",
    "COMPUTE",
    "DMA",
    "DMA2",
    "ENGINES",
    "INSTRUCTIONS",
    "Command",
    "Conv",
    "Convert",
    "Depthwise",
    "Eltwise",
    "Fill",
    "Gather",
    "Move",
    "Multiply",
    "Pool",
    "Rescale",
    "Table",
    "Tensor",
    "decode",
    "disassemble",
    "encode",
    "packed",
    "parse",
]
