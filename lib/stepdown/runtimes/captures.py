"""Rebuilds tensors while a program runs: each region is read when the step that fills it has ended.

Memory is used again, so a place holds a tensor for a while only. Whoever uses it next waits for those who read it, and
these for the step that filled it: a region that is read as soon as the last command of that step has ended holds its
values, in whatever order the waits let the engines run.
"""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from stepdown.errors import InputError
from stepdown.model import Region, Stage, Tensor
from stepdown.model.arrays import STORED
from stepdown.model.schema import GLOBAL
from stepdown.npu.cost import LocalMemory
from stepdown.runtimes.regions import content, region_problem
from stepdown.sim.memory import Memory


@dataclass(frozen=True)
class _Capture:
    """A region of a tensor, and by engine how many commands have ended when it is filled."""

    tensor: Tensor
    region: Region
    ends: Mapping[str, int]


class Captures:
    """What to read when, to rebuild the tensors of a stage that lie in memory for a while."""

    def __init__(self, stage: Stage, others: Collection[str], local: LocalMemory, path: str) -> None:
        """Plan for all tensors that have regions, but `others`.

        Raises:
            InputError: a region cannot be read as what it says it holds.
        """
        self._path = path
        tensors = {tensor.name: tensor for tensor in stage.tensors if tensor.name not in others}
        regions = list(_needed(stage, tensors)) if stage.steps else []
        for region in regions:
            if problem := region_problem(region, tensors[region.name], local):
                raise InputError(f"the region of tensor '{region.name}' {problem}", path)
        given = {region.address for region in stage.memory if region.memory == GLOBAL and region.name in stage.inputs}
        self._planned = [_Capture(tensors[r.name], r, _ends(stage, r, given)) for r in regions]

    @property
    def names(self) -> dict[str, None]:
        """The tensors that are rebuilt."""
        return dict.fromkeys(capture.tensor.name for capture in self._planned)

    def begin(self, memory: Memory, names: Collection[str]) -> "Rebuilt":
        """Return what collects these tensors during a run that is about to start."""
        return Rebuilt(memory, [capture for capture in self._planned if capture.tensor.name in names], self._path)


class Rebuilt:
    """The tensors of one run, as far as it has come."""

    def __init__(self, memory: Memory, planned: Sequence[_Capture], path: str) -> None:
        self._memory, self._planned, self._path = memory, planned, path
        self._arrays: dict[str, np.ndarray] = {}
        self._missing: dict[str, np.ndarray] = {}
        self._left = [len(capture.ends) for capture in planned]
        self._waiting: dict[tuple[str, int], list[int]] = defaultdict(list)
        for number, capture in enumerate(planned):
            for end in capture.ends.items():
                self._waiting[end].append(number)
            if not capture.ends:
                self._read(capture)

    def ended(self, engine: str, index: int) -> None:
        """Read what is complete now that a command has ended."""
        for number in self._waiting.pop((engine, index + 1), ()):
            self._left[number] -= 1
            if not self._left[number]:
                self._read(self._planned[number])

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the tensors as they are stored.

        Raises:
            InputError: a part of one lies in no region.
        """
        for name, missing in self._missing.items():
            if missing.any():
                what = f"the regions of tensor '{name}' leave out {int(missing.sum())} of its {missing.size} elements"
                raise InputError(what, self._path)
        return self._arrays

    def _read(self, capture: _Capture) -> None:
        tensor, region = capture.tensor, capture.region
        held = content(self._memory, region, tensor)
        if not region.shape:
            self._arrays[tensor.name] = held.copy()
            return
        if tensor.name not in self._arrays:
            self._arrays[tensor.name] = np.zeros(tensor.shape, STORED[tensor.type])
            self._missing[tensor.name] = np.ones(tensor.shape, bool)
        box = tuple(slice(start, start + size) for start, size in zip(region.origin, region.shape, strict=True))
        self._arrays[tensor.name][box] = held
        self._missing[tensor.name][box] = False


def _needed(stage: Stage, tensors: Collection[str]) -> Iterator[Region]:
    """Yield the regions that hold the tensors: of one that lies somewhere as a whole, that place alone."""
    by_name: dict[str, list[Region]] = defaultdict(list)
    for region in stage.memory:
        if region.name in tensors:
            by_name[region.name].append(region)
    for regions in by_name.values():
        whole = [region for region in regions if not region.shape]
        yield from sorted(whole, key=lambda region: region.memory != GLOBAL)[:1] or regions


def _ends(stage: Stage, region: Region, given: Collection[int]) -> dict[str, int]:
    """Return by engine how many commands have ended when a region is filled: all of that op up to its step `ready`.

    What lies where an input of the network does (`given`, addresses) and is not made later is that input: it is there
    before the first command.
    """
    if region.memory == GLOBAL and region.address in given and region.ready == 0:
        return {}
    name, ends = stage.steps[region.ready].name, dict[str, int]()
    for step in stage.steps[region.first : region.ready + 1]:
        for part in step.commands if step.name == name else ():
            ends[part.engine] = max(ends.get(part.engine, 0), part.first + part.count)
    return ends
