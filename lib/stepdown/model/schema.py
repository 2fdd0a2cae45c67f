"""What a model file says, as frozen dataclasses; `model.json` holds them field by field (docs/model_file.md).

A field that has its default is left out of the file. A *section* is the name of one of the file's sections; a
*memory* is one of the chip's, of which `global` is the one that inputs, outputs and weights lie in.
"""

from dataclasses import dataclass, field

from stepdown.files.npz import TensorInfo

GLOBAL, LOCAL = "global", "local"
LANES = "lanes"
"""The layout of local memory: `lanes AXIS` or `lanes AXIS LANE`, see `lanes_layout`."""
NPU, HOST = "npu", "host"
Scalar = bool | int | float | str
Preprocessing = dict[str, Scalar | tuple[Scalar, ...]]


def lanes_layout(axis: int, lane: int = 0) -> str:
    """Return the layout of a part of a tensor in local memory: its dimension `axis` is spread over the lanes.

    The element whose index is i there lies in lane p mod lanes with p = lane + i, at ⌊p / lanes⌋ × the stride of that
    dimension + each other index × its stride. Without strides rows follow each other within each lane.
    """
    return f"{LANES} {axis}" + (f" {lane}" if lane else "")


@dataclass(frozen=True)
class Tensor:
    """A tensor with a name: what is stored in it, as in a dump (`files.npz.TensorInfo`).

    real value = (stored − zero_point) × scale, one a channel along `axis` where they are tuples. Where `order` is not
    empty, the source model's array is `stored.transpose(order)`; `layout` is then its name there, `NHWC`.
    """

    name: str
    shape: tuple[int, ...]
    type: str
    scale: float | tuple[float, ...] | None = None
    zero_point: int | tuple[int, ...] = 0
    axis: int | None = None
    layout: str = ""
    order: tuple[int, ...] = ()
    fused: tuple[str, ...] = ()
    view_of: str = ""
    internal: bool = False

    @property
    def info(self) -> TensorInfo:
        """What a dump says of this tensor."""
        scale = list(self.scale) if isinstance(self.scale, tuple) else self.scale
        zero_point = list(self.zero_point) if isinstance(self.zero_point, tuple) else self.zero_point
        return TensorInfo(
            self.type, scale, zero_point, self.axis, self.layout, self.fused, self.view_of, self.internal
        )  # fmt: skip


@dataclass(frozen=True)
class Weight:
    """A constant: the array in `section`, little-endian, in the order that its reader wants.

    `address` is where it lies in global memory; None for a weight of a host subnet.
    """

    name: str
    section: str
    shape: tuple[int, ...]
    type: str
    address: int | None = None


@dataclass(frozen=True)
class Stream:
    """The commands of one engine, encoded in `section` by the chip's instruction set; `commands` counts them."""

    engine: str
    section: str
    commands: int


@dataclass(frozen=True)
class CommandRange:
    """The commands `first` … `first + count − 1` of an engine's stream."""

    engine: str
    first: int
    count: int


@dataclass(frozen=True)
class Step:
    """Source of commands: the op `op` that makes tensor `name`, or one tile of it, and what it became.

    Steps are in the order in which a machine without concurrency would run them. Every command is in one step.
    """

    name: str
    op: str
    commands: tuple[CommandRange, ...]


@dataclass(frozen=True)
class Region:
    """A place in a memory, and in which steps it is in use: the memory map.

    `name` is a tensor, a weight, or empty for what has none. The step `first` begins to write it, after the step
    `ready` it holds its values, and `last` is the last step that reads it. A tile of a tensor has the `origin` and
    `shape` of its part; both are empty for all of it. `layout` is a way of the instruction set to lay a tensor into a
    memory, empty for row-major; `strides`, in bytes, are given where rows do not follow each other.
    """

    name: str
    memory: str
    address: int
    bytes: int
    first: int
    ready: int
    last: int
    origin: tuple[int, ...] = ()
    shape: tuple[int, ...] = ()
    strides: tuple[int, ...] = ()
    layout: str = ""


@dataclass(frozen=True)
class Subnet:
    """A run of commands (`npu`), or a part of the network that the host runs (`host`); they run in order.

    A host subnet is a module of the TPU dialect, the text in section `text`; its weight ops name `weights` by `key`.
    """

    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    commands: tuple[CommandRange, ...] = ()
    text: str = ""
    weights: tuple[Weight, ...] = ()


@dataclass(frozen=True)
class Provenance:
    """What it was made of and how: SHA-256 by file name, versions by tool, flags. No time, no folder."""

    inputs: dict[str, str] = field(default_factory=dict)
    tools: dict[str, str] = field(default_factory=dict)
    flags: tuple[str, ...] = ()


@dataclass(frozen=True)
class Stage:
    """A network for one set of input shapes.

    `inputs` and `outputs` name tensors of `tensors`; `preprocessing` says, by input, how a photo becomes it (the
    attributes of the input op); `memory_bytes` is what a memory must hold at least.
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    tensors: tuple[Tensor, ...]
    subnets: tuple[Subnet, ...]
    weights: tuple[Weight, ...] = ()
    streams: tuple[Stream, ...] = ()
    memory_bytes: dict[str, int] = field(default_factory=dict)
    memory: tuple[Region, ...] = ()
    steps: tuple[Step, ...] = ()
    preprocessing: dict[str, Preprocessing] = field(default_factory=dict)
    provenance: Provenance = Provenance()

    def tensor(self, name: str) -> Tensor:
        """Return the tensor of that name."""
        return next(tensor for tensor in self.tensors if tensor.name == name)

    @property
    def ends(self) -> tuple[dict[str, int], ...]:
        """After each subnet, how many commands of each engine have ended."""
        reached, found = dict.fromkeys((stream.engine for stream in self.streams), 0), []
        for subnet in self.subnets:
            for part in subnet.commands:
                reached[part.engine] = part.first + part.count
            found.append(dict(reached))
        return tuple(found)

    @property
    def all_weights(self) -> tuple[Weight, ...]:
        """The weights in global memory, and those of the host subnets."""
        return self.weights + tuple(weight for subnet in self.subnets for weight in subnet.weights)

    @property
    def sections(self) -> dict[str, None]:
        """The sections that it uses, each once."""
        streams = [stream.section for stream in self.streams]
        texts = [subnet.text for subnet in self.subnets if subnet.text]
        return dict.fromkeys([*(weight.section for weight in self.all_weights), *streams, *texts])


@dataclass(frozen=True)
class Network:
    """A network with its stages; `mode` and `profile` are those of its lowering."""

    name: str
    mode: str
    profile: str
    stages: tuple[Stage, ...]


@dataclass(frozen=True)
class Description:
    """All that `model.json` says."""

    networks: tuple[Network, ...]
