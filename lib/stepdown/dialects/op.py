"""What every op of both dialects has: operands and attributes by name, a location that names its tensors, a verifier.

An op class says once what the op is:

    @top_op
    class Relu(Unary):
        '''max(x, 0). Source: ONNX Relu.'''
        def function(self, x): return np.maximum(x, 0)
"""

import re
from collections.abc import Sequence
from enum import StrEnum
from functools import cache
from typing import Any, ClassVar, Self

import numpy as np
from xdsl.dialects.builtin import ArrayAttr, FusedLoc, NameLoc, NoneAttr, StringAttr, TensorType
from xdsl.ir import Attribute, Operation, OpTraits, SSAValue
from xdsl.traits import Pure
from xdsl.utils.exceptions import VerifyException

from stepdown.dialects.fields import Field
from stepdown.dialects.types import Shape, is_none, shape_of, shape_problem, storage_of, tensor

Arrays = Sequence[np.ndarray]


class Kind(StrEnum):
    """How an op is lowered: behaviour belongs to kinds, not to ops, chips or modes."""

    MAC = "mac"
    LUT = "lut"
    ELTWISE = "eltwise"
    MOVE = "move"
    POOL = "pool"
    REDUCE = "reduce"
    FLOAT = "float"
    SOURCE = "source"


