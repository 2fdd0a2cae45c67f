"""Single convolutions of 64 channels or more, whose data fit the caches, beside the peak of the processor."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from calibrated import calibrate
from native_networks import CHIP, processor
from native_peaks import peaks
from npu_networks import inputs
from onnx import helper, numpy_helper

from stepdown.chips import load_chip
from stepdown.formats.onnx.importer import import_model
from stepdown.native.clock import call_seconds, timed_library
from stepdown.native.code import Code
from stepdown.native.machine import machine_of
from stepdown.transforms.canonicalize import Canonicalize
from stepdown.transforms.convert_top_to_tpu import ConvertTopToTpu

_ROUNDS, _LIMIT_S = 60, 60
SUMS_IN = "F32"
"""The mode in whose type BF16 is summed where no instruction has products of its own."""


@dataclass(frozen=True)
class Layer:
    """A convolution: channels in and out, the sides of its window and of its image."""

    channels: int
    out: int
    window: int
    side: int

    @property
    def operations(self) -> int:
        """Products and sums, as its definition has them."""
        return 2 * self.side**2 * self.window**2 * self.channels * self.out

    def __str__(self) -> str:
        return f"{self.window}×{self.window}, {self.channels} to {self.out} channels, {self.side}²"


LAYERS = [
    Layer(64, 64, 3, 56), Layer(128, 128, 3, 28), Layer(256, 256, 3, 14),
    Layer(64, 64, 1, 56), Layer(128, 128, 1, 28), Layer(64, 256, 1, 28), Layer(256, 64, 1, 28), Layer(256, 256, 1, 14),
]  # fmt: skip


def layer_rates(mode: str, work: Path) -> dict[Layer, float]:
    """Return operations in a nanosecond of each layer, by the least time of the convolution itself."""
    folders, calls, places = [], [], []
    for number, layer in enumerate(LAYERS):
        code = _code(layer, mode)
        folders.append(timed_library(code, work / f"layer{number}"))
        calls.append(len(code.network.calls))
        places.append(next(at for at, call in enumerate(code.network.calls) if call.macs))
    times = call_seconds(folders, calls, _ROUNDS, _LIMIT_S)
    return {
        layer: layer.operations / of_calls[place] / 1e9
        for layer, place, of_calls in zip(LAYERS, places, times, strict=True)
    }


def _code(layer: Layer, mode: str) -> Code:
    program = import_model(_model(layer), "layer")
    Canonicalize().run(program)
    if mode == "INT8":
        calibrate(program, inputs(program))
    ConvertTopToTpu(mode=mode, chip=CHIP).run(program)
    return Code(program, machine_of(load_chip(CHIP), processor()), "net", each_apart=True)


def _model(layer: Layer) -> onnx.ModelProto:
    sides, shape = {"kernel_shape": [layer.window] * 2, "pads": [layer.window // 2] * 4}, [1, layer.channels]
    weights = np.random.default_rng(0).normal(size=[layer.out, layer.channels, layer.window, layer.window])
    node = helper.make_node("Conv", ["x", "w"], ["y"], name="conv", **sides)
    given = helper.make_tensor_value_info("x", 1, [*shape, layer.side, layer.side])
    made = helper.make_tensor_value_info("y", 1, [1, layer.out, layer.side, layer.side])
    held = numpy_helper.from_array(weights.astype(np.float32), "w")
    graph = helper.make_graph([node], "layer", [given], [made], [held])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def layers_table(mode: str, work: Path) -> tuple[str, float]:
    """Return the table of a mode, and the least part of the peak, which is measured before and after."""
    before, rates, after = peaks(work), layer_rates(mode, work), peaks(work)
    found = [*before.values(), *after.values()]
    own = [rate for kind, rate in found if kind == mode]
    best = max(own or [rate for kind, rate in found if kind == SUMS_IN])
    lines = [f"\n{mode}: at most {best:.0f} GOP/s\n", "| convolution | GOP/s | of the peak |", "| --- | --- | --- |"]
    parts = {layer: rate / best for layer, rate in rates.items()}
    lines += [f"| {layer} | {rates[layer]:.0f} | {part:.0%} |" for layer, part in parts.items()]
    return "\n".join(lines), min(parts.values())
