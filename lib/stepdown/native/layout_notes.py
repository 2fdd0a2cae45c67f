"""What a network's layout costs: which tensors are reordered, which ops run in another layout, which are joined."""

from dataclasses import dataclass

from stepdown.native.calls import Addition, Network
from stepdown.native.effort import BLOCKED, Effort
from stepdown.native.kernels.base import SAME
from stepdown.native.kernels.reorder import Reordering
from stepdown.native.tensors import Order, Tensor, channels_last, is_blocked, logical, same_bytes

_LETTERS = {3: "ncw", 4: "nchw", 5: "ncdhw"}


@dataclass(frozen=True)
class Reorder:
    """A tensor that is copied into another order."""

    tensor: str
    before: str
    after: str
    bytes: int


@dataclass(frozen=True)
class Fallback:
    """An op whose result lies otherwise than asked for, as it has no code in that layout."""

    op: str
    name: str
    order: str


@dataclass(frozen=True)
class LayoutNotes:
    """The reorders, fallbacks and additions of a network, in its order."""

    effort: Effort
    reorders: tuple[Reorder, ...]
    fallbacks: tuple[Fallback, ...]
    additions: tuple[Addition, ...] = ()

    def lines(self) -> list[str]:
        """Return one line for each, and before them their counts."""
        moved = sum(r.bytes for r in self.reorders)
        return [
            f"level {self.effort.level}, layout {self.effort.layout}: {len(self.reorders)} reorders ({moved:,} bytes), "
            f"{len(self.fallbacks)} ops in another layout",
            *(f"reorder '{r.tensor}' from {r.before} to {r.after}, {r.bytes:,} bytes" for r in self.reorders),
            *(f"{f.op} '{f.name}' has no code in {self.effort.layout}: runs in {f.order}" for f in self.fallbacks),
            *(f"tpu.Add '{a.name}' is made in '{a.into}'" for a in self.additions if a.into),
            *(f"tpu.Add '{a.name}' is a call of its own: {a.why}" for a in self.additions if a.why),
        ]


def layout_notes(network: Network, effort: Effort) -> LayoutNotes:
    """Return what the layout costs a network; ops that take tensors as they lie fall back on nothing."""
    reorders, fallbacks = [], []
    for call in network.calls:
        tensor = call.kernel.results[0]
        order = order_name(tensor)
        if isinstance(call.kernel, Reordering):
            reorders.append(Reorder(call.name, order_name(call.kernel.tensors[0]), order, tensor.bytes))
        elif order and call.kernel.layout != SAME and not _lies_as(tensor, effort.layout):
            fallbacks.append(Fallback(call.kernel.op.name, call.name, order))
    return LayoutNotes(effort, tuple(reorders), tuple(fallbacks), tuple(network.additions))


def order_name(tensor: Tensor) -> str:
    """Return an order as letters, `nhwc` or `nchw8c`; "" for tensors without spatial dimensions."""
    letters = _LETTERS.get(len(tensor.shape), "")
    if not letters:
        return ""
    return "".join(letters[at] for at in tensor.order if at >= 0) + (f"{tensor.block}c" if tensor.block > 1 else "")


def _lies_as(tensor: Tensor, layout: str) -> bool:
    if layout == BLOCKED or is_blocked(tensor.order):
        return layout == BLOCKED and is_blocked(tensor.order)
    rank = len(tensor.shape)
    wanted: Order = channels_last(rank) if layout == "nhwc" else logical(rank)
    return same_bytes(tensor.shape, tensor.order, wanted)
