"""Whole networks on the machine: every tensor has the bytes of the reference, on every chip that has the mode."""

from dataclasses import replace

import numpy as np
import onnx
import pytest
from bench.calibrated import calibrate
from checkout import REGRESSION
from npu.machines import differences, run_code
from targets import lowering, targets

from stepdown.chips import Chip, load_chip
from stepdown.dialects.program import Program
from stepdown.formats.onnx.importer import import_model
from stepdown.formats.tflite.importer import import_tflite
from stepdown.formats.tflite.loader import load_tflite
from stepdown.npu.subnets import on_host, subnet_kinds
from stepdown.runtimes.mlir import MlirRunner
from stepdown.transforms.canonicalize import Canonicalize
from stepdown.transforms.convert_quantized_to_tpu import ConvertQuantizedToTpu
from stepdown.transforms.layout import Layout

MODES = ("F16", "BF16", "INT8", "INT8 asymmetric")
QUANTISED = ("resnet8_cifar10", "kws_dscnn", "vww_mobilenetv1_025", "ad_autoencoder")
RNG = np.random.default_rng(3)


def inputs(program: Program) -> dict[str, np.ndarray]:
    return {spec.name: RNG.normal(size=spec.shape).astype(np.float32) for spec in MlirRunner(program).inputs()}


def shrunk(chip: Chip, factor: int) -> Chip:
    """Return a chip with less local memory."""
    if chip.lanes:
        return replace(chip, local_bytes=chip.local_bytes // factor)
    return replace(chip, scratchpad_bytes=chip.scratchpad_bytes // factor)


def mnist() -> Program:
    program = import_model(onnx.load(REGRESSION / "model" / "mnist_cnn.onnx"), "mnist_cnn")
    Canonicalize().run(program)
    return program


def resnet8() -> Program:
    path = REGRESSION / "model" / "mlperf_tiny_resnet8_cifar10_fp32.tflite"
    program = import_tflite(load_tflite(path), "resnet8")
    Layout().run(program)
    Canonicalize().run(program)
    return program


def quantised(name: str) -> Program:
    """Return a network of MLPerf Tiny as TFLite quantised it, lowered."""
    program = import_tflite(load_tflite(REGRESSION / "model" / f"mlperf_tiny_{name}_int8.tflite"), name)
    Layout().run(program)
    ConvertQuantizedToTpu(profile="tflite").run(program)
    return program


@pytest.mark.parametrize(("mode", "chip"), targets(MODES, "npu"))
@pytest.mark.parametrize("network", [mnist, resnet8])
@pytest.mark.parametrize("factor", [1, 16])
def test_every_tensor_has_the_bytes_of_the_reference(network, mode: str, chip: str, factor: int) -> None:
    program = network()
    given = inputs(program)
    if "INT8" in mode:
        calibrate(program, given)
    lowering(mode, chip).run(program)
    wanted, got = run_code(program, given, shrunk(load_chip(chip), factor), poison=1, shuffle=2, host=True)
    assert len(got) > 8
    assert not differences(wanted, got)


@pytest.mark.parametrize("name", QUANTISED)
def test_networks_that_tflite_quantised(name: str) -> None:
    program = quantised(name)
    wanted, got = run_code(program, inputs(program), load_chip("bm1684x"), poison=1, shuffle=2, host=True)
    assert len(got) > 8
    assert not differences(wanted, got)


def test_what_fits_local_memory_in_no_tile_runs_on_the_host() -> None:
    chip, program = shrunk(load_chip("bm1684x"), 128), resnet8()
    given = inputs(program)
    calibrate(program, given)
    lowering("INT8", "bm1684x").run(program)
    hosted = []
    for smaller in (chip, shrunk(chip, 8)):
        wanted, got = run_code(program, given, smaller, host=True)
        assert not differences(wanted, got)
        hosted.append(sum(on_host(op, subnet_kinds(program)) for op in program.ops))
    assert 0 < hosted[0] < hosted[1]
