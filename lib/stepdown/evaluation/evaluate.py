"""The loop over samples: read, run, judge. Memory does not grow with their number but for what a report lists."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from stepdown.errors import InputError
from stepdown.evaluation.network import Network
from stepdown.evaluation.ranking import rank
from stepdown.evaluation.samples import LabelledSet
from stepdown.evaluation.similarity import likeness
from stepdown.evaluation.tally import Tally

T = TypeVar("T")
SKIP = "--skip_unreadable counts such samples and goes on"
OnBatch = Callable[[Tally, Tally], None]
"""Called after each batch with its own tally and that of all so far."""


@dataclass
class Clock:
    """Seconds spent on making inputs of files, on running the model, and on running the reference."""

    input: float = 0.0
    model: float = 0.0
    reference: float = 0.0
    started: float = field(default_factory=time.perf_counter)

    @property
    def total(self) -> float:
        """Seconds since the start."""
        return time.perf_counter() - self.started


@dataclass(frozen=True)
class Evaluation:
    """Judges samples of a set by a network, and compares it with a reference network.

    A sample's part in the result does not depend on the other samples or on the batch, so that any split of the
    samples gives tallies whose sum is that of one run. `skip` counts samples that cannot be read instead of raising
    InputError; `list_wrong` keeps the best classes of those judged wrong.
    """

    samples: LabelledSet
    network: Network
    reference: Network | None = None
    skip: bool = False
    list_wrong: bool = False
    clock: Clock = field(default_factory=Clock)

    def run(self, indices: Sequence[int], on_batch: OnBatch | None = None) -> Tally:
        """Return the tally of the samples numbered; raises InputError where one cannot be read or run."""
        total = Tally()
        for batch in _batches(indices, self.network.batch):
            part = self._batch(batch)
            total += part
            if on_batch is not None:
                on_batch(part, total)
        return total

    def _batch(self, indices: Sequence[int]) -> Tally:
        tally = Tally()
        read = {index: pair for index in indices if (pair := self._read(index, tally)) is not None}
        if not read:
            return tally
        inputs = [tensor for _, tensor in read.values()]
        started = time.perf_counter()
        scores = self.network.scores(inputs)
        self.clock.model += time.perf_counter() - started
        for index, row in zip(read, scores, strict=True):
            self._judge(tally, index, row)
        if self.reference is not None:
            self._compare(tally, [sample for sample, _ in read.values()], inputs, scores)
        return tally

    def _read(self, index: int, tally: Tally) -> tuple[np.ndarray, np.ndarray] | None:
        """Return a sample and the network's input made of it, None where that fails and is to be skipped."""
        started = time.perf_counter()
        try:
            sample = self.samples.read(index)
            return sample, self.network.tensor(sample)
        except InputError as error:
            where, fix = error.where or self.samples.names[index], "; ".join(filter(None, (error.fix, SKIP)))
            if not self.skip:
                raise InputError(error.what, where, fix) from error
            tally.skipped[index] = f"{where}: {error.what}"
            return None
        finally:
            self.clock.input += time.perf_counter() - started

    def _inputs(self, network: Network, samples: Iterable[np.ndarray]) -> list[np.ndarray]:
        started = time.perf_counter()
        made = [network.tensor(sample) for sample in samples]
        self.clock.input += time.perf_counter() - started
        return made

    def _judge(self, tally: Tally, index: int, scores: np.ndarray) -> None:
        ranking = rank(scores)
        right = tally.judge(self.samples.labels[index], self.samples.accepted_of(index), ranking)
        if self.list_wrong and not right:
            tally.wrong[index] = tuple(zip(ranking.classes, ranking.scores, strict=True))

    def _compare(
        self, tally: Tally, samples: list[np.ndarray], inputs: list[np.ndarray], scores: list[np.ndarray]
    ) -> None:
        """Run the reference on the same samples, in its own batches."""
        assert self.reference is not None
        if self.reference.preprocess != self.network.preprocess:
            inputs = self._inputs(self.reference, samples)
        started = time.perf_counter()
        theirs = [row for part in _batches(inputs, self.reference.batch) for row in self.reference.scores(part)]
        self.clock.reference += time.perf_counter() - started
        for own, other in zip(scores, theirs, strict=True):
            ranking, wanted = rank(own), rank(other)
            tally.compare(ranking.predicted == wanted.predicted and bool(ranking.classes), likeness(own, other))


def _batches(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
