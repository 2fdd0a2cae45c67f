"""Code for a lowered network, op by op: tensors lie in global memory and go through local memory in tiles.

Loads, work and stores of neighbouring tiles overlap: inputs and outputs have two buffers.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from xdsl.ir import SSAValue

from stepdown.chips import Chip
from stepdown.dialects.op import TensorOp, value_name
from stepdown.dialects.program import Program
from stepdown.dialects.types import shape_of, storage_of
from stepdown.errors import UnsupportedModel
from stepdown.files.names import free_name
from stepdown.npu.cost import local_memory
from stepdown.npu.images import constants_of, digest, stored
from stepdown.npu.isa import BYTES, Command, Move, Tensor, encode, packed
from stepdown.npu.isa.tensor import Four
from stepdown.npu.kernels import Constant, Kernel, Region, kernel_of
from stepdown.npu.kernels.base import element_type
from stepdown.npu.moves import is_move, moves
from stepdown.npu.subnets import on_host, read_by_engines, subnet_kinds
from stepdown.npu.synchronize import Synchronizer
from stepdown.npu.tiling import Tiling, tile, widened
from stepdown.numerics.floats import from_bf16_bits


@dataclass(frozen=True)
class HostStep:
    """An op that the host executes once the engines have ended so many commands (by engine), before any later one."""

    op: TensorOp
    after: Mapping[str, int]


@dataclass
class Code:
    """What a machine needs to run a network: streams by engine, what lies in global memory, where tensors are.

    `constants` are the tensors of `image` by name. `layers` are the names of the ops' tensors; a command's `layer` is a
    place in it. `host` are the ops that have no commands, in order.
    """

    streams: dict[str, bytes] = field(default_factory=dict)
    image: dict[int, np.ndarray] = field(default_factory=dict)
    constants: dict[str, Tensor] = field(default_factory=dict)
    tensors: dict[str, tuple[Tensor, tuple[int, ...]]] = field(default_factory=dict)
    layers: list[str] = field(default_factory=list)
    host: list[HostStep] = field(default_factory=list)
    global_bytes: int = 0


def generate(program: Program, chip: Chip) -> Code:
    """Return the code of a lowered network; ops of its host subnets become host steps.

    Raises:
        UnsupportedModel: some ops have no command; names them all.
        ResourceError: a tile of an op does not fit local memory.
    """
    generator = _Generator(program, chip)
    for op in program.ops:
        generator.add(op)
    return generator.finish()


class _Generator:
    def __init__(self, program: Program, chip: Chip) -> None:
        self._program, self._chip, self._local = program, chip, local_memory(chip)
        self._kinds = subnet_kinds(program)
        self._streams = Synchronizer(self._local.lanes)
        self._code = Code()
        self._weights: dict[SSAValue, np.ndarray] = {}
        self._places: dict[SSAValue, Tensor] = {}
        self._shared: dict[tuple[str, Four, bytes], Tensor] = {}
        self._refused: list[str] = []

    def add(self, op: TensorOp) -> None:
        """Append the code of an op."""
        name = op.name.split(".")[1]
        if name == "Weight":
            self._weights[op.results[0]] = held_weight(self._program, op)
        elif name == "Input" or on_host(op, self._kinds):
            self._given(op)
        elif name == "Reshape":
            self._place(op.results[0], self._source(op.operands[0]))
        elif name != "None":
            try:
                self._computed(op)
            except UnsupportedModel as error:
                self._refuse(op, error)

    def finish(self) -> Code:
        """Return the code of all ops."""
        if self._refused:
            raise UnsupportedModel("; ".join(self._refused), self._program.path)
        self._code.streams = {engine: encode(commands) for engine, commands in self._streams.streams.items()}
        return self._code

    def _refuse(self, op: TensorOp, error: UnsupportedModel) -> None:
        """Note that an op is refused; what reads it is looked at all the same."""
        self._refused.append(str(error))
        for value in op.results:
            self._place(value)

    def _given(self, op: TensorOp) -> None:
        """Find places for what the engines read of an input of the network or of an op of the host."""
        if not op.name.endswith(".Input"):
            self._code.host.append(HostStep(op, {e: len(s) for e, s in self._streams.streams.items()}))
        for value in op.results:
            if read_by_engines(value, self._kinds):
                self._place(value)

    def _place(self, value: SSAValue, known: Tensor | None = None) -> Tensor:
        shape = shape_of(value)
        place = known or self._reserve(element_type(value), (1, 1, 1, int(np.prod(shape))))
        self._places[value] = place
        self._code.tensors[value_name(value)] = place, shape
        return place

    def _reserve(self, type: str, shape: Four) -> Tensor:
        """Return a new place in global memory."""
        made = packed(type, shape, self._code.global_bytes)
        size, alignment = made.elements * BYTES[type], self._chip.alignment_bytes
        self._code.global_bytes += -(-size // alignment) * alignment
        return made

    def _beside(self, type: str, shape: Four, values: np.ndarray | None) -> Tensor:
        return self._reserve(type, shape) if values is None else self._constant("indices", type, values.reshape(shape))

    def _source(self, value: SSAValue) -> Tensor:
        """Return where a value lies; a constant is put into global memory when it is asked for."""
        if value not in self._places:
            held = self._weights[value].reshape(1, 1, 1, -1)
            self._places[value] = self._constant(value_name(value), element_type(value), held)
        return self._places[value]

    def _constant(self, name: str, type: str, values: np.ndarray) -> Tensor:
        """Return where a constant lies; those of equal bytes, type and shape share a place."""
        n, c, h, w = values.shape
        content = stored(values, type)
        key = type, (n, c, h, w), digest(content)
        if key not in self._shared:
            self._shared[key] = self._reserve(type, (n, c, h, w))
            self._code.image[self._shared[key].address] = content
        self._code.constants[free_name(name, self._code.constants)] = self._shared[key]
        return self._shared[key]

    def _computed(self, op: TensorOp) -> None:
        layer = len(self._code.layers)
        if is_move(op):
            sources = [self._source(value) for value in op.operands]
            commands = moves(op, sources, [self._place(value) for value in op.results], self._beside)
            for command in commands:
                self._append(command, layer)
        else:
            self._tiled(kernel_of(op, self._weights), layer)
        self._code.layers.append(op.tensor_name)

    def _append(self, command: Command, layer: int) -> None:
        self._streams.append(replace(command, layer=layer))

    def _tiled(self, kernel: Kernel, layer: int) -> None:
        constants = constants_of(kernel, self._program, self._local.lanes)
        tiling = tile(kernel, constants, self._local.lanes, self._local.lane_bytes, self._chip.local_alignment_bytes)
        output = self._place(kernel.op.results[0])
        made = kernel.op.tensor_name
        images = {name: self._constant(f"{made}.{name}", c.type, c.values) for name, c in constants.items()}
        _Tiles(self, kernel, constants, images, tiling, output, layer).run()

    @property
    def lanes(self) -> int:
        """The lanes of the machine."""
        return self._local.lanes

    def tensor(self, type: str, shape: Four, address: int) -> Tensor:
        """Return a local tensor."""
        return packed(type, shape, address, space="local", lanes=self._local.lanes)


class _Tiles:
    """The tiles of one op."""

    def __init__(
        self, generator: _Generator, kernel: Kernel, constants: Mapping[str, Constant], images: Mapping[str, Tensor],
        tiling: Tiling, output: Tensor, layer: int,
    ) -> None:  # fmt: skip
        self._generator, self._kernel, self._constants, self._images = generator, kernel, constants, images
        self._tiling, self._layer = tiling, layer
        self._output = packed(output.type, kernel.shape, output.address)
        sources = [generator._source(value) for value in kernel.operands]
        self._inputs = [packed(s.type, shape, s.address) for s, shape in zip(sources, kernel.input_shapes, strict=True)]
        self._addresses = self._slots()
        self._pending: list[Command] = []
        self._count = 0

    def run(self) -> None:
        """Append the commands of all tiles."""
        loaded: dict[str, Tensor] = {}
        for number, regions in enumerate(self._tiling.regions(self._kernel.shape)):
            for name, constant in self._constants.items():
                if constant.by == "channel" or not number:
                    loaded[name] = self._load_constant(name, constant, regions[0])
            for region in regions:
                self._one(loaded, region)
        self._store(0)

    def _slots(self) -> dict[str, int]:
        """Return the local address of every buffer."""
        tiling, addresses, free = self._tiling, {}, 0
        pairs = {f"in{i}": size for i, size in enumerate(tiling.inputs)} | {"output": tiling.output}
        for name, size in [*tiling.constants.items(), *((f"{n}.{b}", s) for n, s in pairs.items() for b in range(2))]:
            addresses[name] = free
            free += size
        return addresses

    def _append(self, command: Command) -> None:
        self._generator._append(command, self._layer)

    def _load_constant(self, name: str, constant: Constant, region: Region) -> Tensor:
        image = self._images[name]
        if constant.by == "channel":
            image = box(image, Region.whole(image.shape).within(1, *region.spans[1]))
        elif constant.by == "all":
            n, _, h, w = image.shape
            used = min(self._generator.lanes, self._kernel.shape[1])
            image = replace(image, shape=(n, used, h, w), strides=(image.strides[0], 0, *image.strides[2:]))
        target = self._generator.tensor(constant.type, image.shape, self._addresses[name])
        self._append(Move(source=image, target=target))
        return target

    def _one(self, constants: Mapping[str, Tensor], region: Region) -> None:
        """Append load and work of a tile; the store of the one before the last goes between."""
        buffer = self._count % 2
        tensors = dict(constants)
        for at, needed in enumerate(self._kernel.needs(region)):
            tensors[f"in{at}"] = self._load(at, needed, region, buffer)
        self._store(1)
        tensors["output"] = self._generator.tensor(self._kernel.type, region.shape, self._addresses[f"output.{buffer}"])
        for command in self._kernel.commands(tensors, region):
            self._append(command)
        self._pending.append(Move(source=tensors["output"], target=box(self._output, region)))
        self._count += 1

    def _load(self, at: int, needed: Region, region: Region, buffer: int) -> Tensor:
        source = box(self._inputs[at], needed)
        shape = widened(self._kernel, at, needed, region)
        if shape != source.shape:
            source = replace(source, shape=shape, strides=(source.strides[0], 0, *source.strides[2:]))
        target = self._generator.tensor(source.type, shape, self._addresses[f"in{at}.{buffer}"])
        self._append(Move(source=source, target=target))
        return target

    def _store(self, left: int) -> None:
        """Append stores until so many are left."""
        while len(self._pending) > left:
            self._append(self._pending.pop(0))


def box(tensor: Tensor, region: Region) -> Tensor:
    """Return a box of a tensor in global memory."""
    offset = sum(start * stride for (start, _), stride in zip(region.spans, tensor.strides, strict=True))
    return replace(tensor, address=tensor.address + offset, shape=region.shape)


def held_weight(program: Program, op: TensorOp) -> np.ndarray:
    """Return a constant as the interpreter holds it: 16-bit floats as float32."""
    array = program.weights[op.key]  # type: ignore[attr-defined]
    kind = storage_of(op.results[0])
    if kind == "bf16" and array.dtype == np.uint16:
        return from_bf16_bits(array)
    return array.astype(np.float32) if kind == "f16" else array
