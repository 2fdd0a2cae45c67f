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


def order(
    commands: Mapping[str, Sequence[Command]], parts: Sequence[Mapping[str, int]] = (), choose: Choice = first
) -> Iterator[tuple[str, int]]:
    """Yield engine and number of every command, in an order that all waits allow.

    Each of `parts` says by engine how many commands end before any later one starts.

    Raises:
        InputError: commands wait for each other, or for more commands than there are.
    """
    done = dict.fromkeys(commands, 0)
    for stops in (*parts, {engine: len(each) for engine, each in commands.items()}):
        yield from _within(commands, done, stops, choose)


def _within(
    commands: Mapping[str, Sequence[Command]], done: dict[str, int], stops: Mapping[str, int], choose: Choice
) -> Iterator[tuple[str, int]]:
    """Yield what runs until the engines have ended so many commands; counts `done` up."""
    while left := [engine for engine in commands if done[engine] < stops[engine]]:
        ready = [engine for engine in left if _may_start(commands, engine, done)]
        if not ready:
            raise _stuck(commands, left[0], done)
        engine = choose(ready)
        yield engine, done[engine]
        done[engine] += 1


def _may_start(commands: Mapping[str, Sequence[Command]], engine: str, done: dict[str, int]) -> bool:
    waits = zip(ENGINES, commands[engine][done[engine]].wait, strict=True)
    return all(done.get(other, 0) >= count for other, count in waits)


def _stuck(commands: Mapping[str, Sequence[Command]], engine: str, done: dict[str, int]) -> InputError:
    command = commands[engine][done[engine]]
    wanted = (f"{count} commands of {other}" for other, count in zip(ENGINES, command.wait, strict=True) if count)
    ended = ", ".join(f"{done[other]} of {other}" for other in commands)
    what = f"waits for {', '.join(wanted)} and never starts: ended are {ended}"
    return InputError(what, place(command, done[engine], engine))
