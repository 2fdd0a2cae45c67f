"""In which order commands may run: each engine in its own order, and no command before those that it waits for."""

from collections.abc import Callable, Iterator, Mapping, Sequence

from stepdown.errors import InputError
from stepdown.npu.isa import ENGINES, Command
from stepdown.npu.isa.code import place

Choice = Callable[[list[str]], str]
"""Picks one of the engines whose next command may start."""


def first(ready: list[str]) -> str:
    """Choose the first."""
    return ready[0]


def order(commands: Mapping[str, Sequence[Command]], choose: Choice = first) -> Iterator[tuple[str, int]]:
    """Yield engine and number of every command, in an order that all waits allow.

    Raises:
        InputError: commands wait for each other, or for more commands than there are.
    """
    done = dict.fromkeys(ENGINES, 0)
    left = sum(map(len, commands.values()))
    while left:
        ready = [engine for engine in commands if _may_start(commands, engine, done)]
        if not ready:
            raise _stuck(commands, done)
        engine = choose(ready)
        yield engine, done[engine]
        done[engine] += 1
        left -= 1


def _may_start(commands: Mapping[str, Sequence[Command]], engine: str, done: dict[str, int]) -> bool:
    at = done[engine]
    if at == len(commands[engine]):
        return False
    return all(done[other] >= count for other, count in zip(ENGINES, commands[engine][at].wait, strict=True))


def _stuck(commands: Mapping[str, Sequence[Command]], done: dict[str, int]) -> InputError:
    engine = next(engine for engine in commands if done[engine] < len(commands[engine]))
    command = commands[engine][done[engine]]
    wanted = (f"{count} commands of {other}" for other, count in zip(ENGINES, command.wait, strict=True) if count)
    ended = ", ".join(f"{done[other]} of {other}" for other in commands)
    what = f"waits for {', '.join(wanted)} and never starts: ended are {ended}"
    return InputError(what, place(command, done[engine], engine))
