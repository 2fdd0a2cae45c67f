"""The commands of a group: loads, work and stores of its tiles, in an order in which they overlap."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

from xdsl.ir import SSAValue

from stepdown.npu.groups.layers import Group, Layer, Load
from stepdown.npu.groups.layout import Held, Layout, constant_shape
from stepdown.npu.groups.tiles import Tile, shapes_of
from stepdown.npu.isa import Command, Move, Tensor, packed
from stepdown.npu.isa.tensor import Four
from stepdown.npu.kernels.base import Region


class Writer(Protocol):
    """Where the commands of a group go."""

    lanes: int
    store_engine: str

    def place(self, value: SSAValue) -> Tensor:
        """Return where a value lies in global memory."""

    def image(self, layer: int, name: str) -> Tensor:
        """Return where a constant of a layer of the group lies in global memory."""

    def step(self, layer: int) -> int:
        """Begin a step of a layer of the group and return its number."""

    def append(self, command: Command, step: int, engine: str = "") -> None:
        """Append a command of a step to the stream of an engine."""

    def keep(self, layer: Layer, place: Tensor, region: Region, steps: tuple[int, int]) -> None:
        """Note that a part of a layer's result lies in local memory alone, from one step to another."""

    def copy(self, value: SSAValue, place: Tensor, whole: Four, region: Region, steps: tuple[int, int]) -> None:
        """Note that a part of a value under the shape `whole` lies in local memory too, from one step to another."""

    def bring(self, image: Tensor, place: Tensor, steps: tuple[int, int]) -> None:
        """Note that a constant lies in local memory too, from one step to another."""


@dataclass(frozen=True)
class _Store:
    """A transfer to global memory that is still to be appended."""

    tile: int
    layer: int
    command: Move


