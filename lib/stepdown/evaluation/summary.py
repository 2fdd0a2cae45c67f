"""The figures of a tally as a person reads them, and as JSON holds them."""

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from stepdown.evaluation.intervals import wilson
from stepdown.evaluation.ranking import RULE
from stepdown.evaluation.tally import Tally

_WIDTH = 10


def summary_lines(tally: Tally, synonyms: bool) -> list[str]:
    """Return the lines of a summary, the first one in the familiar form ` * Acc@1 … Acc@5 …`.

    With `synonyms` that line counts accepted labels, and the next ones both kinds.
    """
    n = tally.samples
    lines = [f" * Acc@1 {_percent(tally.accepted1, n)} Acc@5 {_percent(tally.accepted5, n)}"]
    if synonyms:
        lines.append(entry("accepted", _both(tally.accepted1, tally.accepted5, n)))
    lines.append(entry("primary" if synonyms else "labels", _both(tally.top1, tally.top5, n)))
    lines.append(entry("ties", f"{RULE}; tied for the first place: {tally.tied1}, for the fifth: {tally.tied5}"))
    if tally.nan:
        lines.append(entry("NaN", f"{tally.nan} of {n} samples have a NaN among their scores: they count as wrong"))
    if tally.skipped:
        first = tally.skipped[min(tally.skipped)]
        lines.append(entry("skipped", f"{len(tally.skipped)} samples cannot be read and are not counted: {first}"))
    return lines


def entry(name: str, text: str) -> str:
    """Return a line of the summary."""
    return f"{name:<{_WIDTH}} {text}"


def reference_lines(tally: Tally, name: str) -> list[str]:
    """Return the lines on the agreement with a reference model."""
    figures = reference_figures(tally)
    low, high = wilson(tally.agreed, tally.compared)
    agreement = f"top-1 agreement {_proportion(tally.agreed, tally.compared, low, high)}"
    lines = [entry("reference", name), entry("", agreement)]
    if not tally.finite:
        return [*lines, entry("", "no sample has finite scores on both sides")]
    scores = f"scores: mean cosine {figures['mean_cosine']:.6f}, SQNR {_decibels(figures['sqnr_db'])} over all samples"
    if tally.measured:
        scores += f", {_decibels(figures['mean_sqnr_db'])} in the mean of {tally.measured}"
    if tally.identical:
        scores += f", {tally.identical} identical"
    if tally.finite < tally.compared:
        scores += f"; {tally.compared - tally.finite} samples are not finite"
    lines.append(entry("", scores))
    if tally.mixed:
        text = "one side's scores lie in 0..1, as after a softmax: cosine and SQNR tell nothing"
        lines.append(entry("", f"of {tally.mixed} samples {text}"))
    return lines


def reference_figures(tally: Tally) -> dict[str, Any]:
    """Return the figures of the comparison; one that cannot be computed is None, an infinite one `inf`."""
    sqnr = _sqnr(tally.signal, tally.noise) if tally.finite else None
    return {
        "samples": tally.compared,
        "top1_agreement": _interval(tally.agreed, tally.compared),
        "finite": tally.finite,
        "identical": tally.identical,
        "mixed": tally.mixed,
        "mean_cosine": _mean(tally.cosine, tally.finite),
        "sqnr_db": sqnr if sqnr is None or math.isfinite(sqnr) else str(sqnr),
        "mean_sqnr_db": _mean(tally.decibels, tally.measured),
        "measured": tally.measured,
    }


def figures(tally: Tally) -> dict[str, Any]:
    """Return the figures of a tally, each proportion with its 95 % interval."""
    n = tally.samples
    return {
        "samples": n,
        "top1": _interval(tally.top1, n),
        "top5": _interval(tally.top5, n),
        "top1_accepted": _interval(tally.accepted1, n),
        "top5_accepted": _interval(tally.accepted5, n),
        "nan": tally.nan,
        "tied_first": tally.tied1,
        "tied_fifth": tally.tied5,
    }


def _interval(hits: int, count: int) -> dict[str, Any]:
    low, high = wilson(hits, count)
    return {"hits": hits, "share": hits / count if count else None, "low": low, "high": high}


def _both(first: int, five: int, n: int) -> str:
    return f"top-1 {_proportion(first, n, *wilson(first, n))}; top-5 {_proportion(five, n, *wilson(five, n))}"


def _proportion(hits: int, count: int, low: float, high: float) -> str:
    return f"{_percent(hits, count)} % ({hits} of {count}, 95 % interval {100 * low:.2f} to {100 * high:.2f})"


def _percent(hits: int, count: int) -> str:
    return f"{100 * hits / count:.2f}" if count else "nan"


def _mean(total: Fraction, count: int) -> float | None:
    return float(total / count) if count else None


def _sqnr(signal: Fraction, noise: Fraction) -> float:
    """Return 10·log10(signal / noise) in dB."""
    if not noise:
        return math.inf
    ratio = signal / noise
    return 10 * (math.log10(ratio.numerator) - math.log10(ratio.denominator)) if signal else -math.inf


def _decibels(value: float | str) -> str:
    return f"{value:.3f} dB" if isinstance(value, float) else f"{value} dB"


def time_line(samples: int, seconds: float, spent: Sequence[float]) -> str:
    """Return the line on speed: samples a second, and what the processes `spent` on reading, model, reference, all."""
    *parts, total = spent
    shares = dict(zip(("reading and preprocessing", "model", "reference"), parts, strict=True))
    shares["the rest"] = total - sum(parts)
    texts = [f"{name} {100 * part / total:.0f} %" for name, part in shares.items() if part]
    return entry("time", f"{seconds:.1f} s, {samples / seconds:.1f} img/s: {', '.join(texts)}")
