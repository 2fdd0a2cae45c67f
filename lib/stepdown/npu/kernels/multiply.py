"""Convolutions and matrix products in commands."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from xdsl.ir import SSAValue

from stepdown.dialects.op import TensorOp
from stepdown.dialects.types import quant_of, shape_of
from stepdown.npu.isa import Command, Conv, Depthwise, Tensor
from stepdown.npu.isa.tensor import Four
from stepdown.npu.kernels.base import Constant, Kernel, Region, element_type


class MultiplyKernel(Kernel):
    """A convolution over one or two dimensions: a tile is rows of some output channels."""

    def __init__(self, op: TensorOp, weights: Mapping[SSAValue, np.ndarray]) -> None:
        super().__init__(op, weights)
        if self.constant(1) is None:
            raise self.refuse("its weights are not constant")
        self.filter = self._filter()
        if self.filter.ndim != 4:
            raise self.refuse("has more than two spatial dimensions")
        self.kernel: tuple[int, int] = self.filter.shape[2:]
        rank = 2 if self.attribute("strides") is None else len(self.op.strides)  # type: ignore[attr-defined]
        self.steps = self._two("strides", rank)
        self.dilations = self._two("dilations", rank)
        pads = tuple(self.attribute("pads") or (0,) * 2 * rank)
        self.pads: Four = pads if rank == 2 else (0, pads[0], 0, pads[1])
        self.inserts = (0, 0)
        self.group = int(self.attribute("group", 1) or 1)
        self.depthwise = self.group == self.input_shapes[0][1] == self.shape[1] > 1

    def constants(self, lanes: int) -> dict[str, Constant]:
        """Return weights[1, O, C / group, kernel elements] and records[1, O, 1, words]."""
        o, c = self.filter.shape[:2]
        found = {"weights": Constant(element_type(self.op.operands[1]), self.filter.reshape(1, o, c, -1))}
        words = self._records()
        if words is not None:
            found["records"] = Constant("f32" if words.dtype == np.float32 else "i32", words.reshape(1, o, 1, -1))
        return found

    def channel_unit(self, lanes: int) -> int:
        """Return a round of the lanes, or about as many channels in whole groups."""
        channels = self.shape[1] // self.group
        return lanes if self.depthwise or self.group == 1 else max(1, lanes // channels) * channels

    def needs(self, region: Region) -> list[Region]:
        """Return the rows under the window, of all input channels of the output channels' groups."""
        first, last, _, _ = self._rows(region)
        box = Region.whole(self.input_shapes[0]).within(0, *region.spans[0]).within(2, first, last)
        channels = self.input_shapes[0][1] // self.group
        start, stop = self._groups(region)
        return [box.within(1, start * channels, stop * channels)]

    def commands(self, tensors: Mapping[str, Tensor], region: Region) -> list[Command]:
        """Return one convolution."""
        _, _, top, bottom = self._rows(region)
        common: dict[str, Any] = {
            "input": tensors["in0"],
            "weights": tensors["weights"],
            "output": tensors["output"],
            "kernel": self.kernel,
            "window_strides": self.steps,
            "dilations": self.dilations,
            "inserts": self.inserts,
            "pads": (top, self.pads[1], bottom, self.pads[3]),
            **self.bounds,
        }
        if quant_of(self.op.results[0]):
            zeros = {"input_zero": self.zero(0), "weight_zero": self.zero(1), "output_zero": self.output_zero}
            rounding = self.attribute("rounding")
            common |= {**zeros, "rounding": rounding, "record": "real" if rounding == "away" else "fixed"}
        elif "records" in tensors:
            common["record"] = "bias"
        if "records" in tensors:
            common["parameters"] = tensors["records"].address
        start, stop = self._groups(region)
        return [Depthwise(**common) if self.depthwise else Conv(group=stop - start, **common)]

    def _groups(self, region: Region) -> tuple[int, int]:
        """Return the first group and the last + 1 of some output channels: whole groups, or a part of the only one."""
        (start, stop), channels = region.spans[1], self.shape[1] // self.group
        return start // channels, -(-stop // channels)

    def _filter(self) -> np.ndarray:
        """Return the weights as [O, C / group, kernel height, kernel width]."""
        given = self.constant(1)
        assert given is not None
        return given[:, :, None] if given.ndim == 3 else given

    def _two(self, name: str, rank: int) -> tuple[int, int]:
        values = tuple(self.attribute(name) or (1,) * rank)
        return (1, values[0]) if rank == 1 else (values[0], values[1])

    def _rows(self, region: Region) -> tuple[int, int, int, int]:
        """Return first and last + 1 row of the input under rows of the output, and the pads there."""
        start, stop = region.spans[2]
        span, insert = self.dilations[0] * (self.kernel[0] - 1) + 1, self.inserts[0] + 1
        low = start * self.steps[0] - self.pads[0]
        high = (stop - 1) * self.steps[0] + span - self.pads[0]
        first = max(0, -(-low // insert))
        last = min(self.input_shapes[0][2], (high - 1) // insert + 1)
        return first, last, first * insert - low, high - ((last - 1) * insert + 1)

    def _records(self) -> np.ndarray | None:
        """Return the record of every output channel: words[O, 3] of integers, biases[O, 1] of floats."""
        channels, bias = self.shape[1], self.constant(2)
        if not quant_of(self.op.results[0]):
            return None if bias is None else bias.astype(np.float32).reshape(-1, 1)
        multiplier, shift = self.constant(3), self.constant(4)
        assert multiplier is not None
        whole = np.zeros((channels, 3), np.int32)
        whole[:, 0] = 0 if bias is None else bias
        if self.attribute("rounding") == "away":
            scales = np.resize(multiplier.astype(np.float64), channels)
            whole[:, 1:] = scales.view(np.int32).reshape(-1, 2)
        elif self.attribute("rounding") == "float":
            whole[:, 1], whole[:, 2] = multiplier.astype(np.float32).view(np.int32).reshape(-1), 1
        else:
            assert shift is not None
            whole[:, 1], whole[:, 2] = multiplier.reshape(-1), shift.reshape(-1)
        return whole


class TransposeKernel(MultiplyKernel):
    """A transposed convolution: inserted zeros, flipped weights, pads span − 1 − pad."""

    def __init__(self, op: TensorOp, weights: Mapping[SSAValue, np.ndarray]) -> None:
        super().__init__(op, weights)
        spans = [d * (k - 1) + 1 for k, d in zip(self.kernel, self.dilations, strict=True)]
        more = tuple(op.output_padding)  # type: ignore[attr-defined]
        more = (0, more[0]) if len(more) == 1 else more
        begins = [span - 1 - pad for span, pad in zip(spans, self.pads[:2], strict=True)]
        ends = [span - 1 - pad + extra for span, pad, extra in zip(spans, self.pads[2:], more, strict=True)]
        self.pads = (begins[0], begins[1], ends[0], ends[1])
        self.inserts, self.steps = (self.steps[0] - 1, self.steps[1] - 1), (1, 1)

    def _filter(self) -> np.ndarray:
        given = super()._filter()
        group = int(self.attribute("group"))
        c, o, kh, kw = given.shape
        turned = given.reshape(group, c // group, o, kh, kw).swapaxes(1, 2)
        return np.flip(turned.reshape(group * o, c // group, kh, kw), (2, 3))


class ProductKernel(MultiplyKernel):
    """A product with a constant matrix: a 1 × 1 convolution of one position a row."""

    def __init__(self, op: TensorOp, weights: Mapping[SSAValue, np.ndarray]) -> None:
        super().__init__(op, weights)
        rows, depth = shape_of(op.operands[0])[:-1], shape_of(op.operands[0])[-1]
        self.input_shapes = [(math.prod(rows), depth, 1, 1)]
        self.shape = (math.prod(rows), self.filter.shape[0], 1, 1)

    def _filter(self) -> np.ndarray:
        given = self.constant(1)
        assert given is not None
        if given.ndim != 2:
            raise self.refuse("its right side is no matrix")
        return (given if self.attribute("right_transpose") else given.T)[:, :, None, None]