class Emission:
    """Appends the commands of a group to a writer."""

    def __init__(self, group: Group, tiles: Sequence[Tile], layout: Layout, writer: Writer) -> None:
        self._group, self._tiles, self._layout, self._writer = group, tiles, layout, writer
        self._steps = [[writer.step(layer) for layer in range(len(group.layers))] for _ in tiles]
        self._held: dict[Held, Tensor] = {}
        self._stores: list[_Store] = []
        self._part = -1

    def run(self) -> None:
        """Append all."""
        for number in range(len(self._tiles)):
            self._tile(number)
        self._store(lambda store: True)

    def _tile(self, number: int) -> None:
        several = len(self._tiles) > 1
        due = sorted(self._due(number), key=lambda pair: pair[0])
        for layer in range(len(self._group.layers)):
            while due and (several or self._layout.starts[due[0][1]] <= layer):
                self._load(number, *due.pop(0))
            if several and not layer:
                self._store(lambda store: store.tile < number - 1)
            self._compute(number, layer)
            if not several:
                self._store(partial(_is_before, layer=layer))

    def _due(self, number: int) -> list[tuple[int, Held]]:
        """Return what a tile brings, with the layer that needs it first; constants only where they change."""
        tile = self._tiles[number]
        found: list[tuple[int, Held]] = [(self._group.loads[load], load) for load in tile.loads]
        before = self._tiles[number - 1].made[0].spans[1] if number else None
        if tile.made[0].spans[1] != before:
            self._part += 1
            for layer, each in enumerate(self._group.layers):
                changing = [name for name, c in each.constants.items() if c.by == "channel" or not number]
                found += [(layer, (layer, name)) for name in changing]
        return found

    def _address(self, held: Held, number: int) -> int:
        lows = self._layout.addresses[held]
        return lows[number % len(lows)]

    def _load(self, number: int, layer: int, held: Held) -> None:
        tile = self._tiles[number]
        if isinstance(held, Load):
            source, address = self._source(tile, held), self._address(held, number)
        else:
            assert isinstance(held, tuple)
            source, address = self._image(tile, *held), self._address(held, self._part)
        target = self._local(source.type, source.shape, address)
        self._held[held] = target
        self._writer.append(Move(source=source, target=target), self._steps[number][layer])
        self._note(number, layer, held, target)

    def _note(self, number: int, layer: int, held: Held, place: Tensor) -> None:
        """Note where something that is brought lies, and until when."""
        tile, first = self._tiles[number], self._steps[number][layer]
        if isinstance(held, Load):
            last = self._steps[number][self._group.last_use[held]]
            self._writer.copy(held.value, place, held.shape, tile.loads[held], (first, last))
        elif isinstance(held, tuple):
            changes = self._group.layers[layer].constants[held[1]].by == "channel"
            channels = [each.made[0].spans[1] for each in self._tiles]
            until = max(at for at, each in enumerate(channels) if not changes or each == channels[number])
            self._writer.bring(self._writer.image(*held), place, (first, self._steps[until][layer]))

    def _source(self, tile: Tile, load: Load) -> Tensor:
        """Return what a tile brings, in global memory; one channel is repeated."""
        whole = packed(load.type, load.shape, self._writer.place(load.value).address)
        part = box(whole, tile.loads[load])
        if not load.repeated:
            return part
        return replace(part, shape=shapes_of(self._group, tile, 0).loads[load], strides=_repeated(part))

    def _image(self, tile: Tile, layer: int, name: str) -> Tensor:
        """Return what a tile needs of a constant, in global memory."""
        constant, whole = self._group.layers[layer].constants[name], self._writer.image(layer, name)
        made = tile.made[layer]
        if constant.by == "channel" and made.shape[1] < whole.shape[1]:
            return box(whole, Region.whole(whole.shape).within(1, *made.spans[1]))
        shape = constant_shape(constant, made.shape[1], self._writer.lanes)
        return replace(whole, shape=shape, strides=_repeated(whole)) if constant.by == "all" else whole

    def _compute(self, number: int, layer: int) -> None:
        tile, kernel = self._tiles[number], self._group.layers[layer].kernel
        region, step = tile.made[layer], self._steps[number][layer]
        output = self._local(kernel.type, region.shape, self._address(layer, number))
        tensors = {name: self._held[layer, name] for name in self._group.layers[layer].constants}
        needs = kernel.needs(region)
        for at, (source, need) in enumerate(zip(self._group.sources[layer], needs, strict=True)):
            tensors[f"in{at}"] = self._operand(tile, source, need)
        tensors["output"] = self._held[layer] = output
        for command in kernel.commands(tensors, region):
            self._writer.append(command, step)
        steps, made = (step, self._steps[number][self._group.last_use[layer]]), self._group.layers[layer]
        if layer in tile.shares:
            self._leave(number, layer, output)
            self._writer.copy(made.result, output, kernel.shape, region, steps)
        else:
            self._writer.keep(made, output, region, steps)

    def _operand(self, tile: Tile, source: int | Load, need: Region) -> Tensor:
        held = self._held[source]
        if isinstance(source, Load):
            return held if source.repeated else inside(held, tile.loads[source], need)
        return inside(held, tile.made[source], need)

    def _leave(self, number: int, layer: int, output: Tensor) -> None:
        """Note that a result is to be stored."""
        tile, kernel = self._tiles[number], self._group.layers[layer].kernel
        share = tile.shares[layer]
        target = packed(kernel.type, kernel.shape, self._writer.place(self._group.layers[layer].result).address)
        move = Move(source=inside(output, tile.made[layer], share), target=box(target, share))
        self._stores.append(_Store(number, layer, move))

    def _store(self, is_due: Callable[[_Store], bool]) -> None:
        for store in [store for store in self._stores if is_due(store)]:
            self._writer.append(store.command, self._steps[store.tile][store.layer], self._writer.store_engine)
        self._stores = [store for store in self._stores if not is_due(store)]

    def _local(self, type: str, shape: Sequence[int], address: int) -> Tensor:
        return packed(type, shape, address, space="local", lanes=self._writer.lanes)


def box(tensor: Tensor, region: Region) -> Tensor:
    """Return a box of a tensor in global memory."""
    offset = sum(start * stride for (start, _), stride in zip(region.spans, tensor.strides, strict=True))
    return replace(tensor, address=tensor.address + offset, shape=region.shape)


def inside(tensor: Tensor, made: Region, wanted: Region) -> Tensor:
    """Return a box of what lies in local memory; both are boxes of one tensor with the same first channel."""
    if made == wanted:
        return tensor
    offsets = [b - a for (a, _), (b, _) in zip(made.spans, wanted.spans, strict=True)]
    moved = sum(offset * stride for offset, stride in zip(offsets, tensor.strides, strict=True))
    assert not offsets[1]
    return replace(tensor, address=tensor.address + moved, shape=wanted.shape)


def _is_before(store: _Store, layer: int) -> bool:
    return store.layer < layer


def _repeated(tensor: Tensor) -> tuple[int, int, int, int]:
    return tensor.strides[0], 0, tensor.strides[2], tensor.strides[3]
