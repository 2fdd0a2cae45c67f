"""What code generation makes: streams, constants, and where tensors are and when."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from xdsl.ir import SSAValue

from stepdown.dialects.op import TensorOp
from stepdown.npu.isa import Tensor
from stepdown.npu.isa.tensor import Four
from stepdown.npu.kernels import Region

Range = tuple[str, int, int]
"""Engine, number of the first command, and how many follow each other."""


@dataclass(frozen=True)
class HostStep:
    """An op that the host executes once the engines have ended so many commands (by engine), before any later one.

    These are the commands of so many steps.
    """

    op: TensorOp
    after: Mapping[str, int]
    steps: int = 0


@dataclass
class CodeStep:
    """An op, or a tile of it: its number in `Code.layers`, and its commands in each stream."""

    layer: int
    ranges: list[Range] = field(default_factory=list)

    def add(self, engine: str, at: int) -> None:
        """Take command `at` of an engine."""
        for number, (name, first, count) in enumerate(self.ranges):
            if (name, first + count) == (engine, at):
                self.ranges[number] = engine, first, count + 1
                return
        self.ranges.append((engine, at, 1))


@dataclass(frozen=True)
class LocalPart:
    """A part of a value in local memory: `region` of it under the shape `whole`, at `place`.

    The step `made` makes it, `last` is the last one that reads it.
    """

    value: SSAValue
    place: Tensor
    whole: Four
    region: Region
    made: int
    last: int


@dataclass(frozen=True)
class LocalConstant:
    """A constant in local memory, or its part for a tile, at `place`: the step `made` brings it, `last` reads it."""

    name: str
    place: Tensor
    made: int
    last: int


@dataclass
class Code:
    """What a machine needs to run a network: streams by engine, what lies in global memory, where tensors are.

    `constants` are the tensors of `image` by name. `tensors` are those that lie in global memory, `local` the parts of
    the others; `copies` and `brought` are parts of tensors, and constants, that lie in both memories. `layers` are the
    names of the ops' tensors; a command's `layer` is a place in it. `steps` have every command once, in the order in
    which a machine that does one thing at a time would run them. `host` are the ops that have no commands, in order.
    """

    streams: dict[str, bytes] = field(default_factory=dict)
    image: dict[int, np.ndarray] = field(default_factory=dict)
    constants: dict[str, Tensor] = field(default_factory=dict)
    tensors: dict[str, tuple[Tensor, tuple[int, ...]]] = field(default_factory=dict)
    local: list[LocalPart] = field(default_factory=list)
    copies: list[LocalPart] = field(default_factory=list)
    brought: list[LocalConstant] = field(default_factory=list)
    layers: list[str] = field(default_factory=list)
    steps: list[CodeStep] = field(default_factory=list)
    host: list[HostStep] = field(default_factory=list)
    global_bytes: int = 0
