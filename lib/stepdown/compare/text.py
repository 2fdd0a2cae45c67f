"""A comparison as lines of text, in the form that users of tensor comparers know."""

import shlex
from collections.abc import Iterator

import numpy as np

from stepdown.compare.judge import Level
from stepdown.compare.metrics import Similarity
from stepdown.compare.tensors import Comparison, Dump, TensorResult
from stepdown.compare.top import top_indices

WORST_SHOWN = 5
TOP = 10
_FAILURES = {
    Level.NOT_EQUAL: "not equal",
    Level.NOT_SIMILAR: "not similar",
    Level.MISSING: "missing",
    Level.SHAPE: "of another shape",
    Level.NOT_FINITE: "not finite",
}


def result_line(result: TensorResult) -> str:
    """Return `[name    ]      SIMILAR [PASSED]`."""
    verdict = "PASSED" if result.passed else "FAILED"
    against = result.pair.reference
    other = f" against {against}" if against and against != result.name else ""
    return f"[{result.name:<32}] {result.level:>12} [{verdict}]{other}"


def result_lines(result: TensorResult, verbosity: int = 0) -> Iterator[str]:
    """Yield the line of a tensor, its note, and from verbosity 1 on its shape, types and similarities."""
    yield result_line(result)
    if result.verdict.note:
        yield f"    {result.verdict.note}"
    if not verbosity or result.level is Level.MISSING:
        return
    types = (
        result.dtype if result.dtype == result.reference_dtype else f"{result.dtype} against {result.reference_dtype}"
    )
    yield f"    {result.shape} {types}"
    if result.level is Level.CLOSE and result.similarity:
        yield f"    close order            = {result.similarity.close_order}"
    elif result.level is not Level.EQUAL and result.similarity:
        yield from _similarity_lines(result.similarity)


def top_lines(result: TensorResult, target: Dump, reference: Dump) -> Iterator[str]:
    """Yield the largest values of both sides with their flat indices."""
    if not result.pair.target or not result.pair.reference:
        return
    a, b = target.stored(result.pair.target).real(), reference.stored(result.pair.reference).real()
    if a.dtype.kind not in "biuf" or b.dtype.kind not in "biuf":
        return
    yield f"    {f'top-{TOP} of TARGET':<32}{f'top-{TOP} of REFERENCE'}"
    for one, other in zip(_top(a), _top(b), strict=False):
        yield f"    {one:<32}{other}"


def summary_lines(found: Comparison) -> Iterator[str]:
    """Yield the closing lines; the last one is the verdict."""
    for warning in found.pairing.warnings:
        yield f"warning: {warning}"
    not_finite = sum(result.passed and bool(result.verdict.note) for result in found.results)
    if not_finite:
        yield f"warning: {not_finite} passed with NaN or infinities that both sides have"
    if not found.compared:
        yield "nothing was compared: the two files have no tensor in common"
    yield from _worst_lines(found)
    counts = found.counts()
    passed = sum(result.passed for result in found.results)
    yield f"{found.compared} compared"
    yield f"{passed} passed"
    yield f"  {counts[Level.EQUAL]} equal, {counts[Level.CLOSE]} close, {counts[Level.SIMILAR]} similar"
    yield f"{len(found.results) - passed} failed"
    yield "  " + ", ".join(f"{counts[level]} {words}" for level, words in _FAILURES.items())
    yield from _uncompared_lines(found)
    cosine, euclid, sqnr_db = found.min_similarity()
    yield f"min_similarity = ({cosine:.8f}, {euclid:.8f}, {sqnr_db:.3f})"
    yield f"Target    {found.target}"
    yield f"Reference {found.reference}"
    yield f"npz compare {'PASSED' if found.passed else 'FAILED'}."


def fused_lines(found: Comparison) -> Iterator[str]:
    """Yield a line for each tensor that was fused."""
    for name, into in found.pairing.fused.items():
        yield f"[{name:<32}]   fused into {into}"


def closer_look(found: Comparison, result: TensorResult) -> str:
    """Return the command that shows where a tensor differs."""
    return shlex.join(["npz_tool.py", "print_diff", found.target, found.reference, result.name])


def _similarity_lines(similarity: Similarity) -> Iterator[str]:
    yield f"    cosine_similarity      = {similarity.cosine:.8f}"
    yield f"    euclidean_similarity   = {similarity.euclid:.8f}"
    yield f"    sqnr_similarity        = {similarity.sqnr_db:.3f}"


def _worst_lines(found: Comparison) -> Iterator[str]:
    worst = found.worst(WORST_SHOWN)
    if worst:
        yield (
            f"the {len(worst)} tensors that differ most, and how to look closer:" if len(worst) > 1 else "look closer:"
        )
    for result in worst:
        numbers = ""
        if result.similarity:
            s = result.similarity
            numbers = f" cosine {s.cosine:.6f} euclid {s.euclid:.6f} sqnr {s.sqnr_db:.2f} dB"
        yield f"  {result.name} {result.level}{numbers}"
        yield f"    {closer_look(found, result)}"


def _uncompared_lines(found: Comparison) -> Iterator[str]:
    """Yield how many tensors were not compared, and why; nothing where all were."""
    pairing = found.pairing
    counted = {
        "only in TARGET, internal: the source model has no such tensor": pairing.internal,
        "only in REFERENCE, fused into tensors of TARGET": pairing.fused,
        "only in REFERENCE, another type of a compared tensor": pairing.views,
        "only in REFERENCE, not dumped by TARGET, which holds network outputs only": pairing.not_dumped,
        "left out by --only": pairing.not_asked,
    }
    for what, names in counted.items():
        if names:
            yield f"{len(names)} {what}"
    if pairing.excepted:
        yield f"{len(pairing.excepted)} left out by --excepts: {', '.join(pairing.excepted)}"


def _top(x: np.ndarray) -> list[str]:
    flat = x.ravel()
    return [f"{index:>8} {flat[index]!s}" for index in top_indices(flat, TOP)]
