"""Measure a classifier on labelled samples (model_eval_imagenet.py)."""

import argparse
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from stepdown.cli.cluster_flags import add_cluster_flags, cluster_from_args
from stepdown.cli.model_eval_report import outputs, print_summary, write_reports
from stepdown.cli.preprocess_flags import (
    PREPROCESS_FLAGS,
    add_preprocess_flags,
    has_preprocess_flags,
    preprocess_from_args,
)
from stepdown.cli.tool import Parser
from stepdown.errors import InputError

if TYPE_CHECKING:
    from stepdown.data.preprocess import Preprocess
    from stepdown.evaluation.job import EvaluationJob
    from stepdown.evaluation.network import Facts, Plan
    from stepdown.evaluation.samples import LabelledSet

EXAMPLES = """\
examples:
  model_eval_imagenet.py --model resnet18_int8_sym_1684x.mlir --dataset /dataset/imagenet/val --count 1000
  model_eval_imagenet.py --model resnet18_int8_sym_1684x.mlir --dataset /dataset/imagenet/val \\
      --reference resnet18.mlir --confusion_matrix confusion.png --per_class classes.csv --json int8.json
  model_eval_imagenet.py --model mobilenet_v2_int8.tflite --dataset /dataset/imagenet/val \\
      --preprocess_from mobilenet_v2.mlir
"""


UNTOLD = "nothing says how pixels become the input, so it is 0..255; see --mean, --scale and --preprocess_from"


def parser() -> argparse.ArgumentParser:
    """Return the tool's parser."""
    tool = Parser(
        prog="model_eval_imagenet.py",
        description="Count how often a classifier is right on labelled photos or arrays.",
        epilog=EXAMPLES,
    )
    tool.add_argument("--model", required=True, metavar="FILE", help=".onnx, .tflite, .mlir, .bmodel or .so")
    tool.add_argument(
        "--dataset", required=True, metavar="PATH",
        help="folder with a folder a class, or with a val.txt (`file class` a line); such a list; or .npz with x and y",
    )  # fmt: skip
    tool.add_argument("--count", type=int, default=0, metavar="N", help="how many samples, at random (default: all)")
    tool.add_argument("--seed", type=int, default=0, help="another seed, another choice (default 0)")
    tool.add_argument("--batch", type=int, default=0, metavar="N", help="samples at once, if the model leaves it open")
    tool.add_argument("--val_list", metavar="LIST", help="list of the photos in --dataset (default: its val.txt)")
    tool.add_argument(
        "--accept", metavar="TSV", help="further labels that count as right (default: val_accept.tsv beside the list)"
    )
    tool.add_argument("--labels", metavar="FILE", help="names of the classes, one a line (default ImageNet's for 1000)")
    tool.add_argument("--label_offset", type=int, metavar="N", help="added to labels; 1 if class 0 is the background")
    tool.add_argument("--scores", default="", metavar="NAME", help="output with the scores, if the model has several")
    tool.add_argument(
        "--kernels", choices=("reference", "optimized", "xnnpack"), default="xnnpack",
        help="LiteRT's kernels for .tflite (default xnnpack, as on phones); their integers differ",
    )  # fmt: skip
    tool.add_argument("--network", default="", metavar="NAME", help="which network of a .bmodel that holds several")
    tool.add_argument("--reference", metavar="FILE", help="model to compare with: agreement, cosine and SQNR of scores")
    tool.add_argument("--workers", type=int, default=0, metavar="N", help="processes (default: one a CPU, 8 at most)")
    add_cluster_flags(tool)
    tool.add_argument("--resume", action="store_true", help="go on where a killed run with the same --json stopped")
    tool.add_argument("--skip_unreadable", action="store_true", help="count photos that cannot be read, and go on")
    _add_outputs(tool)
    add_preprocess_flags(tool)
    tool.add_argument("--preprocess_from", metavar="X.mlir", help="preprocess as this module says, not by flags")
    return tool


