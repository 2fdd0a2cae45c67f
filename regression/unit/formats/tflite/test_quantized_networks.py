"""Whole INT8 networks against LiteRT's reference kernels: every tensor, byte for byte, also out of a file."""

from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
from bench import tflite_exact
from checkout import ROOT

from stepdown.runtimes.mlir import MlirRunner
from stepdown.runtimes.tflite import TfliteRunner

MODELS = sorted((ROOT / "regression" / "model").glob("*_int8.tflite"))
GIVEN = Namespace(count=2, images=ROOT / "regression" / "image")


def test_there_are_networks() -> None:
    assert len(MODELS) >= 4


@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.stem)
def test_every_tensor(path: Path, tmp_path: Path) -> None:
    theirs, stored = TfliteRunner(path), tmp_path / "network.mlir"
    tflite_exact.lowered(path, layout=True).write(stored)
    ours = [MlirRunner(tflite_exact.lowered(path, layout=False)), MlirRunner(stored)]
    for arrays in tflite_exact.samples(theirs.inputs(), GIVEN):
        right = theirs.run(arrays, "all")
        for runner in ours:
            left = runner.run(arrays, "all")
            shared = left.keys() & right.keys()
            assert len(shared) >= 14
            for name in shared:
                np.testing.assert_array_equal(left[name], right[name], err_msg=name)
    theirs.close()
