"""Which order of dimensions each tensor of a network lies in, and where one has to be reordered."""

from collections.abc import Sequence

from stepdown.native.tensors import Order


def transposed(order: Order, permutation: Sequence[int]) -> Order:
    """Return the order in which x.transpose(permutation) lies where nothing is moved and x lies in `order`."""
    place = {dimension: at for at, dimension in enumerate(permutation)}
    return tuple(place[dimension] for dimension in order)
