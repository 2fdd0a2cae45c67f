"""Recurrent layers: directions, lengths, states, peepholes and gate functions, beside the reference."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from native.compiled import compiled, machines
from targets import lowering
from transforms.test_lowering import example_of, program_of

from stepdown.dialects.program import Program
from stepdown.errors import UnsupportedModel
from stepdown.native.network import network_of
from stepdown.runtimes.mlir import MlirRunner

MACHINES = machines()
LENGTHS, H, C, PEEPHOLE = 4, 5, 6, 7
CASES: list[tuple[str, dict[str, Any], tuple[int, ...]]] = [
    ("Rnn", {}, ()),
    ("Rnn", {"direction": "reverse", "activations": "Affine", "alpha": [0.7], "beta": [0.2]}, (3,)),
    ("Gru", {}, ()),
    ("Gru", {"direction": "forward", "activations": "HardSigmoid,ScaledTanh", "alpha": [0.2, 0.9], "beta": [0.5, 1.1],
             "reset_after": True}, (LENGTHS, H)),
    ("Lstm", {"clip": 0.5}, ()),
    ("Lstm", {"direction": "reverse", "input_forget": True}, (H, C, PEEPHOLE)),
    ("Lstm", {"batch_first": True, "direction": "forward"}, (3, LENGTHS, PEEPHOLE)),
]  # fmt: skip
"""Op, what differs from the registry's example (both directions, all operands), operands that are left out."""
UNITS = {"F32": 2.0**-20, "BF16": 2.0**-7}


def case(number: int, mode: str, held: bool = True) -> tuple[Program, dict[str, np.ndarray]]:
    """Return a lowered layer and its inputs; its weights are constants, or inputs, too."""
    name, changes, absent = CASES[number]
    arrays, attributes = example_of(name)
    attributes |= changes
    if attributes["direction"] != "bidirectional":
        count = len(attributes["activations"].split(",")) // (1 if "activations" in changes else 2)
        attributes["activations"] = ",".join(attributes["activations"].split(",")[:count])
        attributes |= {key: attributes[key][:count] for key in ("alpha", "beta")}
        arrays = [a[:1] if i not in (0, LENGTHS) else a for i, a in enumerate(arrays)]
    if attributes.get("batch_first"):
        arrays = [a.swapaxes(0, 1) if i in (0, H, C) else a for i, a in enumerate(arrays)]
    arrays = [None if i in absent else a for i, a in enumerate(arrays)]
    weights = [i for i in (1, 2, 3, PEEPHOLE) if i < len(arrays) and arrays[i] is not None] if held else []
    program = program_of(name, arrays, attributes, weights)
    lowering(mode, "x86_64").run(program)
    return program, {f"in{i}": a for i, a in enumerate(arrays) if a is not None and i not in weights}


@pytest.mark.parametrize("number", range(len(CASES)))
@pytest.mark.parametrize("mode, machine", [("F32", "x86-64-v3"), ("BF16", "x86-64-v3"), ("F32", "c")])
def test_layers_are_near_the_reference(number, mode, machine, tmp_path: Path) -> None:
    program, given = case(number, mode)
    runner = compiled(program, MACHINES[machine], tmp_path)
    found, wanted = runner.run(given), MlirRunner(program).run(given)
    runner.close()
    for name, values in wanted.items():
        assert np.abs(found[name] - values).max() <= UNITS[mode] * np.abs(values).max(), name


def test_weights_that_are_computed_are_refused() -> None:
    program, _ = case(0, "F32", held=False)
    with pytest.raises(UnsupportedModel, match="weights that are computed"):
        network_of(program, next(iter(MACHINES.values())))
