"""What lies in memory while commands run, by the names of tensors and weights: from the memory map and from moves."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from stepdown.model import Region, Stage
from stepdown.model.arrays import stored_bytes
from stepdown.model.schema import GLOBAL
from stepdown.npu.cost import span
from stepdown.npu.isa import Command, Tensor, packed

Four = tuple[int, int, int, int]


@dataclass(frozen=True)
class _Place:
    """A name in global memory, from which step to which, as the shapes under which commands may see it."""

    name: str
    low: int
    high: int
    steps: tuple[int, int]
    views: tuple[Four, ...]


@dataclass(frozen=True)
class _Held:
    """What was written last into some bytes of some lanes."""

    low: int
    high: int
    lanes: tuple[int, int]
    label: str

    def meets(self, other: "_Held") -> bool:
        """Tell whether both have a byte in common; lanes that go round count as all."""
        return self.low < other.high and other.low < self.high and self._lanes_meet(other)

    def _lanes_meet(self, other: "_Held") -> bool:
        return self.lanes[0] < other.lanes[1] and other.lanes[0] < self.lanes[1]


class Labels:
    """Names the operands of commands that are given in an order in which they may run."""

    def __init__(self, stage: Stage, lanes: int) -> None:
        self._lanes = lanes
        self._places = [*_weights(stage), *_tensors(stage)]
        self._shapes = {tensor.name: tensor.shape for tensor in stage.tensors}
        self._tiles = [region for region in stage.memory if region.memory != GLOBAL and region.name]
        self._held: list[_Held] = []

    def of(self, command: Command, step: int, made: str) -> dict[str, str]:
        """Return a label for each operand; `made` is the tensor that the command's step makes, '' where none is."""
        labels = {name: self._read(tensor, step, made) for name, tensor in command.reads().items()}
        for name, tensor in command.writes().items():
            if tensor.space == "local":
                moved = labels.get("source", "")
                labels[name] = self._tile(tensor, step) or moved or made
                self._write(tensor, labels[name])
            else:
                labels[name] = self._global(tensor, step, made)
        return {name: label for name, label in labels.items() if label}

    def _read(self, tensor: Tensor, step: int, made: str) -> str:
        if tensor.space != "local":
            return self._global(tensor, step, made)
        wanted = self._hold(tensor, "")
        return self._tile(tensor, step) or next((held.label for held in self._held if held.meets(wanted)), "")

    def _write(self, tensor: Tensor, label: str) -> None:
        made = self._hold(tensor, label)
        self._held = [
            made,
            *(h for h in self._held if not (h.meets(made) and made.low <= h.low and h.high <= made.high)),
        ]

    def _hold(self, tensor: Tensor, label: str) -> _Held:
        first, count = tensor.lane % self._lanes, tensor.shape[1]
        lanes = (first, first + count) if first + count <= self._lanes else (0, self._lanes)
        return _Held(*span(tensor, self._lanes), lanes, label)

    def _tile(self, tensor: Tensor, step: int) -> str:
        """Return what the memory map says of a local tensor."""
        for region in self._tiles:
            if region.address == tensor.address and region.first <= step <= region.last:
                whole = self._shapes.get(region.name, region.shape)
                return region.name + (_cut(region.origin, region.shape, whole) if region.shape else "")
        return ""

    def _global(self, tensor: Tensor, step: int, made: str) -> str:
        """Return which tensor or weight lies there; of several, one that the op has by name, then one that lives."""
        low, high = span(tensor, self._lanes)
        inside = [place for place in self._places if place.low <= low and high <= place.high]
        living = [place for place in inside if place.steps[0] <= step <= place.steps[1]] or inside
        living.sort(key=lambda place: not place.name.startswith(made))
        if not living:
            return ""
        boxes = ((place, _box(tensor, low - place.low, place.views)) for place in living)
        place, box = next(((p, b) for p, b in boxes if b is not None), (living[0], None))
        return place.name + (f"+{low - place.low:#x}" if box is None else box)


def _weights(stage: Stage) -> Iterator[_Place]:
    for weight in stage.weights:
        if weight.address is not None:
            end = weight.address + stored_bytes(weight.shape, weight.type)
            yield _Place(weight.name, weight.address, end, (0, len(stage.steps)), _views(weight.shape))


def _tensors(stage: Stage) -> Iterator[_Place]:
    shapes = {tensor.name: tensor.shape for tensor in stage.tensors}
    for region in stage.memory:
        if region.memory == GLOBAL and region.name in shapes and not region.shape:
            yield _placed(region, shapes[region.name])


def _placed(region: Region, shape: Sequence[int]) -> _Place:
    end = region.address + region.bytes
    return _Place(region.name, region.address, end, (region.first, region.last), _views(shape))


def _views(shape: Sequence[int]) -> tuple[Four, ...]:
    """Return the row-major shapes of four dimensions under which commands see a tensor: the last is flat."""
    ones, flat = (1,) * (4 - len(shape)), (1, 1, 1, math.prod(shape))
    spread = (*shape[:2], 1, *shape[2:]) if len(shape) == 3 else ()
    joined = (math.prod(shape[:-3]), *shape[-3:]) if len(shape) > 4 else ()
    found = ((*shape, *ones), (*ones, *shape), spread, joined, flat)
    return tuple((view[0], view[1], view[2], view[3]) for view in found if len(view) == 4 and all(view))


def _box(tensor: Tensor, offset: int, views: Sequence[Four]) -> str | None:
    """Return which part of a row-major tensor an operand is: '' for all of it, None where it is no box."""
    for view in views:
        strides = packed(tensor.type, view, 0).strides
        even = all(
            mine == own or size == 1 for mine, own, size in zip(tensor.strides, strides, tensor.shape, strict=True)
        )
        rest, origin = offset, []
        for stride in strides:
            origin.append(rest // stride)
            rest %= stride
        inside = all(o + s <= v for o, s, v in zip(origin, tensor.shape, view, strict=True))
        if even and inside and not rest:
            return _cut(origin, tensor.shape, view)
    return None


def _cut(origin: Sequence[int], shape: Sequence[int], whole: Sequence[int]) -> str:
    """Return a part as Python would write it, `[:, 0:8, 4:12, :]`; nothing for all of it."""
    spans = [(start, start + size) for start, size in zip(origin, shape, strict=True)]
    parts = [":" if span == (0, size) else f"{span[0]}:{span[1]}" for span, size in zip(spans, whole, strict=True)]
    return f"[{', '.join(parts)}]" if set(parts) - {":"} else ""
