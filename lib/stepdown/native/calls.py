"""Calls of kernels on places in memory: what a network is, once its ops have become code."""

from dataclasses import dataclass, field

from xdsl.ir import SSAValue

from stepdown.native.kernels.base import Kernel
from stepdown.native.kernels.reorder import Reordering
from stepdown.native.tensors import Tensor


@dataclass(eq=False)
class Place:
    """Memory that one or several tensors of the program share; a network input or output is the caller's."""

    bytes: int
    role: str = "inner"


@dataclass(frozen=True)
class Held:
    """A value: how it lies, and in which memory."""

    tensor: Tensor
    place: Place


@dataclass(frozen=True)
class Call:
    """One run of a kernel."""

    kernel: Kernel | Reordering
    inputs: tuple[Place, ...]
    results: tuple[Place, ...]
    name: str
    macs: int = 0
    """Products that are summed."""


@dataclass(frozen=True)
class Addition:
    """What became of an addition: the op in whose kernel it is made, or why it is a call of its own."""

    name: str
    into: str = ""
    why: str = ""


@dataclass
class Network:
    """Calls in order, and where each named tensor lies."""

    calls: list[Call] = field(default_factory=list)
    tensors: dict[str, tuple[SSAValue, Held]] = field(default_factory=dict)
    inputs: list[Place] = field(default_factory=list)
    outputs: list[Place] = field(default_factory=list)
    additions: list[Addition] = field(default_factory=list)
    """Those of a level at which ops are joined."""
