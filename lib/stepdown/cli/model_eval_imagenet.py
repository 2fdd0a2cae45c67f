"""Measure a classifier on labelled samples (model_eval_imagenet.py)."""

import argparse
import sys
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING

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
    from stepdown.evaluation.evaluate import Evaluation
    from stepdown.evaluation.network import Network
    from stepdown.evaluation.samples import LabelledSet
    from stepdown.evaluation.tally import Tally

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
    tool.add_argument("--model", required=True, metavar="FILE", help="the model file: .onnx, .tflite, .mlir")
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
    tool.add_argument("--reference", metavar="FILE", help="model to compare with: agreement, cosine and SQNR of scores")
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
    from stepdown.evaluation.evaluate import Evaluation
    from stepdown.evaluation.progress import Progress
    from stepdown.evaluation.samples import chosen

    with ExitStack() as opened:
        network = _open(args, args.model, opened)
        reference = _open(args, args.reference, opened, network) if args.reference else None
        names = _class_names(args, network.classes)
        samples = _samples(args, network, names)
        indices = chosen(len(samples), args.count, args.seed)
        if len(indices) < args.count:
            print(f"there are only {len(indices)} samples, not {args.count}", file=sys.stderr)
        evaluation = Evaluation(samples, network, reference, args.skip_unreadable, bool(args.wrong))
        tally = evaluation.run(indices, Progress(len(indices)))
        if not tally.samples:
            raise InputError(f"no sample can be read: {next(iter(tally.skipped.values()))}", samples.source)
        _print(args, evaluation, tally)
        _write(args, evaluation, indices, tally, names or list(samples.class_names))
    return 0


def _check(args: argparse.Namespace) -> None:
    for flag in ("count", "batch"):
        if getattr(args, flag) < 0:
            raise InputError(f"{getattr(args, flag)} is negative", f"--{flag}")
    for path in _outputs(args):
        if Path(path).is_dir() or not Path(path).parent.is_dir():
            raise InputError("cannot be written: a folder, or in a folder that does not exist", path, "create it first")
        if Path(path).resolve() in {Path(p).resolve() for p in (args.model, args.reference, args.dataset) if p}:
            raise InputError("would be overwritten", path, "choose another name")
    for path in args.confusion_matrix:
        if not path.endswith((".png", ".csv")):
            raise InputError("ends neither in .png nor in .csv", path)
    if args.preprocess_from and has_preprocess_flags(args):
        raise InputError("says all of the preprocessing", "--preprocess_from", "leave out --mean, --scale, …")


def _outputs(args: argparse.Namespace) -> list[str]:
    return [*args.confusion_matrix, *filter(None, (args.per_class, args.wrong, args.json))]


def _open(args: argparse.Namespace, path: str, opened: ExitStack, like: "Network | None" = None) -> "Network":
    """Open a model; the reference is `like` the model where it says nothing of its own.

    Raises:
        InputError: the file cannot be opened, is no classifier, or the reference has other classes.
    """
    from stepdown.evaluation.network import input_shape, make_network, only_input
    from stepdown.runtimes import RunnerOptions, open_runner

    runner = opened.enter_context(closing(open_runner(path, RunnerOptions(kernels=args.kernels))))
    spec = only_input(runner, path)
    stored = runner.preprocessing.get(spec.name, {})
    preprocess = _preprocess(args, path, input_shape(spec, path), stored, like)
    network = make_network(runner, path, preprocess, "" if like else args.scores, args.batch)
    if like is not None and network.classes != like.classes:
        raise InputError(f"has {network.classes} classes, {like.name} {like.classes}", path, "give another --reference")
    return network


def _preprocess(
    args: argparse.Namespace, path: str, shape: tuple[int, ...], stored: dict[str, object], like: "Network | None"
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
    plain = preprocess_from_args(args, shape)
    if plain.is_image and not asked and like is None:
        print(f"warning: {path}: {UNTOLD}", file=sys.stderr)
    if args.preprocess_from:
        return relaid(_borrowed(args.preprocess_from), shape, plain.channel_format)
    if like is not None and not asked and like.preprocess.is_image:
        return relaid(like.preprocess, shape, plain.channel_format)
    return plain


def _borrowed(path: str) -> "Preprocess":
    from stepdown.data.preprocess import from_model

    found = [preprocess for preprocess in from_model(path).values() if preprocess.is_image]
    if len(found) != 1:
        raise InputError(f"stores the preprocessing of {len(found)} inputs, want one", path, "give another module")
    return found[0]


def _class_names(args: argparse.Namespace, classes: int) -> list[str]:
    """Return the names of the network's classes; none where nothing tells them."""
    from stepdown.data.labels import read_labels
    from stepdown.evaluation.samples import IMAGENET_CLASSES

    offset = max(0, args.label_offset or 0)
    known = classes - offset == IMAGENET_CLASSES
    names = read_labels(args.labels) if args.labels else read_labels() if known else []
    return ["background"] * offset + names if names else []


def _samples(args: argparse.Namespace, network: "Network", names: list[str]) -> "LabelledSet":
    from stepdown.evaluation.open_set import open_set

    offset = max(0, args.label_offset or 0)
    listed, accept = (Path(p) if p else None for p in (args.val_list, args.accept))
    found = open_set(Path(args.dataset), network.classes - offset, names[offset:], listed, accept)
    return found.shifted(args.label_offset, network.classes)


def _print(args: argparse.Namespace, evaluation: "Evaluation", tally: "Tally") -> None:
    from stepdown.evaluation.record import engine, preprocess_text
    from stepdown.evaluation.summary import entry, reference_lines, summary_lines, time_line

    network, samples = evaluation.network, evaluation.samples
    chosen = f"{tally.samples + len(tally.skipped)} of {len(samples)} samples of {samples.source}, seed {args.seed}"
    lines = [
        entry("model", f"{network.name} on {engine(network)}"),
        entry("input", f"{network.input.name}: {preprocess_text(network.preprocess)}"),
        entry("dataset", chosen),
        *summary_lines(tally, bool(samples.accepted)),
    ]
    if evaluation.reference is not None:
        lines += reference_lines(tally, f"{evaluation.reference.name} on {engine(evaluation.reference)}")
    clock = evaluation.clock
    lines.append(time_line(tally.samples, clock.total, clock.input, clock.model, clock.reference))
    print("\n".join(lines))


def _write(
    args: argparse.Namespace, evaluation: "Evaluation", indices: list[int], tally: "Tally", names: list[str]
) -> None:
    """Write the files asked for, and say so."""
    from stepdown.evaluation.matrix_picture import write_matrix_picture
    from stepdown.evaluation.record import record_text
    from stepdown.evaluation.tables import write_classes, write_matrix, write_wrong
    from stepdown.files.atomic import write_text

    def name(label: int) -> str:
        return names[label] if label < len(names) else str(label)

    for path in args.confusion_matrix:
        if path.endswith(".csv"):
            write_matrix(path, tally.confusion)
        else:
            write_matrix_picture(path, tally.confusion, name)
    if args.per_class:
        write_classes(args.per_class, tally.confusion, name)
    if args.wrong:
        write_wrong(args.wrong, tally, evaluation.samples, name)
    if args.json:
        settings = {"count": args.count, "seed": args.seed, "label_offset": args.label_offset or 0}
        write_text(args.json, record_text(evaluation, indices, tally, settings))
    for path in _outputs(args):
        print(f"wrote {path}")
