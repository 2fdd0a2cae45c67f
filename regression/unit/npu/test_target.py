"""The chip of a model file: networks that were imported with their integers take one that can run them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from npu.test_networks import inputs, quantised

from stepdown.chips import load_chip
from stepdown.errors import InputError, UnsupportedModel
from stepdown.npu.passes.codegen import Codegen
from stepdown.npu.target import npu_of
from stepdown.runtimes import open_runner
from stepdown.runtimes.mlir import MlirRunner


def test_a_network_that_came_quantised_runs_on_the_chip_that_is_named(tmp_path: Path) -> None:
    program = quantised("ad_autoencoder")
    given = inputs(program)
    Codegen(str(tmp_path / "net.bmodel"), "bm1684x").run(program)
    runner = open_runner(str(tmp_path / "net.bmodel"))
    assert [spec.name for spec in runner.inputs()] == list(given)
    wanted, got = MlirRunner(program).run(given), runner.run(given)
    assert wanted.keys() == got.keys()
    assert all(np.array_equal(wanted[name], got[name]) for name in wanted)


def test_a_chip_that_cannot_run_it_is_refused(tmp_path: Path) -> None:
    program = quantised("ad_autoencoder")
    with pytest.raises(InputError, match="is lowered for no chip in particular; name one"):
        npu_of(program)
    with pytest.raises(UnsupportedModel, match="has zero points, and chip gemmini has none"):
        npu_of(program, "gemmini")
    host = tmp_path / "host.toml"
    host.write_text(replace(load_chip("bm1684x"), name="host", kind="host").to_toml())
    with pytest.raises((UnsupportedModel, InputError)):
        npu_of(program, str(host))
    program["chip"] = "bm1684x"
    with pytest.raises(InputError, match="is lowered for chip bm1684x, not gemmini"):
        npu_of(program, "gemmini")
    assert npu_of(program).name == "bm1684x"
