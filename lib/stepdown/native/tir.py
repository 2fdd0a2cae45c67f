"""Writing functions in TIR: loops and stores in the order of the source, buffers as flat arrays.

    f = Function("twice")
    x, y = f.argument("x", "int8", 64), f.argument("y", "int8", 64)
    with f.loop(64, "vector") as i:
        f.store(y, i, x[i] + x[i])
    f.finish()

Only this file, `build`, `machine` and `relax` (a peer) know TVM; it is imported when the first function is written.
"""

import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from stepdown.errors import UnsupportedModel

Expr = Any
"""A TIR expression; arithmetic and comparison operators make new ones, and Python integers mix in."""

_BITS = {"float32": ("int32", "fi"), "float64": ("int64", "dq")}
_PRINTED = 1e6
BF16_PAIRS = "sd_bf16_pairs"
"""The function that stands for the instruction that sums products of pairs of bf16."""
_KINDS = {"serial": "SERIAL", "vector": "VECTORIZED", "unroll": "UNROLLED"}


def tirx() -> Any:
    """Return TVM's module of TIR.

    Raises:
        UnsupportedModel: TVM is not installed.
    """
    try:
        from tvm import tirx as module
    except ImportError:
        raise UnsupportedModel(
            "code for CPUs needs TVM, which is not installed", fix="bash build.sh --native"
        ) from None
    return module


class Function:
    """A function being written: arguments first, then statements where the `with` blocks stand.

    With `shares`, the loops written by `shared` are divided: the function has two more arguments, `part` and `parts`,
    and does part of the work. Several threads may each do another one, at the same time or one after the other.
    """

    def __init__(self, name: str, shares: bool = False) -> None:
        self.name = name
        self.units = 0
        """Into how many parts the work can be divided; 0 where no loop is shared."""
        self.anew = 0.0
        """The share of all work that is done anew by each part."""
        self.shares = shares
        self._inside = False
        self._part: tuple[Any, Any] | None = None
        self._tir = tirx()
        self._parameters: list[Any] = []
        self._declared: list[Any] = []
        self._blocks: list[list[Any]] = [[]]
        self._lane: tuple[Any, int, list[Any]] = self._tir.const(0, "int32"), 1, []  # counter, lanes, the block around
        self._count = 0

    def number(self, name: str) -> Expr:
        """Add an int32 argument and return it."""
        variable = self._tir.Var(name, "int32")
        self._parameters.append(variable)
        return variable

    def argument(self, name: str, dtype: str, elements: int) -> Any:
        """Add a pointer argument and return its buffer."""
        from tvm.ir import PointerType, PrimType

        pointer = self._tir.Var(name, PointerType(PrimType(dtype)))
        buffer = self._tir.decl_buffer((max(1, elements),), dtype, f"{name}_", data=pointer)
        self._parameters.append(pointer)
        self._declared.append(self._tir.DeclBuffer(buffer, data=pointer))
        return buffer

    def local(self, dtype: str, elements: int) -> Any:
        """Return a buffer on the stack, for registers where all its indices are constants."""
        buffer = self._tir.decl_buffer((elements,), dtype, self._name("t"))
        self._add(self._tir.AllocBuffer(buffer))
        return buffer

    @contextmanager
    def loop(self, extent: Expr, kind: str = "serial") -> Iterator[Expr]:
        """Write a loop around what follows; yields its counter. One round needs no loop."""
        if isinstance(extent, int) and extent == 1:
            yield self._tir.const(0, "int32")
            return
        counter, around = self._tir.Var(self._name("i"), "int32"), self._lane
        if kind == "vector":
            self._lane = counter, extent, self._blocks[-1]
        with self._block() as body:
            yield counter
        self._lane = around
        self._add(self._tir.For(counter, 0, extent, self._tir.ForKind[_KINDS[kind]], self._sequence(body)))

    @contextmanager
    def shared(self, extent: int, before: int = 0, of: int = 0) -> Iterator[Expr]:
        """Write a loop of which each part of the work does some rounds; a usual one where nothing is shared.

        Of loops one after the other, as those over `cuts`, all rounds are divided together: `of` is how many there
        are, `before` how many of them come before this loop's.
        """
        if not self.shares:
            with self.loop(extent) as i:
                yield i
            return
        low, high = self.share(of or extent)
        if of:
            low, high = (smallest(largest(at - before, 0), extent) for at in (low, high))
        low, high = self.let(low), self.let(high)
        self._inside = True
        with self.between(low, high) as i:
            yield i
        self._inside = False

    def share(self, extent: int) -> tuple[Expr, Expr]:
        """Return from which round up to which one this part of the work goes; not within a loop that is shared.

        The first parts have one round more where they cannot have as many; no product exceeds `extent`, in int32.
        """
        if not self.shares:
            return 0, extent
        assert not self._inside, "a part of a part is not the work"
        self.units = max(self.units, extent)
        if self._part is None:
            self._part = self._tir.Var("part", "int32"), self._tir.Var("parts", "int32")
        part, parts = self._part
        each, more = (self.let(of(const(extent), parts)) for of in (self._tir.truncdiv, self._tir.truncmod))
        return self.let(part * each + smallest(part, more)), self.let((part + 1) * each + smallest(part + 1, more))

    @contextmanager
    def between(self, low: Expr, high: Expr) -> Iterator[Expr]:
        """Write a loop from `low` up to below `high`, of no round where that is not more; yields its counter."""
        counter = self._tir.Var(self._name("i"), "int32")
        with self._block() as body:
            yield counter
        self._add(self._tir.For(counter, low, high - low, self._tir.ForKind.SERIAL, self._sequence(body)))

    @contextmanager
    def when(self, condition: Expr) -> Iterator[None]:
        """Write what follows under a condition."""
        with self._block() as body:
            yield
        self._add(self._tir.IfThenElse(condition, self._sequence(body), None))

    def either(self, condition: Expr, yes: Callable[[], None], no: Callable[[], None]) -> None:
        """Write what `yes` writes under a condition, and what `no` writes where it does not hold."""
        with self._block() as then:
            yes()
        with self._block() as otherwise:
            no()
        self._add(self._tir.IfThenElse(condition, self._sequence(then), self._sequence(otherwise)))

    def store(self, buffer: Any, index: Expr, value: Expr) -> None:
        """Store a value; a vector one at an index made by `span`."""
        self._add(self._tir.BufferStore(buffer, value, [index]))

    def let(self, value: Expr) -> Expr:
        """Compute a value once and return its name."""
        variable = self._tir.Var(self._name("v"), value.dtype if hasattr(value, "dtype") else str(value.ty))
        self._add(self._tir.Bind(variable, value))
        return variable

    def once(self, value: Expr) -> Expr:
        """Compute a value once and return it, one a lane; TVM copies what `let` names to wherever the name stands."""
        lane, lanes, block = self._lane
        buffer = self._tir.decl_buffer((lanes,), str(value.ty), self._name("t"))
        (block if lanes > 1 else self._blocks[-1]).append(self._tir.AllocBuffer(buffer))
        self.store(buffer, lane, value)
        return buffer[lane]

    def call(self, function: str, arguments: Sequence[Expr]) -> None:
        """Call another function of the program."""
        self._add(self._tir.Evaluate(self._tir.call_extern("int32", function, *arguments)))

    def finish(self) -> Any:
        """Return the function."""
        (body,) = self._blocks
        parameters = [*self._parameters, *(self._part or ())]
        made = self._tir.PrimFunc(parameters, self._sequence([*self._declared, *body]))
        return made.with_attr("global_symbol", self.name).with_attr("tirx.noalias", True)

    def _name(self, prefix: str) -> str:
        self._count += 1
        return f"{prefix}{self._count}"

    def _add(self, statement: Any) -> None:
        self._blocks[-1].append(statement)

    def _sequence(self, statements: list[Any]) -> Any:
        if not statements:
            return self._tir.Evaluate(0)
        return statements[0] if len(statements) == 1 else self._tir.SeqStmt(statements)

    @contextmanager
    def _block(self) -> Iterator[list[Any]]:
        self._blocks.append([])
        body = self._blocks[-1]
        yield body
        self._blocks.pop()


