"""Samples for a diagnosis, read one at a time, and the reference's tensors on each."""

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from stepdown.diagnosis.reference import Tensors, Values, named, run_values
from stepdown.dialects.program import Program

Sample = Mapping[str, np.ndarray]
Told = Callable[[str], None]
"""Takes a line about how far a run is."""


def quiet(text: str) -> None:
    """Tell nothing."""


def reference_runs(program: Program, samples: Sequence[Sample]) -> Iterator[tuple[Sample, Values, Tensors]]:
    """Yield, by sample, the sample itself, every value of the reference's run, and its tensors by name."""
    for sample in samples:
        values = run_values(program, sample)
        yield sample, values, named(values)
