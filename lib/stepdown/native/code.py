"""The code of a whole network: one function a kind of kernel, one that calls them, constants, and who lies where."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

import numpy as np

from stepdown.dialects.program import Program
from stepdown.errors import UnsupportedModel
from stepdown.native.build import same_code, structural_hash
from stepdown.native.calls import Call, Network, Place
from stepdown.native.machine import Machine
from stepdown.native.network import network_of
from stepdown.native.plan import ALIGNMENT, Life, aligned, arena, in_a_row
from stepdown.native.steps import Step, dispatch, steps_of
from stepdown.native.tir import Function, address, const

_RUN = "run"

INPUTS, ACTIVATIONS = "mutable", "activations"
"""The two memories beside the weights: inputs and outputs of the network, and all that is in between.

Of a bundle the first one holds all, so that what is in between may take the place of an input that was read.
"""


SCRATCH = "scratch"
"""What a kernel needs beside tensors: of a bundle a part of its one memory, of a library one for each thread."""


@dataclass(frozen=True)
class Where:
    """A place: which of the two memories, and the offset in it."""

    memory: str
    offset: int


class Code:
    """The code of a program for a machine; with `keep_all`, no tensor takes the place of another.

    A bundle has its network's name as the name of the function that runs it, and one memory for all tensors. The
    function of a library runs a part of one step of the network, so that several threads can share them; with
    `each_apart` every call is a step, so that calls can be timed (see `clock`).

    Raises:
        UnsupportedModel: ops have no code; names them all.
    """

    def __init__(
        self, program: Program, machine: Machine, name: str, keep_all: bool = False, bundle: bool = False,
        each_apart: bool = False,
    ) -> None:  # fmt: skip
        self.program, self.machine, self.name = program, replace(machine, shares=not bundle), name
        self.entry = name if bundle else f"{name}_{_RUN}"
        self._inner = ("input", "output", "inner") if bundle else ("inner",)
        """Which places share the memory that is planned."""
        self._memory = INPUTS if bundle else ACTIVATIONS
        self.network: Network = network_of(program, self.machine, keep_all)
        self._keep_all, self._each_apart = keep_all, each_apart
        self._constants: dict[bytes, int] = {}
        self._blob: list[bytes] = []
        self._blob_size = 0
        self.functions: dict[str, Any] = {}
        self._known: dict[int, list[tuple[str, Any]]] = {}
        self._units: list[int] = []
        self._anew: list[float] = []
        self._constant_bytes: list[int] = []
        self._called = [self._kernel(call) for call in self.network.calls]
        self._main = {self.entry: self._run() if bundle else self._run_step()}

    @property
    def parts(self) -> dict[str, dict[str, Any]]:
        """The functions by what is compiled at a time: apart from what calls them, kernels are not copied into it."""
        return {"kernels": self.functions, "network": self._main}

    @property
    def weights(self) -> bytes:
        """All constants in a row."""
        return b"".join(self._blob)

    # --- memory

    @cached_property
    def _plan(self) -> tuple[dict[Any, int], int]:
        """Offsets of inner places, and of the scratch memory of each call, by number."""
        end = len(self.network.calls)
        lives: dict[Any, Life] = {
            place: Life(place.bytes, 0 if self._keep_all else first, end if self._keep_all else last)
            for place, (first, last) in self._steps().items()
            if place.role in self._inner
        }
        if not self.machine.shares:
            lives |= {at: Life(size, at, at) for at, size in enumerate(map(_scratch, self.network.calls)) if size}
        return arena(lives)

    @property
    def scratch_bytes(self) -> int:
        """The scratch memory of a thread of a library."""
        return aligned(max(map(_scratch, self.network.calls), default=0), ALIGNMENT)

    @cached_property
    def steps(self) -> list[Step]:
        """What the threads of a library do one after the other."""
        if self._each_apart:
            return [Step((number,), units) for number, units in enumerate(self._units)]
        return steps_of(self.network.calls, self._units, self._anew, self._constant_bytes)

    def _steps(self) -> dict[Place, tuple[int, int]]:
        """Return the first and the last step of every place: inputs are there before all, outputs after all."""
        found = dict.fromkeys(self.network.inputs, (0, 0))
        for step, call in enumerate(self.network.calls):
            for place in (*call.results, *call.inputs):
                found[place] = found.get(place, (step, step))[0], step
        for place in self.network.outputs:
            found[place] = found[place][0], len(self.network.calls)
        return found

    @cached_property
    def _ports(self) -> tuple[dict[Place, int], int]:
        """Offsets of the network's inputs and outputs where these have a memory of their own."""
        if "input" in self._inner:
            return {}, 0
        places = list(dict.fromkeys([*self.network.inputs, *self.network.outputs]))
        offsets, size = in_a_row([place.bytes for place in places])
        return dict(zip(places, offsets, strict=True)), size

    @property
    def mutable_bytes(self) -> int:
        """The memory of inputs and outputs; of all tensors of a bundle."""
        return self._plan[1] if self._memory == INPUTS else self._ports[1]

    @property
    def activations_bytes(self) -> int:
        """The memory of all that is in between; of a bundle, none."""
        return self._plan[1] if self._memory == ACTIVATIONS else 0

    def where(self, place: Place) -> Where | None:
        """Return where a place is; None for one that nothing uses."""
        if place in self._ports[0]:
            return Where(INPUTS, self._ports[0][place])
        offset = self._plan[0].get(place)
        return None if offset is None else Where(self._memory, offset)

    # --- functions

    def _kernel(self, call: Call) -> tuple[str, list[int]]:
        """Return the name of a call's function and the offsets of its constants."""
        arrays = call.kernel.constants()
        written = call.kernel.function("kernel", arrays)
        self._units.append(written.units)
        self._anew.append(written.anew)
        self._constant_bytes.append(sum(array.nbytes for array in arrays.values()))
        draft = written.finish()
        same = self._known.setdefault(structural_hash(draft), [])
        name = next((name for name, known in same if same_code(known, draft)), "")
        if not name:
            name = f"{self.name}_{len(self.functions)}_{type(call.kernel).__name__.lower()}"
            same.append((name, draft))
            self.functions[name] = draft.with_attr("global_symbol", name)
        return name, [self._constant(array) for array in arrays.values()]

    def _constant(self, array: np.ndarray) -> int:
        """Return the offset of a constant; equal ones are stored once."""
        stored = np.ascontiguousarray(array).tobytes()
        key = hashlib.sha256(stored).digest()
        if key not in self._constants:
            self._constants[key] = self._blob_size
            filled = stored + bytes(-len(stored) % ALIGNMENT)
            self._blob.append(filled)
            self._blob_size += len(filled)
        return self._constants[key]

    def _memories(self, f: Function) -> dict[str, Any]:
        weights = f.argument("weights", "uint8", self._blob_size)
        inputs = f.argument(INPUTS, "uint8", self.mutable_bytes)
        return {
            "weights": weights,
            INPUTS: inputs,
            ACTIVATIONS: f.argument(ACTIVATIONS, "uint8", self.activations_bytes),
        }

    def _run(self) -> Any:
        """Return the function that runs the network: int run(weights, mutable, activations)."""
        f = Function(self.entry)
        memories = self._memories(f)
        for number, (function, _) in enumerate(self._called):
            f.call(function, self._arguments(number, memories))
        return f.finish()

    def _run_step(self) -> Any:
        """Return the function of a step: int run(weights, mutable, activations, scratch, step, part, parts)."""
        f = Function(self.entry)
        memories = {**self._memories(f), SCRATCH: f.argument(SCRATCH, "uint8", self.scratch_bytes)}
        which, part, parts = (f.number(name) for name in ("step", "part", "parts"))

        def body(step: Step) -> None:
            share = (part, parts) if step.units > 1 else (const(0), const(1))
            for number in step.calls:
                of_call = share if self._units[number] else ()
                f.call(self._called[number][0], [*self._arguments(number, memories), *of_call])

        dispatch(f, which, [partial(body, step) for step in self.steps])
        return f.finish()

    def _arguments(self, number: int, memories: dict[str, Any]) -> list[Any]:
        """Return what a call's function is given."""
        call, (_, constants) = self.network.calls[number], self._called[number]
        places = [*self._addresses(call.inputs, memories)]
        places += [address(memories["weights"], offset) for offset in constants]
        places += [*self._addresses(call.results, memories)]
        if call.kernel.scratch and SCRATCH in memories:
            places.append(address(memories[SCRATCH]))
        elif call.kernel.scratch:
            places.append(address(memories[self._memory], self._plan[0][number]))
        return places

    def _addresses(self, places: tuple[Place, ...], memories: dict[str, Any]) -> Iterator[Any]:
        for place in places:
            where = self.where(place)
            if where is None:
                raise UnsupportedModel("a tensor has no place", self.program.path)
            yield address(memories[where.memory], where.offset)


def _scratch(call: Call) -> int:
    """Return the bytes of scratch memory that a call needs."""
    if not call.kernel.scratch:
        return 0
    dtype, elements = call.kernel.scratch
    return np.dtype(dtype).itemsize * elements