# --- expressions


def const(value: float, dtype: str = "int32") -> Expr:
    """Return a constant; a real one by its bits where TVM would print it as C with too few digits."""
    if dtype not in _BITS or (abs(value) < _PRINTED and value == int(value)):
        return tirx().const(value, dtype)
    integer, code = _BITS[dtype]
    (pattern,) = struct.unpack(code[1], struct.pack(code[0], value))
    return bits(dtype, tirx().const(pattern, integer))


def cast(dtype: str, value: Expr) -> Expr:
    """Return a value in another type; integers that do not fit wrap."""
    return tirx().Cast(dtype, value)


def wrapped(operation: Callable[[Expr, Expr], Expr], a: Expr, b: Expr) -> Expr:
    """Return the low 32 bits of a result: plain arithmetic in int32 promises compilers that nothing is lost."""
    kind = str(a.ty)
    wide = kind.replace("int32", "int64")
    return cast(kind, operation(cast(wide, a), cast(wide, b)))


def select(condition: Expr, yes: Expr, no: Expr) -> Expr:
    """Return one of two values, of which both are computed."""
    return tirx().Select(condition, yes, no)


def smallest(a: Expr, b: Expr) -> Expr:
    """Return the smaller value."""
    return tirx().min(a, b)


def largest(a: Expr, b: Expr) -> Expr:
    """Return the larger value."""
    return tirx().max(a, b)


def clamp(value: Expr, low: float, high: float, dtype: str = "int32") -> Expr:
    """Return a value kept between two constants."""
    return largest(smallest(value, const(high, dtype)), const(low, dtype))


def span(start: Expr, lanes: int) -> Expr:
    """Return the index of `lanes` neighbouring elements, or `start` itself for one."""
    return tirx().Ramp(start, 1, lanes) if lanes > 1 else start


def interleaved(a: Expr, b: Expr, lanes: int) -> Expr:
    """Return a[0], b[0], a[1], b[1], … of two vectors, or of two values."""
    return tirx().Shuffle([a, b], [const(i // 2 + i % 2 * lanes) for i in range(2 * lanes)])


def repeat(value: Expr, lanes: int) -> Expr:
    """Return a vector of one value."""
    return tirx().Broadcast(value, lanes) if lanes > 1 else value


def bits(dtype: str, value: Expr) -> Expr:
    """Return the bits of a value as another type of the same width."""
    return tirx().reinterpret(dtype, value)


def llvm(dtype: str, intrinsic: str, *arguments: Expr) -> Expr:
    """Return the result of an LLVM intrinsic without side effects."""
    return tirx().call_llvm_pure_intrin(dtype, intrinsic, *arguments)


def standing(dtype: str, name: str, *arguments: Expr) -> Expr:
    """Return the result of what `build` puts in the place of a function without side effects."""
    return tirx().call_extern(dtype, name, *arguments)


def address(buffer: Any, index: Expr = 0) -> Expr:
    """Return the address of an element."""
    return tirx().address_of(buffer[index])
