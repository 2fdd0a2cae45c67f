"""Random commands of every instruction, within its constraints."""

import math
import random
from collections.abc import Callable, Sequence
from typing import Any

from stepdown.npu.isa import (
    BYTES,
    Command,
    Conv,
    Convert,
    Depthwise,
    Eltwise,
    Fill,
    Gather,
    Move,
    Pool,
    Rescale,
    Table,
    Tensor,
    packed,
)
from stepdown.npu.isa.compute import LIMITS, ROUNDINGS
from stepdown.npu.isa.dma import ORDERS
from stepdown.numerics.windows import Window

LANES = 16


def tensor(rng: random.Random, type: str, shape: Sequence[int], lane: int = 0, space: str = "local") -> Tensor:
    return packed(type, shape, rng.randrange(1 << 16) * BYTES[type], space=space, lanes=LANES, lane=lane)


def anywhere(rng: random.Random, type: str, shape: Sequence[int]) -> Tensor:
    space = rng.choice(("local", "global"))
    return tensor(rng, type, shape, rng.randrange(LANES) if space == "local" else 0, space)


def sizes(rng: random.Random, count: int = 4) -> list[int]:
    return [rng.randint(1, 9) for _ in range(count)]


def common(rng: random.Random) -> dict[str, Any]:
    return {"wait": tuple(rng.randrange(1 << 32) for _ in range(3)), "layer": rng.randrange(1 << 32)}


def bounds(rng: random.Random, type: str) -> dict[str, float]:
    if type not in LIMITS:
        return {"low": -rng.random(), "high": rng.choice((6.0, math.inf))}
    low, high = sorted(rng.randint(*LIMITS[type]) for _ in range(2))
    return {"low": float(low), "high": float(high)}


def window(rng: random.Random) -> dict[str, Any]:
    kernel, dilations = (rng.randint(1, 4), rng.randint(1, 4)), (rng.randint(1, 3), rng.randint(1, 3))
    spans = [d * (k - 1) + 1 for k, d in zip(kernel, dilations, strict=True)] * 2
    pads = tuple(rng.randrange(span) for span in spans)
    strides = (rng.randint(1, 3), rng.randint(1, 3))
    return {"kernel": kernel, "dilations": dilations, "pads": pads, "window_strides": strides}


