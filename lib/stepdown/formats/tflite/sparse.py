"""Sparse constants of TFLite made dense.

A sparse tensor is a tree: at each level of `traversal_order` a dimension is dense (all its indices) or compressed
(segments and indices), blocks being further dimensions inside. Source: schema.fbs, SparsityParameters.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from stepdown.errors import InputError

DENSE = 0
MAX_GROWTH = 1 << 31
"""Elements that a sparse constant may have when dense."""


def densify(values: np.ndarray, shape: Sequence[int], sparsity: Any, where: str) -> np.ndarray:
    """Return the dense tensor of `shape` whose stored values are `values`, zeros elsewhere.

    Raises:
        InputError: the structure does not describe a tensor of that shape.
    """
    order, blocks = listed(sparsity.TraversalOrderAsNumpy()), listed(sparsity.BlockMapAsNumpy())
    rank, levels = len(shape), len(order)
    fits = sorted(order) == list(range(levels)) and levels == rank + len(blocks) == sparsity.DimMetadataLength()
    if not fits or any(not 0 <= b < rank for b in blocks) or np.prod(shape, dtype=np.float64) > MAX_GROWTH:
        raise InputError("its sparsity does not fit its shape", where)
    sizes, coordinates = _walk(sparsity, levels, len(values), where)
    block_sizes = [sizes[order.index(rank + i)] for i in range(len(blocks))]
    full = [np.zeros(len(values), np.int64) for _ in shape]
    for level, dimension in enumerate(order):
        axis = dimension if dimension < rank else blocks[dimension - rank]
        scale = 1
        if dimension < rank and dimension in blocks:
            scale = block_sizes[blocks.index(dimension)]
        full[axis] = full[axis] + coordinates[level] * scale
    if any(len(c) and int(c.max()) >= n for c, n in zip(full, shape, strict=True)):
        raise InputError("its sparsity reaches beyond its shape", where)
    dense = np.zeros(tuple(shape), values.dtype)
    dense[tuple(full)] = values
    return dense


def _walk(sparsity: Any, levels: int, count: int, where: str) -> tuple[list[int], list[np.ndarray]]:
    """Return the size of each level, and for each level the index of every stored value along it."""
    paths: list[np.ndarray] = []
    sizes: list[int] = []
    nodes = 1
    for level in range(levels):
        metadata = sparsity.DimMetadata(level)
        if metadata.Format() == DENSE:
            size = metadata.DenseSize()
            if not 0 <= size * nodes <= count:
                raise InputError("its sparsity names more values than it holds", where)
            parents, index = np.repeat(np.arange(nodes), size), np.tile(np.arange(size), nodes)
        else:
            segments, index = _vector(metadata, "ArraySegments"), _vector(metadata, "ArrayIndices")
            lengths = np.diff(segments)
            size = int(index.max(initial=-1)) + 1
            starts_right = len(segments) == nodes + 1 and segments[-1] == len(index)
            if not starts_right or (lengths < 0).any() or index.min(initial=0) < 0:
                raise InputError("its sparsity is inconsistent", where)
            parents = np.repeat(np.arange(nodes), lengths)
        nodes = len(parents)
        paths = [*(p[parents] for p in paths), index]
        sizes.append(size)
    if nodes != count:
        raise InputError(f"its sparsity names {nodes} values, it holds {count}", where)
    return sizes, paths


def _vector(metadata: Any, name: str) -> np.ndarray:
    """Return segments or indices: a union of vectors of three integer widths."""
    import tflite

    kinds = {1: tflite.Int32Vector, 2: tflite.Uint16Vector, 3: tflite.Uint8Vector}
    table = getattr(metadata, name)()
    vector = kinds[getattr(metadata, f"{name}Type")()]()
    vector.Init(table.Bytes, table.Pos)
    values = vector.ValuesAsNumpy()
    return values.astype(np.int64) if isinstance(values, np.ndarray) else np.zeros(0, np.int64)


def listed(raw: Any) -> list[Any]:
    """Return a vector of numbers as a list; the reader gives 0 for an absent one."""
    return raw.tolist() if isinstance(raw, np.ndarray) else []