class TensorOp(Operation):
    """An op from tensors to tensors. Subclasses declare `kind`, `inputs`, fields, shapes and meaning."""

    traits = OpTraits(lambda: (Pure(),))
    kind: ClassVar[Kind]
    inputs: ClassVar[tuple[str, ...]] = ("input",)
    """Operand names; `x?` may be `none`, or left out at the end; a last `x*` stands for one or more."""
    results_count: ClassVar[int] = 1
    fields: ClassVar[dict[str, Field[Any]]] = {}
    notes: ClassVar[dict[str, Field[Any]]] = {}
    """What later passes may write on an op: attributes that are no part of what it means."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.fields = {n: f for base in reversed(cls.__mro__) for n, f in vars(base).items() if isinstance(f, Field)}

    @classmethod
    def build(
        cls, names: str | Sequence[str], operands: Sequence[SSAValue], internal: bool | Sequence[bool] = False,
        **attributes: Any,
    ) -> Self:  # fmt: skip
        """Make the op that computes the tensors `names`; result types are inferred.

        Raises:
            VerifyException: an operand or attribute breaks one of the op's constraints.
        """
        encoded = {name: cls.fields[name].encode(value) for name, value in attributes.items() if value is not None}
        place = location([names] if isinstance(names, str) else names, internal=internal)
        op = cls.create(operands=operands, attributes=encoded, location=place)
        op.check_fields()
        types = op.infer()
        op.drop_all_references()
        if not isinstance(names, str) and len(names) < len(types):
            raise VerifyException(f"makes {len(types)} tensors, {len(names)} have a name")
        return cls.create(operands=operands, result_types=types, attributes=encoded, location=place)

    # --- shapes and types

    def infer(self) -> list[Attribute]:
        """Return the result types."""
        self.check_operands()
        shapes = self.shapes(*(None if is_none(v) else shape_of(v) for v in self.operands))
        if problem := next(filter(None, map(shape_problem, shapes)), ""):
            raise VerifyException(problem)
        return [tensor(shape, element) for shape, element in zip(shapes, self.elements(len(shapes)), strict=True)]

    def shapes(self, *inputs: Any) -> list[Shape]:
        """Return the result shapes from the operand shapes (None for an absent one)."""
        raise NotImplementedError(self.name)

    def elements(self, count: int) -> list[str]:
        """Return the storage names of the `count` results: that of the first operand unless the op says otherwise."""
        return [storage_of(self.operands[0])] * count

    def compute(self, *inputs: Any) -> Arrays:
        """Return the results as arrays, from arrays (None for an absent operand): the meaning of the op in floats."""
        raise NotImplementedError(self.name)

    def run(self, *inputs: Any) -> Arrays:
        """Execute the op on arrays as the interpreter holds them; the TPU dialect rounds and quantises here."""
        return self.compute(*inputs)

    def cost(self) -> int:
        """Return the multiply-accumulates of one run; 0 for ops that do none."""
        return 0

    # --- names

    @property
    def names(self) -> list[str]:
        """The names of the tensors this op makes."""
        return names_of(self)

    @property
    def tensor_name(self) -> str:
        """The name of the op's first tensor."""
        return self.names[0]

    # --- verification

    def require(self, condition: bool, label: str, detail: str) -> None:
        """Raise the constraint `label` (C1, C2, … in the class's docstring) where `condition` does not hold."""
        if not condition:
            raise VerifyException(f"{constraints(type(self))[label]} ({label}: {detail})")

    def check_fields(self) -> None:
        """Check that every attribute is known, present and of its type."""
        for name, declared in self.fields.items():
            if problem := declared.problem(self.attributes.get(name)):
                raise VerifyException(problem)
        for name in self.notes.keys() & self.attributes.keys():
            if problem := self.notes[name].problem(self.attributes[name]):
                raise VerifyException(problem)
        if unknown := sorted(self.attributes.keys() - self.fields.keys() - self.notes.keys()):
            raise VerifyException(f"has no attribute {unknown[0]}, it has {', '.join(sorted(self.fields)) or 'none'}")

    def check_operands(self) -> None:
        """Check the number of operands and that only optional ones are `none`."""
        wanted, count = self.inputs, len(self.operands)
        required = len([name for name in wanted if not name.endswith("?")])
        variadic = wanted[-1:] and wanted[-1].endswith("*")
        if not (required <= count and (variadic or count <= len(wanted))):
            raise VerifyException(f"has {count} operands, want {', '.join(wanted) or 'none'}")
        for name, value in zip(wanted, self.operands, strict=False):
            if is_none(value) and not name.endswith("?"):
                raise VerifyException(f"operand {name} is none")
            if not is_none(value) and not isinstance(value.type, TensorType):
                raise VerifyException(f"operand {name} is not a tensor")

    def verify_(self) -> None:
        """Check attributes, operands, constraints and the inferred result shapes."""
        self.check_fields()
        inferred = self.infer()
        if len(inferred) != len(self.results):
            raise VerifyException(f"has {len(self.results)} results, want {len(inferred)}")
        for result, wanted in zip(self.results, inferred, strict=True):
            if shape_of(result) != shape_of(wanted):
                raise VerifyException(f"result has shape {shape_of(result)}, want {shape_of(wanted)}")
        if not (isinstance(self.location, FusedLoc | NameLoc) and len(_all_names(self)) >= len(self.results)):
            raise VerifyException('has no name: every tensor needs loc("name")')
        self._check_layouts()

    def _check_layouts(self) -> None:
        """Check that the marks in the location are orders of the results' dimensions."""
        for result, order in zip(self.results, layouts_of(self), strict=False):
            if order and (is_none(result) or sorted(order) != list(range(len(shape_of(result))))):
                raise VerifyException(f"its location's layout is no order of the dimensions of {result.type}")

    def attribute_values(self) -> dict[str, Any]:
        """Return the attributes that are set, as Python values."""
        return {n: f.decode(self.attributes[n]) for n, f in self.fields.items() if n in self.attributes}

    def note(self, name: str) -> Any:
        """Return what a pass has written on the op under `name`, None where there is nothing."""
        return self.notes[name].decode(self.attributes[name]) if name in self.attributes else None

    def set_note(self, name: str, value: Any) -> None:
        """Write a note on the op; None takes it away."""
        if value is None:
            self.attributes.pop(name, None)
        else:
            self.attributes[name] = self.notes[name].encode(value)


Order = tuple[int, ...]
"""A permutation of dimensions: dimension i of the result is dimension order[i] of the operand; () where none moves."""

_INTERNAL, _LAYOUT = "internal", "layout "
# Marks inside the location of a tensor: `loc("x"("internal"))` is one that the source model does not have,
# `loc("x"("layout 0,2,3,1"))` one that is stored permuted: the source model's array is stored.transpose(0, 2, 3, 1).


def location(
    names: Sequence[str], fused: Sequence[str] = (), internal: bool | Sequence[bool] = False,
    layouts: Sequence[Order] = (),
) -> NameLoc | FusedLoc:  # fmt: skip
    """Return the location of an op that makes the tensors `names` and swallowed the tensors `fused`.

    `internal` says of all names, or of each, that the source model does not have the tensor.
    `layouts`, where given, has one order a name: the one that brings the tensor back to the source model's layout.
    """
    orders = layouts or [()] * len(names)
    inside = [internal] * len(names) if isinstance(internal, bool) else list(internal)
    swallowed = [NameLoc(StringAttr(name), _marks(all(inside), ())) for name in dict.fromkeys(fused)]
    own = [NameLoc(StringAttr(n), _marks(i, order)) for n, i, order in zip(names, inside, orders, strict=True)]
    places = [*swallowed, *own]
    return places[0] if len(places) == 1 else FusedLoc(ArrayAttr(places), NoneAttr())


