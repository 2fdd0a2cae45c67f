"""The state of one lowering: which TPU values stand for each TOP value, and the casts between them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from xdsl.ir import Attribute, SSAValue

from stepdown.chips import Chip
from stepdown.dialects.op import (
    TensorOp,
    fused_of,
    internal_of,
    internals_of,
    layout_of,
    layouts_of,
    location,
    names_of,
    value_name,
)
from stepdown.dialects.program import Program, argument_name
from stepdown.dialects.top.source import Weight
from stepdown.dialects.tpu import TPU_OPS, Convert, Lut, Rescale
from stepdown.dialects.types import NONE, is_none, is_real, quant_of, range_of, shape_of, storage_of, tensor
from stepdown.errors import InputError
from stepdown.files.names import free_name
from stepdown.numerics.float_scale import float_scales
from stepdown.numerics.floats import bf16_bits, round_bf16
from stepdown.numerics.quantize import QuantParams, asymmetric, dequantize, quantize, symmetric
from stepdown.numerics.rescale import multiplier_shift

_STORED_AS = {np.dtype(np.int8): "i8", np.dtype(np.int32): "i32", np.dtype(np.float32): "f32"}

Element = str | QuantParams
"""A storage name, or the parameters of a quantised tensor."""


@dataclass
class Lowering:
    """One run of convert-top-to-tpu: TPU ops are appended to `program` while the ops of `top` are read in order."""

    top: Program
    program: Program
    chip: Chip | None
    asymmetric: bool
    made: dict[SSAValue, dict[Element, SSAValue]] = field(default_factory=dict)
    """TOP value → its TPU values by element type."""
    native: dict[SSAValue, Element] = field(default_factory=dict)
    """TOP value → the type its op made it in."""
    _taken: set[str] = field(default_factory=set)
    _none: SSAValue | None = None

    def __post_init__(self) -> None:
        self._taken = {name for op in self.top.ops for name in op.names}

    @classmethod
    def start(cls, top: Program, chip: Chip | None, asymmetric: bool) -> Self:
        """Return the state in which nothing is lowered yet: a TPU program with the arguments of `top`."""
        arguments = {argument_name(op): op.operands[0].type for op in top.input_ops}
        program = Program.empty(top.name, arguments, top["platform"])
        program.path = top.path
        return cls(top, program, chip, asymmetric)

    def lower_input(self, op: TensorOp, element: Element) -> None:
        """Append a network input in a type; who reads it in another one makes a visible cast."""
        index = [argument_name(i) for i in self.top.input_ops].index(argument_name(op))
        self.emit("Input", op, [self.program.block.args[index]], [element])

    def finish(self) -> None:
        """Return the outputs as f32: a quantised or 16-bit output has its float view beside it."""
        results = []
        for value in self.top.results:
            native = self.made[value][self.native[value]]
            plain = quant_of(native) is None and storage_of(native) not in ("f16", "bf16")
            results.append(native if plain else self.get(value, "f32"))
        self.program.finish(results)

    # --- types

    @property
    def float_scale(self) -> bool:
        """Whether integers are brought to another scale by a float32 factor, as profile `float_scale` says."""
        return self.chip is not None and self.chip.profile == "float_scale"

    def params(self, value: SSAValue) -> QuantParams | None:
        """Return the parameters a TOP value is quantised with: those of its type, its constant or calibrated range."""
        if given := quant_of(value):
            return given
        constant = self.constant(value)
        if constant is not None:
            low, high = float(constant.min(initial=0.0)), float(constant.max(initial=0.0))
        elif (observed := range_of(value)) is not None:
            low, high = observed.minimum, observed.maximum
        else:
            return None
        if self.asymmetric:
            return asymmetric(low, high)
        return symmetric(max(abs(low), abs(high)), low, self.chip is None or self.chip.unsigned_activations)

    def params_of(self, value: SSAValue) -> QuantParams:
        """Return the parameters of a TOP value; the type its op made it in where that is quantised.

        Raises:
            InputError: the calibration table has no range for it.
        """
        native = self.native.get(value)
        params = native if isinstance(native, QuantParams) else self.params(value)
        if params is None:
            raise InputError("has no calibrated range", f"tensor '{value_name(value)}'", "calibrate again")
        return params

    def constant(self, value: SSAValue) -> np.ndarray | None:
        """Return the float array of a weight, None for any other value."""
        stored, params = self.stored(value), quant_of(value)
        return stored if stored is None or params is None else dequantize(stored, params)

    def stored(self, value: SSAValue) -> np.ndarray | None:
        """Return the array of a weight as it is stored, None for any other value."""
        return self.top.weights[value.owner.key] if isinstance(value.owner, Weight) else None

    # --- values

    def get(self, value: SSAValue, element: Element) -> SSAValue:
        """Return the TPU value of a TOP value in a type, casting or converting the constant where needed."""
        if is_none(value):
            return self.none
        known = self.made.setdefault(value, {})
        if element not in known:
            known[element] = self._convert(value, element)
        return known[element]

    def store(self, value: SSAValue, element: Element, made: SSAValue) -> None:
        """Note the TPU value that an op made for a TOP value."""
        self.made.setdefault(value, {})[element] = made
        self.native[value] = element

    def emit(
        self, name: str, source: TensorOp, operands: Sequence[SSAValue], elements: Sequence[Element], **attributes: Any
    ) -> list[SSAValue]:
        """Append the TPU op `name` for the TOP op `source`: its location and attributes, with changes."""
        cls = TPU_OPS[name]
        kept = {k: v for k, v in source.attributes.items() if k in cls.fields}
        changed = {k: cls.fields[k].encode(v) for k, v in attributes.items()}
        return self.append(cls, source, operands, elements, {**kept, **changed})

    def append(
        self, cls: type[TensorOp], source: TensorOp, operands: Sequence[SSAValue], elements: Sequence[Element],
        attributes: dict[str, Attribute],
    ) -> list[SSAValue]:  # fmt: skip
        """Append an op of class `cls` that makes the tensors of `source` in the given types."""
        types = [tensor(shape_of(r), e) for r, e in zip(source.results, elements, strict=True)]
        op = cls.create(operands=operands, result_types=types, attributes=attributes, location=source.location)
        self.program.add(op)
        for value, element, made in zip(source.results, elements, op.results, strict=True):
            self.store(value, element, made)
        return list(op.results)

    def weight(self, key: str, array: np.ndarray, element: Element | None = None) -> SSAValue:
        """Append a constant; float ones are stored in their format, bfloat16 as its bits.

        One weight may be stored in several scales: the second then gets a numbered key.
        """
        if element == "f16":
            array = array.astype(np.float16)
        elif element == "bf16":
            array = bf16_bits(round_bf16(array))
        key = self.program.weights.free_key(key, array)
        self.program.weights[key] = array
        kind = element if element is not None else _STORED_AS[array.dtype]
        cls = TPU_OPS["Weight"]
        attributes = {"key": cls.fields["key"].encode(key)}
        return self.program.add(
            cls.create(result_types=[tensor(array.shape, kind)], attributes=attributes, location=location([key]))
        )

    def looked_up(self, value: SSAValue, table: np.ndarray, target: QuantParams) -> SSAValue:
        """Append a table look-up that brings a stored tensor to other parameters, as an internal tensor."""
        source = self.get(value, self.native.get(value) or quant_of(value))  # type: ignore[arg-type]
        name = self._free_name(f"{value_name(value)}_rescaled")
        place = location([name], internal=True, layouts=[layout_of(source)])
        operands = [source, self.weight(f"{name}_table", table, target)]
        return self.program.add(
            Lut.create(operands=operands, result_types=[tensor(shape_of(source), target)], location=place)
        )

    @property
    def none(self) -> SSAValue:
        """The absent operand, made once."""
        if self._none is None:
            self._none = self.program.add(TPU_OPS["Absent"].create(result_types=[NONE]))
        return self._none

    # --- inside

    def _convert(self, value: SSAValue, element: Element) -> SSAValue:
        constant = self.constant(value)
        if constant is not None and element == quant_of(value):
            return self.weight(f"{value_name(value)}_{storage_of(value)}", self.top.weights[value.owner.key], element)  # type: ignore[union-attr]
        if constant is not None:
            return self._constant(value_name(value), constant, element)
        source = self.made[value][self.native[value]]
        if isinstance(element, QuantParams) and quant_of(source):
            return self._rescale(source, element)
        return self._cast(value, source, element)

    def _constant(self, name: str, array: np.ndarray, element: Element) -> SSAValue:
        if isinstance(element, QuantParams):
            return self.weight(f"{name}_{element.type}", quantize(array, element), element)
        return self.weight(name if element not in ("f16", "bf16") else f"{name}_{element}", array, element)

    def _rescale(self, source: SSAValue, target: QuantParams) -> SSAValue:
        params = quant_of(source)
        assert params is not None
        factor = float(params.scale) / float(target.scale)  # type: ignore[arg-type]
        name = self._free_name(f"{value_name(source)}_rescaled")
        op = Rescale.create(
            operands=[source],
            result_types=[tensor(shape_of(source), target)],
            attributes={key: Rescale.fields[key].encode(v) for key, v in self._rescaling(factor).items()},
            location=location([name], internal=True, layouts=[layout_of(source)]),
        )
        return self.program.add(op)

    def _rescaling(self, factor: float) -> dict[str, Any]:
        """Return the attributes of a Rescale by `factor`."""
        if self.float_scale:
            return {"scale": float_scales([factor]).item(), "rounding": "float"}
        multiplier, shift = multiplier_shift(factor)
        return {"multiplier": multiplier, "shift": shift}

    def _cast(self, value: SSAValue, source: SSAValue, element: Element) -> SSAValue:
        """Convert; the quantised tensor has the plain name, the float one `NAME_<type>`."""
        name = value_name(value)
        owner = source.owner
        assert isinstance(owner, TensorOp)
        if isinstance(element, QuantParams):
            new = [self._free_name(f"{n}_{storage_of(source)}") if n == name else n for n in names_of(owner)]
            owner.location = location(new, fused_of(owner), internals_of(owner), layouts_of(owner))
        else:
            name = self._free_name(f"{value_name(source)}_{element}")
        op = Convert.create(
            operands=[source],
            result_types=[tensor(shape_of(source), element)],
            location=location([name], internal=internal_of(value), layouts=[layout_of(value)]),
        )
        return self.program.add(op)

    def _free_name(self, wanted: str) -> str:
        name = free_name(wanted, self._taken)
        self._taken.add(name)
        return name


def element_for(value: SSAValue, wanted: Element) -> Element:
    """Return `wanted` for a tensor of real numbers; truth values, indices and an absent operand keep their type."""
    return wanted if is_none(value) or is_real(value) else storage_of(value)
