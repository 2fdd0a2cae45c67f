"""Additions that are made in the kernel of one of their operands, of each result before it is stored.

What a convolution or a product makes is then never stored: of a network with residual connections a tensor less is
read and written for each, and a tensor less is held.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from xdsl.ir import SSAValue

from stepdown.dialects.op import TensorOp
from stepdown.errors import UnsupportedModel
from stepdown.native.calls import Call, Held, Network, Place
from stepdown.native.kernels.base import Kernel, kernel_of, tensor_of
from stepdown.native.kernels.conv import Mac
from stepdown.native.kernels.elementwise import Elementwise
from stepdown.native.kernels.joined import Joined
from stepdown.native.tensors import Tensor, same_bytes

JOINED = "tpu.Add"
"""The op that is made in others."""
ALONE = "no operand is a sum of products that nothing else uses"
"""Why an addition is an op by itself where there is nothing that it could be made in."""


@dataclass(frozen=True)
class Use:
    """The only use of a tensor: as the operand `side` of an addition of two."""

    op: TensorOp
    side: int

    @property
    def other(self) -> SSAValue:
        """The operand that is added to it."""
        return self.op.operands[1 - self.side]


def use_of(op: TensorOp) -> Use | None:
    """Return the addition that alone uses what an op makes; None where it is used otherwise, or by others."""
    uses = list(op.results[0].uses)
    if len(op.results) != 1 or len(uses) != 1:
        return None
    user = uses[0].operation
    if user.name != JOINED or not isinstance(user, TensorOp) or len(user.operands) != 2:
        return None
    return Use(user, uses[0].index)


def join(kernel: Kernel, use: Use, other: Tensor | None, weights: Mapping[SSAValue, np.ndarray]) -> str:
    """Make an addition in a kernel; return why it cannot be, "" where it is. Without `other`, that is not there yet."""
    if not isinstance(kernel, Mac):
        return ALONE
    if not kernel.has_room:
        return "the processor has too few registers to add integers where they are summed"
    if other is None:
        return "its other operand is constant, or is computed later"
    result = tensor_of(use.op.results[0], kernel.results[0].order)
    if not result.shape == other.shape == kernel.results[0].shape:
        return "it broadcasts an operand"
    if not same_bytes(result.shape, other.order, result.order):
        return "its operands lie in different orders"
    try:
        made = kernel_of(use.op, weights, kernel.machine)
    except UnsupportedModel as error:
        return error.what
    if not isinstance(made, Elementwise):
        return "its elements are not made one by one"
    kernel.join(Joined(made, use.side, replace(other, order=result.order), result))
    return ""


def overwrite(network: Network) -> None:
    """Let joined additions write where their other operand is, if that takes as many bytes and is not read later."""
    last = {place: number for number, call in enumerate(network.calls) for place in (*call.inputs, *call.results)}
    moved: dict[Place, Place] = {}
    for number, call in enumerate(network.calls):
        inputs, results = (tuple(moved.get(p, p) for p in places) for places in (call.inputs, call.results))
        if _may_overwrite(call, inputs, results) and last[inputs[-1]] == number:
            assert isinstance(call.kernel, Mac) and call.kernel.joined
            call.kernel.join(replace(call.kernel.joined, in_place=True))
            moved[results[0]] = inputs[-1]
            last[inputs[-1]] = last[results[0]]
            inputs, results = inputs[:-1], inputs[-1:]
        network.calls[number] = replace(call, inputs=inputs, results=results)
    for name, (value, held) in network.tensors.items():
        network.tensors[name] = value, Held(held.tensor, moved.get(held.place, held.place))


def _may_overwrite(call: Call, inputs: tuple[Place, ...], results: tuple[Place, ...]) -> bool:
    """Tell whether a call adds a tensor as large as the result, in no memory of the caller, and not read otherwise."""
    joined = call.kernel.joined if isinstance(call.kernel, Mac) else None
    if not joined or joined.other.bytes != joined.result.bytes:
        return False
    return inputs.count(inputs[-1]) == 1 and inputs[-1].role == results[0].role == "inner"
