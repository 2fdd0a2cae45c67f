"""Rewriting ops in place: a worklist of patterns, with names and weights kept in order.

    @pattern("Relu")
    def fuse_relu(graph: Rewriter, op: TensorOp) -> bool:
        '''Return whether anything was changed.'''

An op that stands for several tensors of the source model has the name of the last and notes the others as fused.
"""

import math
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from xdsl.dialects.func import ReturnOp
from xdsl.ir import Attribute, Operation, SSAValue

from stepdown.dialects.op import (
    TensorOp,
    absorb,
    fused_of,
    internal_of,
    internals_of,
    is_internal,
    layout_of,
    layouts_of,
    location,
    names_of,
)
from stepdown.dialects.program import Program
from stepdown.dialects.top.source import Absent, Input, Weight
from stepdown.dialects.types import is_none, storage_of_dtype, tensor
from stepdown.files.names import free_name

Pattern = Callable[["Rewriter", TensorOp], bool]
PATTERNS: defaultdict[str, list[Pattern]] = defaultdict(list)
"""By op name (`top.Relu`), the patterns that start at such an op; those of "" start at every TOP op."""


def pattern(*ops: str) -> Callable[[Pattern], Pattern]:
    """Register a pattern for TOP ops by their class names; for all of them when none is given."""

    def register(function: Pattern) -> Pattern:
        for name in ops or ("",):
            PATTERNS[f"top.{name}" if name else ""].append(function)
        return function

    return register


@dataclass(eq=False)
class Carried:
    """Names of tensors, and other such lists: an op's may hold those of a thousand others, and copies none of them."""

    parts: "list[str | Carried]"

    def names(self) -> list[str]:
        """Return all names in order, those of a list that is reached twice once."""
        found, seen, waiting = [], {self}, self.parts[::-1]
        while waiting:
            part = waiting.pop()
            if isinstance(part, str):
                found.append(part)
            elif part not in seen:
                seen.add(part)
                waiting += reversed(part.parts)
        return found


class Rewriter:
    """Applies patterns to a program until none matches."""

    def __init__(self, program: Program) -> None:
        self.program = program
        ops = program.ops
        self._work, self._waiting = deque(ops), set(ops)
        self._keys = Counter(op.key for op in ops if isinstance(op, Weight))
        self._none = next((op for op in ops if isinstance(op, Absent)), None)
        self._carried: dict[Operation, list[Carried]] = {}

    def run(self) -> int:
        """Apply the patterns to a fixed point, then drop what nobody reads; returns the number of rewrites."""
        changed = 0
        while self._work:
            op = self._work.popleft()
            self._waiting.discard(op)
            while op.parent and any(apply(self, op) for apply in _patterns_of(op)):
                changed += 1
        drop_unused(self.program)
        self.note_names()
        return changed

    # --- reading

    def constant(self, value: SSAValue) -> np.ndarray | None:
        """Return the array of a weight as ops compute on it (16-bit floats widened), None for any other value."""
        if not isinstance(value.owner, Weight):
            return None
        array = self.program.weights[value.owner.key]
        return array.astype(np.float32) if array.dtype == np.float16 else array

    def none(self) -> SSAValue:
        """Return the absent operand, made once at the start of the block."""
        if self._none is None:
            self._none = Absent.make()
            block = self.program.block
            block.insert_ops_before([self._none], block.first_op) if block.first_op else block.add_op(self._none)
        return self._none.results[0]

    # --- changing

    def weight(self, before: Operation, array: np.ndarray, key: str, instead: SSAValue | None = None) -> SSAValue:
        """Add a constant under `key`, or under a numbered one where that is taken by another than `instead`."""
        free = key if self._replaces(instead, key) else free_name(key, self.program.weights)
        self.program.weights[free] = array
        op = Weight.of(free, tensor(array.shape, storage_of_dtype(array.dtype)))
        self._keys[free] += 1
        self._insert(op, before)
        return op.results[0]

    def replace(
        self,
        op: TensorOp,
        by: type[TensorOp],
        operands: Sequence[SSAValue],
        swallowed: Iterable[Operation] = (),
        **attributes: Any,
    ) -> TensorOp:
        """Put another op in the place of `op`, with its names and types; it also stands for the ops `swallowed`."""
        encoded = {name: by.fields[name].encode(value) for name, value in attributes.items()}
        made = by.create(operands=operands, result_types=[r.type for r in op.results], attributes=encoded)
        made.location = location(names_of(op), [], internals_of(op), layouts_of(op))
        self._carry(made, Carried([*map(self._tensors, swallowed), self._fused(op)]))
        self._insert(made, op)
        for old, new in zip(op.results, made.results, strict=True):
            self._forward(old, new)
        self._erase(op)
        self._touch(made)
        return made

    def bypass(self, op: TensorOp, value: SSAValue) -> bool:
        """Drop `op`, whose result is `value` itself; its name goes on as fused, or as the name of an output."""
        owner = value.owner
        assert isinstance(owner, TensorOp)
        if returned(op.results[0]):
            if isinstance(owner, Input | Weight) or returned(value):
                return False
            rename_result(owner, value, op.results[0])
            self._carry(owner, self._fused(op))
        elif not isinstance(owner, Weight):
            self._carry(owner, self._tensors(op))
        self._forward(op.results[0], value)
        self._erase(op)
        return True

    def fold(self, op: TensorOp, arrays: Sequence[np.ndarray]) -> None:
        """Put constants in the place of an op's results; the ops that read them note its names."""
        carried = self._tensors(op)
        for result, array, name in zip(op.results, arrays, names_of(op), strict=True):
            for user in users(result):
                if isinstance(user, TensorOp):
                    self._carry(user, carried)
            self._forward(result, self.weight(op, array, name))
        self._erase(op)

    # --- names

    def _carry(self, op: Operation, names: "Carried") -> None:
        """Note that an op also stands for some tensors; `note_names` writes the locations."""
        self._carried.setdefault(op, []).append(names)

    def _fused(self, op: Operation) -> "Carried":
        """Return the tensors that an op swallowed, the last ones first."""
        return Carried([*reversed(self._carried.get(op, [])), *fused_of(op)])

    def _tensors(self, op: Operation) -> "Carried":
        """Return the tensors of the source model that an op stands for."""
        return Carried([self._fused(op), *([] if is_internal(op) else names_of(op))])

    def note_names(self) -> None:
        """Write into the location of every op which tensors it stands for; `run` does so at its end."""
        for op in self.program.ops:
            if op in self._carried:
                absorb(op, [name for carried in reversed(self._carried[op]) for name in carried.names()])
        self._carried.clear()

    # --- inside

    def _replaces(self, instead: SSAValue | None, key: str) -> bool:
        owner = instead.owner if instead else None
        alone = isinstance(owner, Weight) and owner.key == key and self._keys[key] == 1
        return alone and instead is not None and instead.has_one_use()

    def _insert(self, op: Operation, before: Operation) -> None:
        self.program.block.insert_ops_before([op], before)

    def _forward(self, old: SSAValue, new: SSAValue) -> None:
        """Let the readers of `old` read `new`, and look at them again."""
        readers = users(old)
        old.replace_all_uses_with(new)
        for reader in readers:
            self._touch(reader)

    def _touch(self, op: Operation) -> None:
        if isinstance(op, TensorOp) and op not in self._waiting:
            self._waiting.add(op)
            self._work.append(op)

    def _erase(self, op: Operation) -> None:
        """Erase an op nobody reads, and what only it read."""
        gone = [op]
        while gone:
            dead = gone.pop()
            read = [v.owner for v in dict.fromkeys(dead.operands)]
            if isinstance(dead, Weight):
                self._keys[dead.key] -= 1
            dead.detach()  # type: ignore[no-untyped-call]
            dead.erase()
            for owner in read:
                if isinstance(owner, TensorOp) and not isinstance(owner, Input | Absent):
                    self._drop_or_touch(owner, gone)

    def _drop_or_touch(self, owner: TensorOp, gone: list[Operation]) -> None:
        """List an op as gone when nobody reads it any more; else its readers have one rival less."""
        if not any(r.uses for r in owner.results):
            gone.append(owner)
            return
        for result in owner.results:
            if result.has_one_use():
                self._touch(users(result)[0])


