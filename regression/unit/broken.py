"""Networks that are lowered with one defect, put there on purpose."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from checkout import REGRESSION, ROOT, run

from stepdown.calibration.table import Row, read_table
from stepdown.cli.diagnosis_flags import samples_of
from stepdown.data.dataset import Dataset
from stepdown.diagnosis.relower import Recipe, duplicate, lower
from stepdown.dialects.program import Program, read_program
from stepdown.dialects.top.mac import Conv, MatMul
from stepdown.dialects.tpu.mac import MacOp

CHIP = "bm1684x"
FACTOR = 200


@dataclass(frozen=True)
class Network:
    """A float module, the rows of its calibration table, and one sample."""

    path: Path
    table: Path
    reference: Program
    rows: dict[str, Row]
    samples: Dataset

    def recipe(self, mode: str = "INT8", asymmetric: bool = False) -> Recipe:
        """Return how the network is lowered."""
        return Recipe(mode, CHIP, asymmetric, self.rows)


def made_by_the_tools(folder: Path, model: Path, flags: list[str]) -> Network:
    """Return a network imported from `model` and calibrated on the bundled photos."""
    path, table = folder / "net.mlir", folder / "net_table"
    for command in (
        ["model_transform.py", "--model_name", "net", "--model_def", model, "--mlir", path, *flags],
        ["run_calibration.py", path, "--dataset", REGRESSION / "image", "-o", table],
    ):
        ended = run(ROOT / "tools" / command[0], *command[1:], timeout_s=600)
        assert ended.returncode == 0, ended.stderr
    program = read_program(path)
    return Network(path, table, program, read_table(table), samples_of(program, [REGRESSION / "image" / "cat.jpg"]))


Broken = tuple[str, Program]
"""The name of the tensor whose op is broken, and the lowered network."""


def weight_scaled(network: Network, place: int) -> Broken:
    """One channel of a weight 200 times as large."""
    top = duplicate(network.reference)
    op = _pick([op for op in top.ops if isinstance(op, Conv | MatMul)], place)
    key = op.operands[1].owner.key
    weight = top.weights[key].copy()
    axis = 0 if isinstance(op, Conv) or op.right_transpose else weight.ndim - 1
    channels = np.moveaxis(weight, axis, 0)
    channels[place % len(channels)] *= FACTOR
    top.weights[key] = weight
    return op.tensor_name, lower(top, network.recipe())


def threshold_cut(network: Network, place: int) -> Broken:
    """One threshold a tenth of what it was, of a tensor that a convolution or matrix product makes."""
    name = _pick([op.tensor_name for op in network.reference.ops if isinstance(op, Conv | MatMul)], place)
    row = network.rows[name]
    cut = Row(row.threshold / 10, row.minimum / 10, row.maximum / 10)
    return name, lower(network.reference, network.recipe().changed({name: cut}, {}))


def bias_dropped(network: Network, place: int) -> Broken:
    """One bias zeroed in the lowered weights."""
    target = lower(network.reference, network.recipe())
    op = _pick([op for op in target.ops if isinstance(op, MacOp)], place)
    key = op.operands[2].owner.key
    target.weights[key] = np.zeros_like(target.weights[key])
    return op.tensor_name, target


DEFECTS: dict[str, tuple[Callable[[Network, int], Broken], str]] = {
    "weight": (weight_scaled, "weight rounding"),
    "threshold": (threshold_cut, "clipping"),
    "bias": (bias_dropped, "bias"),
}
"""By name, how a network is broken, and the cause that is to be found."""


def input_cut(network: Network, place: int) -> Broken:
    """The threshold of the network's input a tenth of what it was; with zero points where `place` is odd."""
    name = network.reference.input_ops[0].tensor_name
    row = network.rows[name]
    cut = Row(row.threshold / 10, row.minimum / 10, row.maximum / 10)
    return name, lower(network.reference, network.recipe(asymmetric=place % 2 == 1).changed({name: cut}, {}))


def weight_of_4_bits(network: Network, place: int) -> Broken:
    """A lowered weight rounded to multiples of 16, with zero points where `place` is odd."""
    target, op = _lowered(network, place)
    key = op.operands[1].owner.key
    target.weights[key] = np.clip(np.rint(target.weights[key] / 16) * 16, -127, 127).astype(np.int8)
    return op.tensor_name, target


def zero_point_forgotten(network: Network, place: int) -> Broken:
    """A bias that takes three steps of the input too many, as where a kernel folds in a wrong zero point."""
    target, op = _lowered(network, place)
    weight, key = target.weights[op.operands[1].owner.key], op.operands[2].owner.key
    sums = weight.astype(np.int32).reshape(len(weight), -1).sum(axis=1)
    target.weights[key] = target.weights[key] + 3 * sums
    return op.tensor_name, target


def multiplier_wrong(network: Network, place: int) -> Broken:
    """The shift of one channel one too large, so that it is half as large."""
    target, op = _lowered(network, place)
    key = op.operands[4].owner.key
    shifts = target.weights[key].copy()
    shifts[place % len(shifts)] += 1
    target.weights[key] = shifts
    return op.tensor_name, target


def side_of_a_sum_wrong(network: Network, place: int) -> Broken:
    """One side of a residual sum a quarter too small."""
    target = lower(network.reference, network.recipe(asymmetric=place % 2 == 1))
    op = _pick([op for op in target.ops if op.name == "tpu.Add"], place)
    op.multipliers = (int(op.multipliers[0] * 0.75), *op.multipliers[1:])
    return op.tensor_name, target


def _lowered(network: Network, place: int) -> tuple[Program, MacOp]:
    target = lower(network.reference, network.recipe(asymmetric=place % 2 == 1))
    return target, _pick([op for op in target.ops if isinstance(op, MacOp)], place)


FAULTS: dict[str, tuple[Callable[[Network, int], Broken], str]] = {
    "input": (input_cut, "clipping"),
    "4 bits": (weight_of_4_bits, "weight rounding"),
    "zero point": (zero_point_forgotten, "bias"),
    "multiplier": (multiplier_wrong, "rescale"),
    "sum": (side_of_a_sum_wrong, "rescale"),
}
"""Like `DEFECTS`: what lowering, or a kernel, may get wrong; with zero points at odd places."""


def _pick(choices: list, place: int):  # type: ignore[no-untyped-def]
    return choices[place % len(choices)]