def _marks(internal: bool, order: Order) -> NameLoc | NoneAttr:
    inner = NoneAttr() if is_identity(order) else NameLoc(StringAttr(_LAYOUT + ",".join(map(str, order))), NoneAttr())
    return NameLoc(StringAttr(_INTERNAL), inner) if internal else inner


def _marks_of(place: Attribute) -> list[str]:
    """Return the texts inside a tensor's location, from the outside in."""
    found = []
    inner = place.location if isinstance(place, NameLoc) else None
    while isinstance(inner, NameLoc):
        found.append(inner.desc.data)
        inner = inner.location
    return found


def is_identity(order: Order) -> bool:
    """Tell whether a permutation leaves every dimension in its place."""
    return tuple(order) == tuple(range(len(order)))


def is_internal(op: Operation) -> bool:
    """Tell whether no tensor of `op` is in the source model."""
    return all(internals_of(op))


def internals_of(op: Operation) -> list[bool]:
    """Return, by result, whether the source model does not have the tensor."""
    return [_INTERNAL in _marks_of(p) for p in _places(op)[-max(1, len(op.results)) :]]


def internal_of(value: SSAValue) -> bool:
    """Tell whether the source model does not have the tensor."""
    return internals_of(value.owner)[_place_of(value)] if isinstance(value.owner, Operation) else False


def layouts_of(op: Operation) -> list[Order]:
    """Return, by result, the order that brings it back to the source model's layout; () where it is stored in it."""
    places = _places(op)[-max(1, len(op.results)) :]
    return [next((_order(m) for m in _marks_of(p) if m.startswith(_LAYOUT)), ()) for p in places]


def _order(mark: str) -> Order:
    """Return the order in a mark, -1 in the place of what is no number: `verify_` refuses it."""
    words = mark.removeprefix(_LAYOUT).split(",")
    return tuple(int(word) if word.isdecimal() else -1 for word in words)


def layout_of(value: SSAValue) -> Order:
    """Return the order that brings a tensor back to the source model's layout; () where it is stored in it."""
    owner = value.owner
    return layouts_of(owner)[_place_of(value)] if isinstance(owner, Operation) else ()


def names_of(op: Operation) -> list[str]:
    """Return the names of an op's results: the last ones of its location."""
    count = max(1, len(op.results))
    return _all_names(op)[-count:]


def fused_of(op: Operation) -> list[str]:
    """Return the names of the source model's tensors that an op swallowed."""
    return _all_names(op)[: -max(1, len(op.results))]


def absorb(op: Operation, swallowed: Sequence[str]) -> None:
    """Note in the location of `op` that it also stands for the tensors `swallowed`."""
    names = names_of(op)
    fused = [n for n in (*swallowed, *fused_of(op)) if n not in names]
    op.location = location(names, fused, internals_of(op), layouts_of(op))


def rename(op: Operation, names: Sequence[str]) -> None:
    """Give the results of `op` new names; the old ones are kept as fused."""
    old = [n for n in (*fused_of(op), *names_of(op)) if n not in names]
    op.location = location(names, old, layouts=layouts_of(op))


def value_name(value: SSAValue) -> str:
    """Return the name of a tensor value."""
    owner = value.owner
    assert isinstance(owner, Operation)
    return names_of(owner)[_place_of(value)]


def _place_of(value: SSAValue) -> int:
    return list(value.owner.results).index(value)  # type: ignore[union-attr]


@cache
def constraints(cls: type) -> dict[str, str]:
    """Return the numbered constraints of an op class and its bases: label → text."""
    found: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        found.update(re.findall(r"^\s*(C\d+): (.+)$", base.__doc__ or "", re.MULTILINE))
    return found


def _all_names(op: Operation) -> list[str]:
    return [p.desc.data if isinstance(p, NameLoc) else "" for p in _places(op)]


def _places(op: Operation) -> list[Attribute]:
    """Return the locations of the tensors that an op stands for; one that is unknown where it has none."""
    place = op.location
    if isinstance(place, FusedLoc):
        return [p for p in place.locations if isinstance(p, NameLoc)]  # type: ignore[attr-defined]
    return [place]
