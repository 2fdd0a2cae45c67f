"""What model_eval_imagenet.py prints and writes."""

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from stepdown.evaluation.job import EvaluationJob
    from stepdown.evaluation.tally import Tally


def outputs(args: argparse.Namespace) -> list[str]:
    """Return the files to write."""
    return [*args.confusion_matrix, *filter(None, (args.per_class, args.wrong, args.json))]


def print_summary(
    args: argparse.Namespace, job: "EvaluationJob", tally: "Tally", shares: "np.ndarray", seconds: float
) -> None:
    """Print the figures; `shares` are seconds of reading, model, reference and all, over all processes."""
    from stepdown.evaluation.record import preprocess_text
    from stepdown.evaluation.summary import entry, reference_lines, summary_lines, time_line

    model, samples = job.facts[0], job.samples
    chosen = f"{tally.samples + len(tally.skipped)} of {len(samples)} samples of {samples.source}, seed {args.seed}"
    lines = [
        entry("model", f"{model.file} on {model.engine}"),
        entry("input", f"{model.input}: {preprocess_text(model.preprocess)}"),
        entry("dataset", chosen),
        *summary_lines(tally, bool(samples.accepted)),
    ]
    if job.reference is not None:
        lines += reference_lines(tally, f"{job.facts[1].file} on {job.facts[1].engine}")
    lines.append(time_line(tally.samples, seconds, shares.tolist()))
    print("\n".join(lines))


def write_reports(args: argparse.Namespace, job: "EvaluationJob", tally: "Tally", names: list[str]) -> None:
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
        write_wrong(args.wrong, tally, job.samples, name)
    if args.json:
        settings = {"count": args.count, "seed": args.seed, "label_offset": args.label_offset or 0}
        write_text(args.json, record_text(job, tally, settings))
    for path in outputs(args):
        print(f"wrote {path}")
