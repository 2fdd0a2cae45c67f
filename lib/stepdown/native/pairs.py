"""Two vectors of sums at a time, on processors whose instructions multiply every second lane and pack two vectors.

The products of the even lanes and those of the odd ones of two vectors a and b stay apart until they are packed: each
128 bits of their high halves are a[0], a[2], b[0], b[2] and a[1], a[3], b[1], b[3], as one shuffle of two makes them.
"""

import numpy as np

from stepdown.native.tir import Expr, bits, const, largest, llvm, repeat, smallest, tirx

_LANE = 4
"""32-bit elements among which a shuffle moves them."""
LANES = 8
"""32-bit elements of a vector; of wider ones the processor packs each by itself."""
_ORDER = [0, 4, 1, 5, 8, 12, 9, 13, 2, 6, 3, 7, 10, 14, 11, 15]
"""Where the elements of a and then of b are after all packing."""
_PACK = {"int8": "llvm.x86.sse2.packsswb.128", "uint8": "llvm.x86.sse2.packuswb.128"}


def every_second(vector: Expr, lanes: int) -> tuple[Expr, Expr]:
    """Return the even lanes and the odd ones as int64, the latter moved: so LLVM finds the product of even lanes."""
    odd, width = tirx().Shuffle([vector], [const(i | 1) for i in range(lanes)]), const(32, "int64")
    even, moved = ((bits(f"int64x{lanes // 2}", v) << width) >> width for v in (vector, odd))
    return even, moved


def products(a: Expr, b: Expr, lanes: int) -> tuple[Expr, Expr]:
    """Return a · b of the even lanes of int32 vectors, and of the odd ones, each as 32-bit halves."""
    (even_a, odd_a), (even_b, odd_b) = (every_second(v, lanes) for v in (a, b))
    kind = f"int32x{lanes}"
    return bits(kind, even_a * even_b), bits(kind, odd_a * odd_b)


def high_halves(a: Expr, b: Expr, lanes: int) -> Expr:
    """Return (a · b) >> 32 of int32 vectors, by the products of the even lanes and those of the odd ones."""
    order = [const(i + (i % 2) * lanes + (i + 1) % 2) for i in range(lanes)]
    return tirx().Shuffle(list(products(a, b, lanes)), order)


def chosen(a: Expr, b: Expr, first: int) -> Expr:
    """Return every second element of two vectors, from `first` on, by turns two of `a` and two of `b`."""
    places = [v * LANES + at + 2 * i + first for at in range(0, LANES, _LANE) for v in range(2) for i in range(2)]
    return tirx().Shuffle([a, b], [const(place) for place in places])


def packs(lanes: int, dtype: str, width: int = 0) -> bool:
    """Tell whether runs of `width` results can be packed two vectors at a time."""
    return lanes == LANES and dtype in _PACK and width % (2 * LANES) == 0


def words(even: Expr, odd: Expr) -> Expr:
    """Return a and b in 16 bits, saturated, in the order of `in_words`."""
    return llvm("int16x16", "llvm.x86.avx2.packssdw", even, odd)


def in_words(a: Expr, b: Expr) -> Expr:
    """Return two vectors of int16 in the order in which `words` has them."""
    return tirx().Shuffle([a, b], [const(_ORDER.index(i)) for i in range(2 * LANES)])


def shifted(values: Expr, factors: Expr) -> Expr:
    """Return (words · 2^(15 − n)) / 2^15, rounded half up: words / 2^n."""
    return llvm("int16x16", "llvm.x86.avx2.pmul.hr.sw", values, factors)


def packed(values: Expr, zero_point: int, dtype: str, bounds: tuple[int, int]) -> Expr:
    """Return what is stored of a and b, in a row: saturate(value + zero point), of what `words` returned.

    Both steps of packing saturate, and the addition between them does: what has left 16 bits is beyond 8 bits after it,
    whatever a zero point of 8 bits is.
    """
    if zero_point:
        moved = repeat(const(zero_point, "int16"), 2 * LANES)
        values = llvm("int16x16", "llvm.sadd.sat.v16i16", values, moved)
    halves = [tirx().Shuffle([values], [const(at + i) for i in range(LANES)]) for at in (0, LANES)]
    stored = tirx().Shuffle([llvm(f"{dtype}x16", _PACK[dtype], *halves)], [const(i) for i in _ORDER])
    least, most = (repeat(const(bound, dtype), 2 * LANES) for bound in bounds)
    stored = stored if bounds[1] == np.iinfo(dtype).max else smallest(stored, most)
    return stored if bounds[0] == np.iinfo(dtype).min else largest(stored, least)
