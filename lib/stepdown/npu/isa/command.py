"""What all commands share, and the table of instructions."""

# defaults are declarations of fields, made once

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, TypeVar

from stepdown.errors import InputError
from stepdown.npu.isa.fields import Part, Record, items, number
from stepdown.npu.isa.tensor import Tensor

COMPUTE, DMA, DMA2 = "compute", "dma", "dma2"
ENGINES = (COMPUTE, DMA, DMA2)
"""The engines of a machine; one with a single DMA engine has no `dma2`. Each runs its own stream in order."""

INSTRUCTIONS: dict[int, type["Command"]] = {}
"""Every instruction by its opcode."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Command(Record):
    """A command of one engine."""

    opcode: ClassVar[int]
    mnemonic: ClassVar[str]
    engine: ClassVar[str]
    result: ClassVar[str] = "output"
    """The field that it writes."""

    wait: tuple[int, int, int] = number(
        "u32", "commands", "it starts after so many commands of compute, dma, dma2 have ended", (0, 0, 0), count=3
    )
    layer: int = number("u32", "", "the number of its op, as ops first come in the model file's steps", 0)

    def check(self) -> None:
        """Check all constraints of the tensors and of the command.

        Raises:
            InputError: one is broken; names it.
        """
        for name, tensor in self.tensors().items():
            tensor.check(name)
            self.require(self.engine == DMA or tensor.space == "local", f"{name} is not in local memory")
        written = self.tensors()[self.result]
        free = 1 if written.space == "local" else -1  # channels of local memory are apart by their lanes
        steps = [s for at, s in enumerate(written.strides) if at != free and written.shape[at] > 1]
        self.require(all(steps), f"{self.result} has a stride of 0")

    def tensors(self) -> dict[str, Tensor]:
        """Return the tensors by the names of their fields."""
        parts = (item.name for item in items(type(self)) if isinstance(item, Part))
        return {name: getattr(self, name) for name in parts}

    def writes(self) -> dict[str, Tensor]:
        """Return what it writes."""
        return {self.result: self.tensors()[self.result]}

    def reads(self) -> dict[str, Tensor]:
        """Return what it reads."""
        return {name: tensor for name, tensor in self.tensors().items() if name != self.result}

    def require(self, condition: bool, constraint: str) -> None:
        """Raise an InputError that names a broken constraint."""
        if not condition:
            raise InputError(constraint)


_Class = TypeVar("_Class", bound=type[Command])


def instruction(opcode: int, mnemonic: str, engine: str) -> Callable[[_Class], _Class]:
    """Register a command class under its opcode."""

    def register(cls: _Class) -> _Class:
        cls.opcode, cls.mnemonic, cls.engine = opcode, mnemonic, engine
        INSTRUCTIONS[opcode] = cls
        return cls

    return register


def runs_on(instruction: type[Command], engine: str) -> bool:
    """Tell whether an engine executes an instruction; both DMA engines have the same ones."""
    return (engine == COMPUTE) == (instruction.engine == COMPUTE)
