"""Products with weights of a few bits that only onnxruntime packs so."""

import numpy as np
from xdsl.ir import SSAValue

from stepdown.dialects.top.mac import MatMul
from stepdown.formats.onnx.node import Node
from stepdown.formats.onnx.rules import rule

BITS = (2, 4, 8)


@rule("com.microsoft.MatMulNBits")
def matmul_n_bits(node: Node) -> SSAValue:
    """A × B' of B[N, blocks, bytes] packed by blocks along K, as a float weight. Source: ContribOperators."""
    rows, depth = node.attribute("N"), node.attribute("K")
    bits, block = node.attribute("bits", 4), node.attribute("block_size")
    if node.has(4) or bits not in BITS:
        raise node.refuse("an order of groups is not supported" if node.has(4) else f"weights of {bits} bits")
    blocks = -(-depth // block)
    stored = _unpacked(node.constant(1).reshape(rows, -1), bits)[:, : blocks * block].astype(np.float32)
    scale = node.constant(2).reshape(rows, blocks).astype(np.float32)
    real = (stored.reshape(rows, blocks, block) - _zero_points(node, rows, blocks, bits)) * scale[..., None]
    weight = node.weight(np.ascontiguousarray(real.reshape(rows, -1)[:, :depth].T), "weight")
    return node.emit(MatMul, node.given(0), weight, node.value(5))


def _zero_points(node: Node, rows: int, blocks: int, bits: int) -> np.ndarray:
    """Return the zero points [N, blocks, 1]: in the middle where absent, packed as the weights where integers."""
    if not node.has(3):
        return np.full((1, 1, 1), 1 << (bits - 1), np.float32)
    given = node.constant(3)
    if given.dtype.kind == "u":
        given = _unpacked(given.reshape(rows, -1), bits)[:, :blocks]
    return given.reshape(rows, blocks, 1).astype(np.float32)


def _unpacked(packed: np.ndarray, bits: int) -> np.ndarray:
    """Return the numbers in the bytes of each row, the lowest bits first."""
    parts = [(packed >> shift) & ((1 << bits) - 1) for shift in range(0, 8, bits)]
    return np.stack(parts, axis=-1).reshape(len(packed), -1)
