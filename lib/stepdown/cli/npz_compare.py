"""The comparing commands of npz_tool.py: compare, print_diff, visualize_diff."""

import argparse
import math
import os
import re
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import numpy as np

from stepdown.cli.npz_columns import aligned, count_of
from stepdown.compare.decode import storage_text
from stepdown.compare.judge import Stored, Tolerance, non_finite_text
from stepdown.compare.pairing import Pair
from stepdown.compare.statistics import statistics
from stepdown.compare.tensors import Comparison, Dump, OnResult, TensorResult, compare_npz, compare_pair
from stepdown.compare.text import fused_lines, result_lines, summary_lines, top_lines
from stepdown.compare.top import top_indices
from stepdown.errors import InputError
from stepdown.files.atomic import write_text
from stepdown.files.npz import NpzFile, closest


def compare(args: argparse.Namespace) -> int:
    """Compare all tensors of two files; 1 where the comparison failed."""
    quiet = args.json == "-"
    excepts, only = ([name for name in text.split(",") if name] for text in (args.excepts, args.only))
    printer = None if quiet else _printer(args.verbose)
    found = compare_npz(args.target, args.reference, parse_tolerance(args.tolerance), excepts, only, printer)
    if args.json or args.csv or args.html:
        _write_reports(args, found)
    if not quiet:
        print("\n".join([*(fused_lines(found) if args.verbose else ()), *summary_lines(found)]))
    return 0 if found.passed else 1


def print_diff(args: argparse.Namespace) -> int:
    """Print where a tensor of two files differs most."""
    count = count_of(args.count, "N")
    with _opened(args) as (target, reference):
        pair = _pair(args.name, target, reference)
        a, b = _subtractable(pair, target, reference)
        result = compare_pair(pair, target, reference, Tolerance())
        sides = (("TARGET", target, pair.target), ("REFERENCE", reference, pair.reference))
        for side, dump, name in sides:
            stored = dump.stored(name)
            types = f"{stored.values.shape} {stored.values.dtype} {storage_text(stored.meaning)}"
            print(f"{side:<10}{dump.name} '{name}' {types}".rstrip())
    difference = _difference(a, b)
    _print_largest(a, b, difference, count)
    _print_errors(difference)
    print("\n".join(result_lines(result, 1)))
    return 0


def visualize_diff(args: argparse.Namespace) -> int:
    """Draw tensors of two files against each other."""
    from stepdown.compare.pictures import draw_difference

    with _opened(args) as (target, reference):
        pairs = [_pair(name, target, reference) for name in args.names] or _all_pairs(target, reference)
        paths = _picture_paths([pair.name for pair in pairs], args.output)
        for pair, path in zip(pairs, paths, strict=True):
            try:
                a, b = _subtractable(pair, target, reference)
            except InputError as error:
                if args.names:
                    raise
                print(f"not drawn: {error}")
                continue
            result = compare_pair(pair, target, reference, Tolerance())
            draw_difference(path, result, a, b, (target.name, reference.name))
            print(f"wrote {path}")
    return 0


def parse_tolerance(text: str) -> Tolerance:
    """Parse `0.99,0.90`: the least cosine and euclidean similarity.

    Raises:
        InputError: it is something else.
    """
    try:
        cosine, euclid = (float(word) for word in text.split(","))
    except ValueError:
        raise InputError(f"tolerance '{text}' is not COSINE,EUCLID", fix="write it as 0.99,0.90") from None
    if not (-1 <= cosine <= 1 and -np.inf < euclid <= 1):
        raise InputError(f"tolerance '{text}' is out of range", fix="cosine is within -1 … 1, euclid is at most 1")
    return Tolerance(cosine, euclid)


def _printer(verbosity: int) -> OnResult:
    def show(result: TensorResult, target: Dump, reference: Dump) -> None:
        print("\n".join(result_lines(result, verbosity)))
        if verbosity > 1:
            print("\n".join(top_lines(result, target, reference)))

    return show


def _write_reports(args: argparse.Namespace, found: Comparison) -> None:
    from stepdown.compare.export import to_csv, to_html, to_json

    if args.json == "-":
        print(to_json(found), end="")
    for path, make in ((args.json, to_json), (args.csv, to_csv), (args.html, to_html)):
        if path and path != "-":
            write_text(path, make(found))
            print(f"wrote {path}", file=sys.stderr if args.json == "-" else sys.stdout)