def _add_outputs(tool: argparse.ArgumentParser) -> None:
    tool.add_argument(
        "--confusion_matrix", action="append", default=[], metavar="X.png|X.csv",
        help="rows are true classes, columns predicted ones; may be given twice",
    )  # fmt: skip
    tool.add_argument("--per_class", metavar="X.csv", help="recall and precision of each class")
    tool.add_argument("--wrong", metavar="X.csv", help="samples judged wrong, with their five best classes")
    tool.add_argument("--json", metavar="X.json", help="all figures, and all that they were made of")


def run(args: argparse.Namespace) -> int:
    """Evaluate, and print and write what was found; raises InputError."""
    _check(args)
    from stepdown.distributed.engine import forget_shards, run_shards
    from stepdown.evaluation.job import shard_folder, tally_of
    from stepdown.evaluation.progress import Meter

    job, names = _job(args)
    folder = shard_folder(args.json) if args.json else None
    meter, total = Meter(job.live), len(job.indices)
    arrays = run_shards(
        job, total, workers=args.workers, cluster=args.cluster, folder=folder, resume=args.resume, on_progress=meter
    )
    meter.finish(arrays["counts"])
    tally = tally_of(arrays)
    if not tally.samples:
        raise InputError(f"no sample can be read: {next(iter(tally.skipped.values()))}", job.samples.source)
    print_summary(args, job, tally, arrays["seconds"], meter.seconds)
    write_reports(args, job, tally, names)
    if folder is not None:
        forget_shards(job, folder)
    return 0


def _job(args: argparse.Namespace) -> "tuple[EvaluationJob, list[str]]":
    """Return the work, and the names of the classes; raises InputError."""
    from stepdown.evaluation.job import EvaluationJob
    from stepdown.evaluation.samples import chosen

    model, facts = _plan(args, args.model)
    reference, theirs = _plan(args, args.reference, facts) if args.reference else (None, None)
    names = _class_names(args, facts.classes)
    samples = _samples(args, facts, names)
    indices = chosen(len(samples), args.count, args.seed)
    if len(indices) < args.count:
        print(f"there are only {len(indices)} samples, not {args.count}", file=sys.stderr)
    if not args.skip_unreadable:
        samples.check_files(indices)
    known = (facts, theirs) if theirs else (facts,)
    job = EvaluationJob(samples, tuple(indices), model, reference, known, args.skip_unreadable, bool(args.wrong))
    return job, names or list(samples.class_names)


def _check(args: argparse.Namespace) -> None:
    if args.resume and not args.json:
        raise InputError("finds what a killed run left beside its --json X.json", "--resume", "give --json")
    for flag in ("count", "batch", "workers"):
        if getattr(args, flag) < 0:
            raise InputError(f"{getattr(args, flag)} is negative", f"--{flag}")
    args.cluster = cluster_from_args(args)
    _check_outputs(args)
    for path in args.confusion_matrix:
        if not path.endswith((".png", ".csv")):
            raise InputError("ends neither in .png nor in .csv", path)
    if args.preprocess_from and has_preprocess_flags(args):
        raise InputError("says all of the preprocessing", "--preprocess_from", "leave out --mean, --scale, …")


def _check_outputs(args: argparse.Namespace) -> None:
    read = (args.model, args.reference, args.dataset, args.val_list, args.accept, args.labels, args.preprocess_from)
    taken = {Path(path).resolve() for path in read if path}
    for path in outputs(args):
        if Path(path).is_dir() or not Path(path).parent.is_dir():
            raise InputError("cannot be written: a folder, or in a folder that does not exist", path, "create it first")
        if Path(path).resolve() in taken:
            raise InputError("would be overwritten", path, "choose another name")
        taken.add(Path(path).resolve())


