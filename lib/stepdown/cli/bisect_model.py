"""Find the first op, or the first pass, that leaves tolerance, and cut out what shows it (bisect_model.py)."""

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stepdown.cli.diagnosis_flags import check_written, files_of, samples_of
from stepdown.cli.tool import Parser
from stepdown.errors import InputError

if TYPE_CHECKING:
    from stepdown.diagnosis.bisect import Found, Reduced
    from stepdown.diagnosis.tolerance import Tolerance

EXAMPLES = """\
Give a lowered module and its float reference to find the first op; or a float module and passes, as tpuc-opt takes
them, to find the first pass after which the outputs leave tolerance (inside canonicalize: the first rewrite).
Without --tolerance an op is bad whose tensor has more than twice the noise that the same lowering should give.

examples:
  bisect_model.py net_int8.mlir --reference net.mlir --input net_in_f32.npz -o net_cut
  bisect_model.py net_int8.mlir --reference net.mlir --input net_in_f32.npz --tolerance 0.9,0.5
  bisect_model.py net.mlir --input net_in_f32.npz --canonicalize --convert-top-to-tpu="mode=F16 chip=bm1684x"
"""
FOUND_EXIT_CODE = 1
_OF_PASSES = "0.90,0.55"


class _PassParser(Parser):
    """A parser that lifts passes off the command line first, as tpuc-opt's does; its help imports nothing."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse the rest; `passes` of the result lists (name, options)."""
        rest = list(sys.argv[1:] if args is None else args)
        passes: list[tuple[str, str]] = []
        if not {"-h", "--help"} & set(rest):
            from stepdown.cli.tpuc_opt import lift_passes

            passes, rest = lift_passes(rest, list(self._option_string_actions))
        found, unknown = super().parse_known_args(rest, namespace)
        found.passes = passes
        return found, unknown


def parser() -> argparse.ArgumentParser:
    """Return the tool's parser."""
    tool = _PassParser(
        prog="bisect_model.py",
        description="Find the first op or pass that leaves tolerance, in few runs, and cut out what shows it.",
        epilog=EXAMPLES,
    )
    tool.add_argument("model", metavar="MODEL.mlir", help="a lowered module, or a float one to run passes on")
    tool.add_argument("--reference", metavar="TOP.mlir", help="the float module that a lowered one was made from")
    tool.add_argument("--input", required=True, metavar="FILE", help="the sample: an npz file or a photo")
    tool.add_argument(
        "--tolerance", metavar="COS,EUC",
        help="least cosine,euclid of a good tensor (default: what its lowering should give; for passes "
        f"{_OF_PASSES})",
    )  # fmt: skip
    tool.add_argument("--chip", default="", help="the .toml of a chip that does not come with Stepdown")
    tool.add_argument("-o", "--output", metavar="NAME", help="write NAME.mlir, NAME.onnx and NAME_in.npz that show it")
    tool.add_argument("--json", action="store_true", help="print the result as JSON")
    return tool


def run(args: argparse.Namespace) -> int:
    """Find it; 1 where something leaves tolerance, 0 where nothing does. Raises InputError."""
    if bool(args.reference) == bool(args.passes):
        raise InputError("give either --reference, or passes such as --canonicalize", args.model)
    if args.passes:
        args.tolerance = args.tolerance or _OF_PASSES
        return _passes(args, _tolerance(args.tolerance))
    return _ops(args, _tolerance(args.tolerance) if args.tolerance else None)


def _tolerance(text: str) -> "Tolerance":
    try:
        cosine, euclid = (float(word) for word in text.split(","))
    except ValueError:
        raise InputError(f"'{text}' is malformed", "--tolerance", "want cosine,euclid: 0.9,0.5") from None
    if not (-1 <= cosine <= 1 and euclid <= 1):
        raise InputError(f"'{text}' is never kept", "--tolerance", "give numbers up to 1")
    from stepdown.diagnosis.tolerance import Tolerance

    return Tolerance(cosine, euclid)


def _passes(args: argparse.Namespace, tolerance: "Tolerance") -> int:
    from stepdown.diagnosis.passes import first_bad_pass
    from stepdown.dialects.program import read_program
    from stepdown.opt_main import make_passes

    if args.output:
        raise InputError("a pass is not cut out; write what it reads with tpuc-opt -o", "-o")
    program = read_program(args.model)
    found = first_bad_pass(program, make_passes(args.passes), samples_of(program, [args.input])[0], tolerance)
    if args.json:
        print(json.dumps(vars(found) if found else None))
    elif found is None:
        print(f"the outputs are within {args.tolerance} after all {len(args.passes)} passes")
    else:
        rewrite = f", its rewrite {found.rewrite}" if found.rewrite else ""
        print(f"first bad pass: --{found.name} (number {found.place + 1} of {len(args.passes)}){rewrite}")
        print(f"{found.runs} runs")
    return FOUND_EXIT_CODE if found else 0


