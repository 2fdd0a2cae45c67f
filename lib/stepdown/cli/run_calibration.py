"""Collect the range of every tensor over a set of samples (run_calibration.py)."""

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stepdown.cli.tool import Parser
from stepdown.errors import InputError

if TYPE_CHECKING:
    from stepdown.calibration.calibrate import SketchJob
    from stepdown.calibration.sketches import Sketches
    from stepdown.dialects.program import Program

EXAMPLES = """\
examples:
  run_calibration.py resnet18.mlir --data_list dataset_cali/image_list.txt -o resnet18_cali_table
  run_calibration.py resnet18.mlir --dataset /dataset/imagenet/val --input_num 100 -o resnet18_cali_table_100
  run_calibration.py resnet18.mlir --dataset /dataset/imagenet/val --sketch resnet18_sketch.npz -o table_max
  run_calibration.py resnet18.mlir --from_sketch resnet18_sketch.npz --cali_method kl -o table_kl
"""
METHODS = ("percentile", "mse", "max", "kl")


def parser() -> argparse.ArgumentParser:
    """Return the tool's parser."""
    tool = Parser(
        prog="run_calibration.py",
        description="Run samples through a float model and write the range of every tensor to a text table.",
        epilog=EXAMPLES,
    )
    tool.add_argument("model", metavar="MODEL.mlir", help="what model_transform.py wrote")
    _add_samples(tool)
    method = tool.add_argument_group("ranges")
    method.add_argument(
        "--cali_method", choices=METHODS, default="percentile", help="how ranges are chosen (default percentile)"
    )
    method.add_argument("--percentile", type=float, metavar="P", help="of the method percentile (default 99.99)")
    _add_running(tool)
    tool.add_argument("--sketch", metavar="X.npz", help="also write what was seen, for --from_sketch")
    tool.add_argument("-o", "--output", required=True, metavar="TABLE", help="the table to write")
    tool.add_argument("--json", action="store_true", help="print the result as JSON")
    return tool


def _add_samples(tool: argparse.ArgumentParser) -> None:
    group = tool.add_argument_group("samples")
    source = group.add_mutually_exclusive_group(required=True)
    source.add_argument("--data_list", metavar="LIST", help="text file that names photos or .npz files, one a line")
    source.add_argument("--dataset", metavar="DIR", help="folder, from which --input_num files are chosen at random")
    source.add_argument("--from_sketch", metavar="X.npz", help="what --sketch wrote: no sample is read again")
    group.add_argument("--input_num", type=int, default=0, metavar="N", help="how many samples (default: all)")
    group.add_argument("--seed", type=int, default=0, help="of the choice from --dataset (default 0)")


def _add_running(tool: argparse.ArgumentParser) -> None:
    group = tool.add_argument_group("running")
    group.add_argument(
        "--engine", choices=("ort", "reference"), default="",
        help="what runs the model: onnxruntime (default where it can), or the reference interpreter",
    )  # fmt: skip
    group.add_argument("--workers", type=int, default=0, metavar="N", help="processes (default: one a CPU, at most 8)")
    group.add_argument(
        "--resume", action="store_true", help="go on where an earlier run was killed (it leaves TABLE.shards)"
    )


def run(args: argparse.Namespace) -> int:
    """Write the table; raises InputError."""
    _check(args)
    from stepdown.calibration.calibrate import choose_ranges, probabilities
    from stepdown.calibration.table import write_table
    from stepdown.dialects.program import read_program

    start = time.monotonic()
    if args.from_sketch:
        program = read_program(args.model)
        sketches, about = _read(args, program)
    else:
        job = _job(args)
        program = job.program
        sketches, about = _observe(args, job)
    rows = choose_ranges(sketches, args.cali_method, args.percentile, probabilities(program))
    write_table(args.output, rows, _notes(args, about))
    if not args.from_sketch:
        _forget(args, job)
    seconds = round(time.monotonic() - start, 2)
    _report(args, {"tensors": len(rows), "samples": about["count"], "engine": about["engine"], "seconds": seconds})
    return 0


def _job(args: argparse.Namespace) -> "SketchJob":
    """Return what is to be done over the samples."""
    from stepdown.calibration.calibrate import SketchJob
    from stepdown.data.dataset import select_files

    if not Path(args.model).is_file():
        raise InputError("no such file", args.model, "give an .mlir file")
    files = select_files(args.data_list, args.dataset, args.input_num, args.seed)
    if len(files) < args.input_num:
        print(f"there are only {len(files)} samples, not {args.input_num}", file=sys.stderr)
    job = SketchJob(args.model, files, args.engine)
    _refuse_overwriting(args, job.program, files)
    return job


