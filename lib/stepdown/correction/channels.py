"""Which tensors of a float network may have their channels rescaled together.

A factor for a channel of a tensor is multiplied into the constants that make the channel and divided out of those that
read it: cross-layer equalisation (Nagel et al., arXiv:1906.04721) and, where a LayerNorm makes the channel,
SmoothQuant (Xiao et al., arXiv:2211.10438). Tensors that share channels form one group, with all their factors.
"""

from dataclasses import dataclass, field

import numpy as np
from xdsl.ir import SSAValue

from stepdown.correction.patterns import MOVES, Patterns, clips
from stepdown.correction.tied import FIXED, Tied
from stepdown.dialects.op import TensorOp
from stepdown.dialects.program import Program
from stepdown.dialects.top.mac import MatMul

_CARRIERS = ("top.Mul", "top.Div", "top.MatMul")
# Where they make no channels: products whose error is that of what they read.


@dataclass(frozen=True)
class Member:
    """A tensor of a group: by channel, in the order of `shape`, the place of its factor (-1: none) and its sign."""

    shape: tuple[int, ...]
    """The tensor's shape with 1 where channels do not differ."""
    index: np.ndarray
    sign: np.ndarray

    @property
    def channels(self) -> int:
        """The number of channels."""
        return len(self.index)

    def factors(self, chosen: np.ndarray) -> np.ndarray:
        """Return the factor of each channel, of a group's."""
        return np.asarray(np.where(self.index < 0, 1.0, chosen[self.index] ** self.sign))

    def by_channel(self, array: np.ndarray) -> np.ndarray:
        """Return the tensor's values as [C, P]."""
        kept = [i for i, n in enumerate(self.shape) if n != 1]
        return np.moveaxis(array, kept, range(len(kept))).reshape(self.channels, -1)

    def gathered(self, values: np.ndarray, sign: int, size: int) -> np.ndarray:
        """Return, for each of a group's `size` factors, the largest value [C] of its channels of one sign, or 0."""
        found, here = np.zeros(size), (self.index >= 0) & (self.sign == sign)
        np.maximum.at(found, self.index[here], values[here])
        return found


@dataclass
class Group:
    """Tensors that share factors: who makes them from constants, and who reads them into weights or products."""

    size: int = 0
    members: dict[SSAValue, Member] = field(default_factory=dict)
    makers: dict[TensorOp, tuple[int, ...]] = field(default_factory=dict)
    """Each with the numbers of its constants that take the factors of its result in."""
    readers: list[TensorOp] = field(default_factory=list)
    products: list[TensorOp] = field(default_factory=list)
    """Products of two tensors, the factors of one the inverses of the other's."""

    @property
    def tensors(self) -> list[SSAValue]:
        """The tensors, in the program's order."""
        return list(self.members)

    def sources(self, value: SSAValue) -> list[SSAValue]:
        """Return the tensors of the group whose rounding reaches `value` by moves and products; itself, if computed."""
        owner, found = value.owner, list[SSAValue]()
        assert isinstance(owner, TensorOp)
        if owner.name not in MOVES:
            found.append(value)
        if owner not in self.makers and owner.name in (*MOVES, *_CARRIERS):
            found += [source for v in owner.operands if v in self.members for source in self.sources(v)]
        return list(dict.fromkeys(found))

    @property
    def limit(self) -> float | None:
        """The upper clip of the maker's ReLU, None where there is none.

        One clip serves all channels, so that each channel's own is the clip divided by its factor.
        """
        limits = [float(op.relu_limit) for op in self.makers if clips(op)]  # type: ignore[attr-defined]
        return min(limits, default=None)


def find_groups(program: Program) -> list[Group]:
    """Return the groups of `program` whose channels can be rescaled, in the program's order."""
    patterns = Patterns(program)
    found = _grouped(patterns)
    for op in patterns.makers:
        if group := found.get(op.results[0]):
            group.makers[op] = patterns.absorbed[op]
    for op in patterns.readers:
        if group := found.get(op.operands[0]):
            group.readers.append(op)
    for op in patterns.products:
        if group := found.get(op.operands[0]):
            group.products.append(op)
    return [group for group in {id(g): g for g in found.values()}.values() if _complete(group)]


def _grouped(patterns: Patterns) -> dict[SSAValue, Group]:
    """Return the group of each tensor that has a channel with a factor."""
    roots = {value: patterns.tied.roots(pattern.ravel().tolist()) for value, pattern in patterns.of.items()}
    roots = {value: (root, sign) for value, (root, sign) in roots.items() if (root != FIXED).any()}
    joined = Tied()
    joined.fresh(1 + max((int(root.max()) for root, _ in roots.values()), default=0))
    for root, _ in roots.values():
        live = root[root != FIXED]
        joined.tie(live, live[:1])
    groups: dict[int, Group] = {}
    found, places = {}, dict[int, int]()
    for value, (root, sign) in roots.items():
        live = root[root != FIXED]
        group = found[value] = groups.setdefault(joined.root(int(live[0]))[0], Group())
        for number in np.unique(live).tolist():
            if number not in places:
                places[number], group.size = group.size, group.size + 1
        index = np.array([places.get(number, -1) for number in root.tolist()])
        group.members[value] = Member(patterns.of[value].shape, index, sign)
    return found


def _complete(group: Group) -> bool:
    """Tell whether a group has makers and readers, and one maker where there is a clip."""
    read = bool(group.readers or group.products)
    return bool(group.makers) and read and (group.limit is None or len(group.makers) == 1)


def read_rows(op: TensorOp, weight: np.ndarray) -> np.ndarray:
    """Return the weights of `op` as [O, C, K]: outputs, channels that they read (1 if depthwise), kernel positions."""
    if isinstance(op, MatMul):
        return (weight if op.right_transpose else weight.T)[:, :, None]
    return weight.reshape(*weight.shape[:2], -1)
