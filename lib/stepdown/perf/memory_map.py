"""Where tensors lie in each memory, and when: rectangles of bytes over time, above what the engines do meanwhile."""

import os
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from stepdown.compare.canvas import GRID, INK, PAPER, SOFT, Colour, tick_text, ticks
from stepdown.model.schema import GLOBAL
from stepdown.npu.cost import local_memory
from stepdown.perf.account import Account
from stepdown.perf.drawing import Drawing, Line, Rectangle, Text, colours, fitting, lighter, text_width
from stepdown.perf.lifetimes import Lifetime, lifetimes, peak_bytes
from stepdown.perf.totals import Totals

_WIDTH, _LEFT, _RIGHT, _HEAD = 1360, 104, 24, 84
_PANEL, _STRIP, _GAP, _FOOT = 360, 18, 64, 92
_WEIGHTS: Colour = (206, 210, 216)
_SMALL = 12
_UNITS = ((1 << 20, "MiB"), (1 << 10, "KiB"), (1, "bytes"))


@dataclass(frozen=True)
class _Panel:
    """A rectangle of the drawing over the cycles of the network and the bytes of a memory."""

    top: float
    cycles: int
    size: int
    height: float = _PANEL

    def x(self, cycle: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * cycle / max(1, self.cycles)

    def y(self, address: float) -> float:
        return self.top + self.height * (1 - address / max(1, self.size))


def memory_map(totals: Totals) -> Drawing:
    """Return the picture: a panel a memory, then the engines."""
    account = totals.account
    memories = _memories(account)
    panels = _HEAD + sum(_PANEL + _GAP for _ in memories)
    drawing = Drawing(_WIDTH, int(panels + _STRIP * 1.5 * len(account.engines) + _FOOT))
    drawing.add(Text(24, 34, f"Memory of {account.title}", INK, 19))
    drawing.add(Text(24, 57, "a tensor is a rectangle: its bytes, from its first to its last use", SOFT))
    shades = colours(sorted(each.op for each in totals.types))  # the same for every chip and grouping
    lives = lifetimes(account)
    for at, (memory, size) in enumerate(memories.items()):
        panel = _Panel(_HEAD + 24 + at * (_PANEL + _GAP), account.cycles, size)
        mine = [life for life in lives if life.region.memory == memory]
        drawing.add(*_frame(panel, account, _heading(account, memory, size, mine)))
        drawing.add(*_weights(panel, account) if memory == GLOBAL else ())
        drawing.add(*_tensors(panel, mine, shades, {weight.name for weight in account.stage.weights}))
        drawing.add(*_border(panel))
    drawing.add(*_engines(account, panels + 24, shades))
    drawing.add(*_legend(shades, drawing.height - 24))
    return drawing


def write_memory_map(png: str | os.PathLike[str], svg: str | os.PathLike[str], totals: Totals) -> None:
    """Write the picture as PNG and as SVG."""
    drawing = memory_map(totals)
    drawing.write_png(png)
    drawing.write_svg(svg)


def _memories(account: Account) -> dict[str, int]:
    """Return the memories that something lies in, with their bytes: of a local one those of a lane."""
    used = {region.memory for region in account.stage.memory}
    used |= {GLOBAL} if account.stage.weights else set()
    return {name: size for name, size in account.stage.memory_bytes.items() if name in used and size}


def _heading(account: Account, memory: str, size: int, lives: Sequence[Lifetime]) -> str:
    lanes = "" if memory == GLOBAL else f" of each of {local_memory(account.chip).lanes} lanes"
    constants = {weight.name for weight in account.stage.weights}
    of_constants = sum(life.region.name in constants for life in lives)
    count = f"{len(lives) - of_constants} places of tensors" if lives else "no tensors"
    count += f" and {of_constants} of constants" if of_constants else ""
    if memory == GLOBAL and account.stage.weights:
        count += f", {len(account.stage.weights)} constants"
    return f"{memory} memory: {bytes_text(size)}{lanes}, {count}, at most {bytes_text(peak_bytes(lives))} live at once"


def bytes_text(count: float) -> str:
    """Return a number of bytes in the largest unit that keeps it at 1 or more."""
    size, unit = next(((size, unit) for size, unit in _UNITS if count >= size), (1, "bytes"))
    return f"{count / size:.4g} {unit}"


def _frame(panel: _Panel, account: Account, heading: str) -> Iterator[Line | Text]:
    bottom = panel.top + panel.height
    yield Text(_LEFT, panel.top - 10, heading, INK, 15)
    span = (0.0, account.ms(account.cycles))
    for value in ticks(span) if span[1] else []:
        x = panel.x(value / 1e3 * account.chip.clock_hz)
        yield Line([(x, panel.top), (x, bottom)], GRID)
        yield Text(x, bottom + 17, f"{tick_text(value, span)} ms", SOFT, _SMALL, "ms")
    size, unit = next((each for each in _UNITS if panel.size >= each[0]), _UNITS[-1])
    for value in ticks((0.0, panel.size / size)):
        y = panel.y(value * size)
        yield Line([(_LEFT, y), (_WIDTH - _RIGHT, y)], GRID)
        yield Text(_LEFT - 7, y, f"{tick_text(value, (0.0, panel.size / size))} {unit}", SOFT, _SMALL, "rm")


def _border(panel: _Panel) -> Iterator[Line]:
    bottom = panel.top + panel.height
    yield Line([(_LEFT, panel.top), (_LEFT, bottom), (_WIDTH - _RIGHT, bottom)], SOFT)


def _weights(panel: _Panel, account: Account) -> Iterator[Rectangle | Text]:
    """Yield the constants: they lie in global memory all the time; neighbours are joined."""
    spans: list[list[int]] = []
    sizes = {weight.address: account.weight_bytes[weight.section] for weight in account.stage.weights}
    for address, size in sorted((a, s) for a, s in sizes.items() if a is not None):
        if spans and address - spans[-1][1] <= account.chip.alignment_bytes:
            spans[-1][1] = max(spans[-1][1], address + size)
        else:
            spans.append([address, address + size])
    for low, high in spans:
        yield Rectangle((panel.x(0), panel.y(high), panel.x(panel.cycles), panel.y(low)), _WEIGHTS, None, "constants")
        if panel.y(low) - panel.y(high) >= 16:
            middle = (panel.y(low) + panel.y(high)) / 2
            yield Text(panel.x(0) + 8, middle, f"constants, {bytes_text(high - low)}", SOFT, _SMALL, "lm")


def _tensors(
    panel: _Panel, lives: Sequence[Lifetime], shades: dict[str, Colour], constants: Collection[str]
) -> Iterator[Rectangle | Text]:
    for life in sorted(lives, key=lambda life: -life.region.bytes * (life.end - life.start)):
        region, shade = life.region, shades.get(life.op, SOFT)
        left, right = panel.x(life.start), max(panel.x(life.end), panel.x(life.start) + 0.8)
        top, bottom = panel.y(region.address + region.bytes), panel.y(region.address)
        title = f"{region.name or 'scratch'}: {bytes_text(region.bytes)} at {region.address}"
        fill = _WEIGHTS if region.name in constants else lighter(shade, 0.5)
        yield Rectangle((left, min(top, bottom - 0.8), right, bottom), fill, lighter(shade, 0.1), title)
        name = fitting(region.name, _SMALL, right - left - 6)
        if name and bottom - top >= 14:
            yield Text((left + right) / 2, (top + bottom) / 2, name, INK, _SMALL, "mm")


def _engines(account: Account, top: float, shades: dict[str, Colour]) -> Iterator[Rectangle | Line | Text]:
    """Yield a strip an engine, filled where it is busy."""
    panel = _Panel(top, account.cycles, 1)
    for number, engine in enumerate(account.engines):
        y = top + number * _STRIP * 1.5
        yield Text(_LEFT - 7, y + _STRIP / 2, engine, SOFT, _SMALL, "rm")
        yield Rectangle((_LEFT, y, _WIDTH - _RIGHT, y + _STRIP), PAPER, GRID)
        for work in account.works:
            if work.engine == engine and work.cycles:
                shade = lighter(shades.get(work.op, SOFT), 0.2)
                yield Rectangle((panel.x(work.start), y, panel.x(work.end), y + _STRIP), shade, None, work.name)


def _legend(shades: dict[str, Colour], y: float) -> Iterator[Rectangle | Text]:
    x = float(_LEFT)
    boxes = {name: (lighter(colour, 0.5), lighter(colour, 0.1)) for name, colour in shades.items()}
    for name, (fill, outline) in [*boxes.items(), ("constants", (_WEIGHTS, _WEIGHTS))]:
        if x + text_width(name, 13) + 40 < _WIDTH:
            yield Rectangle((x, y - 6, x + 12, y + 6), fill, outline)
            yield Text(x + 18, y, name, INK, 13, "lm")
            x += text_width(name, 13) + 42
