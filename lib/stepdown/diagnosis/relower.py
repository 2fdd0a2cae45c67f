"""Lowering the reference again as a given module was lowered, with changed ranges and modes, to measure a remedy."""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from stepdown.calibration.table import write_table
from stepdown.chips import Chip, load_chip
from stepdown.diagnosis.noise import Noise
from stepdown.diagnosis.reference import Tensors, named, root_name, run_values
from stepdown.diagnosis.samples import Sample
from stepdown.diagnosis.units import Units
from stepdown.dialects.op import value_name
from stepdown.dialects.program import Program, Weights
from stepdown.dialects.types import quant_of, storage_of
from stepdown.files.atomic import write_text
from stepdown.numerics.quantize import QuantParams
from stepdown.transforms.convert_top_to_tpu import ConvertTopToTpu
from stepdown.transforms.import_calibration_table import ImportCalibrationTable, Row, float_values

Modes = dict[str, str]
"""Modes of ops by tensor name, as a qtable has them."""
_MODES = {"f32": "F32", "f16": "F16", "bf16": "BF16"}
FLOAT_MODES = ("F16", "BF16", "F32")


@dataclass(frozen=True)
class Recipe:
    """How a float module is lowered: the options of the passes, the rows of the calibration table, and the qtable."""

    mode: str
    chip: str
    asymmetric: bool
    rows: Mapping[str, Row] = field(default_factory=dict)
    modes: Mapping[str, str] = field(default_factory=dict)

    @property
    def best_float(self) -> str:
        """The narrowest float mode that the chip has, F16 before BF16."""
        chip: Chip = load_chip(self.chip)
        return next(mode for mode in FLOAT_MODES if mode in chip.op_modes)

    def changed(self, rows: Mapping[str, Row], modes: Mapping[str, str]) -> "Recipe":
        """Return the recipe with some rows and modes replaced."""
        return Recipe(self.mode, self.chip, self.asymmetric, {**self.rows, **rows}, {**self.modes, **modes})


def recipe_of(units: Units, observed: Mapping[str, tuple[float, float]], chip: str = "") -> Recipe:
    """Return how the target of `units` was lowered, read from its types.

    Tensors that it does not quantise get the `observed` range of the reference. `chip` may be the path of a TOML.
    """
    target, rows = units.target, {}
    for value in float_values(units.reference):
        name = value_name(value)
        unit = units.by_name.get(name)
        params = quant_of(unit.value) if unit else None
        low, high = observed.get(name, (0.0, 0.0))
        rows[name] = row_of(params) if params else Row(max(-low, high, 0.0), low, high)
    modes = {unit.name: mode for unit in units.all if (mode := _mode(unit.op, target)) != target["mode"]}
    return Recipe(target["mode"], chip or target["chip"], target["asymmetric"] == "true", rows, modes)


def row_of(params: QuantParams) -> Row:
    """Return the row of a calibration table that gives a tensor these parameters."""
    scale, (least, greatest) = float(np.max(params.scale)), params.bounds
    low, high = ((bound - params.zero_point) * scale for bound in (least, greatest))
    if params.type == "u8" and not params.zero_point:
        return Row(high, 0.0, high)
    return Row(high, -high if not params.zero_point else low, high)


def row_over(low: float, high: float) -> Row:
    """Return the row of a calibration table that covers `low` … `high`."""
    low, high = float(np.float32(low)), float(np.float32(high))
    return Row(max(-low, high, 0.0), low, high)


def lower(reference: Program, recipe: Recipe) -> Program:
    """Return the reference lowered by a recipe; it is left as it is.

    Raises:
        InputError: the recipe does not fit the program.
    """
    program = duplicate(reference)
    with tempfile.TemporaryDirectory() as folder:
        if recipe.rows:
            table = Path(folder) / "table"
            write_table(table, recipe.rows)
            ImportCalibrationTable(str(table), recipe.asymmetric).run(program)
        qtable = ""
        if recipe.modes:
            qtable = str(Path(folder) / "qtable")
            write_qtable(qtable, recipe.modes)
        ConvertTopToTpu(recipe.mode, recipe.chip, recipe.asymmetric, qtable).run(program)
    return program


def duplicate(program: Program) -> Program:
    """Return a copy that passes may change; weights are shared until they are replaced."""
    weights = Weights()
    for key in program.weights:
        weights[key] = program.weights[key]
    return Program(program.module.clone(), weights, program.path)


def write_qtable(path: str, modes: Mapping[str, str], notes: Sequence[str] = ()) -> None:
    """Write `op mode` lines in the order given, under comment lines."""
    lines = [f"# {' '.join(note.split())}" for note in notes]
    write_text(path, "\n".join([*lines, *(f"{name} {mode}" for name, mode in modes.items())]) + "\n")


def outputs_of(program: Program, sample: Sample) -> Tensors:
    """Return the outputs of a run by the source model's names, in real units."""
    tensors = named(run_values(program, sample))
    return {root_name(v): tensors[value_name(v)] for v in program.results}


def measure(program: Program, samples: Sequence[Sample], wanted: Sequence[Tensors]) -> dict[str, Noise]:
    """Return the errors of a program's outputs on `samples` against the outputs `wanted` of each."""
    noises = {name: Noise() for name in wanted[0]}
    for sample, right in zip(samples, wanted, strict=True):
        found = outputs_of(program, sample)
        for name, noise in noises.items():
            noise.add(found[name], right[name])
    return noises


def worst(noises: Mapping[str, Noise]) -> Noise:
    """Return the output that is worst."""
    return max(noises.values(), key=lambda noise: noise.share)


def _mode(op: object, target: Program) -> str:
    """Return the mode of a lowered op, by what it computes in."""
    result = op.results[0]  # type: ignore[attr-defined]
    if quant_of(result) is not None:
        return "INT8"
    return _MODES.get(storage_of(result), target["mode"])