def _ops(args: argparse.Namespace, tolerance: "Tolerance | None") -> int:
    from stepdown.diagnosis.bisect import first_bad_op, reduce
    from stepdown.diagnosis.reference import check_pair
    from stepdown.dialects.program import read_program

    target, reference = read_program(args.model), read_program(args.reference)
    check_pair(target, reference)
    names = cut_files(args.output) if args.output else []
    written: dict[str, str | None] = {f"-o {args.output} ({name})": name for name in names}
    check_written(written, [*files_of(target), *files_of(reference), args.input])
    sample = samples_of(reference, [args.input])[0]
    found = first_bad_op(target, reference, sample, tolerance, args.chip)
    if found is None:
        within = args.tolerance or "twice the noise that this lowering should give; see why_bad.py, or give --tolerance"
        print("null" if args.json else f"all outputs are within {within}")
        return 0
    part = reduce(target, reference, sample, found.unit, found.tolerance)
    if names and part:
        _write(part, names)
    _report(args, found, part)
    return FOUND_EXIT_CODE


def cut_files(output: str) -> list[str]:
    """Return the files of a cut: module, its weights, ONNX, inputs."""
    return [f"{output}.mlir", f"{output}_weight.npz", f"{output}.onnx", f"{output}_in.npz"]


def _write(part: "Reduced", names: list[str]) -> None:
    from stepdown.files.atomic import atomic_path
    from stepdown.files.npz import write_npz
    from stepdown.formats.onnx.exporter import export_program

    part.target.write(names[0])
    with atomic_path(names[2]) as place:
        place.write_bytes(export_program(part.reference).SerializeToString(deterministic=True))
    write_npz(names[3], part.inputs)


def _report(args: argparse.Namespace, found: "Found", part: "Reduced | None") -> None:
    if args.json:
        print(json.dumps(_as_json(found, part)))
        return
    print(f"first bad op: {found.unit.name} ({found.unit.op.name}), {_compared(found)}")
    print(f"found in {found.runs} runs among {found.tensors} tensors")
    if part is None:
        print("it is a network input: nothing is cut out; see its range in the calibration table")
        return
    inputs = ", ".join(f"'{n}' {list(a.shape)}" for n, a in part.inputs.items())
    print(f"shown by {part.ops} op{'s' * (part.ops != 1)} on {inputs}")
    if not args.output:
        print("nothing written; give -o NAME for what shows it")
        return
    module, _, onnx, npz = cut_files(args.output)
    stem, tolerance = Path(args.output), f"{part.tolerance.cosine:.7g},{part.tolerance.euclid:.7g}"
    print(f"wrote {module}, {onnx} and {npz}; this shows it:")
    print(f"  model_runner.py --model {module} --input {npz} --dump_all_tensors --output {stem}_target.npz")
    print(f"  model_runner.py --model {onnx} --input {npz} --dump_all_tensors --output {stem}_reference.npz")
    print(f"  npz_tool.py compare {stem}_target.npz {stem}_reference.npz --tolerance {tolerance}")


def _as_json(found: "Found", part: "Reduced | None") -> dict[str, Any]:
    should = found.tolerance.expects(found.unit.name)
    return {
        "op": found.unit.name, "type": found.unit.op.name, "runs": found.runs, "cut_ops": part.ops if part else 0,
        "sqnr_db": sqnr_db(found.like.share), "expected_sqnr_db": None if should is None else sqnr_db(should),
    }  # fmt: skip


def _compared(found: "Found") -> str:
    """Return how bad the tensor is, beside what it should be where that is known."""
    should = found.tolerance.expects(found.unit.name)
    wanted = "" if should is None else f" where its lowering should give {sqnr_db(should):.2f}"
    return f"SQNR {sqnr_db(found.like.share):.2f} dB{wanted}"


def sqnr_db(share: float) -> float:
    """Return a ratio of noise to signal in decibels, capped where it is infinite."""
    from stepdown.diagnosis.noise import decibel

    return round(decibel(share), 3)
