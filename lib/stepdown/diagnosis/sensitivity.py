"""How much each op alone costs the outputs, in each mode: what the choice of modes is made from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from stepdown.diagnosis.noise import Noise
from stepdown.diagnosis.reference import Tensors, Values, named, real, run_values, stored
from stepdown.diagnosis.relower import Recipe, lower
from stepdown.diagnosis.samples import Sample, Told, quiet
from stepdown.diagnosis.units import Unit, Units
from stepdown.diagnosis.why_bad import effect_of, own_error
from stepdown.dialects.op import value_name
from stepdown.dialects.program import Program
from stepdown.dialects.types import quant_of
from stepdown.runtimes.interpreter import Interpreter
from stepdown.runtimes.perturbed import Perturbed, before
from stepdown.transforms.import_calibration_table import Row

FLOAT_SAMPLES = 1
"""Samples that 16-bit modes are measured on: their noise is far below that of INT8."""


@dataclass
class Sensitivity:
    """One op's errors, by mode: at each output when it alone is in that mode, and of its own tensor.

    `cast` is the outputs' error when its tensor alone is stored in INT8 and the op is exact.
    """

    name: str
    op: str
    outputs: dict[str, list[Noise]] = field(default_factory=dict)
    own: dict[str, Noise] = field(default_factory=dict)
    cast: list[Noise] = field(default_factory=list)


@dataclass
class Sensitivities:
    """All ops in the reference's order, and the float outputs of each sample."""

    ops: dict[str, Sensitivity]
    wanted: list[Tensors]


def base_recipe(chip: str, asymmetric: bool, rows: Mapping[str, Row], mode: str = "INT8") -> Recipe:
    """Return the recipe that lowers every op to one mode."""
    return Recipe(mode, chip, asymmetric, rows)


def measure_modes(
    reference: Program, recipe: Recipe, modes: Sequence[str], samples: Sequence[Sample], told: Told = quiet
) -> Sensitivities:
    """Return the sensitivity of every op of `reference` to the modes (F32 is exact and needs no measuring)."""
    float_run = Perturbed(reference)
    units = {mode: Units(_lowered(reference, recipe, mode), reference) for mode in modes if mode != "F32"}
    found = Sensitivities({}, [])
    for number, sample in enumerate(samples):
        values = run_values(reference, sample)
        tensors, right = named(values), float_run.outputs(values)
        found.wanted.append({value_name(v): real(v, values[v]) for v in reference.results})
        for mode, those in units.items():
            if mode == "INT8" or number < FLOAT_SAMPLES:
                _add(found, those, mode, (values, tensors, right), float_run)
            told(f"sample {number + 1} of {len(samples)}, mode {mode}")
    return found


def _lowered(reference: Program, recipe: Recipe, mode: str) -> Program:
    return lower(reference, Recipe(mode, recipe.chip, recipe.asymmetric, recipe.rows))


def _add(
    found: Sensitivities, units: Units, mode: str, run: tuple[Values, Tensors, list[np.ndarray]], float_run: Perturbed
) -> None:
    """Add one sample's errors of every op in one mode."""
    values, tensors, right = run
    for unit in units.all:
        if mode == "INT8" and quant_of(unit.value) is None:
            continue
        entry = found.ops.setdefault(unit.name, Sensitivity(unit.name, unit.source.name))
        error = own_error(units, unit, units.run(unit, tensors), tensors)
        entry.own.setdefault(mode, Noise()).add(tensors[unit.name] + error, tensors[unit.name])
        _add_outputs(entry.outputs.setdefault(mode, []), right, unit, error, (values, float_run))
        if mode == "INT8":
            rounding = real(unit.value, stored(unit.value, tensors[unit.name])) - tensors[unit.name]
            _add_outputs(entry.cast, right, unit, rounding, (values, float_run))


def _add_outputs(
    noises: list[Noise], right: list[np.ndarray], unit: Unit, error: np.ndarray, run: tuple[Values, Perturbed]
) -> None:
    """Add to `noises`, one an output, what an error of the unit's tensor does."""
    noises += [Noise() for _ in range(len(right) - len(noises))]
    wrong = effect_of(unit, error, *run) if error.any() else right
    for noise, y, wanted in zip(noises, wrong, right, strict=True):
        noise.add(y, wanted)


def float_alone(
    reference: Program, recipe: Recipe, samples: Sequence[Sample], told: Told = quiet
) -> tuple[dict[str, list[Noise]], list[Noise]]:
    """Return the outputs' errors of the INT8 network with each op alone in F32, and with none; exact, no estimate.

    Only what lies behind an op is computed again.
    """
    target = _lowered(reference, recipe, "INT8")
    units, interpreter = Units(target, reference), Interpreter(target)
    quantised = [unit for unit in units.all if quant_of(unit.value) is not None]
    alone: dict[str, list[Noise]] = {unit.name: [Noise() for _ in target.results] for unit in quantised}
    whole = [Noise() for _ in target.results]
    for number, sample in enumerate(samples, 1):
        right = [real(v, a) for v, a in _results(reference, run_values(reference, sample))]
        values = run_values(target, sample)
        tensors = named(values)
        _compare(whole, [real(v, a) for v, a in _results(target, values)], right)
        for place, unit in enumerate(quantised, 1):
            local = units.run(unit, tensors)
            given = before(target, values, unit.value)
            given[unit.value] = stored(unit.value, units.mean(unit, local.operands, tensors))
            results = zip(target.results, interpreter.run(given), strict=True)
            _compare(alone[unit.name], [real(v, a) for v, a in results], right)
            told(f"sample {number} of {len(samples)}, op {place} of {len(quantised)}")
    return alone, whole


def _results(program: Program, values: Values) -> list[tuple]:
    return [(v, values[v]) for v in program.results]


def _compare(noises: list[Noise], found: list[np.ndarray], right: list[np.ndarray]) -> None:
    for noise, y, wanted in zip(noises, found, right, strict=True):
        noise.add(y, wanted)
