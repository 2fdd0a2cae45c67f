"""Collect the range of every tensor over a set of samples (run_calibration.py)."""

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stepdown.cli.cluster_flags import add_cluster_flags, cluster_from_args
from stepdown.cli.tool import Parser
from stepdown.errors import InputError

if TYPE_CHECKING:
    from stepdown.calibration.calibrate import SketchJob
    from stepdown.calibration.sketches import Sketches
    from stepdown.calibration.table import Row
    from stepdown.calibration.tune import TuneJob
    from stepdown.dialects.program import Program

EXAMPLES = """\
examples:
  run_calibration.py resnet18.mlir --data_list dataset_cali/image_list.txt -o resnet18_cali_table
  run_calibration.py resnet18.mlir --dataset /dataset/imagenet/val --input_num 100 -o resnet18_cali_table_100
  run_calibration.py resnet18.mlir --dataset /dataset/imagenet/val --sketch resnet18_sketch.npz -o table_max
  run_calibration.py resnet18.mlir --from_sketch resnet18_sketch.npz --cali_method kl -o table_kl
  run_calibration.py resnet18.mlir --dataset /dataset/imagenet/val --tune --tune_num 20 -o table_tuned
"""
METHODS = ("percentile", "mse", "max", "kl", "auto")
TUNE_NUM = 32


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
        "--cali_method", choices=METHODS, default="percentile",
        help="how ranges are chosen: percentile (default) of the values; mse, least squared error of rounding and "
        "clipping; max, all that was seen; kl, least divergence; auto, tensor by tensor, that of these four "
        "with the least absolute error",
    )  # fmt: skip
    method.add_argument("--percentile", type=float, metavar="P", help="of the method percentile (default 99.99)")
    method.add_argument(
        "--tune", action="store_true", help="then move every range to where the ops that read the tensor err least"
    )
    method.add_argument("--tune_num", type=int, metavar="N", help=f"samples of --tune (default {TUNE_NUM})")
    _add_running(tool)
    tool.add_argument("--sketch", metavar="X.npz", help="also write what was seen, for --from_sketch")
    tool.add_argument("-o", "--output", required=True, metavar="TABLE", help="the table to write")
    tool.add_argument("--json", action="store_true", help="print the result as JSON")
    return tool


def _add_samples(tool: argparse.ArgumentParser) -> None:
    group = tool.add_argument_group("samples")
    source = group.add_mutually_exclusive_group()
    source.add_argument("--data_list", metavar="LIST", help="text file that names photos or .npz files, one a line")
    source.add_argument("--dataset", metavar="DIR", help="folder, from which --input_num files are chosen at random")
    group.add_argument("--from_sketch", metavar="X.npz", help="what --sketch wrote: samples are only read to --tune")
    group.add_argument("--input_num", type=int, default=0, metavar="N", help="how many samples (default: all)")
    group.add_argument("--seed", type=int, default=0, help="of the choice from --dataset (default 0)")


def _add_running(tool: argparse.ArgumentParser) -> None:
    group = tool.add_argument_group("running")
    group.add_argument(
        "--engine", choices=("ort", "reference"), default="",
        help="what runs the model: onnxruntime (default where it can), or the reference interpreter",
    )  # fmt: skip
    group.add_argument("--workers", type=int, default=0, metavar="N", help="processes (default: one a CPU, at most 8)")
    add_cluster_flags(group)
    group.add_argument(
        "--resume", action="store_true", help="go on where an earlier run was killed (it leaves TABLE.shards)"
    )


def run(args: argparse.Namespace) -> int:
    """Write the table; raises InputError."""
    _check(args)
    from stepdown.calibration.calibrate import choose_ranges, never_clipped
    from stepdown.calibration.table import write_table
    from stepdown.dialects.program import read_program
    from stepdown.distributed.engine import forget_shards

    start = time.monotonic()
    files = _files(args)
    job = None if args.from_sketch else _job(args, files)
    program = job.program if job else read_program(args.model)
    sketches, about = _observe(args, job) if job else _read(args, program, files)
    rows = choose_ranges(sketches, args.cali_method, args.percentile, never_clipped(program))
    tune = _tune_job(args, files, rows, sketches) if args.tune else None
    rows |= _tuned(args, tune, [name for name in rows if name not in never_clipped(program)]) if tune else {}
    write_table(args.output, rows, _notes(args, about, tune))
    for done in (job, tune):
        if done:
            forget_shards(done, _shards(args))
    seconds = round(time.monotonic() - start, 2)
    _report(args, {"tensors": len(rows), "samples": about["count"], "engine": about["engine"], "seconds": seconds})
    return 0


def _files(args: argparse.Namespace) -> "list[Path]":
    """Return the sample files, none where none are read."""
    from stepdown.data.dataset import select_files

    if not Path(args.model).is_file():
        raise InputError("no such file", args.model, "give an .mlir file")
    if not (args.data_list or args.dataset):
        return []
    files = select_files(args.data_list, args.dataset, args.input_num, args.seed)
    if len(files) < args.input_num:
        print(f"there are only {len(files)} samples, not {args.input_num}", file=sys.stderr)
    return files


