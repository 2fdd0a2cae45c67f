"""One row, measured in a process of its own: `python -m stepdown.evaluation.experiments.measure TASK RESULT`."""

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from stepdown.errors import StepError
from stepdown.evaluation.evaluate import Evaluation
from stepdown.evaluation.experiments.engines import Artefact, Timed, fitted, made, preprocess_of
from stepdown.evaluation.experiments.plan import Row, Settings, Subject
from stepdown.evaluation.matrix import class_figures
from stepdown.evaluation.network import Network, make_network
from stepdown.evaluation.open_set import open_set
from stepdown.evaluation.samples import chosen
from stepdown.evaluation.tally import Tally
from stepdown.files.atomic import write_text

DONE, FAILED, SKIPPED = "done", "failed", "skipped"
_LEAST_RUNS = 3


def measured(subject: Subject, row: Row, settings: Settings) -> dict[str, Any]:
    """Return what a row gives: status, compile time, sizes, latency, and with a dataset the figures of its classes."""
    from stepdown.runtimes.native import ForeignLibrary

    with tempfile.TemporaryDirectory() as folder:
        artefact = made(subject, row, Path(folder), settings.tune)
        found = _sizes(artefact)
        try:
            runner = artefact.open()
        except ForeignLibrary as error:
            return {**found, "status": SKIPPED, "message": error.what}
        with closing(runner):
            return {
                **found,
                "status": DONE,
                **_run(subject, runner, replace(settings, count=row.count or settings.count)),
            }


def _sizes(artefact: Artefact) -> dict[str, Any]:
    return {
        "compile_s": artefact.compile_s,
        "artefact_bytes": artefact.artefact_bytes,
        "source": Path(artefact.source).name,
        "source_bytes": artefact.source_bytes,
        "notes": artefact.notes,
    }


def _run(subject: Subject, runner: Timed, settings: Settings) -> dict[str, Any]:
    """Return the figures and the latency of an opened network."""
    preprocess = fitted(preprocess_of(subject.mlir), runner, subject.mlir)
    network = make_network(runner, subject.name, preprocess)
    quality = _judged(network, settings) if settings.dataset else {}
    if not quality:
        shape = tuple(size or 1 for size in network.input.shape)
        runner.run({network.input.name: np.random.default_rng(0).random(shape, np.float32)})
    return {"latency": latency(runner, settings), **quality}


def _judged(network: Network, settings: Settings) -> dict[str, Any]:
    """Return the figures of a network on samples, whose labels grow by `label_offset` to be classes of the network."""
    offset = settings.label_offset
    samples = open_set(Path(settings.dataset), network.classes - offset).shifted(offset, network.classes)
    tally = Evaluation(samples, network).run(chosen(len(samples), settings.count))
    return {"quality": quality_of(tally), "confusion": [[*pair, n] for pair, n in sorted(tally.confusion.items())]}


def quality_of(tally: Tally) -> dict[str, Any]:
    """Return accuracy, and over the classes that occur the means of precision and recall, and the G-mean.

    Precision is of classes that were predicted, recall of those that have samples. The G-mean is the n-th root of the
    product of all recalls: 0 where a class has no hit.
    """
    classes = class_figures(tally.confusion)
    recalls = [c.recall for c in classes if c.recall is not None]
    precisions = [c.precision for c in classes if c.precision is not None]
    return {
        "samples": tally.samples,
        "classes": len(recalls),
        "accuracy": tally.accepted1 / tally.samples,
        "top5": tally.accepted5 / tally.samples,
        "precision": statistics.fmean(precisions),
        "recall": statistics.fmean(recalls),
        "g_mean": statistics.geometric_mean(recalls) if all(recalls) else 0.0,
    }


def latency(runner: Timed, settings: Settings) -> dict[str, Any]:
    """Return median, 90th percentile and least milliseconds of runs after the warm-up; fewer where time is up."""
    started = time.perf_counter()
    for _ in range(settings.warmup):
        runner.again()
        if time.perf_counter() - started > settings.seconds / 4:
            break
    times: list[float] = []
    while len(times) < settings.runs:
        start = time.perf_counter()
        runner.again()
        times.append(1e3 * (time.perf_counter() - start))
        if len(times) >= _LEAST_RUNS and time.perf_counter() - started > settings.seconds:
            break
    median, ninth = np.percentile(times, [50, 90])
    return {"median_ms": float(median), "p90_ms": float(ninth), "least_ms": min(times), "runs": len(times)}


def task_text(subject: Subject, row: Row, settings: Settings) -> str:
    """Return a row as the text that a process of its own reads."""
    return json.dumps({"subject": asdict(subject), "row": asdict(row), "settings": asdict(settings)})


def main(task: str, result: str) -> None:
    """Measure the row in the file `task`, and write what it gives, or why it gives nothing."""
    asked: Mapping[str, Any] = json.loads(Path(task).read_text(encoding="utf-8"))
    try:
        found = measured(Subject(**asked["subject"]), Row(**asked["row"]), Settings(**asked["settings"]))
    except StepError as error:
        found = {"status": FAILED, "message": str(error)}
    write_text(result, json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
