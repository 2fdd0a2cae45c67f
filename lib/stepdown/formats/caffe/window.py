"""The windows of Caffe's layers: one value for all spatial dimensions, one for each, or *_h and *_w."""

from typing import Any

from stepdown.formats.caffe.node import Node

_MAX_VALUE = (1 << 31) - 1


def sizes(node: Node, param: Any, name: str, two: str, rank: int, default: int | None) -> list[int]:
    """Return the values of a window's field `name`, or of its `two`_h and `two`_w, one a spatial dimension.

    Raises:
        UnsupportedModel: there is another number of values, or they are negative or beyond 31 bits.
    """
    given, pair = list(getattr(param, name)), [f"{two}_h", f"{two}_w"]
    if any(param.HasField(part) for part in pair):
        if given or rank != 2:
            raise node.refuse(f"{name} beside {two}_h and {two}_w, or those for {rank} spatial dimensions")
        given = [getattr(param, part) for part in pair]
    if not given and default is not None:
        given = [default]
    if len(given) not in (1, rank):
        raise node.refuse(f"{len(given)} values of {name} for {rank} spatial dimensions")
    if not all(0 <= value <= _MAX_VALUE for value in given):
        raise node.refuse(f"{name} is {given}")
    return given * rank if len(given) == 1 else given


def spatial_rank(node: Node) -> int:
    """Return how many spatial dimensions a layer's operand has.

    Raises:
        UnsupportedModel: none.
    """
    rank = len(node.shape(0)) - 2
    if rank < 1:
        raise node.refuse(f"a blob of shape {node.shape(0)} has no spatial dimensions")
    return rank