def _plan(args: argparse.Namespace, path: str, like: "Facts | None" = None) -> "tuple[Plan, Facts]":
    """Say how a model is run; the reference is `like` the model where it says nothing of its own.

    Raises:
        InputError: the file cannot be opened, is no classifier, or the reference has other classes.
    """
    from stepdown.evaluation.network import Plan, facts_of, input_shape, make_network, only_input
    from stepdown.runtimes import RunnerOptions, open_runner

    options = RunnerOptions(threads=1, kernels=args.kernels, network="" if like else args.network)
    output = "" if like else args.scores
    with closing(open_runner(path, options)) as runner:
        spec = only_input(runner, path)
        preprocess = _preprocess(args, path, input_shape(spec, path), runner.preprocessing.get(spec.name, {}), like)
        facts = facts_of(make_network(runner, path, preprocess, output, args.batch))
    if like is not None and facts.classes != like.classes:
        raise InputError(f"has {facts.classes} classes, {like.file} {like.classes}", path, "give another --reference")
    return Plan(path, preprocess, options, output, args.batch), facts


def _preprocess(
    args: argparse.Namespace, path: str, shape: tuple[int, ...], stored: dict[str, object], like: "Facts | None"
) -> "Preprocess":
    """Return how photos become an input: what the model stores, else --preprocess_from, else the flags."""
    from stepdown.data.preprocess import Preprocess
    from stepdown.evaluation.network import relaid

    own = Preprocess.from_attributes(stored, shape) if stored else None
    asked = [f"--{name}" for name in PREPROCESS_FLAGS if getattr(args, name) not in (None, False)]
    asked += ["--preprocess_from"] if args.preprocess_from else []
    if own is not None and own.is_image:
        if asked and like is None:
            raise InputError("stores its preprocessing", path, f"leave out {', '.join(asked)}")
        return own
    plain = _from_flags(args, path, shape)
    if plain.is_image and not asked and like is None:
        print(f"warning: {path}: {UNTOLD}", file=sys.stderr)
    if args.preprocess_from:
        return relaid(_borrowed(args.preprocess_from), shape, plain.channel_format)
    if like is not None and not asked and like.preprocess.is_image:
        return relaid(like.preprocess, shape, plain.channel_format)
    return plain


def _from_flags(args: argparse.Namespace, path: str, shape: tuple[int, ...]) -> "Preprocess":
    try:
        return preprocess_from_args(args, shape)
    except InputError as error:
        raise InputError(error.what, ": ".join(filter(None, (path, error.where))), error.fix) from error


def _borrowed(path: str) -> "Preprocess":
    from stepdown.data.preprocess import from_model

    found = [preprocess for preprocess in from_model(path).values() if preprocess.is_image]
    if len(found) != 1:
        raise InputError(f"stores the preprocessing of {len(found)} inputs, want one", path, "give another module")
    return found[0]


def _class_names(args: argparse.Namespace, classes: int) -> list[str]:
    """Return the names of the network's classes, the background's too; none where nothing tells them.

    Raises:
        InputError: --labels has another number of names.
    """
    from stepdown.data.labels import read_labels
    from stepdown.evaluation.samples import IMAGENET_CLASSES

    offset = max(0, args.label_offset or 0)
    if not args.labels:
        return ["background"] * offset + read_labels() if classes - offset == IMAGENET_CLASSES else []
    names = read_labels(args.labels)
    if len(names) not in (classes, classes - offset):
        raise InputError(f"has {len(names)} names, the network {classes} classes", args.labels)
    return ["background"] * (classes - len(names)) + names


def _samples(args: argparse.Namespace, facts: "Facts", names: list[str]) -> "LabelledSet":
    from stepdown.evaluation.open_set import open_set

    offset = max(0, args.label_offset or 0)
    listed, accept = (Path(p) if p else None for p in (args.val_list, args.accept))
    found = open_set(Path(args.dataset), facts.classes - offset, names[offset:], listed, accept)
    return found.shifted(args.label_offset, facts.classes)
