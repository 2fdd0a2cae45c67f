"""Sums over the work of a network: by op, by type of op, by engine."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from stepdown.model.schema import HOST
from stepdown.npu.isa import COMPUTE
from stepdown.perf.account import TRANSFERS, WAITS, Account, Work
from stepdown.perf.elapsed import KINDS, elapsed, length, union


@dataclass
class Figures:
    """What an op, or all ops of a type, take.

    `elapsed` are cycles by kind (`elapsed.KINDS`), of which those of all ops add up to the network's; `busy` are cycles
    by engine, which overlap. `per_cycle` is the peak in MACs for the types it computes in. `ops` counts the ops.
    """

    name: str
    op: str
    ops: int = 0
    commands: int = 0
    elapsed: dict[str, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))
    busy: dict[str, int] = field(default_factory=dict)
    macs: int = 0
    bytes: int = 0
    per_cycle: int = 0

    @property
    def cycles(self) -> int:
        """The elapsed cycles."""
        return sum(self.elapsed.values())

    @property
    def utilisation(self) -> float | None:
        """MACs over what the engine could have done in the elapsed cycles; None where it does none."""
        most = self.per_cycle * self.cycles
        return self.macs / most if self.macs and most else None

    @property
    def transfers(self) -> int:
        """The busy cycles of all DMA engines."""
        return sum(self.busy.get(engine, 0) for engine in TRANSFERS)

    @property
    def busiest(self) -> int:
        """The busy cycles of what is busier: the engine, the host, or the transfers together."""
        return max(self.busy.get(COMPUTE, 0), self.busy.get(HOST, 0), self.transfers)

    @property
    def bound(self) -> str:
        """What most of its time goes to: compute, dma, host or wait; `hidden` where all of it is beside other ops."""
        return max(self.elapsed, key=self.elapsed.__getitem__) if self.cycles else "hidden"

    def add(self, work: Work, cycles: Mapping[str, int]) -> None:
        """Count a work with its elapsed cycles."""
        self.commands += 1
        for kind, count in cycles.items():
            self.elapsed[kind] += count
        self.busy[work.engine] = self.busy.get(work.engine, 0) + work.cycles
        self.macs, self.bytes = self.macs + work.macs, self.bytes + work.bytes
        if work.engine == COMPUTE:
            self.per_cycle = max(self.per_cycle, work.per_cycle)


@dataclass(frozen=True)
class EngineFigures:
    """What an engine did: busy cycles, of which `waits` were spent without progress; idle ones; commands."""

    engine: str
    commands: int
    busy: int
    waits: int
    idle: int
    parts: Mapping[str, int]


@dataclass(frozen=True)
class Totals:
    """All sums of an account.

    `overlap` are the cycles in which a transfer runs while the engine or the host computes, `transfers` those in which
    any transfer runs.
    """

    account: Account
    ops: Sequence[Figures]
    types: Sequence[Figures]
    engines: Sequence[EngineFigures]
    overlap: int
    transfers: int

    @property
    def all(self) -> Figures:
        """The sums over all ops."""
        return _joined("all", self.ops)


def totals_of(account: Account) -> Totals:
    """Return the sums; ops in the order of the network, types by their time."""
    ops: dict[tuple[str, str], Figures] = {}
    shares = zip(_places(account.works), account.works, elapsed(account.works), strict=True)
    for _, work, cycles in sorted(shares, key=lambda share: share[0]):
        found = ops.setdefault((work.name, work.op), Figures(work.name, work.op, ops=1))
        found.add(work, cycles)
    kinds = sorted({each.op for each in ops.values()})
    types = [_joined(kind, (each for each in ops.values() if each.op == kind)) for kind in kinds]
    transfers, computing = (_busy(account, engines) for engines in (TRANSFERS, (COMPUTE, HOST)))
    both = length(union(np.concatenate([transfers, computing])))
    return Totals(
        account, list(ops.values()), sorted(types, key=lambda each: -each.cycles),
        [_engine(account, engine) for engine in account.engines],
        length(transfers) + length(computing) - both, length(transfers),
    )  # fmt: skip


def _places(works: Sequence[Work]) -> Iterator[float]:
    """Yield for each work its place in the network: its step; what the host does is behind all steps before it."""
    reached = -1
    for work in works:
        reached = max(reached, work.step)
        yield reached + 0.5 if work.engine == HOST else work.step


def _joined(kind: str, ops: Iterable[Figures]) -> Figures:
    total = Figures(kind, kind)
    for each in ops:
        total.ops, total.commands = total.ops + each.ops, total.commands + each.commands
        total.macs, total.bytes = total.macs + each.macs, total.bytes + each.bytes
        total.per_cycle = max(total.per_cycle, each.per_cycle)
        total.elapsed = {name: count + each.elapsed[name] for name, count in total.elapsed.items()}
        total.busy = {name: total.busy.get(name, 0) + each.busy.get(name, 0) for name in total.busy | each.busy}
    return total


def _busy(account: Account, engines: Sequence[str]) -> np.ndarray:
    spans = [(work.start, work.end) for work in account.works if work.engine in engines]
    return union(np.array(spans, np.int64).reshape(-1, 2))


def _engine(account: Account, engine: str) -> EngineFigures:
    mine = [work for work in account.works if work.engine == engine]
    parts: dict[str, int] = {}
    for work in mine:
        for part, cycles in work.parts.items():
            parts[part] = parts.get(part, 0) + cycles
    busy = sum(parts.values())
    waits = sum(parts.get(part, 0) for part in WAITS)
    return EngineFigures(engine, len(mine), busy, waits, account.cycles - busy, parts)