@contextmanager
def _opened(args: argparse.Namespace) -> Iterator[tuple[Dump, Dump]]:
    with ExitStack() as stack:
        target, reference = (stack.enter_context(closing(NpzFile(path))) for path in (args.target, args.reference))
        yield Dump.of(target), Dump.of(reference)


def _pair(name: str, target: Dump, reference: Dump) -> Pair:
    """Return the pair of a tensor that both files must have."""
    if name not in target.tensors:
        raise InputError(f"has no tensor '{name}'", target.name, closest(name, target.tensors))
    other = reference.names().find(name, target.names().base(name))
    if not other:
        raise InputError(f"has no tensor '{name}'", reference.name, closest(name, reference.tensors))
    return Pair(name, other)


def _all_pairs(target: Dump, reference: Dump) -> list[Pair]:
    """Return the pairs of all tensors that both files have."""
    names, others = target.names(), reference.names()
    found = [Pair(name, others.find(name, names.base(name))) for name in target.tensors]
    pairs = [pair for pair in found if pair.reference]
    if not pairs:
        raise InputError("the two files have no tensor in common", target.name, "see npz_tool.py compare")
    return pairs


def _subtractable(pair: Pair, target: Dump, reference: Dump) -> tuple[np.ndarray, np.ndarray]:
    """Return the real values of both sides; raise InputError where they cannot be subtracted."""
    sides: list[Stored] = [target.stored(pair.target), reference.stored(pair.reference)]
    for side in sides:
        if side.values.dtype.kind not in "biuf":
            raise InputError(f"holds {side.values.dtype}, not real numbers", side.where)
    a, b = (side.real() for side in sides)
    if a.shape != b.shape:
        raise InputError(
            f"shape {a.shape} against {b.shape} in {reference.name}", sides[0].where, "reshape or permute one of them"
        )
    return a, b


def _difference(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return a − b in float64, 0 where both are the same infinity or both are NaN."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        return np.where((a == b) | (np.isnan(a) & np.isnan(b)), 0.0, a - b)


def _print_largest(a: np.ndarray, b: np.ndarray, difference: np.ndarray, count: int) -> None:
    top = [i for i in top_indices(np.abs(difference), count) if difference.flat[i]]
    differing = int(np.count_nonzero(difference))
    print(f"{differing} of {difference.size} elements differ{'; the largest differences:' if top else ''}")
    rows = [["index", "TARGET", "REFERENCE", "difference"]]
    for i in top:
        index = tuple(map(int, np.unravel_index(i, a.shape)))
        rows.append([str(index), str(a.flat[i]), str(b.flat[i]), f"{difference.flat[i]:.9g}"])
    if top:
        print("\n".join(aligned(rows, right=(1, 2, 3))))


def _print_errors(difference: np.ndarray) -> None:
    found = statistics(difference)
    if found.mean is not None and found.std is not None:
        print(
            f"difference: min {found.minimum:.9g}, max {found.maximum:.9g}, mean {found.mean:.9g}, std {found.std:.9g}"
        )
        root_mean_square = math.hypot(found.mean, found.std)
        print(f"            mean |difference| {found.abs_mean:.9g}, root mean square {root_mean_square:.9g}")

    if non_finite_text(difference):
        print(f"            not finite: {non_finite_text(difference)}")


def _picture_paths(names: list[str], output: str) -> list[Path]:
    """Return a picture file a tensor: `output` itself where it is one .png, else files in that folder (made)."""
    if output.endswith(".png") and not os.path.isdir(output):
        if len(names) > 1:
            raise InputError(
                f"one picture cannot show {len(names)} tensors", output, "name one tensor, or give a folder"
            )
        return [Path(output)]
    Path(output).mkdir(parents=True, exist_ok=True)
    stems: dict[str, None] = {}
    for name in names:
        stem = re.sub(r"[^\w.+-]", "_", name)[:120].lstrip(".") or "_"
        unique = next(s for s in (stem, *(f"{stem}_{i}" for i in range(2, len(names) + 2))) if s not in stems)
        stems[unique] = None
    return [Path(output) / f"{stem}.png" for stem in stems]
