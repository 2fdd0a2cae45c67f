"""Say which ops of a lowered network lose accuracy, why, and what helps (why_bad.py)."""

import argparse
import json
from typing import TYPE_CHECKING, Any

from stepdown.cli.diagnosis_flags import Told, check_written, db, files_of, finite, listed, samples_of
from stepdown.cli.tool import Parser
from stepdown.errors import InputError

if TYPE_CHECKING:
    from stepdown.diagnosis.noise import Noise
    from stepdown.diagnosis.remedies import Remedies
    from stepdown.diagnosis.why_bad import Diagnosis, Row
    from stepdown.dialects.program import Program

EXAMPLES = """\
examples:
  why_bad.py net_int8.mlir --reference net.mlir --input net_in_f32.npz
  why_bad.py net_int8.mlir --reference net.mlir --input a.jpg,b.jpg --worst 20 --qtable net_qtable --table net_table
"""


def parser() -> argparse.ArgumentParser:
    """Return the tool's parser."""
    tool = Parser(
        prog="why_bad.py",
        description="Say which ops of a lowered network lose accuracy, why, and what helps.",
        epilog=EXAMPLES,
    )
    tool.add_argument("model", metavar="LOWERED.mlir", help="the lowered module")
    tool.add_argument("--reference", required=True, metavar="TOP.mlir", help="the float module that it was made from")
    tool.add_argument("--input", required=True, metavar="FILES", help="samples: npz files or photos, by commas")
    tool.add_argument("--worst", type=int, default=10, metavar="N", help="how many ops to show (default 10)")
    tool.add_argument("--fixes", type=int, default=3, metavar="N", help="how many to find a remedy for (default 3)")
    tool.add_argument("--chip", default="", help="the .toml of a chip that does not come with Stepdown")
    tool.add_argument("--qtable", metavar="OUT", help="write the ops that should stay in a float mode")
    tool.add_argument("--table", metavar="OUT", help="write the calibration table with the ranges that help")
    tool.add_argument("--json", action="store_true", help="print the result as JSON")
    return tool


def run(args: argparse.Namespace) -> int:
    """Print the worst ops and the remedies; raises InputError."""
    _check(args)
    from stepdown.diagnosis.remedies import find_remedies
    from stepdown.diagnosis.why_bad import diagnose
    from stepdown.dialects.program import read_program

    target, reference = read_program(args.model), read_program(args.reference)
    files, told = listed(args.input), Told()
    check_written({"--qtable": args.qtable, "--table": args.table}, [*files_of(target), *files_of(reference), *files])
    samples = samples_of(reference, files)
    found = diagnose(target, reference, samples, max(args.worst, args.fixes), told)
    remedies = find_remedies(found, samples, args.fixes, args.chip, told)
    told.end()
    written = _write(args, remedies)
    if args.json:
        print(json.dumps(as_json(found, remedies, args.worst), indent=1))
    else:
        _print(found, remedies, args.worst)
        _print_written(args, written, target)
    return 0


def _check(args: argparse.Namespace) -> None:
    for option in ("worst", "fixes"):
        if getattr(args, option) < 1:
            raise InputError(f"{getattr(args, option)} is not positive", f"--{option}")


def _write(args: argparse.Namespace, remedies: "Remedies") -> list[str]:
    """Write what was asked for; returns what was written."""
    from stepdown.calibration.table import write_table
    from stepdown.diagnosis.relower import write_qtable

    recipe = remedies.recipe.changed(remedies.together.rows, remedies.together.modes)
    note = f"why_bad.py: {len(remedies.each)} remedies"
    if args.qtable:
        write_qtable(args.qtable, recipe.modes, [note])
    if args.table:
        write_table(args.table, recipe.rows, [note])
    return [path for path in (args.qtable, args.table) if path]


def as_json(found: "Diagnosis", remedies: "Remedies", worst: int) -> dict[str, Any]:
    """Return the result for other programs; null stands for no noise."""
    return {
        "outputs": _errors(found.outputs),
        "ops": [_row_json(row) for row in found.rows[:worst]],
        "remedies": [
            {
                "op": r.name, "what": r.text, "outputs": _errors(r.after), "modes": dict(r.modes),
                "ranges": {n: [row.threshold, row.minimum, row.maximum] for n, row in r.rows.items()},
            }
            for r in [*remedies.each, remedies.together]
        ],
        "lowered_again": _errors(remedies.again),
    }  # fmt: skip


def _errors(noises: "dict[str, Noise]") -> dict[str, Any]:
    return {n: {"sqnr_db": finite(e.sqnr_db), "cosine": finite(e.cosine)} for n, e in noises.items()}


def _row_json(row: "Row") -> dict[str, Any]:
    from stepdown.diagnosis.causes import CAUSES
    from stepdown.diagnosis.noise import decibel

    total = float(row.causes.sum()) or 1.0
    return {
        "op": row.unit.name, "type": row.unit.op.name, "own_db": finite(row.own.sqnr_db),
        "accumulated_db": finite(row.accumulated.sqnr_db), "accumulated_cosine": finite(row.accumulated.cosine),
        "outputs_db": finite(decibel(row.effect)), "cause": row.cause,
        "causes": {cause: round(float(gain) / total, 4) for cause, gain in zip(CAUSES, row.causes, strict=True)},
    }  # fmt: skip


def _print(found: "Diagnosis", remedies: "Remedies", worst: int) -> None:
    from stepdown.diagnosis.noise import decibel

    for name, noise in found.outputs.items():
        print(f"{name}: SQNR {db(noise.sqnr_db)} dB, cosine {noise.cosine:.6f}")
    print(
        "\nSQNR in dB: of the outputs if this op alone were wrong; of its tensor by its own error; and with all before"
    )
    print(f"{'outputs':>9} {'own':>8} {'all':>8}  op")
    for row in found.rows[:worst]:
        figures = f"{decibel(row.effect):9.2f} {db(row.own.sqnr_db):>8} {db(row.accumulated.sqnr_db):>8}"
        cause = f": {row.cause} ({100 * row.cause_share:.0f} %)" if row.cause else ""
        print(f"{figures}  {row.unit.name} {row.unit.op.name}{cause}")
    print("\nwhat helps, and the outputs' SQNR after it")
    print(f"{_least(remedies.again):>9}  lowered again from the reference, nothing changed")
    for remedy in [*remedies.each, remedies.together]:
        print(f"{_least(remedy.after):>9}  {remedy.name + ': ' if remedy.name else ''}{remedy.text}")


def _least(noises: "dict[str, Noise]") -> str:
    return db(min(noise.sqnr_db for noise in noises.values()))


def _print_written(args: argparse.Namespace, written: list[str], target: "Program") -> None:
    if not written:
        print("\nnothing written; give --qtable or --table")
        return
    asymmetric = f"asymmetric={target['asymmetric'] or 'false'}"
    table = f"--import-calibration-table='file={args.table or 'TABLE'} {asymmetric}' "
    qtable = f" qtable={args.qtable}" if args.qtable else ""
    lowering = f"--convert-top-to-tpu='mode={target['mode']} {asymmetric} chip={args.chip or target['chip']}{qtable}'"
    print(f"\nwrote {' and '.join(written)}")
    print(f"next: tpuc-opt {args.reference} {table}{lowering} -o FIXED.mlir")