def _job(args: argparse.Namespace, files: "list[Path]") -> "SketchJob":
    """Return what is to be done over the samples."""
    from stepdown.calibration.calibrate import SketchJob

    job = SketchJob(args.model, files, args.engine)
    _refuse_overwriting(args, job.program, files)
    return job


def _tune_job(args: argparse.Namespace, files: "list[Path]", rows: "dict[str, Row]", sketches: "Sketches") -> "TuneJob":
    """Return the second pass, over samples spread evenly over all."""
    from stepdown.calibration.calibrate import choose_ranges
    from stepdown.calibration.tune import TuneJob

    count = min(args.tune_num or TUNE_NUM, len(files))
    chosen = [files[number * len(files) // count] for number in range(count)]
    return TuneJob(args.model, chosen, rows, choose_ranges(sketches, "max"))


def _tuned(args: argparse.Namespace, job: "TuneJob", names: list[str]) -> "dict[str, Row]":
    """Return the rows of `names` after the second pass."""
    from stepdown.calibration.tune import tuned_rows
    from stepdown.cli.shard_progress import ShardProgress
    from stepdown.distributed.engine import run_shards

    errors = run_shards(
        job, len(job.files), workers=args.workers, cluster=args.cluster, folder=_shards(args), resume=args.resume,
        on_progress=ShardProgress("samples tuned"),
    )["errors"]  # fmt: skip
    tuned = tuned_rows(list(job.rows), job.rows, job.limits, errors)
    return {name: tuned[name] for name in names}


def _observe(args: argparse.Namespace, job: "SketchJob") -> "tuple[Sketches, dict[str, Any]]":
    """Return the sketches over all samples, and what they were taken from."""
    from stepdown.calibration.samples import samples_digest
    from stepdown.calibration.sketches import from_arrays, write_sketches
    from stepdown.cli.shard_progress import ShardProgress
    from stepdown.distributed.engine import run_shards

    arrays = run_shards(
        job, len(job.files), workers=args.workers, cluster=args.cluster, folder=_shards(args), resume=args.resume,
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


def _read(args: argparse.Namespace, program: "Program", files: "list[Path]") -> "tuple[Sketches, dict[str, Any]]":
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
    _refuse_overwriting(args, program, [Path(args.from_sketch), *files])
    return sketches, about


def _shards(args: argparse.Namespace) -> Path:
    return Path(f"{args.output}.shards")


def _check(args: argparse.Namespace) -> None:
    for flag in ("input_num", "workers"):
        if getattr(args, flag) < 0:
            raise InputError(f"{getattr(args, flag)} is negative", f"--{flag}", "give how many, or leave it out")
    args.cluster = cluster_from_args(args)
    if args.percentile is None:
        args.percentile = 99.99
    elif args.cali_method != "percentile":
        raise InputError(f"has no meaning for the method {args.cali_method}", "--percentile", "leave it out")
    if not 50 < args.percentile <= 100:
        raise InputError(f"{args.percentile:g} is not above 50 and up to 100", "--percentile")
    _check_tuning(args)
    _check_source(args)


def _check_tuning(args: argparse.Namespace) -> None:
    if args.tune_num is None:
        return
    if not args.tune:
        raise InputError("has no meaning without --tune", "--tune_num", "add --tune, or leave it out")
    if args.tune_num < 1:
        raise InputError(f"{args.tune_num} is not a number of samples", "--tune_num", "give 1 or more")


def _check_source(args: argparse.Namespace) -> None:
    """Refuse a run that has no samples where it needs them, and options that say how to read them where none are."""
    listed = args.data_list or args.dataset
    if not (listed or args.from_sketch):
        raise InputError("there are no samples", fix="give --data_list, --dataset or --from_sketch")
    if args.from_sketch and args.tune and not listed:
        raise InputError("needs samples", "--tune", "give --data_list or --dataset beside --from_sketch")
    if args.from_sketch and listed and not args.tune:
        raise InputError("reads no samples", "--from_sketch", "leave out --data_list and --dataset, or add --tune")
    unused = ("sketch", "engine") if args.tune else ("sketch", "engine", "input_num", "workers", "scheduler", "resume")
    for flag in unused:
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


def _notes(args: argparse.Namespace, about: "dict[str, Any]", tune: "TuneJob | None") -> list[str]:
    """Return how the table was made: nothing that differs between two runs on the same model and samples."""
    from stepdown import __version__
    from stepdown.calibration.samples import samples_digest

    tuned = [f"tuned over {len(tune.files)} samples {samples_digest(tune.hashes)[:16]}"] if tune else []
    method = f"percentile {args.percentile:g}" if args.cali_method == "percentile" else args.cali_method
    weights = f", weights {about['weights'][:16]}" if about["weights"] else ""
    return [
        f"calibration table, stepdown {__version__}",
        f"model {about['model']}{weights}",
        f"method {method}, {about['count']} samples {about['samples'][:16]}, {about['engine']}",
        *tuned,
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
