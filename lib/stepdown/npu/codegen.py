"""Code for a lowered network: its ops, alone or in groups, go through local memory in tiles.

Groups are those of the ops' notes `layer_group`; an op without one is a group of its own.
"""

from dataclasses import replace

import numpy as np
from xdsl.ir import SSAValue

from stepdown.chips import Chip
from stepdown.dialects.op import TensorOp, value_name
from stepdown.dialects.program import Program
from stepdown.dialects.types import shape_of
from stepdown.errors import UnsupportedModel
from stepdown.files.names import free_name
from stepdown.npu.addresses import assign, noted
from stepdown.npu.code import Code, CodeStep, HostStep, LocalConstant, LocalPart
from stepdown.npu.cost import local_memory
from stepdown.npu.groups.check import check_group
from stepdown.npu.groups.emit import Emission
from stepdown.npu.groups.fit import Choice, fitted
from stepdown.npu.groups.layers import Group, Layer, is_alias, root_of
from stepdown.npu.images import constants_of, digest, stored
from stepdown.npu.isa import BYTES, COMPUTE, ENGINES, Command, Tensor, encode, packed
from stepdown.npu.isa.tensor import Four
from stepdown.npu.kernels import Region, kernel_of
from stepdown.npu.kernels.base import element_type
from stepdown.npu.moves import is_move, moves
from stepdown.npu.subnets import on_host, read_by_engines, subnet_kinds
from stepdown.npu.synchronize import Synchronizer
from stepdown.npu.weights import held_weight


def generate(program: Program, chip: Chip, choose: Choice | None = None) -> Code:
    """Return the code of a lowered network; ops of its host subnets become host steps.

    `choose` may say how a group is cut.

    Raises:
        UnsupportedModel: some ops have no command; names them all.
        ResourceError: a tile of an op or a group does not fit local memory.
    """
    generator = _Generator(program, chip, choose)
    for op in program.ops:
        generator.add(op)
    return generator.finish()


