"""model_tool.py --info: what is in a file, as text or JSON."""

import argparse
import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stepdown.cli.model_tool_open import KINDS, MODEL_FILE_SUFFIX, check_file, kind_of, open_outline, open_program
from stepdown.errors import InputError, StepError

if TYPE_CHECKING:
    from stepdown.formats.outline import Outline

Report = dict[str, Any]


def run(args: argparse.Namespace) -> int:
    """Print the report of the file."""
    from stepdown.cli.model_tool_text import report_text

    report = report_of(args)
    print(json.dumps(report, indent=2, ensure_ascii=False) if args.json else report_text(report))
    return 0


def report_of(args: argparse.Namespace) -> Report:
    """Return what is in the file; rows of the table of operators or tensors only with `verbose`.

    Raises:
        InputError: the file is missing, of no kind that we know, or corrupt.
    """
    check_file(args.info)
    if Path(args.info).suffix in KINDS:
        return model_report(args)
    if args.input_shapes:
        raise InputError("has no meaning for this file", "--input_shapes")
    if Path(args.info).suffix == MODEL_FILE_SUFFIX:
        from stepdown.cli.model_tool_bmodel import bmodel_report

        return bmodel_report(args.info, args.verbose)
    from stepdown.cli.model_tool_tables import tensors_or_table

    return tensors_or_table(args.info, args.verbose)


def model_report(args: argparse.Namespace) -> Report:
    """Return what is in a model file."""
    from stepdown.compare import graph_summary as summary

    outline = open_outline(args.info, args.input_shapes)
    report: Report = {
        **file_facts(args.info, kind_of(args.info).name),
        "inputs": [summary.tensor_facts(v) for v in outline.inputs],
        "outputs": [summary.tensor_facts(v) for v in outline.outputs],
        "ops": dict(Counter(node.op for node in outline.nodes).most_common()),
        **_cost(outline, args),
        "quantization": {**summary.quantization(outline), "tensors": summary.types(outline)},
        "preprocessing": {name: dict(how) for name, how in outline.preprocessing.items()},
        "provenance": dict(outline.facts),
    }
    if args.verbose:
        report["op_table"] = [summary.node_facts(node) for node in outline.nodes]
    return report


def file_facts(path: str, kind: str) -> Report:
    """Return what every report begins with: the file, its kind, size and hash."""
    from stepdown.files.hashes import sha256_file

    return {"file": path, "kind": kind, "bytes": Path(path).stat().st_size, "sha256": sha256_file(path)}


def _cost(outline: "Outline", args: argparse.Namespace) -> Report:
    """Return what the network costs; where shapes hang on values, that of the TOP module that it becomes."""
    from stepdown.compare import graph_summary as summary

    notes, sized = _notes(outline), outline
    if summary.memory(outline).total is None and all(value.count is not None for value in outline.inputs):
        sized, note = _imported(outline, args)
        notes.append(note)
    memory = summary.memory(sized)
    return {
        "macs": summary.macs(sized),
        "parameters": summary.parameters(outline),
        "weight_bytes": summary.weight_bytes(outline),
        "activation_bytes": {"peak": memory.peak, "sum": memory.total},
        "notes": notes,
    }


def _imported(outline: "Outline", args: argparse.Namespace) -> "tuple[Outline, str]":
    """Return the outline of the module that the importer makes, or `outline` and why there is none."""
    from stepdown.formats.program_outline import outline_of_program

    try:
        program = open_program(args.info, args.input_shapes)
    except StepError as error:
        return outline, f"some shapes inside depend on values, and the importer cannot fold them: {error.what}"
    return outline_of_program(program), "MACs and activation bytes are those of the module that it is imported as"


def _notes(outline: "Outline") -> list[str]:
    """Return why a figure is missing, or does not say all."""
    notes = []
    open_inputs = [v.name for v in outline.inputs if v.count is None]
    if open_inputs:
        shapes = ",".join(_open_shape(v.shape) for v in outline.inputs)
        notes.append(
            f"MACs need shapes, and that of input '{open_inputs[0]}' is open: "
            f"give --input_shapes '[{shapes}]' with numbers"
        )
    if any(node.region for node in outline.nodes):
        notes.append("nodes in bodies of control flow are counted once")
    if outline.uncounted:
        listed = ", ".join(f"{op} ×{count}" for op, count in sorted(outline.uncounted.items()))
        notes.append(f"not in the MACs: {listed}")
    return notes


def _open_shape(shape: "tuple[int | None, ...] | None") -> str:
    sizes = ("?",) if shape is None else ("?" if size is None else str(size) for size in shape)
    return f"[{','.join(sizes)}]"
