"""The check of model_transform.py: the source model and the imported module, run on the same input, compared."""

from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np

from stepdown.compare.judge import Tolerance
from stepdown.compare.operators import count_steps, run_by_operator, steps_text
from stepdown.compare.tensors import Comparison, Dump, TensorResult, compare
from stepdown.compare.text import result_lines, summary_lines
from stepdown.dialects.program import Program
from stepdown.files.npz import write_npz
from stepdown.runtimes import open_runner
from stepdown.runtimes.mlir import MlirRunner

MOST_STEPS = 1
"""By how many steps of the last place an integer may be off, where an operator is rounded in another way than ours."""


def run_source(model: Path, inputs: Mapping[str, np.ndarray], output: Path) -> Dump:
    """Run the source model by its own runtime and write all tensors."""
    with closing(open_runner(model)) as runner:
        tensors = runner.run(inputs, "all")
        write_npz(output, tensors, runner.metadata)
        return Dump(str(output), tensors, runner.metadata)


def run_module(program: Program, inputs: Mapping[str, np.ndarray], output: Path) -> Dump:
    """Run the module on the reference interpreter and write all tensors."""
    runner = MlirRunner(program)
    tensors = runner.run(inputs, "all")
    write_npz(output, tensors, runner.metadata)
    return Dump(str(output), tensors, runner.metadata)


def compare_operators(
    program: Program, inputs: Mapping[str, np.ndarray], free: Dump, reference: Dump, tolerance: Tolerance,
    excepts: list[str], output: Path,
) -> bool:  # fmt: skip
    """Compare a quantised module operator by operator, each on the reference's operands; count the steps between them.

    What the operators make is written to `output`. It passes where every tensor is as similar as `tolerance` wants and
    no integer is off by more than one step. How far the whole network, run freely, ends from the reference is printed.
    """
    target = replace(run_by_operator(program, inputs, reference), name=str(output))
    write_npz(output, target.tensors, target.metadata)
    passed = compare_all(target, reference, tolerance, excepts)
    counts = count_steps(program, target, reference)
    print("operator by operator, on the operands of the reference:", *steps_text(counts), sep="\n  ")
    for result in compare(free, reference, tolerance, excepts, only=program.output_names).results:
        found = result.similarity
        how = f"cosine {found.cosine:.6f} euclid {found.euclid:.6f}" if found else result.level.name
        print(f"whole network, run freely: {result.name} {how}")
    return passed and all(steps.largest <= MOST_STEPS for steps in counts.values())


def compare_all(target: Dump, reference: Dump, tolerance: Tolerance, excepts: list[str]) -> bool:
    """Compare all tensors, print what npz_tool.py compare prints, and tell whether they pass."""
    found: Comparison = compare(target, _plain_as(target, reference), tolerance, excepts, on_result=_show)
    print("\n".join(summary_lines(found)))
    return found.passed


def _plain_as(target: Dump, reference: Dump) -> Dump:
    """Return the reference without the scales of tensors that the module holds as plain integers."""
    plain = {n for n, known in target.metadata.tensors.items() if known.scale is None and n in target.tensors}
    plain = {n for n in plain if target.tensors[n].dtype.kind in "iu"}
    tensors = {
        n: replace(known, scale=None, zero_point=0) if n in plain else known
        for n, known in reference.metadata.tensors.items()
    }
    return Dump(reference.name, reference.tensors, replace(reference.metadata, tensors=tensors))


def _show(result: TensorResult, target: Dump, reference: Dump) -> None:
    print("\n".join(result_lines(result)))
