"""Writing a program anew, every op in the form chosen for it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from xdsl.dialects.func import ReturnOp
from xdsl.ir import Attribute, SSAValue

from stepdown.dialects.op import Order, TensorOp, absorb, fused_of, internal_of, layout_of, location, value_name
from stepdown.dialects.program import Program
from stepdown.dialects.top.move import Reshape, Transpose
from stepdown.dialects.top.source import Absent, Input, Weight
from stepdown.dialects.types import Shape, is_none, shape_of
from stepdown.transforms.layouts.names import Names, owner
from stepdown.transforms.layouts.orders import compose, identity, inverse, moved_type, own_order, relative, sequence
from stepdown.transforms.layouts.rules import Form, Want
from stepdown.transforms.layouts.views import Network, is_constant, seen
from stepdown.transforms.rewrite import tensors_of

_Arrangement = tuple[Order, Shape | None]


def rebuild(network: Network, forms: Mapping[TensorOp, Form]) -> None:
    """Replace the ops of the network's program by those in the chosen forms."""
    _Rebuilt(network, forms, Names(network, forms)).run()


@dataclass
class _Rebuilt:
    network: Network
    forms: Mapping[TensorOp, Form]
    names: Names
    ops: list[TensorOp] = field(default_factory=list)
    made: dict[SSAValue, dict[_Arrangement, SSAValue]] = field(default_factory=dict)
    """By root, the new values that hold it, by the order and the shape they have."""
    constants: dict[tuple[str, Attribute, _Arrangement], SSAValue] = field(default_factory=dict)
    originals: dict[str, np.ndarray] = field(default_factory=dict)
    shared: dict[str, set[_Arrangement]] = field(default_factory=dict)
    """By weight key, all arrangements in which that weight is read."""

    @property
    def program(self) -> Program:
        return self.network.program

    def run(self) -> None:
        """Write every op, then put the new ops in the place of the old ones."""
        self._note_constants()
        for op in self.program.ops:
            if isinstance(op, Input | Absent):
                self._keep(op)
            elif not isinstance(op, Transpose | Weight):
                self._write(op)
        results: list[SSAValue] = []
        for value in self.program.results:
            results.append(self._output(value, results))
        self._install(results)

    # --- reading

    def _read(self, value: SSAValue, want: Want) -> SSAValue:
        """Return an operand as an op wants it."""
        if is_none(value):
            return value
        view = self.network.views[value]
        wanted = seen(view, want)
        if is_constant(view.root):
            return self._constant(view.root, (wanted.order, wanted.shape))
        root, order = view.root, self.names.native(view.root)
        if not (wanted.loose or wanted.shape is not None) or self._moves(root, order, wanted.order):
            order = wanted.order
        stored = self._copy(root, order)
        return stored if wanted.shape is None else self._reshape(root, stored, (wanted.order, wanted.shape))

    def _moves(self, root: SSAValue, stored: Order, wanted: Order) -> bool:
        shape = shape_of(root)
        return sequence(shape, stored) != sequence(shape, wanted)

    def _copy(self, root: SSAValue, order: Order) -> SSAValue:
        """Return a root stored in an order; made from any that has the elements in their places, else transposed."""
        known = self.made[root]
        if (order, None) not in known:
            alike = [o for o, s in known if s is None and not self._moves(root, o, order)]
            source = alike[0] if alike else self.names.native(root)
            kind = moved_type(root.type, order)
            if alike:
                op = _create(Reshape, known[source, None], kind, shape=kind.get_shape())
            else:
                op = _create(Transpose, known[source, None], kind, order=relative(source, order))
            self._name_copy(op, root, order)
            known[order, None] = self._add(op)
        return known[order, None]

    def _name_copy(self, op: TensorOp, root: SSAValue, order: Order) -> None:
        value = self.names.copies.get((root, order))
        if value is None:
            op.location = location([self.names.fresh(root, order)], internal=True)
        else:
            fused = [] if value is root else fused_of(owner(value))
            op.location = location([value_name(value)], fused, internal_of(value), [layout_of(value)])

    def _reshape(self, root: SSAValue, stored: SSAValue, arrangement: _Arrangement) -> SSAValue:
        known = self.made[root]
        if arrangement not in known:
            kind = moved_type(root.type, *arrangement)
            op = _create(Reshape, stored, kind, shape=kind.get_shape())
            op.location = location([self.names.fresh(root, None)], internal=True)
            known[arrangement] = self._add(op)
        return known[arrangement]

    # --- constants

    def _note_constants(self) -> None:
        for op, form in self.forms.items():
            for value, want in zip(op.operands, form.wants, strict=True):
                self._note_constant(value, want)
        for value in self.program.results:
            self._note_constant(value, Want(own_order(value)))

    def _note_constant(self, value: SSAValue, want: Want) -> None:
        if value in self.network.views and is_constant(self.network.views[value].root):
            wanted = seen(self.network.views[value], want)
            self.shared.setdefault(_key(value, self.network), set()).add((wanted.order, wanted.shape))

    def _constant(self, root: SSAValue, arrangement: _Arrangement) -> SSAValue:
        """Return a weight in an order and shape; under its own key where it is read in no other."""
        key = owner(root).key  # type: ignore[attr-defined]
        wanted = key, root.type, arrangement
        if wanted not in self.constants:
            self.constants[wanted] = self._add(self._weight(root, key, arrangement))
        return self.constants[wanted]

    def _weight(self, root: SSAValue, key: str, arrangement: _Arrangement) -> Weight:
        order, shape = arrangement
        kind = moved_type(root.type, order, shape)
        if kind != root.type or order != identity(len(order)):
            old = self.originals.setdefault(key, self.program.weights[key])
            array = np.ascontiguousarray(old.transpose(order)).reshape(kind.get_shape())
            key = key if self.shared[key] == {arrangement} else self.program.weights.free_key(f"{key}_moved", array)
            self.program.weights[key] = array
        return Weight.of(key, kind)

    # --- writing

    def _keep(self, op: TensorOp) -> None:
        for result in op.results:
            if not is_none(result):
                self.made[result] = {(own_order(result), None): result}
                if fused := self.names.fused.get(result):
                    absorb(op, fused)

    def _write(self, op: TensorOp) -> None:
        form = self.forms[op]
        operands = [self._read(v, w) for v, w in zip(op.operands, form.wants, strict=True)]
        types = [moved_type(r.type, order) for r, order in zip(op.results, form.makes, strict=True)]
        changed = {name: op.fields[name].encode(value) for name, value in form.attributes.items()}
        made = type(op).create(operands=operands, result_types=types, attributes={**op.attributes, **changed})
        self._name(made, op, form)
        self._add(made)
        for old, new, order in zip(op.results, made.results, form.makes, strict=True):
            self.made[old] = {(order, None): new}

    def _name(self, made: TensorOp, op: TensorOp, form: Form) -> None:
        """Give an op the names of the tensors it now stores, each with the order back to the source's layout."""
        carried = [self._carried(root, order) for root, order in zip(op.results, form.makes, strict=True)]
        names, internal, layouts = (list(part) for part in zip(*carried, strict=True))
        folded = [n for v in op.operands for n in self._folded(v)]
        fused = folded + [n for r in op.results for n in self.names.fused.get(r, [])] + fused_of(op)
        made.location = location(names, [n for n in fused if n not in names], internal, layouts)

    def _carried(self, root: SSAValue, order: Order) -> tuple[str, bool, Order]:
        """Return the name of the tensor that a root now stands for, whether it is internal, and the way back.

        The way back is the order that brings the stored tensor to the source model's layout.
        """
        value = self.names.adopted.get(root, root)
        to_source = layout_of(value) or identity(len(order))
        back = compose(inverse(order), compose(self.network.views[value].order, to_source))
        if self.names.displaced(root):
            return self.names.fresh(root, order), True, back
        return value_name(value), internal_of(value), back

    def _folded(self, value: SSAValue) -> list[str]:
        """Return the names of the Transposes of a weight that are now part of it."""
        found: list[str] = []
        while isinstance(value.owner, Transpose) and is_constant(self.network.views[value].root):
            found += tensors_of(value.owner)
            value = value.owner.operands[0]
        return found

    def _output(self, value: SSAValue, before: list[SSAValue]) -> SSAValue:
        """Return an output in its layout and under its name: as a copy where another tensor is stored there."""
        stored = self._read(value, Want(own_order(value)))
        if stored not in before and value_name(stored) == value_name(value):
            return stored
        copy = _create(Reshape, stored, stored.type, shape=shape_of(stored))
        maker = owner(value)
        copy.location = location([value_name(value)], fused_of(maker), layouts=[layout_of(value)])
        return self._add(copy)

    def _add(self, op: TensorOp) -> SSAValue:
        self.ops.append(op)
        return op.results[0]

    def _install(self, results: list[SSAValue]) -> None:
        block = self.program.block
        if isinstance(block.last_op, ReturnOp):
            block.erase_op(block.last_op)
        for op in reversed(self.program.ops):
            if not isinstance(op, Input | Absent):
                op.detach()  # type: ignore[no-untyped-call]
                op.erase()
        block.add_ops(self.ops)
        self.program.finish(results)


def _key(value: SSAValue, network: Network) -> str:
    key: str = owner(network.views[value].root).key  # type: ignore[attr-defined]
    return key


def _create(cls: type[TensorOp], operand: SSAValue, kind: Attribute, **attributes: Any) -> TensorOp:
    encoded = {name: cls.fields[name].encode(value) for name, value in attributes.items()}
    return cls.create(operands=[operand], result_types=[kind], attributes=encoded)
