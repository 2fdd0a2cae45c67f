"""Collect the range of every tensor over a set of samples (run_calibration.py)."""

import argparse
import resource
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from stepdown.cli.tool import Parser
from stepdown.errors import InputError

if TYPE_CHECKING:
    from stepdown.dialects.program import Program

EXAMPLES = """\
examples:
  run_calibration.py resnet18.mlir --data_list dataset_cali/image_list.txt -o resnet18_cali_table
  run_calibration.py resnet18.mlir --dataset /dataset/imagenet/val --input_num 100 -o resnet18_cali_table_100
"""
METHODS = ("percentile", "mse", "max", "kl")
_REPORT_EVERY_S = 5.0
_BAR_WIDTH = 30


def parser() -> argparse.ArgumentParser:
    """Return the tool's parser."""
    tool = Parser(
        prog="run_calibration.py",
        description="Run samples through a float model and write the range of every tensor to a text table.",
        epilog=EXAMPLES,
    )
    tool.add_argument("model", metavar="MODEL.mlir", help="what model_transform.py wrote")
    source = tool.add_mutually_exclusive_group(required=True)
    source.add_argument("--data_list", metavar="LIST", help="text file that names photos or .npz files, one a line")
    source.add_argument("--dataset", metavar="DIR", help="folder, from which --input_num files are chosen at random")
    tool.add_argument("--input_num", type=int, default=0, metavar="N", help="how many samples (default: all)")
    tool.add_argument("--seed", type=int, default=0, help="of the choice from --dataset (default 0)")
    tool.add_argument(
        "--cali_method", choices=METHODS, default="percentile", help="how ranges are chosen (default percentile)"
    )
    tool.add_argument("--percentile", type=float, metavar="P", help="of the method percentile (default 99.99)")
    tool.add_argument("-o", "--output", required=True, metavar="TABLE", help="the table to write")
    tool.add_argument("--json", action="store_true", help="print the result as JSON")
    return tool


def run(args: argparse.Namespace) -> int:
    """Write the table; raises InputError."""
    _check(args)
    from stepdown.calibration.calibrate import calibrate, choose_ranges, probabilities, program_inputs
    from stepdown.calibration.table import write_table
    from stepdown.data.dataset import Dataset, select_files
    from stepdown.dialects.program import read_program

    start = time.monotonic()
    program = read_program(args.model)
    files = select_files(args.data_list, args.dataset, args.input_num, args.seed)
    _check_clashes(args, program, files)
    if len(files) < args.input_num:
        print(f"there are only {len(files)} samples, not {args.input_num}", file=sys.stderr)
    samples = Dataset(tuple(files), program_inputs(program, files))
    sketches = calibrate(program, samples, Progress(len(files)))
    rows = choose_ranges(sketches, args.cali_method, args.percentile, probabilities(program))
    write_table(args.output, rows, _notes(args, program, files))
    _report(args, {"tensors": len(rows), "samples": len(files), "seconds": round(time.monotonic() - start, 2)})
    return 0


class Progress:
    """Tells on stderr how far a run over `total` samples is: a bar on a terminal, else a line now and then."""

    def __init__(self, total: int) -> None:
        self._total, self._start, self._told = total, time.monotonic(), 0.0

    def __call__(self, done: int) -> None:
        """Tell that `done` samples are finished."""
        seconds = time.monotonic() - self._start
        last = done == self._total
        if sys.stderr.isatty():
            bar = "#" * (_BAR_WIDTH * done // self._total)
            end = "\n" if last else ""
            print(f"\r[{bar:<{_BAR_WIDTH}}] {self._text(done, seconds)}\033[K", end=end, file=sys.stderr, flush=True)
        elif last or seconds - self._told >= _REPORT_EVERY_S:
            self._told = seconds
            print(self._text(done, seconds), file=sys.stderr, flush=True)

    def _text(self, done: int, seconds: float) -> str:
        rest = seconds / done * (self._total - done)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        time_text = f"{rest:.0f} s to go" if rest else f"{seconds:.1f} s"
        return f"{done} of {self._total} samples, {time_text}, peak memory {peak:.0f} MiB"


def _check(args: argparse.Namespace) -> None:
    if args.input_num < 0:
        raise InputError(f"{args.input_num} is negative", "--input_num", "give how many samples, or 0 for all")
    if args.percentile is None:
        args.percentile = 99.99
    elif args.cali_method != "percentile":
        raise InputError(f"has no meaning for the method {args.cali_method}", "--percentile", "leave it out")
    if not 50 < args.percentile <= 100:
        raise InputError(f"{args.percentile:g} is not above 50 and up to 100", "--percentile")


def _check_clashes(args: argparse.Namespace, program: "Program", files: "list[Path]") -> None:
    """Raise InputError where the table would replace a file that is read."""
    weights = Path(args.model).with_name(Path(program["weight_file"] or args.model).name)
    read = [Path(args.model), weights, *files, *([Path(args.data_list)] if args.data_list else [])]
    if Path(args.output).resolve() in {path.resolve() for path in read}:
        raise InputError("would be overwritten", args.output, "choose another --output")


def _notes(args: argparse.Namespace, program: "Program", files: "list[Path]") -> list[str]:
    """Return how the table was made: nothing that differs between two runs on the same model and samples."""
    from stepdown import __version__
    from stepdown.calibration.calibrate import samples_digest

    method = f"percentile {args.percentile:g}" if args.cali_method == "percentile" else args.cali_method
    weights = f", weights {program['weight_sha256'][:16]}" if program["weight_sha256"] else ""
    return [
        f"calibration table, stepdown {__version__}",
        f"model {program.name}{weights}",
        f"method {method}, {len(files)} samples {samples_digest(files)[:16]}",
    ]


def _report(args: argparse.Namespace, result: dict[str, float]) -> None:
    if args.json:
        import json

        print(json.dumps({"table": args.output, "method": args.cali_method, **result}))
        return
    print(
        f"wrote {args.output}: {result['tensors']} tensors over {result['samples']} samples, "
        f"method {args.cali_method}, {result['seconds']:g} s"
    )
    print(
        f"next: tpuc-opt {args.model} --import-calibration-table='file={args.output} asymmetric=false' "
        f"--convert-top-to-tpu='mode=INT8 asymmetric=false chip=CHIP' --save-weight -o MODEL_int8_sym_CHIP.mlir"
    )