def _patterns_of(op: TensorOp) -> Iterator[Pattern]:
    if op.name.startswith("top."):
        yield from PATTERNS.get(op.name, ())
        yield from PATTERNS[""]


def users(value: SSAValue) -> list[Operation]:
    """Return the ops that read a value, the return among them."""
    return list(dict.fromkeys(use.operation for use in value.uses))


def returned(value: SSAValue) -> bool:
    """Tell whether a value is an output of the network."""
    return any(isinstance(use.operation, ReturnOp) for use in value.uses)


def tensors_of(op: Operation) -> list[str]:
    """Return the tensors of the source model that an op stands for."""
    return fused_of(op) + ([] if is_internal(op) else names_of(op))


def only_read_here(value: SSAValue, name: str) -> TensorOp | None:
    """Return the `top.<name>` op that makes a value with a single reader, else None."""
    owner = value.owner
    fits = isinstance(owner, TensorOp) and owner.name == f"top.{name}" and value.has_one_use()
    return owner if fits and isinstance(owner, TensorOp) else None


def drop_unused(program: Program) -> None:
    """Erase ops whose results nobody reads; inputs stay."""
    for op in reversed(program.ops):
        if not isinstance(op, Input) and not any(r.uses for r in op.results):
            op.detach()  # type: ignore[no-untyped-call]
            op.erase()


def elements_of(kind: Attribute) -> int:
    """Return the number of elements of a tensor type."""
    return math.prod(kind.get_shape())  # type: ignore[attr-defined]


def is_constant(value: SSAValue) -> bool:
    """Tell whether a value is a weight or absent."""
    return is_none(value) or isinstance(value.owner, Weight)


def rename_result(op: TensorOp, value: SSAValue, like: SSAValue) -> None:
    """Give one result of `op` the name and the marks of `like`, which has the same elements; the old name is fused."""
    gone = like.owner
    assert isinstance(gone, TensorOp)
    names, layouts, internal = names_of(op), layouts_of(op), internals_of(op)
    place = list(op.results).index(value)  # type: ignore[arg-type]
    old = [] if internal[place] else [names[place]]
    names[place] = names_of(gone)[list(gone.results).index(like)]  # type: ignore[arg-type]
    layouts[place], internal[place] = layout_of(like), internal_of(like)
    op.location = location(names, [n for n in fused_of(op) + old if n not in names], internal, layouts)
