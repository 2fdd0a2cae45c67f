"""An evaluation as a job of the shard engine: several processes, killed and resumed, give the bytes of one run."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np

from stepdown.distributed.freight import Item, item, items, model_items
from stepdown.distributed.job import Arrays
from stepdown.evaluation.evaluate import Evaluation
from stepdown.evaluation.network import Facts, Network, Plan
from stepdown.evaluation.samples import LabelledSet, PhotoFiles
from stepdown.evaluation.sent import plain_set, set_from_plain
from stepdown.evaluation.tally import Tally

COUNTS = ("samples", "accepted1", "accepted5", "skipped")


@dataclass
class Live:
    """What is known while shards come in: the counts of the last one, and of all that are merged."""

    last: np.ndarray = field(default_factory=lambda: np.zeros(len(COUNTS), np.int64))
    total: np.ndarray = field(default_factory=lambda: np.zeros(len(COUNTS), np.int64))


@dataclass(frozen=True)
class EvaluationJob:
    """Judges the samples numbered `indices` of a set; `facts` says of the models what their plans do not.

    A shard gives `counts` (see `COUNTS`), `seconds` (reading, model, reference, all) and `tallies`: JSON, one a line.
    """

    samples: LabelledSet
    indices: tuple[int, ...]
    model: Plan
    reference: Plan | None
    facts: tuple[Facts, ...]
    skip: bool = False
    list_wrong: bool = False
    live: Live = field(default_factory=Live, compare=False)

    def identity(self) -> Mapping[str, Any]:
        """Return what decides the result: models, how they run, samples and labels."""
        options = {"skip": self.skip, "list_wrong": self.list_wrong}
        return {"models": [facts.as_plain() for facts in self.facts], "samples": self._digest(), **options}

    def open(self) -> "EvaluationTask":
        """Open the models."""
        network = self.model.open()
        reference = self.reference.open() if self.reference else None
        return EvaluationTask(self, network, reference)

    def shared_files(self) -> list[Item]:
        """Return the models and all that they name, and an npz of samples."""
        plans = [plan for plan in (self.model, self.reference) if plan]
        held = [] if isinstance(self.samples.read, PhotoFiles) else [item(self.samples.source)]
        return [*(one for plan in plans for one in model_items(plan.path)), *held]

    def sample_files(self, samples: range) -> list[Item]:
        """Return the photos of these samples."""
        reader = self.samples.read
        return items(reader.files[self.indices[i]] for i in samples) if isinstance(reader, PhotoFiles) else []

    def as_plain(self) -> Mapping[str, Any]:
        """Return what a machine that shares no files needs; `facts` only name the result."""
        return {
            "samples": plain_set(self.samples), "indices": self.indices, "model": self.model.as_plain(),
            "reference": self.reference and self.reference.as_plain(),
            "skip": self.skip, "list_wrong": self.list_wrong,
        }  # fmt: skip

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any], place: Callable[[str], str]) -> "EvaluationJob":
        """Return the job where its files are at other places."""
        model, reference = (
            Plan.from_plain(known, place) if known else None for known in (plain["model"], plain["reference"])
        )
        assert model is not None
        samples = set_from_plain(plain["samples"], place)
        return cls(samples, tuple(plain["indices"]), model, reference, (), plain["skip"], plain["list_wrong"])

    def merge(self, total: Arrays, more: Arrays) -> Arrays:
        """Return the results of both, and keep the counts for those who watch."""
        joined = {
            "counts": total["counts"] + more["counts"],
            "seconds": total["seconds"] + more["seconds"],
            "tallies": np.concatenate([total["tallies"], more["tallies"]]),
        }
        self.live.last, self.live.total = more["counts"], joined["counts"]
        return joined

    def _digest(self) -> str:
        """Return a hash of the chosen samples: names, labels, and of files the sizes and dates, of arrays the bytes."""
        digest = hashlib.sha256()
        for i in self.indices:
            known = (self.samples.names[i], self.samples.labels[i], sorted(self.samples.accepted_of(i)))
            digest.update(json.dumps([*known, self.samples.read.fingerprint(i)]).encode())
        return digest.hexdigest()


@dataclass
class EvaluationTask:
    """The opened models of a job, in one process."""

    job: EvaluationJob
    network: Network
    reference: Network | None

    def run(self, samples: range, on_sample: Callable[[], None]) -> Arrays:
        """Return what the samples give."""
        job = self.job
        evaluation = Evaluation(job.samples, self.network, self.reference, job.skip, job.list_wrong)

        def told(part: Tally, _: Tally) -> None:
            for _sample in range(part.samples + len(part.skipped)):
                on_sample()

        tally = evaluation.run([job.indices[i] for i in samples], told)
        clock = evaluation.clock
        line = json.dumps(tally.to_plain(), allow_nan=False) + "\n"
        return {
            "counts": np.array([tally.samples, tally.accepted1, tally.accepted5, len(tally.skipped)], np.int64),
            "seconds": np.array([clock.input, clock.model, clock.reference, clock.total]),
            "tallies": np.frombuffer(line.encode(), np.uint8),
        }

    def close(self) -> None:
        """Close the models."""
        self.network.runner.close()
        if self.reference is not None:
            self.reference.runner.close()


def tally_of(arrays: Arrays) -> Tally:
    """Return the tally of a job's result."""
    lines = arrays["tallies"].tobytes().splitlines()
    return reduce(lambda total, line: total.__iadd__(Tally.from_plain(json.loads(line))), lines, Tally())


def shard_folder(record: str) -> Path:
    """Return where finished shards are kept until the record is written."""
    return Path(f"{record}.shards")