class _Generator:
    def __init__(self, program: Program, chip: Chip, choose: Choice | None) -> None:
        self._program, self._chip, self._choose = program, chip, choose
        self._kinds = subnet_kinds(program)
        engines = ENGINES[: 1 + chip.dma_engines]
        self.lanes, self.store_engine = local_memory(chip).lanes, engines[-1]
        self._streams = Synchronizer(self.lanes, engines)
        assigned = noted(program, chip) or assign(program, chip)
        self._addresses = assigned.addresses
        self._code = Code(global_bytes=assigned.bytes)
        self._weights: dict[SSAValue, np.ndarray] = {}
        self._places: dict[SSAValue, Tensor] = {}
        self._shared: dict[tuple[str, Four, bytes], Tensor] = {}
        self._named: dict[int, str] = {}
        self._refused: list[str] = []
        self._waiting: list[Layer] = []
        self._groups = 0

    def add(self, op: TensorOp) -> None:
        """Take an op; its code is appended now, or with the group that it belongs to."""
        name = op.name.split(".")[1]
        if name == "Weight":
            self._weights[op.results[0]] = held_weight(self._program, op)
        elif name == "Input" or on_host(op, self._kinds):
            self._given(op)
        elif name != "None" and not is_alias(op, self._kinds):
            try:
                self._computed(op)
            except UnsupportedModel as error:
                self._refused.append(str(error))

    def finish(self) -> Code:
        """Return the code of all ops."""
        self._end_group()
        if self._refused:
            raise UnsupportedModel("; ".join(self._refused), self._program.path)
        self._code.streams = {engine: encode(commands) for engine, commands in self._streams.streams.items()}
        self._name_tensors()
        return self._code

    def _name_tensors(self) -> None:
        """Name what lies in global memory, in the order of the ops; what repeats it lies there too."""
        for op in self._program.ops:
            for value in op.results:
                place = self._places.get(root_of(value, self._kinds))
                if place and value not in self._weights:
                    self._code.tensors[value_name(value)] = place, shape_of(value)

    def _given(self, op: TensorOp) -> None:
        """Find places for what the engines read of an input of the network or of an op of the host."""
        if not op.name.endswith(".Input"):
            self._end_group()
            after = {engine: len(commands) for engine, commands in self._streams.streams.items()}
            self._code.host.append(HostStep(op, after, len(self._code.steps)))
        for value in op.results:
            if read_by_engines(value, self._kinds):
                self.place(value)

    def _reserve(self, type: str, shape: Four) -> Tensor:
        """Return a new place in global memory."""
        made = packed(type, shape, self._code.global_bytes)
        size, alignment = made.elements * BYTES[type], self._chip.alignment_bytes
        self._code.global_bytes += -(-size // alignment) * alignment
        return made

    def _beside(self, type: str, shape: Four, values: np.ndarray | None) -> Tensor:
        return self._reserve(type, shape) if values is None else self._constant("indices", type, values.reshape(shape))

    def _constant(self, name: str, type: str, values: np.ndarray) -> Tensor:
        """Return where a constant lies; those of equal bytes, type and shape share a place."""
        n, c, h, w = values.shape
        content = stored(values, type)
        key = type, (n, c, h, w), digest(content)
        if key not in self._shared:
            self._shared[key] = self._reserve(type, (n, c, h, w))
            self._code.image[self._shared[key].address] = content
        named = free_name(name, self._code.constants)
        self._code.constants[named] = self._shared[key]
        self._named.setdefault(self._shared[key].address, named)
        return self._shared[key]

    def _computed(self, op: TensorOp) -> None:
        group = op.note("layer_group")
        if self._waiting and (group is None or group != self._waiting[-1].op.note("layer_group") or is_move(op)):
            self._end_group()
        if is_move(op):
            self._moved(op)
        else:
            kernel = kernel_of(op, self._weights)
            constants = constants_of(kernel, self._program, self.lanes)
            self._waiting.append(Layer(kernel, constants, self._kinds))

    def _moved(self, op: TensorOp) -> None:
        """Append the transfers of an op that no engine but the DMA engine has."""
        sources = [self.place(value) for value in op.operands]
        commands = moves(op, sources, [self.place(value) for value in op.results], self._beside)
        self._code.layers.append(op.tensor_name)
        step = self._begin(len(self._code.layers) - 1)
        for command in commands:
            self.append(command, step)

    def _end_group(self) -> None:
        """Append the code of the group whose ops wait."""
        if not self._waiting:
            return
        group, self._waiting = Group(self._waiting), []
        check_group(group, self._program.path)
        self._first = len(self._code.layers)
        self._images = {
            (number, name): self._constant(f"{layer.op.tensor_name}.{name}", constant.type, constant.values)
            for number, layer in enumerate(group.layers)
            for name, constant in layer.constants.items()
        }
        self._code.layers += [layer.op.tensor_name for layer in group.layers]
        flipped = group.layers[0].op.note("layer_group") is not None and self._groups % 2 == 1
        self._groups += 1
        tiles, layout = fitted(group, self._chip, self._choose, flipped)
        Emission(group, tiles, layout, self).run()

    # --- what a group asks: see groups.emit.Writer

    def place(self, value: SSAValue) -> Tensor:
        """Return where a value lies in global memory; a constant gets a place, and its bytes there."""
        root = root_of(value, self._kinds)
        if root not in self._places:
            kind, held = element_type(root), self._weights.get(root)
            if held is None:
                self._places[root] = packed(kind, (1, 1, 1, int(np.prod(shape_of(root)))), self._addresses[root])
            else:
                self._places[root] = self._constant(value_name(root), kind, held.reshape(1, 1, 1, -1))
        return self._places[root]

    def image(self, layer: int, name: str) -> Tensor:
        """Return where a constant of a layer of the group lies in global memory."""
        return self._images[layer, name]

    def step(self, layer: int) -> int:
        """Begin a step of a layer of the group and return its number."""
        return self._begin(self._first + layer)

    def append(self, command: Command, step: int, engine: str = "") -> None:
        """Append a command of a step to the stream of an engine."""
        made = self._code.steps[step]
        where = engine if command.engine != COMPUTE else COMPUTE
        made.add(*self._streams.append(replace(command, layer=made.layer), where))

    def keep(self, layer: Layer, place: Tensor, region: Region, steps: tuple[int, int]) -> None:
        """Note that a part of a layer's result lies in local memory alone, from one step to another."""
        self._code.local.append(LocalPart(layer.result, place, layer.kernel.shape, region, *steps))

    def copy(self, value: SSAValue, place: Tensor, whole: Four, region: Region, steps: tuple[int, int]) -> None:
        """Note that a part of a value under the shape `whole` lies in local memory too, from one step to another."""
        self._code.copies.append(LocalPart(value, place, whole, region, *steps))

    def bring(self, image: Tensor, place: Tensor, steps: tuple[int, int]) -> None:
        """Note that a constant lies in local memory too, from one step to another."""
        self._code.brought.append(LocalConstant(self._named[image.address], place, *steps))

    def _begin(self, layer: int) -> int:
        self._code.steps.append(CodeStep(layer))
        return len(self._code.steps) - 1
