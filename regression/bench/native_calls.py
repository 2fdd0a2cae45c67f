"""Where the time of our code goes: by kind of kernel, and the calls that take longest."""

from dataclasses import dataclass
from pathlib import Path

from native_networks import Networks

from stepdown.dialects.types import shape_of
from stepdown.native.calls import Call
from stepdown.native.clock import call_seconds, timed_library

_ROUNDS, _LIMIT_S = 30, 60
_LONGEST = 12


@dataclass(frozen=True)
class Spent:
    """The time of one call, and the products and sums it makes."""

    kernel: str
    shape: str
    seconds: float
    operations: int


def spent(networks: Networks, name: str, mode: str, folder: Path) -> list[Spent]:
    """Return the least time of each call of a network, timed in the network."""
    code = networks.code(name, mode, each_apart=True)
    (times,) = call_seconds([timed_library(code, folder)], [len(code.network.calls)], _ROUNDS, _LIMIT_S)
    return [_spent(call, seconds) for call, seconds in zip(code.network.calls, times, strict=True)]


def _spent(call: Call, seconds: float) -> Spent:
    op = getattr(call.kernel, "op", None)
    operands = [*call.kernel.op.operands[:2], call.kernel.op.results[0]] if op else []
    shape = " ".join("×".join(map(str, shape_of(value))) for value in operands if hasattr(value.type, "get_shape"))
    return Spent(type(call.kernel).__name__, shape, seconds, 2 * op.cost() if op else 0)


def calls_text(name: str, mode: str, found: list[Spent]) -> str:
    """Return tables of a network's calls."""
    total = sum(each.seconds for each in found)
    kinds = {each.kernel: [e for e in found if e.kernel == each.kernel] for each in found}
    lines = [f"\n{name} {mode}, the least time of each call: {1e3 * total:.3f} ms\n"]
    lines += ["| kernel | calls | µs | share | GOP/s |", "| --- | --- | --- | --- | --- |"]
    for kind, each in sorted(kinds.items(), key=lambda item: -sum(e.seconds for e in item[1])):
        lines.append(_row(f"{kind} | {len(each)}", each, total))
    lines += ["", "| longest calls | shapes | µs | share | GOP/s |", "| --- | --- | --- | --- | --- |"]
    for one in sorted(found, key=lambda each: -each.seconds)[:_LONGEST]:
        lines.append(_row(f"{one.kernel} | {one.shape}", [one], total))
    return "\n".join(lines)


def _row(what: str, found: list[Spent], total: float) -> str:
    seconds = sum(each.seconds for each in found)
    rate = sum(each.operations for each in found) / seconds / 1e9 if seconds else 0.0
    return f"| {what} | {1e6 * seconds:.1f} | {seconds / total:.1%} | {rate:.0f} |"
