"""What to do about a bad op, in words and in files, and the accuracy after it: by lowering the reference again."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from stepdown.diagnosis.causes import CLIPPING, RESOLUTION, limits
from stepdown.diagnosis.noise import Noise
from stepdown.diagnosis.reference import Tensors, named, run_values
from stepdown.diagnosis.relower import Recipe, lower, measure, outputs_of, recipe_of, row_over
from stepdown.diagnosis.samples import Sample, Told, quiet
from stepdown.diagnosis.units import Unit, Units
from stepdown.diagnosis.why_bad import Diagnosis
from stepdown.diagnosis.why_bad import Row as BadRow
from stepdown.dialects.op import TensorOp
from stepdown.dialects.types import quant_of
from stepdown.transforms.import_calibration_table import Row

_SPARE, _ENOUGH_SAMPLES = 1.5, 16
"""A range this many times as wide as the values of that many samples is too wide; fewer samples do not show it."""
_OUTLIER = 8.0


@dataclass
class Remedy:
    """What to change for the op `name`: rows of the calibration table, modes of ops; then the outputs' errors."""

    name: str
    text: str
    rows: Mapping[str, Row] = field(default_factory=dict)
    modes: Mapping[str, str] = field(default_factory=dict)
    after: dict[str, Noise] = field(default_factory=dict)


@dataclass
class Remedies:
    """A remedy an op, all of them together, and the reference lowered again with nothing changed."""

    each: list[Remedy]
    together: Remedy
    again: dict[str, Noise]
    recipe: Recipe


def find_remedies(
    found: Diagnosis, samples: Sequence[Sample], count: int, chip: str = "", told: Told = quiet
) -> Remedies:
    """Return remedies for the `count` worst ops of a diagnosis, each measured by itself, and all together."""
    units = found.units
    recipe = recipe_of(units, found.ranges, chip)
    wanted = [outputs_of(units.reference, sample) for sample in samples]
    tensors = named(run_values(units.reference, samples[0]))
    each = [
        _remedy(units, row, recipe, tensors, len(samples) >= _ENOUGH_SAMPLES) for row in found.rows[:count] if row.cause
    ]
    again = measure(lower(units.reference, recipe), samples, wanted)
    together = Remedy("", "all of these", _merged([r.rows for r in each]), _merged([r.modes for r in each]))
    for place, remedy in enumerate([*each, together], 1):
        told(f"remedy {place} of {len(each) + 1}")
        changed = recipe.changed(remedy.rows, remedy.modes)
        remedy.after = measure(lower(units.reference, changed), samples, wanted) if changed != recipe else again
    return Remedies(each, together, again, recipe)


def _merged(parts: Sequence[Mapping[str, object]]) -> dict:
    return {name: value for part in parts for name, value in part.items()}


def _remedy(units: Units, row: BadRow, recipe: Recipe, tensors: Tensors, enough: bool) -> Remedy:
    unit = row.unit
    float_mode = {unit.name: recipe.best_float}
    if row.wrong:
        return Remedy(unit.name, f"{row.wrong}; lower again from the reference")
    if row.cause == CLIPPING:
        return _wider(row)
    if row.cause == RESOLUTION:
        return (_narrower(row) if enough else None) or _finer(units, row, recipe, tensors)
    text = f"keep the op in {recipe.best_float}: its {row.cause} costs more than its neighbours'"
    return Remedy(unit.name, text, {}, float_mode)


def _wider(row: BadRow) -> Remedy:
    """Give the tensor the range it needs; one that a float format cannot hold, a wider format."""
    name, (low, high) = row.unit.name, limits(row.unit.value)
    if quant_of(row.unit.value) is None:
        return Remedy(name, f"its values reach {max(-row.low, row.high):.4g}: keep it in F32", {}, {name: "F32"})
    text = f"its range {low:.4g} … {high:.4g} cuts values of {row.low:.4g} … {row.high:.4g}: widen it in the table"
    return Remedy(name, text, {name: row_over(min(low, row.low), max(high, row.high))})


def _narrower(row: BadRow) -> Remedy | None:
    """Narrow a range that is much wider than the values; None where it is not."""
    unit, (low, high) = row.unit, limits(row.unit.value)
    largest = max(-row.low, row.high)
    if quant_of(unit.value) is None or not largest or max(-low, high) <= _SPARE * largest:
        return None
    text = f"its range {low:.4g} … {high:.4g} is wider than its values, {row.low:.4g} … {row.high:.4g}: narrow it"
    return Remedy(unit.name, text, {unit.name: row_over(row.low, row.high)})


def _finer(units: Units, row: BadRow, recipe: Recipe, tensors: Tensors) -> Remedy:
    """Keep the op, and who reads its tensor, in a float mode."""
    unit = row.unit
    mode = recipe.best_float if quant_of(unit.value) else "F32"
    readers = _readers(units, unit)
    kept = f"keep it and its {len(readers)} reader{'s' * (len(readers) != 1)} in {mode}"
    text = f"8 bits are too few for its values{_outlier(unit, tensors)}: {kept}"
    return Remedy(unit.name, text, {}, dict.fromkeys([unit.name, *readers], mode))


def _readers(units: Units, unit: Unit) -> list[str]:
    """Return the tensors that ops make of a unit's tensor."""
    readers = [use.operation for use in unit.meaning.uses]
    names = [op.tensor_name for op in readers if isinstance(op, TensorOp)]
    return [name for name in dict.fromkeys(names) if name in units.by_name]


def _outlier(unit: Unit, tensors: Tensors) -> str:
    """Return a note on the channel that widens the range for all others, '' where there is none."""
    array = tensors[unit.name]
    if array.ndim < 2 or array.shape[1] < 2:
        return ""
    peaks = np.abs(array).max(axis=tuple(i for i in range(array.ndim) if i != 1))
    ratio = float(peaks.max() / max(float(np.median(peaks)), 1e-30))
    return f" (channel {int(peaks.argmax())} reaches {ratio:.0f} times the median channel)" if ratio > _OUTLIER else ""
