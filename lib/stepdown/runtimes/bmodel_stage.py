"""One stage of a model file on the machine: commands on the simulator, host subnets on the reference interpreter."""

from collections.abc import Collection, Iterator, Mapping
from itertools import islice
from time import perf_counter

import numpy as np

from stepdown.chips import Chip
from stepdown.errors import InputError
from stepdown.model import ModelFile, Region, Stage
from stepdown.model.schema import GLOBAL, NPU
from stepdown.npu.cost import local_memory
from stepdown.runtimes.captures import Captures
from stepdown.runtimes.host_subnet import HostSubnet
from stepdown.runtimes.regions import in_global, region_problem
from stepdown.sim import Machine, load_stage

Arrays = dict[str, np.ndarray]
"""Tensors by name, as they are stored (bf16 as its bits)."""


class StageRunner:
    """A stage, checked and ready to run; `program` are its commands."""

    def __init__(self, model: ModelFile, stage: Stage, chip: Chip, shuffle: int | None = None) -> None:
        """Read host subnets, check places and commands; with `shuffle` all runs are in that random order, on noise.

        Raises:
            StepError: something of it cannot run; names the file.
        """
        self.stage, self._model, self._chip, self._shuffle = stage, model, chip, shuffle
        self.tensors = {tensor.name: tensor for tensor in stage.tensors}
        self._hosts = {
            at: HostSubnet(model, subnet, self.tensors) for at, subnet in enumerate(stage.subnets) if subnet.kind != NPU
        }
        self._places = self._borders()
        at_borders = {*stage.inputs, *(name for subnet in stage.subnets for name in subnet.outputs)}
        inside = {name for host in self._hosts.values() for name in host.names}
        self._captures = Captures(stage, at_borders | inside, local_memory(chip), model.path)
        known = at_borders | inside | self._captures.names.keys()
        self.names = [name for name in self.tensors if name in known]
        self.program = load_stage(model, stage, chip)
        self.seconds: dict[tuple[str, str], float] = {}
        """How long the simulator took for each op of the last run, by its name and that of its tensor."""
        self._sources = _sources(stage)

    def run(self, given: Mapping[str, np.ndarray], wanted: Collection[str]) -> Arrays:
        """Return these tensors of one run on the inputs `given`, all as they are stored.

        Raises:
            StepError: a command or an op met a value that it cannot work with; names it.
        """
        machine = Machine(self._chip, self.stage.memory_bytes.get(GLOBAL, 0), poison=self._shuffle)
        for weight in self.stage.weights:
            content = np.frombuffer(self._model.sections[weight.section], np.uint8)
            machine.memory.global_memory[weight.address : (weight.address or 0) + content.size] = content
        found: Arrays = {}
        self.seconds.clear()
        self._put(machine, found, {name: given[name] for name in self.stage.inputs})
        rebuilt = self._captures.begin(machine.memory, wanted)
        steps = machine.steps(self.program, shuffle=self._shuffle)
        for at, subnet in enumerate(self.stage.subnets):
            if host := self._hosts.get(at):
                self._put(machine, found, host.run(found, {*wanted, *subnet.outputs}))
                self.seconds.update(host.seconds)
            else:
                for engine, index in self._timed(islice(steps, sum(part.count for part in subnet.commands))):
                    rebuilt.ended(engine, index)
                found |= {name: self._at(machine, name).copy() for name in subnet.outputs}
        return {**found, **rebuilt.arrays()}

    def _timed(self, steps: Iterator[tuple[str, int]]) -> Iterator[tuple[str, int]]:
        """Yield the steps again, and count for each op how long they take."""
        began = perf_counter()
        for engine, index in steps:
            source = self._sources.get((engine, index), (engine, ""))
            self.seconds[source] = self.seconds.get(source, 0.0) + perf_counter() - began
            yield engine, index
            began = perf_counter()

    def _put(self, machine: Machine, found: Arrays, arrays: Arrays) -> None:
        """Note tensors that the machine does not make, and store those that have a place in its memory."""
        for name, array in arrays.items():
            found[name] = array
            if name in self._places:
                self._at(machine, name)[...] = array

    def _at(self, machine: Machine, name: str) -> np.ndarray:
        return in_global(machine.memory, self._places[name], self.tensors[name])

    def _borders(self) -> dict[str, Region]:
        """Return where whole tensors lie in global memory.

        Raises:
            InputError: what commands read or make does not fit its place.
        """
        wanted = {n for net in self.stage.subnets if net.kind == NPU for n in (*net.inputs, *net.outputs)}
        places = {r.name: r for r in self.stage.memory if r.memory == GLOBAL and not r.shape and r.name in wanted}
        for name, region in places.items():
            if problem := region_problem(region, self.tensors[name], local_memory(self._chip)):
                raise InputError(f"the region of tensor '{name}' {problem}", self._model.path)
        return places


def _sources(stage: Stage) -> dict[tuple[str, int], tuple[str, str]]:
    """Return by engine and number of a command the op that it is for, and the tensor that it makes."""
    parts = ((step, part) for step in stage.steps for part in step.commands)
    return {
        (part.engine, index): (step.op, step.name)
        for step, part in parts
        for index in range(part.first, part.first + part.count)
    }
