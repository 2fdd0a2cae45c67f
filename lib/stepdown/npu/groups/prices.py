"""What the parts of a group cost: cycles of its commands, taken from real commands, each looked at once."""

import math

from stepdown.chips import Chip
from stepdown.npu.cost import cost, local_memory
from stepdown.npu.groups.layers import Layer, Load
from stepdown.npu.groups.layout import constant_shape
from stepdown.npu.isa import Move, Tensor, packed
from stepdown.npu.isa.tensor import Four
from stepdown.npu.kernels.base import Region


class Prices:
    """Cycles of work and transfers on a chip, without waiting and with all operands in different banks."""

    def __init__(self, chip: Chip) -> None:
        self.chip, self.lanes = chip, local_memory(chip).lanes
        self._work: dict[tuple[Layer, Four], int] = {}
        self._moved: dict[tuple[str, Four, Four], int] = {}

    def work(self, layer: Layer, shape: Four) -> int:
        """Return the cycles in which a part of a layer's result of some sizes is made."""
        key = layer, shape
        if key not in self._work:
            self._work[key] = self._made(layer, Region.whole(shape))
        return self._work[key]

    def moved(self, type: str, whole: Four, part: Four) -> int:
        """Return the cycles of a transfer of a part of a tensor to or from global memory."""
        key = type, whole, part
        if key not in self._moved:
            there = packed(type, whole, 0)
            source = Tensor(space="global", type=type, address=0, shape=part, strides=there.strides)
            self._moved[key] = cost(Move(source=source, target=self._local(type, part, 0)), self.chip).cycles
        return self._moved[key]

    def loaded(self, load: Load, shape: Four) -> int:
        """Return the cycles of bringing a part of a value."""
        n, _, h, w = load.shape
        return self.moved(load.type, (n, shape[1], h, w) if load.repeated else load.shape, shape)

    def constant(self, layer: Layer, name: str, channels: int) -> int:
        """Return the cycles of bringing a constant for a tile of so many channels."""
        constant = layer.constants[name]
        shape = constant_shape(constant, channels, self.lanes)
        return self.moved(constant.type, shape, shape)

    def _local(self, type: str, shape: Four, address: int) -> Tensor:
        return packed(type, shape, address, space="local", lanes=self.lanes)

    def _made(self, layer: Layer, region: Region) -> int:
        kernel, shapes = layer.kernel, dict[str, tuple[str, Four]]()
        for name, constant in layer.constants.items():
            shapes[name] = constant.type, constant_shape(constant, region.shape[1], self.lanes)
        for at, need in enumerate(kernel.needs(region)):
            n, c, h, w = need.shape
            shapes[f"in{at}"] = kernel.input_types[at], (n, region.shape[1] if layer.repeats(at) else c, h, w)
        shapes["output"] = kernel.type, region.shape
        bank = math.lcm(local_memory(self.chip).bank_bytes, 64) << 16
        tensors = {name: self._local(*each, at * bank) for at, (name, each) in enumerate(shapes.items())}
        return sum(cost(command, self.chip).cycles for command in kernel.commands(tensors, region))
