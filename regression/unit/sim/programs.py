"""Programs assembled by hand, and the reference interpreter's op beside them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from xdsl.ir import Block

from stepdown.chips import Chip, load_chip
from stepdown.dialects.op import TensorOp, location
from stepdown.dialects.tpu import TPU_OPS
from stepdown.dialects.types import tensor
from stepdown.npu.cost import local_memory
from stepdown.npu.isa import BYTES, Command, Conv, Move, Tensor, encode, packed
from stepdown.numerics.floats import ROUND, bf16_bits
from stepdown.numerics.quantize import DTYPES, QuantParams
from stepdown.sim import Machine, Program, load

GLOBAL_BYTES = 1 << 20


def chip(lanes: int = 8, local_bytes: int = 1 << 14) -> Chip:
    """Return a chip with few lanes, so that channels go around."""
    rates = {"dma_bytes_per_cycle": 64, "sustained_percent": 100}
    return replace(load_chip("bm1684x"), lanes=lanes, local_bytes=local_bytes, **rates)


def reference(
    name: str | type[TensorOp], types: Sequence[Any], result: Any, arrays: Sequence[Any], **attributes: Any
) -> np.ndarray:
    """Return what the reference interpreter's op makes of arrays; an array's type is a storage name or QuantParams."""
    cls = TPU_OPS[name] if isinstance(name, str) else name
    block = Block(arg_types=[tensor(np.shape(a), t) for a, t in zip(arrays, types, strict=True)])
    encoded = {key: cls.fields[key].encode(value) for key, value in attributes.items()}
    shapes = cls.create(
        operands=list(block.args), result_types=[tensor((1,), "f32")], attributes=encoded, location=location(["y"])
    ).infer()
    made = tensor(shapes[0].get_shape(), result)
    op = cls.create(operands=list(block.args), result_types=[made], attributes=encoded, location=location(["y"]))
    with np.errstate(all="ignore"):
        return op.run(*arrays)[0]


def same(got: np.ndarray, wanted: np.ndarray) -> None:
    """Assert that two arrays have the same type and the same bytes."""
    assert got.dtype == wanted.dtype
    got, wanted = (np.ascontiguousarray(array).view(np.uint8) for array in (got, wanted))
    np.testing.assert_array_equal(got, wanted)


def stored(array: np.ndarray, type: str) -> np.ndarray:
    """Return an array as it lies in memory."""
    return bf16_bits(array) if type == "bf16" else array.astype({**DTYPES, "f16": np.float16, "f32": np.float32}[type])


@dataclass
class Assembler:
    """Global memory with arrays, and streams of commands."""

    chip: Chip
    image: dict[int, np.ndarray] = field(default_factory=dict)
    streams: dict[str, list[Command]] = field(default_factory=lambda: {"compute": [], "dma": []})
    free: int = 0
    local_free: int = 0

    @property
    def lanes(self) -> int:
        return local_memory(self.chip).lanes

    def place(self, type: str, shape: Sequence[int], array: np.ndarray | None = None) -> Tensor:
        """Return a tensor in global memory, with an array's values."""
        made = packed(type, shape, self.free)
        self.free += -(-made.elements * BYTES[type] // 64) * 64
        if array is not None:
            self.image[made.address] = stored(array, type)
        return made

    def local(self, type: str, shape: Sequence[int], lane: int = 0) -> Tensor:
        """Return a tensor in local memory."""
        made = packed(type, shape, self.local_free, space="local", lanes=self.lanes, lane=lane)
        self.local_free += -(-made.strides[0] * shape[0] // 64) * 64
        return made

    def loaded(self, type: str, array: np.ndarray, shape: Sequence[int], lane: int = 0) -> Tensor:
        """Return a local tensor that the DMA engine loads an array into."""
        target = self.local(type, shape, lane)
        self.dma(Move(source=self.place(type, shape, array), target=target))
        return target

    def dma(self, command: Command) -> int:
        """Append a command; returns how many there are."""
        self.streams["dma"].append(command)
        return len(self.streams["dma"])

    def compute(self, command: Command) -> int:
        """Append a command; returns how many there are."""
        self.streams["compute"].append(command)
        return len(self.streams["compute"])

    def after(self, engine: str) -> tuple[int, int, int]:
        """Return the wait for all commands of an engine up to now."""
        count = len(self.streams[engine])
        return (count, 0, 0) if engine == "compute" else (0, count, 0)

    def single(self, command: Command, shape: Sequence[int]) -> Tensor:
        """Append a compute command after all transfers, and the store of its output; returns where that lies."""
        self.compute(replace(command, wait=self.after("dma")))
        output = command.writes()["output"]
        target = self.place(output.type, shape)
        self.dma(Move(wait=self.after("compute"), source=output, target=target))
        return target

    def program(self, **options: bool) -> Program:
        """Return the checked program, by way of its bytes."""
        return load({e: encode(c) for e, c in self.streams.items()}, self.chip, GLOBAL_BYTES, **options)

    def run(self, wanted: Tensor, poison: int | None = None, shuffle: int | None = None) -> np.ndarray:
        """Execute and return a tensor of global memory."""
        program = self.program()
        machine = Machine(self.chip, GLOBAL_BYTES, poison=poison)
        for address, array in self.image.items():
            raw = np.ascontiguousarray(array).view(np.uint8).reshape(-1)
            machine.memory.global_memory[address : address + raw.size] = raw
        machine.run(program, shuffle=shuffle)
        return machine.memory.read(wanted)


@dataclass
class Convolution:
    """A quantised or floating convolution: operands, the op's attributes, and the wanted result."""

    type: str
    x: np.ndarray
    weights: np.ndarray
    records: np.ndarray
    attributes: Mapping[str, Any]
    wanted: np.ndarray
    extra: dict[str, Any]


def integer_convolution(
    rng: np.random.Generator, shape: Sequence[int], filters: Sequence[int], **window: Any
) -> Convolution:
    """Return an asymmetric INT8 convolution with per-channel scales and a fused ReLU6."""
    source, target = QuantParams(0.05, 7), QuantParams(0.04, -120)
    x = rng.integers(-128, 128, shape, np.int8)
    w = rng.integers(-127, 128, filters, np.int8)
    bias = rng.integers(-9000, 9000, filters[0], np.int32)
    multiplier = rng.integers(1 << 30, 1 << 31, filters[0], np.int64).astype(np.int32)
    shift = rng.integers(38, 42, filters[0], np.int8)
    types = [source, QuantParams((0.01,) * filters[0], 0, "i8", 0), "i32", "i32", "i8"]
    window = {"do_relu": True, "relu_limit": 6.0, **window}
    wanted = reference("Conv", types, target, [x, w, bias, multiplier, shift], **window)
    records = np.stack([bias, multiplier, shift.astype(np.int32)], axis=1)
    extra = {"input_zero": 7, "output_zero": -120, "record": "fixed", "low": -120.0, "high": 30.0}
    return Convolution("i8", x, w, records, window, wanted, extra)


def float_convolution(
    rng: np.random.Generator, type: str, shape: Sequence[int], filters: Sequence[int], **window: Any
) -> Convolution:
    """Return an F16, BF16 or F32 convolution with a bias and a fused ReLU."""
    wide = [rng.normal(size=size).astype(np.float32) * 10.0 ** rng.integers(-2, 3, size) for size in (shape, filters)]
    x, w = (rounded_to(a.astype(np.float32), type) for a in wide)
    bias = rng.normal(size=filters[0]).astype(np.float32)
    window = {"do_relu": True, **window}
    wanted = reference("Conv", [type, type, "f32"], type, [x, w, bias], **window)
    return Convolution(type, x, w, bias.reshape(-1, 1), window, wanted, {"record": "bias", "low": 0.0})


def rounded_to(x: np.ndarray, type: str) -> np.ndarray:
    return ROUND[type](x)


def tiled(asm: Assembler, given: Convolution, tiles: int, dropped: int | None = None) -> Tensor:
    """Assemble a convolution in tiles of rows through two buffers; the load of one overlaps the work on another.

    `dropped` is the number of a transfer whose wait is left out. Returns where the result lies.
    """
    n, c, h, w = given.x.shape
    o, ci, kh, kw = given.weights.shape
    _, _, oh, ow = given.wanted.shape
    top, left, _, right = given.attributes["pads"]
    (sh, sw), (dh, dw) = given.attributes["strides"], given.attributes["dilations"]
    kind, word = given.type, "i32" if given.type == "i8" else "f32"
    weights = asm.loaded(kind, given.weights, (1, o, ci, kh * kw))
    records = asm.loaded(word, given.records, (1, o, 1, given.records.shape[1]))
    source, target = asm.place(kind, given.x.shape, given.x), asm.place(kind, given.wanted.shape)
    rows = -(-oh // tiles)
    held = (rows - 1) * sh + dh * (kh - 1) + 1
    inputs = [asm.local(kind, (n, c, held, w)) for _ in range(2)]
    outputs = [asm.local(kind, (n, o, rows, ow)) for _ in range(2)]
    starts: Sequence[int] = range(0, oh, rows)
    pending: list[tuple[int, Tensor, int, int]] = []
    for tile, start in enumerate(starts):
        count = min(rows, oh - start)
        first = start * sh - top
        last = first + (count - 1) * sh + dh * (kh - 1) + 1
        begin, end = max(first, 0), min(last, h)
        x = cut(inputs[tile % 2], 2, 0, end - begin)
        y = cut(outputs[tile % 2], 2, 0, count)
        # A buffer is free once the tile before the last one is done; that for the result, once it is stored.
        wait = (max(0, tile - 1), 0, 0)
        asm.dma(Move(wait=wait, source=cut(source, 2, begin, end), target=x))
        if len(pending) == 2:
            store(asm, target, *pending.pop(0))
        loads = asm.after("dma")
        asm.compute(
            Conv(
                wait=loads, input=x, weights=weights, output=y, kernel=(kh, kw), window_strides=(sh, sw),
                dilations=(dh, dw), pads=(begin - first, left, last - end, right), group=given.attributes["group"],
                parameters=records.address, **given.extra,
            )
        )  # fmt: skip
        pending.append((tile, y, start, count))
    for each in pending:
        store(asm, target, *each)
    if dropped is not None:
        asm.streams["dma"][dropped] = replace(asm.streams["dma"][dropped], wait=(0, 0, 0))
    return target


def store(asm: Assembler, target: Tensor, tile: int, y: Tensor, start: int, count: int) -> None:
    asm.dma(Move(wait=(tile + 1, 0, 0), source=y, target=cut(target, 2, start, start + count)))


def cut(whole: Tensor, axis: int, start: int, stop: int) -> Tensor:
    """Return a slice of a tensor."""
    shape = list(whole.shape)
    shape[axis] = stop - start
    return replace(whole, address=whole.address + start * whole.strides[axis], shape=tuple(shape))