def positions(shape: Sequence[int], given: dict[str, Any], inserts: Sequence[int] = (0, 0)) -> list[int]:
    counts = []
    for at in range(2):
        wide = (shape[2 + at] - 1) * (inserts[at] + 1) + 1 + given["pads"][at] + given["pads"][at + 2]
        span = given["dilations"][at] * (given["kernel"][at] - 1) + 1
        counts.append((wide - span) // given["window_strides"][at] + 1)
    return counts


def mac(rng: random.Random, depthwise: bool) -> dict[str, Any]:
    given, inserts = window(rng), (rng.randrange(3), rng.randrange(3))
    group, n, c = rng.randint(1, 3), rng.randint(1, 2), rng.randint(1, 4)
    channels = c * group
    shape = (n, channels, rng.randint(12, 20), rng.randint(12, 20))
    outputs = channels if depthwise else group * rng.randint(1, 20)
    lane = rng.randrange(LANES)
    kind = rng.choice(("i8", "u8", "f16", "bf16", "f32"))
    result = kind if kind not in ("i8", "u8") else rng.choice(("i8", "u8", "i32"))
    rounding = rng.choice((*ROUNDINGS, "away"))
    record = "real" if rounding == "away" else "fixed"
    if result not in ("i8", "u8"):
        record = rng.choice(("none", "bias"))
    spread = positions(shape, given, inserts)
    weights = (1, outputs, 1 if depthwise else c, math.prod(given["kernel"]))
    return {
        **common(rng),
        **given,
        **bounds(rng, result),
        "input": tensor(rng, kind, shape, lane if depthwise else rng.randrange(LANES)),
        "weights": tensor(rng, kind, weights, lane),
        "output": tensor(rng, result, (n, outputs, *spread), lane),
        "inserts": inserts,
        "record": record,
        "rounding": rounding,
        "parameters": 4 * rng.randrange(1000),
        "accumulate": result == "i32" and rng.random() < 0.5,
        "input_zero": rng.randint(0, 127),
        "weight_zero": rng.randint(0, 127),
        **({} if depthwise else {"group": group}),
    }


def conv(rng: random.Random) -> Conv:
    return Conv(**mac(rng, False))


def depthwise(rng: random.Random) -> Depthwise:
    return Depthwise(**mac(rng, True))


def pool(rng: random.Random) -> Pool:
    given, lane, kind = window(rng), rng.randrange(LANES), rng.choice(("i8", "u8", "f16", "f32"))
    shape = (rng.randint(1, 2), rng.randint(1, 40), rng.randint(12, 20), rng.randint(12, 20))
    spans = zip(shape[2:], *(given[n] for n in ("kernel", "window_strides")), given["pads"][:2], given["pads"][2:])
    ceil_mode = rng.random() < 0.5
    rows = [Window(*each, d, ceil_mode).count for each, d in zip(spans, given["dilations"], strict=True)]
    return Pool(
        **common(rng),
        **given,
        **bounds(rng, kind),
        kind=rng.choice(("max", "min", "sum", "mean")),
        input=tensor(rng, kind, shape, lane),
        output=tensor(rng, kind, (*shape[:2], *rows), lane),
        ceil_mode=ceil_mode,
        counts=rng.randint(0, math.prod(given["kernel"])),
        table=4 * rng.randrange(1000),
    )


def eltwise(rng: random.Random) -> Eltwise:
    shape, lane = sizes(rng), rng.randrange(LANES)
    kind = rng.choice(("i8", "f16"))
    narrow = [rng.choice((1, n)) for n in shape]
    return Eltwise(
        **common(rng),
        **bounds(rng, kind),
        kind=rng.choice(("add", "sub", "mul", "max", "min")),
        a=tensor(rng, kind, shape, lane),
        b=tensor(rng, kind, narrow, lane),
        output=tensor(rng, kind, shape, lane),
        left_shift=rng.randint(0, 30),
        multipliers=(rng.randrange(1 << 31), -rng.randrange(1 << 31)),
        shifts=(rng.randint(0, 62), rng.randint(0, 62)),
        output_shift=rng.randint(0, 62),
        rounding=rng.choice(ROUNDINGS),
    )


def rescale(rng: random.Random) -> Rescale:
    shape, lane, result = sizes(rng), rng.randrange(LANES), rng.choice(list(LIMITS))
    record = rng.choice(("none", "fixed", "real"))
    return Rescale(
        **common(rng),
        **bounds(rng, result),
        input=tensor(rng, rng.choice(list(LIMITS)), shape, lane),
        output=tensor(rng, result, shape, lane),
        multiplier=rng.randrange(1 << 31),
        shift=rng.randint(0, 62),
        record=record,
        rounding="away" if record == "real" else rng.choice(ROUNDINGS),
    )


def convert(rng: random.Random) -> Convert:
    shape, lane, result = sizes(rng), rng.randrange(LANES), rng.choice(list(BYTES))
    return Convert(
        **common(rng),
        **bounds(rng, result),
        input=tensor(rng, rng.choice(list(BYTES)), shape, lane),
        output=tensor(rng, result, shape, lane),
        input_scale=2.0 ** -rng.randint(0, 20),
        output_zero=rng.randint(-128, 127),
        ties=rng.choice(("even", "away")) if result in ("i8", "u8") else "even",
    )


def table(rng: random.Random) -> Table:
    shape, lane, result = sizes(rng), rng.randrange(LANES), rng.choice(list(BYTES))
    wide = rng.random() < 0.5
    entries = (1, LANES, 1, 65536 // LANES) if wide else (1, shape[1], 1, 256)
    return Table(
        **common(rng),
        input=tensor(rng, rng.choice(("f16", "bf16", "i16") if wide else ("i8", "u8")), shape, lane),
        table=tensor(rng, result, entries, lane),
        output=tensor(rng, result, shape, lane),
    )


def move(rng: random.Random) -> Move:
    shape, type = sizes(rng), rng.choice(list(BYTES))
    target = shape[:]
    rng.shuffle(target)
    return Move(
        **common(rng),
        source=anywhere(rng, type, shape),
        target=anywhere(rng, type, target),
        order=rng.choice(ORDERS),
    )


def fill(rng: random.Random) -> Fill:
    type = rng.choice(list(BYTES))
    return Fill(**common(rng), target=anywhere(rng, type, sizes(rng)), value=rng.randrange(1 << 8 * BYTES[type]))


def gather(rng: random.Random) -> Gather:
    shape, rows, type = sizes(rng), rng.randint(1, 30), rng.choice(list(BYTES))
    return Gather(
        **common(rng),
        source=anywhere(rng, type, shape),
        index=anywhere(rng, "i32", (1, 1, rows, 1)),
        target=anywhere(rng, type, (*shape[:2], rows, shape[3])),
    )


COMMANDS: dict[str, Callable[[random.Random], Command]] = {
    made.__name__: made for made in (conv, depthwise, pool, eltwise, rescale, convert, table, move, fill, gather)
}


def random_command(mnemonic: str, rng: random.Random) -> Command:
    return COMMANDS[mnemonic](rng)
