"""Random networks on AVX-512 and VNNI: on this processor, or on one that Bochs emulates."""

import random
from pathlib import Path

import pytest
from native.identity import Network, compared
from native.identity_rows import ROWS, NotEmulated, Reference, Row, run_row
from npu.random_networks import Builder
from npu.test_networks import calibrate, inputs
from targets import lowering

from stepdown.dialects.program import read_program
from stepdown.dialects.types import storage_of
from stepdown.errors import UnsupportedModel

NEWER = [row for row in ROWS if row.name in ("x86-64 AVX-512", "x86-64 VNNI")]
pytestmark = pytest.mark.apart


@pytest.mark.parametrize("row", NEWER, ids=lambda row: row.name)
@pytest.mark.parametrize("seed", [6, 10])
def test_random_networks(seed: int, row: Row, tmp_path: Path) -> None:
    if lacking := row.missing():
        pytest.skip(lacking)
    rng = random.Random(seed)
    program = Builder(rng).grow(rng.randint(2, 8))
    given = inputs(program)
    calibrate(program, given)
    lowering(rng.choice(["INT8", "INT8 asymmetric"]), "x86_64").run(program)
    module = tmp_path / "random.mlir"
    program.write(module)
    ops = [op for op in read_program(module).ops if op.name not in ("tpu.Convert", "tpu.Input", "tpu.Weight")]
    real = frozenset(op.tensor_name for op in ops if op.results and storage_of(op.results[0]) == "f32")
    try:
        made = list(run_row(row, module, [given]))
    except (UnsupportedModel, NotEmulated) as error:
        pytest.skip(str(error)[:200])
    (cell,) = compared(Network(module, real), Reference().runs(module, [given]), [made])
    assert (cell.differing, cell.first) == (0, ""), f"seed {seed} on {row.name}"
    assert cell.bytes
