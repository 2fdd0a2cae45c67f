"""When each place of the memory map is in use: its steps, as times of the commands that write and read it."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from stepdown.model.schema import GLOBAL, Region
from stepdown.npu.cost import local_memory, span
from stepdown.npu.isa import Tensor
from stepdown.perf.account import Account, Work


@dataclass(frozen=True)
class Lifetime:
    """A place, in use from cycle `start` to `end`; `op` is the type of the op that fills it."""

    region: Region
    start: int
    end: int
    op: str


def lifetimes(account: Account) -> list[Lifetime]:
    """Return the lives of all places; a place that is there from the start begins at 0.

    A life begins with the first command of its first steps that writes the place, and ends with the last one of its
    last step that touches it; where no command does, as for what the host makes, the steps' own times count.
    """
    by_step: dict[int, list[Work]] = defaultdict(list)
    for work in account.works:
        if work.step >= 0:
            by_step[work.step].append(work)
    return [_lifetime(region, account, by_step) for region in account.stage.memory]


def _lifetime(region: Region, account: Account, by_step: dict[int, list[Work]]) -> Lifetime:
    lanes = local_memory(account.chip).lanes
    making = [work for step in range(region.first, region.ready + 1) for work in by_step.get(step, [])]
    writers = [work for work in making if _touches(region, _tensors(work, writes=True), lanes)]
    last = by_step.get(region.last, [])
    users = [work for work in last if _touches(region, _tensors(work), lanes)] or last
    begins = [work.start for work in writers or making]
    start = min(begins) if begins and not _given(region, account) else 0
    end = max([work.end for work in [*users, *writers]], default=account.cycles)
    if region.name in account.stage.outputs and region.memory == GLOBAL:
        end = account.cycles
    return Lifetime(region, start, max(start, end), _source(region, account, writers))


def _source(region: Region, account: Account, writers: Sequence[Work]) -> str:
    """Return the type of the op that fills a place; a file without steps does not say."""
    if writers or not account.stage.steps:
        return writers[0].op if writers else ""
    return "Input" if _given(region, account) else account.stage.steps[region.first].op.split(".")[-1]


def _given(region: Region, account: Account) -> bool:
    return region.memory == GLOBAL and region.name in account.stage.inputs


def _tensors(work: Work, writes: bool = False) -> Iterator[Tensor]:
    if work.command is not None:
        yield from work.command.writes().values()
        if not writes:
            yield from work.command.reads().values()


def _touches(region: Region, tensors: Iterator[Tensor], lanes: int) -> bool:
    """Tell whether one of the tensors has bytes within the place."""
    for tensor in tensors:
        if tensor.space == ("global" if region.memory == GLOBAL else "local"):
            low, high = span(tensor, lanes)
            if low < region.address + region.bytes and region.address < high:
                return True
    return False


def peak_bytes(lives: Sequence[Lifetime]) -> int:
    """Return the most bytes that are live at once; places that share bytes count once."""
    changes: dict[int, list[tuple[bool, Region]]] = defaultdict(list)
    for life in lives:
        changes[life.start].append((True, life.region))
        changes[max(life.end, life.start + 1)].append((False, life.region))
    live: list[tuple[int, int]] = []
    most = 0
    for time in sorted(changes):
        for begins, region in sorted(changes[time], key=lambda change: change[0]):
            place = (region.address, region.address + region.bytes)
            live.append(place) if begins else live.remove(place)
        most = max(most, _covered(live))
    return most


def _covered(places: Sequence[tuple[int, int]]) -> int:
    """Return how many bytes lie in at least one of the places."""
    total, reached = 0, 0
    for low, high in sorted(places):
        total += max(0, high - max(low, reached))
        reached = max(reached, high)
    return total
