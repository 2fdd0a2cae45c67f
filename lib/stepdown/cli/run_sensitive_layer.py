"""Say what each op costs the outputs when it alone is lowered, or alone is not (run_sensitive_layer.py)."""

import argparse
import json
from typing import TYPE_CHECKING

from stepdown.cli.diagnosis_flags import (
    Told,
    add_lowering_flags,
    check_written,
    checked_table,
    db,
    files_of,
    finite,
    selected_samples,
)
from stepdown.cli.tool import Parser

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stepdown.data.dataset import Dataset
    from stepdown.diagnosis.noise import Noise
    from stepdown.diagnosis.relower import Recipe
    from stepdown.dialects.program import Program

EXAMPLES = """\
examples:
  run_sensitive_layer.py net.mlir --dataset photos --calibration_table net_cali_table --chip bm1684x -o net_layers
  run_sensitive_layer.py net.mlir --data_list list.txt --calibration_table net_cali_table --chip bm1684x --alone float
"""
_SHOWN = 10


def parser() -> argparse.ArgumentParser:
    """Return the tool's parser."""
    tool = Parser(
        prog="run_sensitive_layer.py",
        description="Say what each op costs the outputs when it alone is in INT8, or it alone is not.",
        epilog=EXAMPLES,
    )
    add_lowering_flags(tool, 8)
    tool.add_argument(
        "--alone", choices=("int8", "float"), default="int8",
        help="each op alone in INT8 in the float network (default), or alone in F32 in the INT8 network",
    )  # fmt: skip
    tool.add_argument("-o", "--output", metavar="TABLE", help="write the table here, as text")
    tool.add_argument("--json", action="store_true", help="print the result as JSON")
    return tool


def run(args: argparse.Namespace) -> int:
    """Measure and print the table, the most sensitive op first; raises InputError."""
    from stepdown.diagnosis.reference import check_reference
    from stepdown.diagnosis.sensitivity import base_recipe
    from stepdown.dialects.program import read_program
    from stepdown.files.atomic import write_text

    program = read_program(args.model)
    check_reference(program)
    check_written({"--output": args.output}, [*files_of(program), args.calibration_table])
    recipe = base_recipe(args.chip, args.asymmetric, checked_table(args, program))
    samples, told = selected_samples(args, program), Told()
    errors, whole = _measured(args, program, recipe, samples, told)
    told.end()
    lines = table(errors, whole, args.alone, len(samples))
    if args.output:
        write_text(args.output, "\n".join(lines) + "\n")
    _print(args, lines, errors)
    return 0


def _measured(
    args: argparse.Namespace, program: "Program", recipe: "Recipe", samples: "Dataset", told: Told
) -> "tuple[dict[str, Noise], Noise | None]":
    """Return, the most sensitive op first, the error of the output that suffers most; and that of all ops in INT8."""
    from stepdown.diagnosis.sensitivity import float_alone, measure_modes

    if args.alone == "float":
        alone, whole = float_alone(program, recipe, samples, told)
        errors = {name: _worst(noises) for name, noises in alone.items()}
        return dict(sorted(errors.items(), key=lambda item: item[1].share)), _worst(whole)
    found = measure_modes(program, recipe, ["INT8"], samples, told)
    errors = {name: _worst(op.outputs["INT8"]) for name, op in found.ops.items()}
    return dict(sorted(errors.items(), key=lambda item: -item[1].share)), None


def _worst(noises: "Sequence[Noise]") -> "Noise":
    return max(noises, key=lambda noise: noise.share)


def table(errors: "dict[str, Noise]", whole: "Noise | None", alone: str, samples: int) -> list[str]:
    """Return the lines of the text table."""
    from stepdown.diagnosis.noise import decibel

    what = "in INT8, all others in F32" if alone == "int8" else "in F32, all others in INT8"
    lines = [f"# SQNR in dB and cosine of the worst output over {samples} samples, with one op alone {what}"]
    lines += [f"# all ops in INT8: {db(whole.sqnr_db)} {whole.cosine:.6f}"] if whole else []
    lines += ["# op sqnr_db cosine"]
    return [*lines, *(f"{name} {decibel(noise.share):.3f} {noise.cosine:.8f}" for name, noise in errors.items())]


def _print(args: argparse.Namespace, lines: list[str], errors: "dict[str, Noise]") -> None:
    if args.json:
        found = [{"op": n, "sqnr_db": finite(e.sqnr_db), "cosine": finite(e.cosine)} for n, e in errors.items()]
        print(json.dumps(found, indent=1))
        return
    head = sum(line.startswith("#") for line in lines)
    print("\n".join(lines[: head + _SHOWN]))
    print(f"wrote {len(errors)} ops to {args.output}" if args.output else f"{len(errors)} ops; give -o for all")
    print(f"next: run_qtable.py {args.model} --calibration_table {args.calibration_table} --chip {args.chip} …")
