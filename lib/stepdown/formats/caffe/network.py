"""A net as layers to import: the ones of the test phase, in order, reading and making tensors with names of their own.

Caffe's blobs are memory: a layer may write what it reads ("in place"). Here every state of a blob is a tensor. The last
state has the blob's name, an earlier one that of the layer that made it; where the net's input is written over, it is
the input that has the blob's name, because that is what callers give.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from stepdown.errors import InputError
from stepdown.files.npz import closest

Shape = tuple[int, ...]
TEST = 1

DATA = (
    "AnnotatedData", "Data", "DummyData", "HDF5Data", "ImageData", "ImageSegData", "MemoryData", "VideoData",
    "WindowData",
)  # fmt: skip
SINKS = ("Accuracy", "DetectionEvaluate", "HDF5Output", "Silence")
NOTHING = ("Dropout", "Split")
"""Layers that pass on what they read; in place they are not even a state of their blob."""
_MAX_SIZE = (1 << 31) - 1


@dataclass(eq=False)
class Tensor:
    """A state of a blob, result `place` of the layer `maker` of type `kind`.

    An input has no kind, and a maker only where it comes from a layer of data, which is left out where nobody reads it.

    Its `shape` is None where the net does not say it.
    """

    blob: str
    maker: str
    place: int
    shape: Shape | None = None
    kind: str = ""
    name: str = ""


@dataclass(eq=False)
class Layer:
    """A layer that is imported."""

    message: Any
    reads: list[Tensor]
    makes: list[Tensor]

    @property
    def name(self) -> str:
        """The layer's name."""
        return str(self.message.name)

    @property
    def type(self) -> str:
        """The layer's type."""
        return str(self.message.type)

    @property
    def where(self) -> str:
        """The layer as errors name it."""
        return place_of(self.message)


@dataclass
class Network:
    """The layers to import, what goes in and comes out, and the layers that were left out, as `name (Type)`."""

    name: str
    layers: list[Layer] = field(default_factory=list)
    inputs: list[Tensor] = field(default_factory=list)
    outputs: list[Tensor] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)

    @property
    def input_shapes(self) -> dict[str, Shape | None]:
        """The shapes of the inputs by name."""
        return {tensor.name: tensor.shape for tensor in self.inputs}


def place_of(message: Any) -> str:
    """Return how errors name a layer."""
    return f"layer '{message.name}' ({message.type or 'of no type'})"


def network_of(net: Any) -> Network:
    """Return the network that a net is in the test phase.

    Raises:
        InputError: a layer reads what nothing before it makes, a blob is made twice, an input shape is malformed,
            or nothing is left.
    """
    network, states = Network(net.name), _States(net)
    for tensor in _declared(net):
        states.add(tensor, "the net's inputs")
        network.inputs.append(tensor)
    silenced: set[Tensor] = set()
    for message in net.layer:
        if _in_test(net.state, message):
            _place(network, states, message, silenced)
    states.assign_names()
    _settle(network, silenced)
    return network


def bind_input_shapes(network: Network, shapes: Sequence[Shape]) -> None:
    """Give the inputs their shapes, in their order.

    Raises:
        InputError: there are more or fewer inputs, or a shape has another rank than the net's.
    """
    names = ", ".join(network.input_shapes) or "none"
    if len(shapes) != len(network.inputs):
        raise InputError(f"{len(shapes)} shapes for the {len(network.inputs)} inputs ({names})", "--input_shapes")
    for tensor, shape in zip(network.inputs, shapes, strict=True):
        if tensor.shape is not None and len(tensor.shape) != len(shape):
            stated = ", ".join(map(str, tensor.shape))
            raise InputError(
                f"input '{tensor.name}' has {len(tensor.shape)} dimensions ({stated}), not {len(shape)}",
                "--input_shapes",
            )
        tensor.shape = tuple(shape)


def cut_outputs(network: Network, names: Sequence[str]) -> None:
    """Let the network end at the tensors `names`; layers that they do not need are left out.

    Raises:
        InputError: no layer makes one.
    """
    made = {tensor.name: tensor for layer in network.layers for tensor in layer.makes}
    for name in names:
        if name not in made:
            raise InputError(f"no layer makes the tensor '{name}'", "--output_names", closest(name, list(made)))
    network.outputs = [made[name] for name in names]
    _prune(network)


class _States:
    """The current state of every blob while layers are placed, and all states in the order of their making."""

    def __init__(self, net: Any) -> None:
        self.current: dict[str, Tensor] = {}
        self.all: list[Tensor] = []
        self.made_by = {top: layer for layer in reversed(net.layer) for top in layer.top}

    def read(self, blob: str, where: str) -> Tensor:
        if blob in self.current:
            return self.current[blob]
        maker = self.made_by.get(blob)
        later = f"; {place_of(maker)} makes it, but not before" if maker is not None else ""
        raise InputError(f"reads the blob '{blob}' that no layer before it makes{later}", where)

    def add(self, tensor: Tensor, where: str, over: Iterable[str] = ()) -> None:
        """Note a new state; only a blob that the layer reads (`over`) may have one already."""
        if tensor.blob in self.current and tensor.blob not in over:
            raise InputError(f"makes the blob '{tensor.blob}' a second time", where, "give its top another name")
        self.current[tensor.blob] = tensor
        self.all.append(tensor)

    def assign_names(self) -> None:
        """Name all states, each differently."""
        taken = set(self.current)
        written_over = {tensor.blob for tensor in self.all if not tensor.kind}
        for tensor in self.all:
            last = self.current[tensor.blob] is tensor and tensor.blob not in written_over
            if last or not tensor.kind:
                tensor.name = tensor.blob
                continue
            tensor.name = next(name for name in _state_names(tensor) if name not in taken)
            taken.add(tensor.name)


