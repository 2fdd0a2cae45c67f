"""model_tool.py --compare: whether two model files hold the same graph."""

import argparse
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from stepdown.cli.model_tool_open import kind_of, open_outline, open_program

if TYPE_CHECKING:
    from stepdown.compare.topology import Comparison
    from stepdown.formats.outline import Outline

_SHOWN = 3
_MORE_COUNTS = 8


def run(args: argparse.Namespace) -> int:
    """Compare and tell; 0 where the graphs are the same, 1 where they differ."""
    from stepdown.compare.topology import compare_outlines

    a, b = _outlines(args)
    result = compare_outlines(a, b, args.ignore)
    if args.json:
        files = {"a": args.compare[0], "b": args.compare[1], "ignored": list(args.ignore)}
        print(json.dumps({**files, **result.to_json()}, indent=2, ensure_ascii=False))
    else:
        _tell(args, result)
    return 0 if result.same else 1


def _outlines(args: argparse.Namespace) -> "list[Outline]":
    """Return the graphs of both files as they are, or the programs that they mean where their kinds differ."""
    if kind_of(args.compare[0]) is kind_of(args.compare[1]):
        return [open_outline(path, args.input_shapes) for path in args.compare]
    from stepdown.formats.program_outline import outline_of_program

    found = [outline_of_program(open_program(path, _shapes(args, path))) for path in args.compare]
    for outline in found:
        outline.preprocessing = {}  # a source model says nothing of it
    return found


def _shapes(args: argparse.Namespace, path: str) -> list[tuple[int, ...]]:
    """Return the shapes for a file that may leave them open; a module has them."""
    return [] if Path(path).suffix == ".mlir" else args.input_shapes


def _tell(args: argparse.Namespace, result: "Comparison") -> None:
    names = [f"{side} = {path}" for side, path in zip("AB", args.compare, strict=True)]
    print(os.linesep.join(names))
    if args.ignore:
        print(f"ignored: {', '.join(args.ignore)}")
    if result.difference is None:
        _tell_renamed(args, result)
        print(f"the graphs are the same: {result.nodes[0]} nodes.")
        return
    found = result.difference
    counts = [f"{op} {a} and {b}" for op, (a, b) in list(result.counts.items())[:_MORE_COUNTS]]
    print(f"nodes: {result.nodes[0]} and {result.nodes[1]}" + (f"; {', '.join(counts)}" if counts else ""))
    print(f"first difference ({found.kind}): {found.detail}")
    print(f"  A: {found.a}\n  B: {found.b}")
    print("the graphs DIFFER.")


def _tell_renamed(args: argparse.Namespace, result: "Comparison") -> None:
    if not result.renamed or "names" in args.ignore:
        return
    shown = ", ".join(f"'{a}' is '{b}'" for a, b in result.renamed[:_SHOWN])
    more = ", …" if len(result.renamed) > _SHOWN else ""
    print(f"{len(result.renamed)} tensors have other names: {shown}{more}")
