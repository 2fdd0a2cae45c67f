"""The error of every op of a lowered network: what it adds by itself, what has accumulated, what the outputs suffer."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from stepdown.diagnosis.arithmetic import wrong_arithmetic
from stepdown.diagnosis.causes import CAUSES, shares
from stepdown.diagnosis.constants import wrong_constant
from stepdown.diagnosis.noise import Noise
from stepdown.diagnosis.reference import Tensors, Values, check_pair, named, run_values
from stepdown.diagnosis.samples import Sample, Told, quiet, reference_runs
from stepdown.diagnosis.units import Local, Unit, Units
from stepdown.dialects.op import layout_of, value_name
from stepdown.dialects.program import Program
from stepdown.runtimes.perturbed import Perturbed

_OVERFLOW = 1e30


@dataclass
class Row:
    """What was measured of one unit.

    `own` is its error on the reference's operands; `accumulated` that of its tensor in the whole lowered run; `outputs`
    that of each network output when this unit alone is wrong; `causes` by how much each cause's absence lowers `own`.
    """

    unit: Unit
    own: Noise = field(default_factory=Noise)
    accumulated: Noise = field(default_factory=Noise)
    outputs: list[Noise] = field(default_factory=list)
    causes: np.ndarray = field(default_factory=lambda: np.zeros(len(CAUSES)))
    low: float = np.inf
    high: float = -np.inf
    wrong: str = ""
    """What is wrong with a constant that no rounding could have given, '' where nothing is."""
    wrong_cause: str = ""

    def blame(self, cause: str, wrong: str) -> None:
        """Note what is wrong for certain; what was noted first stays."""
        if wrong and not self.wrong:
            self.wrong_cause, self.wrong = cause, wrong

    @property
    def effect(self) -> float:
        """Noise over signal at the output that suffers most from this unit alone."""
        return max((noise.share for noise in self.outputs), default=0.0)

    @property
    def cause(self) -> str:
        """What is certain, else the cause whose absence helps most; '' where there is no error."""
        if self.wrong:
            return self.wrong_cause
        return CAUSES[int(np.argmax(self.causes))] if self.causes.any() else ""

    @property
    def cause_share(self) -> float:
        """How much of the noise goes with the cause, 0 … 1."""
        return float(self.causes.max() / self.causes.sum()) if self.causes.any() else 0.0


@dataclass
class Diagnosis:
    """All rows, those with a wrong constant first, then by what they do to the outputs; and the outputs' errors."""

    rows: list[Row]
    outputs: dict[str, Noise]
    units: Units
    engine: str

    @property
    def ranges(self) -> dict[str, tuple[float, float]]:
        """By tensor, the least and greatest value of the reference."""
        return {row.unit.name: (row.low, row.high) for row in self.rows}


def diagnose(
    target: Program, reference: Program, samples: Sequence[Sample], explained: int = 10, told: Told = quiet
) -> Diagnosis:
    """Return what every unit of `target` does wrong, measured on `samples`; causes of the `explained` worst.

    Raises:
        InputError: the programs do not belong together, or a sample does not fit.
    """
    check_pair(target, reference)
    units, float_run = Units(target, reference), Perturbed(reference)
    rows = [Row(unit, outputs=[Noise() for _ in reference.results]) for unit in units.all]
    for row in rows:
        row.blame(*wrong_constant(units, row.unit))
    for number, (sample, values, tensors) in enumerate(reference_runs(reference, samples), 1):
        _accumulate(target, sample, rows, tensors)
        wanted = float_run.outputs(values)
        for place, row in enumerate(rows, 1):
            _measure(units, row, values, tensors, float_run, wanted)
            told(f"sample {number} of {len(samples)}, op {place} of {len(rows)}")
    rows.sort(key=lambda row: (not row.wrong, -row.effect))
    _explain(units, [row for row in rows[:explained] if row.effect], samples)
    accumulated = {row.unit.name: row.accumulated for row in rows}
    outputs = {name: accumulated.get(name, Noise()) for name in map(value_name, reference.results)}
    return Diagnosis(rows, outputs, units, float_run.engine)


def _accumulate(target: Program, sample: Sample, rows: list[Row], tensors: Tensors) -> None:
    """Add to every row the error of its tensor in a run of the whole lowered network."""
    found = named(run_values(target, sample))
    for row in rows:
        row.accumulated.add(found[row.unit.name], tensors[row.unit.name])


def _measure(
    units: Units, row: Row, values: Values, tensors: Tensors, float_run: Perturbed, wanted: list[np.ndarray]
) -> None:
    """Add one sample's own error of a unit and its effect on the outputs."""
    unit, reference = row.unit, tensors[row.unit.name]
    local = units.run(unit, tensors)
    row.blame(*wrong_arithmetic(units, unit, local, tensors))
    error = own_error(units, unit, local, tensors)
    row.own.add(reference + error, reference)
    row.low, row.high = min(row.low, float(reference.min())), max(row.high, float(reference.max()))
    wrong = effect_of(unit, error, values, float_run) if error.any() else wanted
    for noise, right, found in zip(row.outputs, wanted, wrong, strict=True):
        noise.add(found, right)


def own_error(units: Units, unit: Unit, local: Local, tensors: Tensors) -> np.ndarray:
    """Return what a unit adds to its tensor, in the source's layout; what overflowed is as wrong as a number can be."""
    error = np.asarray(local.result, np.float64) - units.mean(unit, local.operands, tensors)
    return np.nan_to_num(error, posinf=_OVERFLOW, neginf=-_OVERFLOW)


def effect_of(unit: Unit, error: np.ndarray, values: Values, float_run: Perturbed) -> list[np.ndarray]:
    """Return the outputs of the float network with `error`, in the source's layout, added to a unit's tensor."""
    order = layout_of(unit.meaning)
    placed = error.transpose(np.argsort(order)) if order else error
    return float_run.outputs(values, unit.meaning, placed.astype(np.float32))


def _explain(units: Units, rows: list[Row], samples: Sequence[Sample]) -> None:
    """Find the causes of some rows."""
    for _, _, tensors in reference_runs(units.reference, samples):
        for row in rows:
            local = units.run(row.unit, tensors)
            meant = units.mean(row.unit, local.operands, tensors)
            row.causes += shares(units, row.unit, local, meant, tensors)
