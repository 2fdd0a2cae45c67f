"""Pooling, elementwise ops, tables and changes of scale and type in commands."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from xdsl.ir import SSAValue

from stepdown.dialects.op import TensorOp
from stepdown.dialects.types import quant_of, shape_of
from stepdown.npu.isa import Command, Convert, Eltwise, Pool, Rescale, Table, Tensor
from stepdown.npu.isa.tensor import Four
from stepdown.npu.kernels.base import Constant, Kernel, Region, four, params
from stepdown.numerics.floats import from_bf16_bits
from stepdown.numerics.rescale import ELTWISE_LEFT_SHIFT


def factors(op: TensorOp) -> tuple[list[int], list[int]]:
    """Return multipliers and shifts of an op as commands have them: a float32 by its bits, with the shift 1."""
    if getattr(op, "rounding", "single") == "float":
        bits = np.asarray(op.scales, np.float32).view(np.int32).tolist()  # type: ignore[attr-defined]
        return bits, [1] * len(bits)
    return list(op.multipliers), list(op.shifts)  # type: ignore[attr-defined]


class PoolKernel(Kernel):
    """A pool over one or two dimensions."""

    kind = "max"

    def __init__(self, op: TensorOp, weights: Mapping[SSAValue, np.ndarray]) -> None:
        super().__init__(op, weights)
        self.window()

    def window(self) -> None:
        """Take the window from the op."""
        op: Any = self.op
        rank = len(op.kernel_shape)
        if rank > 2:
            raise self.refuse("has more than two spatial dimensions")
        lead: tuple[int, ...] = (1,) * (2 - rank)
        self.kernel, self.steps, self.dilations = (
            lead + tuple(values) for values in (op.kernel_shape, op.strides, op.dilations)
        )
        none = (0,) * (2 - rank)
        self.pads = (*none, *op.pads[:rank], *none, *op.pads[rank:])
        self.ceil_mode = bool(op.ceil_mode)

    def needs(self, region: Region) -> list[Region]:
        """Return the rows under the window, of the same channels."""
        first, last, _, _ = self._rows(region)
        box = Region.whole(self.input_shapes[0]).within(0, *region.spans[0]).within(1, *region.spans[1])
        return [box.within(2, first, last)]

    def commands(self, tensors: Mapping[str, Tensor], region: Region) -> list[Command]:
        """Return one pool."""
        _, _, top, bottom = self._rows(region)
        command = Pool(
            input=tensors["in0"], output=tensors["output"], kind=self.kind, kernel=(self.kernel[0], self.kernel[1]),
            window_strides=(self.steps[0], self.steps[1]), dilations=(self.dilations[0], self.dilations[1]),
            pads=(top, self.pads[1], bottom, self.pads[3]), ceil_mode=self.ceil_mode,
            include_pads=bool(self.attribute("count_include_pad", False)), **self.summed(tensors),
        )  # fmt: skip
        return [command]

    def summed(self, tensors: Mapping[str, Tensor]) -> dict[str, Any]:
        """Return the fields that sums and means have beside."""
        return {}

    def _rows(self, region: Region) -> tuple[int, int, int, int]:
        """Return first and last + 1 row of the input under rows of the output, and the pads there."""
        start, stop = region.spans[2]
        rows = self.input_shapes[0][2]
        low = start * self.steps[0] - self.pads[0]
        high = (stop - 1) * self.steps[0] + self.dilations[0] * (self.kernel[0] - 1) + 1 - self.pads[0]
        return max(0, low), min(rows, high), max(0, -low), max(0, min(high - rows, self.pads[2]))


class MeanKernel(PoolKernel):
    """An average pool; of integers with a table of the rescale for every count of elements."""

    kind = "mean"

    def constants(self, lanes: int) -> dict[str, Constant]:
        """Return table[1, 1, 1, 2 · counts], the same in every lane."""
        if not self._is_scaled():
            return {}
        counts = self.counts()
        entries = np.zeros((int(counts[-1] - counts[0]) + 1, 2), np.int32)
        entries[:, 1] = 1
        entries[counts - counts[0]] = np.array(factors(self.op)).T
        return {"table": Constant("i32", entries.reshape(1, 1, 1, -1), "all")}

    def counts(self) -> np.ndarray:
        """Return the distinct numbers of elements under the window, ascending."""
        return np.unique(self.op.counts(shape_of(self.operands[0])))  # type: ignore[attr-defined]

    def summed(self, tensors: Mapping[str, Tensor]) -> dict[str, Any]:
        """Return zero points, bounds and table of a quantised result."""
        if not quant_of(self.op.results[0]):
            return {}
        fields = {"input_zero": self.zero(0), "output_zero": self.output_zero, **self.bounds}
        if self._is_scaled():
            counts = self.counts()
            fields |= {"table": tensors["table"].address, "first_count": int(counts[0])}
            fields |= {"counts": int(counts[-1] - counts[0]) + 1, "rounding": self.attribute("rounding")}
        return fields

    def _is_scaled(self) -> bool:
        return bool(quant_of(self.op.results[0])) and bool(self.attribute("is_scaled"))


class ReduceKernel(MeanKernel):
    """A reduction over all spatial dimensions: a pool as large as the input."""

    def window(self) -> None:
        """Take the whole plane as the window."""
        shape = shape_of(self.operands[0])
        axes = sorted(axis % len(shape) for axis in self.attribute("axes") or range(len(shape)))
        if len(shape) not in (3, 4) or axes != list(range(2, len(shape))):
            raise self.refuse(f"reduces the dimensions {axes} of {len(shape)}, not all behind the channels")
        self.kind = {"ReduceMean": "mean", "ReduceSum": "sum", "ReduceMax": "max", "ReduceMin": "min"}[
            self.op.name.split(".")[1]
        ]
        n, c, h, w = self.input_shapes[0]
        self.shape = (n, c, 1, 1)
        self.kernel, self.steps, self.dilations, self.pads = (h, w), (1, 1), (1, 1), (0, 0, 0, 0)
        self.ceil_mode = False

    def counts(self) -> np.ndarray:
        """Return the number of elements of the plane."""
        return np.array([math.prod(self.kernel)])


class EltwiseKernel(Kernel):
    """Two tensors combined; a side may be a constant."""

    repeats = True

    def __init__(self, op: TensorOp, weights: Mapping[SSAValue, np.ndarray]) -> None:
        super().__init__(op, weights)
        if len(op.operands) != 2:
            raise self.refuse(f"combines {len(op.operands)} tensors, not two")
        rank = len(shape_of(op.results[0]))
        self.side_shapes = [four((1,) * (rank - len(shape_of(v))) + shape_of(v)) for v in op.operands]
        self.input_shapes = [s for s, v in zip(self.side_shapes, op.operands, strict=True) if v in self.operands]

    def constants(self, lanes: int) -> dict[str, Constant]:
        """Return the constant side, repeated to all channels."""
        found = {}
        for at, shape in enumerate(self.side_shapes):
            given = self.constant(at)
            if given is not None:
                kind = quant_of(self.op.operands[at])
                n, _, h, w = shape
                if n > 1:
                    raise self.refuse("a constant side has more than one n")
                values = np.broadcast_to(given.reshape(shape), (n, self.shape[1], h, w))
                found[f"side{at}"] = Constant(kind.type if kind else self.type, values)
        return found

    def needs(self, region: Region) -> list[Region]:
        """Return the same box of every side, where that is not repeated."""
        return [self._box(region, shape) for shape in self.input_shapes]

    def commands(self, tensors: Mapping[str, Tensor], region: Region) -> list[Command]:
        """Return one elementwise command."""
        given = iter([tensors[f"in{i}"] for i in range(len(self.operands))])
        sides = [self._side(tensors, at, region) or next(given) for at in range(2)]
        kind = self.op.name.split(".")[1].lower()
        scales, bounds = self._scales(kind), self.bounds
        return [Eltwise(kind=kind, a=sides[0], b=sides[1], output=tensors["output"], **scales, **bounds)]

    def _side(self, tensors: Mapping[str, Tensor], at: int, region: Region) -> Tensor | None:
        """Return the constant side, cut to the rows of the box."""
        whole = tensors.get(f"side{at}")
        if whole is None or self.side_shapes[at][2] == 1:
            return whole
        start, stop = region.spans[2]
        n, c, _, w = whole.shape
        return replace(whole, address=whole.address + start * whole.strides[2], shape=(n, c, stop - start, w))

    def _scales(self, kind: str) -> dict[str, Any]:
        if not quant_of(self.op.results[0]):
            return {}
        multipliers, shifts = factors(self.op)
        rounding = self.attribute("rounding")
        fields: dict[str, Any] = {"zeros": (self.zero(0), self.zero(1)), "output_zero": self.output_zero}
        fields["rounding"] = rounding
        if kind in ("max", "min"):
            multipliers, shifts = (multipliers, shifts) if multipliers else ([0, 0], [0, 0])
        elif kind == "mul":
            return {**fields, "output_multiplier": multipliers[0], "output_shift": shifts[0]}
        else:
            fields |= {"left_shift": 0 if rounding == "float" else ELTWISE_LEFT_SHIFT}
            fields |= {"output_multiplier": multipliers[2], "output_shift": shifts[2]}
        return {**fields, "multipliers": (multipliers[0], multipliers[1]), "shifts": (shifts[0], shifts[1])}

    def _box(self, region: Region, shape: Four) -> Region:
        """Return the box of a side: repeated dimensions are taken whole (channels are repeated by the load)."""
        for at, size in enumerate(shape):
            if size == 1:
                region = region.within(at, 0, 1)
        return region


class UnaryKernel(Kernel):
    """What works element by element on one tensor: give `command`."""

    def needs(self, region: Region) -> list[Region]:
        """Return the same box."""
        return [region]

    def commands(self, tensors: Mapping[str, Tensor], region: Region) -> list[Command]:
        """Return one command."""
        return [self.command(tensors)]

    def command(self, tensors: Mapping[str, Tensor]) -> Command:
        """Return the command."""
        raise NotImplementedError


class ConvertKernel(UnaryKernel):
    """Another type."""

    def command(self, tensors: Mapping[str, Tensor]) -> Command:
        """Return the conversion."""
        source, target = params(self.op.operands[0]), params(self.op.results[0])
        if isinstance(source.scale, tuple) or isinstance(target.scale, tuple):
            raise self.refuse("has a scale a channel")
        return Convert(
            input=tensors["in0"], output=tensors["output"], input_scale=float(np.float32(source.scale)),
            input_zero=source.zero_point, output_scale=float(np.float32(target.scale)), output_zero=target.zero_point,
            ties=self.attribute("ties"),
        )  # fmt: skip


class RescaleKernel(UnaryKernel):
    """Another scale."""

    def command(self, tensors: Mapping[str, Tensor]) -> Command:
        """Return the rescale."""
        multiplier, shift = self.attribute("multiplier"), self.attribute("shift")
        if self.attribute("rounding") == "float":
            multiplier, shift = int(np.float32(self.attribute("scale")).view(np.int32)), 1
        return Rescale(
            input=tensors["in0"], output=tensors["output"], zero=self.zero(0), output_zero=self.output_zero,
            multiplier=multiplier, shift=shift, rounding=self.attribute("rounding"), **self.bounds,
        )  # fmt: skip


class TableKernel(UnaryKernel):
    """A function by its table: of 8 bits as the op has it, of 16-bit floats made from the op itself."""

    def __init__(self, op: TensorOp, weights: Mapping[SSAValue, np.ndarray]) -> None:
        super().__init__(op, weights)
        if self.constant(1) is None and self.input_types[0] not in ("f16", "bf16"):
            raise self.refuse(f"a function of {self.input_types[0]} has no command")

    def constants(self, lanes: int) -> dict[str, Constant]:
        """Return the table: one in every lane, or one spread over all lanes."""
        if self.input_types[0] not in ("f16", "bf16"):
            return {"table": Constant(self.type, self._entries().reshape(1, 1, 1, 256), "all")}
        if 65536 % lanes:
            raise self.refuse(f"a table of 65,536 entries cannot be spread over {lanes} lanes")
        return {"table": Constant(self.type, self._entries().reshape(1, lanes, 1, -1), "lane")}

    def command(self, tensors: Mapping[str, Tensor]) -> Command:
        """Return the look-up."""
        table = tensors["table"]
        if self.input_types[0] not in ("f16", "bf16"):
            c = tensors["in0"].shape[1]
            table = replace(table, shape=(1, c, 1, 256), strides=(0, 0, 0, table.strides[3]))
        return Table(input=tensors["in0"], output=tensors["output"], table=table)

    def _entries(self) -> np.ndarray:
        given = self.constant(1)
        if given is not None:
            return given
        bits = np.arange(1 << 16, dtype=np.uint16)
        patterns = bits.view(np.float16).astype(np.float32) if self.type == "f16" else from_bf16_bits(bits)
        with np.errstate(all="ignore"):
            return np.asarray(self.op.run(patterns)[0])
