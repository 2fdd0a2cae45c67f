"""Operators that exchange blocks of positions with channels or batches."""

import math

from xdsl.ir import SSAValue

from stepdown.dialects.top import move as top
from stepdown.dialects.top.reorder import DepthToSpace, SpaceToDepth
from stepdown.formats.tflite.node import Node
from stepdown.formats.tflite.rules import rule


@rule("SPACE_TO_DEPTH")
def space_to_depth(node: Node) -> SSAValue:
    """Blocks of BlockSize² positions become channels, position by position."""
    return node.channels_last(
        SpaceToDepth, node.channels_first(node.given(0)), block_size=int(node.attribute("BlockSize", 1))
    )


@rule("DEPTH_TO_SPACE")
def depth_to_space(node: Node) -> SSAValue:
    """Channels become blocks of BlockSize² positions."""
    return node.channels_last(
        DepthToSpace, node.channels_first(node.given(0)), block_size=int(node.attribute("BlockSize", 1)), mode="DCR"
    )


@rule("SPACE_TO_BATCH_ND")
def space_to_batch(node: Node) -> SSAValue:
    """Operands: input[N, *S, …], block, paddings: positions within a block become batches."""
    block, sides = node.ints(1) or [], node.constant(2).reshape(-1, 2).tolist()
    n, *rest = node.shape(0)
    spatial, remaining = rest[: len(block)], rest[len(block) :]
    pads = [0, *(b for b, _ in sides), *([0] * len(remaining)), 0, *(e for _, e in sides), *([0] * len(remaining))]
    padded = node.part("padded", top.Pad, node.given(0), pads=pads)
    sizes = [s + b + e for s, (b, e) in zip(spatial, sides, strict=True)]
    if any(k < 1 or s % k for s, k in zip(sizes, block, strict=True)):
        raise node.refuse(f"cuts {sizes} into blocks of {block}")
    pairs = [p for s, k in zip(sizes, block, strict=True) for p in (s // k, k)]
    cut = node.part("blocks", top.Reshape, padded, shape=[n, *pairs, *remaining])
    m = len(block)
    order = [*range(2, 2 * m + 1, 2), 0, *range(1, 2 * m + 1, 2), *range(2 * m + 1, 2 * m + 1 + len(remaining))]
    moved = node.part("moved", top.Transpose, cut, order=order)
    outer = [s // k for s, k in zip(sizes, block, strict=True)]
    return node.emit(top.Reshape, moved, shape=[n * math.prod(block), *outer, *remaining])


@rule("BATCH_TO_SPACE_ND")
def batch_to_space(node: Node) -> SSAValue:
    """Operands: input[N, *S, …], block, crops: batches become positions within a block."""
    block, crops = node.ints(1) or [], node.constant(2).reshape(-1, 2).tolist()
    batch, *rest = node.shape(0)
    m, spatial = len(block), rest[: len(block)]
    remaining, whole = rest[m:], math.prod(block)
    if whole < 1 or batch % whole:
        raise node.refuse(f"joins {batch} batches by blocks of {block}")
    n = batch // whole
    cut = node.part("blocks", top.Reshape, node.given(0), shape=[*block, n, *spatial, *remaining])
    pairs = [p for i in range(m) for p in (m + 1 + i, i)]
    moved = node.part("moved", top.Transpose, cut, order=[m, *pairs, *range(2 * m + 1, 2 * m + 1 + len(remaining))])
    sizes = [s * k for s, k in zip(spatial, block, strict=True)]
    joined = node.part("joined", top.Reshape, moved, shape=[n, *sizes, *remaining])
    starts = [0, *(b for b, _ in crops), *([0] * len(remaining))]
    ends = [n, *(s - e for s, (_, e) in zip(sizes, crops, strict=True)), *remaining]
    return node.emit(top.Slice, joined, starts=starts, ends=ends, steps=[1] * len(starts))