def _observe(args: argparse.Namespace, job: "SketchJob") -> "tuple[Sketches, dict[str, Any]]":
    """Return the sketches over all samples, and what they were taken from."""
    from stepdown.calibration.samples import samples_digest
    from stepdown.calibration.sketches import from_arrays, write_sketches
    from stepdown.cli.shard_progress import ShardProgress
    from stepdown.distributed.engine import run_shards

    arrays = run_shards(
        job, len(job.files), workers=args.workers, folder=_shards(args), resume=args.resume,
        on_progress=ShardProgress(),
    )  # fmt: skip
    sketches = from_arrays(arrays, job.names)
    about = {
        "model": job.program.name, "weights": job.program["weight_sha256"], "count": len(job.files),
        "samples": samples_digest(job.hashes), "engine": job.identity()["engine"],
    }  # fmt: skip
    if args.sketch:
        write_sketches(args.sketch, sketches, about)
    return sketches, about


def _read(args: argparse.Namespace, program: "Program") -> "tuple[Sketches, dict[str, Any]]":
    """Return the sketches of --from_sketch, which must be of this very model."""
    from stepdown.calibration.calibrate import refuse_lowered
    from stepdown.calibration.sketches import read_sketches
    from stepdown.dialects.op import value_name
    from stepdown.transforms.import_calibration_table import float_values

    refuse_lowered(program)
    sketches, about = read_sketches(args.from_sketch)
    if about.get("weights") != program["weight_sha256"] or list(sketches) != [*map(value_name, float_values(program))]:
        raise InputError(
            f"was taken from another model than {args.model}", args.from_sketch, "take it again with --sketch"
        )
    _refuse_overwriting(args, program, [Path(args.from_sketch)])
    return sketches, about


def _shards(args: argparse.Namespace) -> Path:
    return Path(f"{args.output}.shards")


def _forget(args: argparse.Namespace, job: "SketchJob") -> None:
    from stepdown.distributed.engine import forget_shards

    forget_shards(job, _shards(args))


def _check(args: argparse.Namespace) -> None:
    for flag in ("input_num", "workers"):
        if getattr(args, flag) < 0:
            raise InputError(f"{getattr(args, flag)} is negative", f"--{flag}", "give how many, or leave it out")
    if args.percentile is None:
        args.percentile = 99.99
    elif args.cali_method != "percentile":
        raise InputError(f"has no meaning for the method {args.cali_method}", "--percentile", "leave it out")
    if not 50 < args.percentile <= 100:
        raise InputError(f"{args.percentile:g} is not above 50 and up to 100", "--percentile")
    _check_from_sketch(args)


def _check_from_sketch(args: argparse.Namespace) -> None:
    """Refuse options that only have a meaning where samples are run."""
    for flag in ("sketch", "input_num", "engine", "workers", "resume"):
        if args.from_sketch and getattr(args, flag):
            raise InputError("has no meaning with --from_sketch", f"--{flag}", "leave it out")


def _refuse_overwriting(args: argparse.Namespace, program: "Program", read: "list[Path]") -> None:
    """Raise InputError where a file that is written would replace one that is read, or each other."""
    weights = Path(args.model).with_name(Path(program["weight_file"] or args.model).name)
    taken = {path.resolve() for path in (Path(args.model), weights, *read)}
    taken |= {Path(args.data_list).resolve()} if args.data_list else set()
    for written in filter(None, (args.output, args.sketch)):
        if Path(written).resolve() in taken:
            raise InputError("would be overwritten", written, "choose another name")
        taken.add(Path(written).resolve())


def _notes(args: argparse.Namespace, about: "dict[str, Any]") -> list[str]:
    """Return how the table was made: nothing that differs between two runs on the same model and samples."""
    from stepdown import __version__

    method = f"percentile {args.percentile:g}" if args.cali_method == "percentile" else args.cali_method
    weights = f", weights {about['weights'][:16]}" if about["weights"] else ""
    return [
        f"calibration table, stepdown {__version__}",
        f"model {about['model']}{weights}",
        f"method {method}, {about['count']} samples {about['samples'][:16]}, {about['engine']}",
    ]


def _report(args: argparse.Namespace, result: "dict[str, Any]") -> None:
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