def _state_names(tensor: Tensor) -> Iterator[str]:
    """Yield `relu1`, `relu1_ReLU`, `relu1_ReLU2`, …: what a state without its blob's name may be called."""
    own = tensor.maker + (f"/{tensor.place}" if tensor.place else "")
    yield own
    yield (typed := f"{own}_{tensor.kind}")
    yield from (f"{typed}{number}" for number in count(2))


def _place(network: Network, states: _States, message: Any, silenced: set[Tensor]) -> None:
    """Add a layer to the network, as an input or as a layer, or leave it out."""
    where = place_of(message)
    if message.type == "Input" or message.type in DATA:
        for tensor in _data(message):
            states.add(tensor, where)
            network.inputs.append(tensor)
        return
    reads = [states.read(blob, where) for blob in message.bottom]
    if message.type in SINKS or message.type.endswith("Loss"):
        network.dropped.append(f"{message.name} ({message.type})")
        silenced.update(reads if message.type == "Silence" else ())
        return
    if message.type in NOTHING and list(message.top) == list(message.bottom):
        return
    if not reads:
        raise InputError("reads nothing: it has no bottom", where)
    makes = [Tensor(top, message.name, i, kind=message.type) for i, top in enumerate(message.top)]
    for tensor in makes:
        states.add(tensor, where, message.bottom)
    network.layers.append(Layer(message, reads, makes))


def _settle(network: Network, silenced: set[Tensor]) -> None:
    """Find the outputs, and leave out layers and data that nothing needs."""
    used = {tensor for layer in network.layers for tensor in layer.reads}
    made = [tensor for layer in network.layers for tensor in layer.makes]
    network.outputs = [tensor for tensor in made if tensor not in used and tensor not in silenced]
    network.inputs = [tensor for tensor in network.inputs if tensor in used or not tensor.maker]
    if not network.outputs:
        raise InputError("no layer is left that makes a result in the test phase")
    _prune(network)


def _prune(network: Network) -> None:
    needed, kept = set(network.outputs), []
    for layer in reversed(network.layers):
        if needed.intersection(layer.makes):
            kept.append(layer)
            needed.update(layer.reads)
    network.layers = kept[::-1]


# --- inputs


def _declared(net: Any) -> list[Tensor]:
    """Return the inputs of a net that lists them (`input`, with `input_shape` or four `input_dim` each)."""
    names = len(net.input)
    if net.input_shape and len(net.input_shape) != names:
        raise InputError(f"has {names} `input` and {len(net.input_shape)} `input_shape`")
    if net.input_dim and len(net.input_dim) != 4 * names:
        raise InputError(f"has {names} `input` and {len(net.input_dim)} `input_dim`, want four for each")
    shapes = [list(shape.dim) for shape in net.input_shape]
    shapes = shapes or [list(net.input_dim[i : i + 4]) for i in range(0, len(net.input_dim), 4)] or [[]] * names
    return [
        Tensor(name, "", i, _checked(shape, name))
        for i, (name, shape) in enumerate(zip(net.input, shapes, strict=True))
    ]


def _data(message: Any) -> list[Tensor]:
    """Return the tops of a layer of data; those of Input count as declared, others are inputs where they are used."""
    maker = "" if message.type == "Input" else message.name
    shapes = _data_shapes(message)
    if len(shapes) not in (0, 1, len(message.top)):
        raise InputError(f"has {len(shapes)} shapes for {len(message.top)} tops", place_of(message))
    shapes = shapes * len(message.top) if len(shapes) == 1 else shapes or [[]] * len(message.top)
    return [
        Tensor(top, maker, i, _checked(shape, top))
        for i, (top, shape) in enumerate(zip(message.top, shapes, strict=True))
    ]


def _data_shapes(message: Any) -> list[list[int]]:
    """Return the shapes that a layer of data states."""
    if message.type == "Input":
        return [list(shape.dim) for shape in message.input_param.shape]
    if message.type == "DummyData":
        given = message.dummy_data_param
        columns = (given.num, given.channels, given.height, given.width)
        return [list(shape.dim) for shape in given.shape] or [list(sizes) for sizes in zip(*columns, strict=False)]
    if message.type == "MemoryData":
        memory = message.memory_data_param
        return [[memory.batch_size, memory.channels, memory.height, memory.width], [memory.batch_size]]
    return []


def _checked(sizes: Sequence[int], name: str) -> Shape | None:
    """Return a shape, None where a size is not fixed."""
    if any(size > _MAX_SIZE for size in sizes):
        raise InputError(f"has the sizes {list(sizes)}", f"input '{name}'", "give --input_shapes")
    return tuple(sizes) if sizes and min(sizes) > 0 else None


# --- phases


def _in_test(state: Any, message: Any) -> bool:
    """Tell whether a layer belongs to the net in the test phase. Source: Caffe, Net::FilterNet."""
    if message.include and message.exclude:
        raise InputError("has both include and exclude rules", place_of(message), "use one kind")
    if message.include:
        return any(_meets(state, rule) for rule in message.include)
    return not any(_meets(state, rule) for rule in message.exclude)


def _meets(state: Any, rule: Any) -> bool:
    phase = not rule.HasField("phase") or rule.phase == TEST
    above = not rule.HasField("min_level") or state.level >= rule.min_level
    below = not rule.HasField("max_level") or state.level <= rule.max_level
    stages = set(rule.stage) <= set(state.stage) and not set(rule.not_stage) & set(state.stage)
    return phase and above and below and stages
