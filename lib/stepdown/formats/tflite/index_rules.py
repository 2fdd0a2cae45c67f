"""Operators that pick, place and order elements."""

import numpy as np
from xdsl.ir import SSAValue

from stepdown.dialects.top import index as top
from stepdown.dialects.top.move import Reshape
from stepdown.dialects.types import DTYPES
from stepdown.formats.tflite.move_rules import axis_of
from stepdown.formats.tflite.node import Node
from stepdown.formats.tflite.rules import refuse, rule

refuse("its result's size depends on the data", "WHERE", "UNIQUE", "NON_MAX_SUPPRESSION_V4", "NON_MAX_SUPPRESSION_V5")
refuse("control flow", "IF", "WHILE", "CALL", "CALL_ONCE", "STABLEHLO_WHILE")
refuse("random", "RANDOM_UNIFORM", "RANDOM_STANDARD_NORMAL", "MULTINOMIAL", "STABLEHLO_RNG_BIT_GENERATOR")
refuse("hidden state", "VAR_HANDLE", "READ_VARIABLE", "ASSIGN_VARIABLE", "SVDF", "RNN", "LSTM")
refuse("hidden state", *(f"{ways}DIRECTIONAL_SEQUENCE_{cell}" for ways in ("UNI", "BI") for cell in ("RNN", "LSTM")))
refuse("tables of strings", "HASHTABLE", "HASHTABLE_FIND", "HASHTABLE_IMPORT", "HASHTABLE_LOOKUP", "HASHTABLE_SIZE")


@rule("GATHER")
def gather(node: Node) -> SSAValue:
    """Operands: input, indices; Axis, BatchDims."""
    axis = axis_of(node, int(node.attribute("Axis", 0)), len(node.shape(0)))
    batch = int(node.attribute("BatchDims", 0))
    if batch == 0:
        return node.emit(top.Gather, node.given(0), node.given(1), axis=axis)
    if axis != batch:
        raise node.refuse(f"picks along axis {axis} behind {batch} batch dimensions")
    rows = node.part("rows", Reshape, node.given(1), shape=[*node.shape(1), 1])
    return node.emit(top.GatherND, node.given(0), rows, batch_dims=batch)


@rule("GATHER_ND")
def gather_nd(node: Node) -> SSAValue:
    """Operands: input, indices[…, i]."""
    return node.emit(top.GatherND, node.given(0), node.given(1))


@rule("EMBEDDING_LOOKUP")
def embedding_lookup(node: Node) -> SSAValue:
    """Operands: indices, table."""
    return node.emit(top.Gather, node.given(1), node.given(0), axis=0)


@rule("SCATTER_ND")
def scatter_nd(node: Node) -> SSAValue:
    """Operands: indices, updates, shape: zeros with the updates added."""
    zeros = node.weight(np.zeros(node.room_for(node.ints(2) or []), DTYPES[node.storage(1)]), "zeros")
    return node.emit(top.ScatterND, zeros, node.given(0), node.given(1), reduction="add")


@rule("TOPK_V2")
def top_k(node: Node) -> list[SSAValue]:
    """Operands: input, k: the largest along the last dimension, and their positions (int64 here)."""
    k, rank = (node.ints(1) or [1])[0], len(node.shape(0))
    return node.emit_all(top.TopK, node.given(0), k=k, axis=rank - 1, largest=True)


@rule("ONE_HOT")
def one_hot(node: Node) -> SSAValue:
    """Operands: indices, depth, on, off; Axis."""
    depth = (node.ints(1) or [1])[0]
    axis = int(node.attribute("Axis", -1))
    on, off = node.constant(2).reshape(-1)[0], node.constant(3).reshape(-1)[0]
    values = node.weight(np.array([off, on]), "values")
    return node.emit(top.OneHot, node.given(0), values, depth=depth, axis=axis % (len(node.shape(0)) + 1))
