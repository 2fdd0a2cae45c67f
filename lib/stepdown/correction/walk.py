"""Runs samples through a float program and its lowering side by side, op by op, all samples at each op.

So a correction sees what an op really reads in the integer network, with all corrections before it in place.
"""

from collections.abc import Callable, Sequence

import numpy as np
from xdsl.ir import SSAValue

from stepdown.chips import load_chip
from stepdown.correction.spool import Spool
from stepdown.dialects.op import TensorOp
from stepdown.dialects.program import Program
from stepdown.dialects.types import is_none
from stepdown.numerics.quantize import QuantParams, dequantize
from stepdown.runtimes.interpreter import load_weight, run_op
from stepdown.transforms.convert_top_to_tpu import ConvertTopToTpu, read_qtable
from stepdown.transforms.lowering.builder import Lowering

Visit = Callable[["Walk", TensorOp], None]


class Walk:
    """One walk over the ops of `top`; `visit` sees each op before it is lowered, and may change its weights.

    Ops to which the lowering's qtable gives another mode than INT8 are not shown to `visit`.
    """

    def __init__(
        self, top: Program, lowering: ConvertTopToTpu, arguments: Sequence[dict[SSAValue, np.ndarray]]
    ) -> None:
        self.top, self._lowering, self._arguments = top, lowering, arguments
        chip = load_chip(lowering.chip)
        self._modes = read_qtable(lowering.qtable, top, chip) if lowering.qtable else {}
        self.state = Lowering.start(top, chip, lowering.asymmetric)
        self._alias: dict[SSAValue, SSAValue] = dict(zip(self.state.program.block.args, top.block.args, strict=True))
        self._constants: dict[SSAValue, np.ndarray] = {}
        self._done = 0
        self._last = {v: op for op in top.ops for v in (*op.operands, *op.results)} | dict.fromkeys(top.results)

    @property
    def samples(self) -> range:
        """The numbers of the samples."""
        return range(len(self._arguments))

    def run(self, visit: Visit) -> None:
        """Go through all ops."""
        with Spool() as self._spool:
            for value in self.top.block.args:
                self._spool.write(value, (given[value] for given in self._arguments))
            for op in self.top.ops:
                if op.name in ("top.Weight", "top.None"):
                    continue
                self._run_float(op)
                if self._modes.get(op.tensor_name, "INT8") == "INT8":
                    visit(self, op)
                self._lowering.lower_op(self.state, op, self._modes)
                self._run_new()
                self._free(op)

    def float_of(self, value: SSAValue, sample: int) -> np.ndarray:
        """Return what the float network has in a tensor for one sample."""
        return self._spool.read(value, sample)

    def stored_of(self, value: SSAValue, params: QuantParams, sample: int) -> np.ndarray:
        """Return the integers that an op which wants `params` reads in the place of a float tensor."""
        made = self.state.get(value, params)
        self._run_new()
        return self._spool.read(made, sample)

    def quantised_of(self, value: SSAValue, sample: int) -> np.ndarray:
        """Return the real numbers that an op reads in the integer network in the place of a float tensor."""
        params = self.state.params_of(value)
        return dequantize(self.stored_of(value, params, sample), params)

    # --- inside

    def _run_float(self, op: TensorOp) -> None:
        self._execute(op, self.state.constant)

    def _run_new(self) -> None:
        """Execute the ops that the lowering has appended since."""
        for op in self.state.program.ops[self._done :]:
            if op.name == "tpu.Weight":
                self._constants[op.results[0]] = load_weight(self.state.program, op)
            elif op.name != "tpu.None":
                self._execute(op, self._constants.get)
            self._done += 1

    def _execute(self, op: TensorOp, constant: Callable[[SSAValue], np.ndarray | None]) -> None:
        """Run one op on all samples and keep its results."""
        constants = {v: constant(v) for v in op.operands if not is_none(v)}

        def operand(value: SSAValue, sample: int) -> np.ndarray | None:
            if is_none(value):
                return None
            held = constants[value]
            return held if held is not None else self._spool.read(self._alias.get(value, value), sample)

        for index, value in enumerate(op.results):
            self._spool.write(value, (run_op(op, [operand(v, i) for v in op.operands])[index] for i in self.samples))

    def _free(self, op: TensorOp) -> None:
        """Drop the tensors that `op` was the last to read."""
        for value in (*op.operands, *op.results):
            if self._last.get(value) is op:
                self._spool.drop(value)
                for made in self.state.made.get(value, {}).values():
                    self._spool.drop(made)
