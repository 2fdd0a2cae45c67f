"""fold-qdq: a float program with Quantize and Dequantize ops becomes one whose tensors have quantised types.

`lowering/stored.py` finds the integers whose scale is known wherever they are read; `_Folding` writes the program anew,
and makes integer code of each op between a Dequantize of every operand and a Quantize of its result. What is neither
stays as it is: floats between casts that can be seen.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from xdsl.ir import SSAValue

from stepdown.dialects.op import Kind, TensorOp, absorb, fused_of, is_internal, layouts_of, location, names_of
from stepdown.dialects.program import Program, State, argument_name
from stepdown.dialects.text import verify
from stepdown.dialects.top.mac import Conv, ConvTranspose
from stepdown.dialects.top.quantize import BYTES, Dequantize, Quantize
from stepdown.dialects.top.source import Absent, Input, Weight
from stepdown.dialects.tpu import has_integer_code
from stepdown.dialects.types import is_float, is_none, is_real, quant_of, shape_of, storage_of, tensor
from stepdown.numerics.quantize import QuantParams
from stepdown.transforms.base import Pass
from stepdown.transforms.lowering.stored import stored_tensors
from stepdown.transforms.rewrite import drop_unused, tensors_of, users

_MAX_ADDENDS = 8


@dataclass(frozen=True)
class FoldQdq(Pass):
    """Let the types say what Quantize and Dequantize ops say, around every op that has integer code."""

    def run(self, program: Program) -> None:
        """Replace the program; its state becomes TOP_QUANTIZED."""
        stored = stored_tensors(program)
        made = _Folding(program, stored).run()
        drop_unused(made)
        made["state"] = State.TOP_QUANTIZED
        verify(made.module, program.path)
        program.become(made)


class _Folding:
    """One run: ops of `old` are read in order, and written to `new` with quantised types."""

    def __init__(self, old: Program, stored: dict[SSAValue, QuantParams]) -> None:
        self.old, self.stored = old, stored
        arguments = {argument_name(op): tensor(shape_of(op.results[0]), self._element(op)) for op in old.input_ops}
        self.new = Program.empty(old.name, arguments, old["platform"])
        self.new.path, self.new.weights = old.path, old.weights
        self.made: dict[SSAValue, SSAValue] = {}
        self.real: dict[SSAValue, TensorOp] = {}
        """Float tensors that are a stored one dequantised; the Dequantize is written when somebody needs floats."""
        self.folding: dict[SSAValue, TensorOp] = {}
        """Float tensors that become integers as soon as their Quantize is met."""

    def run(self) -> Program:
        """Return the new program."""
        for op in self.old.ops:
            self._place(op)
        self.new.finish([self._get(v) for v in self.old.results])
        for value, op in self.real.items():
            if value not in self.made:
                self._note_unwritten(op)
        return self.new

    def _element(self, op: TensorOp) -> str | QuantParams:
        value = op.results[0]
        return self.stored.get(value) or quant_of(value) or storage_of(value)

    def _place(self, op: TensorOp) -> None:
        if isinstance(op, Quantize) and op.results[0] in self.stored:
            self._quantize(op)
        elif isinstance(op, Dequantize) and self._is_stored(op.operands[0]):
            self.real[op.results[0]] = op
        elif isinstance(op, Input):
            index = self.old.input_ops.index(op)
            self._copy(op, [self.new.block.args[index]])
        elif not self._foldable(op):
            self._copy(op, [self._get(v) for v in op.operands])
        else:
            self.folding[op.results[0]] = op

    def _is_stored(self, value: SSAValue) -> bool:
        return value in self.stored or (isinstance(value.owner, Weight) and quant_of(value) is not None)

    def _foldable(self, op: TensorOp) -> bool:
        """Tell whether an op has integer code for its operands as they are stored, and its one reader quantises."""
        if len(op.results) != 1 or not has_integer_code(op) or not is_float(op.results[0]):
            return False
        readers = users(op.results[0])
        target = self.stored.get(readers[0].results[0]) if len(readers) == 1 and readers[0].results else None
        if not isinstance(readers[0] if readers else None, Quantize) or target is None or target.type not in BYTES:
            return False
        real = [v for v in op.operands if not is_none(v) and is_real(v)]
        if op.kind is Kind.MAC:
            return self._mac_fits(op)
        return 0 < len(real) <= _MAX_ADDENDS and all(self._byte_params(v) for v in real)

    def _mac_fits(self, op: TensorOp) -> bool:
        left, right, *bias = op.operands
        second = self._params(right)
        fits = second is not None and second.type in BYTES and second.axis in (None, _channel_axis(op))
        return bool(fits and self._byte_params(left) and all(is_none(b) or self._bias_fits(b) for b in bias))

    def _bias_fits(self, bias: SSAValue) -> bool:
        params = self._params(bias)
        return isinstance(bias.owner, Weight) or (params is not None and params.type == "i32")

    def _byte_params(self, value: SSAValue) -> QuantParams | None:
        """Return the parameters of a float tensor that is an 8-bit one, dequantised."""
        params = self._params(value)
        return params if params and params.type in BYTES and params.axis is None else None

    def _params(self, value: SSAValue) -> QuantParams | None:
        if value not in self.real:
            return None
        source = self.real[value].operands[0]
        return self.stored.get(source) or quant_of(source)

    # --- writing

    def _quantize(self, op: TensorOp) -> None:
        """Write the op that makes a quantised tensor: one that is folded, or a Quantize of what is there."""
        source, params = op.operands[0], self.stored[op.results[0]]
        if maker := self.folding.pop(source, None):
            self._fold(maker, op, params)
        else:
            self._write(op, type(op), [self._requantised(source)], [params], to=params.type)

    def _requantised(self, source: SSAValue) -> SSAValue:
        """Return what a Quantize reads: stored bytes where the source is such a tensor dequantised, else floats."""
        constant = self._is_constant(source)
        return self._operand(source) if self._byte_params(source) and not constant else self._get(source)

    def _fold(self, op: TensorOp, quantize: TensorOp, params: QuantParams) -> None:
        operands = [self._operand(v) for v in op.operands]
        carried = [*fused_of(op), *tensors_of(op)[len(fused_of(op)) :], *fused_of(quantize)]
        made = self._write(quantize, type(op), operands, [params], **op.attribute_values())
        absorb(made, [*self._constants(op), *carried])

    def _is_constant(self, value: SSAValue) -> bool:
        return value in self.real and isinstance(self.real[value].operands[0].owner, Weight)

    def _operand(self, value: SSAValue) -> SSAValue:
        """Return an operand of a folded op: stored integers in the place of their real numbers."""
        return self._get(self.real[value].operands[0] if value in self.real else value)

    def _get(self, value: SSAValue) -> SSAValue:
        """Return a tensor of the new program; a Dequantize that nobody needed before is written."""
        if value not in self.made:
            op = self.real[value]
            if self._is_constant(value):
                self.made[value] = self._dequantized(op)
            else:
                self._copy(op, [self._get(op.operands[0])])
        return self.made[value]

    def _dequantized(self, op: TensorOp) -> SSAValue:
        """Add a constant as the real numbers that it stands for."""
        weight = op.operands[0].owner
        assert isinstance(weight, Weight)
        array = np.asarray(op.compute(self.old.weights[weight.key])[0])
        key = self.new.weights.free_key(op.tensor_name, array)
        self.new.weights[key] = array
        return self.new.add(Weight.of(key, tensor(array.shape)))

    def _copy(self, op: TensorOp, operands: list[SSAValue]) -> None:
        elements = [self.stored.get(r) or (None if is_none(r) else r.type) for r in op.results]
        made = self._write(op, type(op), operands, elements, **op.attribute_values())
        absorb(made, [*self._constants(op), *fused_of(op)])

    def _constants(self, op: TensorOp) -> list[str]:
        """Return the names of the dequantised constants that an op reads: they are not tensors of the new program."""
        return [n for v in op.operands if self._is_constant(v) for n in tensors_of(self.real[v])]

    def _write(
        self,
        place: TensorOp,
        cls: type[TensorOp],
        operands: list[SSAValue],
        elements: Iterable[object],
        **values: object,
    ) -> TensorOp:
        """Append an op that makes the tensors of `place`, in quantised or given types."""
        types = [
            tensor(shape_of(r), e) if isinstance(e, QuantParams) else r.type
            for r, e in zip(place.results, elements, strict=True)
        ]
        made = cls.create(
            operands=operands, result_types=types,
            attributes={name: cls.fields[name].encode(value) for name, value in values.items()},
        )  # fmt: skip
        if not isinstance(place, Absent):
            made.location = location(names_of(place), (), is_internal(place), layouts_of(place))
        self.new.add(made)
        self.made.update(zip(place.results, made.results, strict=True))
        return made

    def _note_unwritten(self, op: TensorOp) -> None:
        """A Dequantize that nobody needed is one with the tensor it would have read."""
        owner = self.made[op.operands[0]].owner if op.operands[0] in self.made else None
        if isinstance(owner, TensorOp) and not isinstance(owner, Weight):
            absorb(owner, tensors_of(op))


def _channel_axis(op: TensorOp) -> int:
    """Return the axis of a weight along which the output channels lie."""
    rank = len(shape_of(op.operands[1]))
    if isinstance(op, Conv):
        return 0
    if isinstance(op, ConvTranspose):
        return 1
    return rank - 2 if op.right_transpose and rank > 1 else rank - 1  # type: ignore[attr-defined]
