"""Every op of the registry, lowered in every mode: the TPU program agrees with the op's float meaning."""

from dataclasses import replace

import numpy as np
import pytest
from targets import lowering, targets
from xdsl.dialects.func import ReturnOp

from stepdown.chips import load_chip
from stepdown.dialects.op import Kind
from stepdown.dialects.program import Program, State, read_program
from stepdown.dialects.top import TOP_OPS
from stepdown.dialects.top.base import Unary
from stepdown.dialects.top.source import Input, Weight
from stepdown.dialects.tpu import has_integer_code
from stepdown.dialects.types import Range, quant_of, storage_of, storage_of_dtype, tensor
from stepdown.errors import InputError, StepError, UnsupportedModel
from stepdown.runtimes.mlir import MlirRunner
from stepdown.runtimes.runner import RunnerOptions
from stepdown.transforms.convert_top_to_tpu import ConvertTopToTpu

# Relative error, in the 2-norm, that the format's own resolution explains on the examples.
BOUNDS = {"F32": 1e-6, "F16": 4e-3, "BF16": 3e-2, "INT8": 6e-2, "INT8 asymmetric": 6e-2}
OPS = [name for name, op in TOP_OPS.items() if op.kind is not Kind.SOURCE]


def example_of(name):
    """Return operand arrays (float32) and attributes of an op."""
    rng = np.random.default_rng(7)
    op = TOP_OPS[name]
    if issubclass(op, Unary) and op.example(rng) is None:
        return [rng.uniform(*op.domain, (1, 3, 8, 8)).astype(np.float32)], {}
    arrays, attributes = op.example(rng)
    return [a.astype(np.float32) if a is not None and a.dtype.kind == "f" else a for a in arrays], attributes


def program_of(name, arrays, attributes, weights=None):
    """Return a TOP program of one op; unless `weights` says which, operands after a MAC's first are constants."""
    op = TOP_OPS[name]
    if weights is None:
        weights = range(1, len(arrays)) if op.kind is Kind.MAC else ()
    types = {
        f"in{i}": tensor(a.shape, storage_of_dtype(a.dtype))
        for i, a in enumerate(arrays)
        if a is not None and i not in weights
    }
    program = Program.empty("one", types, "TEST")
    values, inputs = [], iter(zip(types, program.block.args, strict=True))
    for i, array in enumerate(arrays):
        if array is None:
            values.append(program.add(TOP_OPS["Absent"].make()))
        elif i in weights:
            program.weights[f"w{i}"] = array
            values.append(program.add(Weight.of(f"w{i}", tensor(array.shape, storage_of_dtype(array.dtype)))))
        else:
            input_name, argument = next(inputs)
            values.append(program.add(Input.build(input_name, [argument])))
    made = op.build([f"out{i}" for i in range(8)], values, **attributes)
    names = ["out"] if len(made.results) == 1 else [f"out{i}" for i in range(len(made.results))]
    made.drop_all_references()
    made = op.build(names, values, **attributes)
    program.block.add_op(made)
    program.finish(list(made.results))
    return program


def calibrate(program, tensors):
    """Give every float tensor the range it takes in `tensors`, symmetric or not decided by the values' types."""
    for op in program.ops:
        for value, name in zip(op.results, op.names, strict=False):
            if name in tensors and storage_of(value) == "f32":
                low, high = float(tensors[name].min(initial=0)), float(tensors[name].max(initial=0))
                value._type = tensor(tensors[name].shape, Range(low, high))
    assert isinstance(program.block.last_op, ReturnOp)
    program.main.update_function_type()
    program["state"] = State.TOP_CALIBRATED


def feed(arrays, program):
    given = [a for i, a in enumerate(arrays) if a is not None]
    return dict(zip([s.name for s in MlirRunner(program).inputs()], given, strict=False))


def lower(program, mode, chip="bm1684x"):
    lowering(mode, chip).run(program)


def relative_error(actual, wanted):
    wanted = wanted.astype(np.float64)
    return np.linalg.norm(actual - wanted) / max(np.linalg.norm(wanted), 1e-12)


def seen(runner, tensors, name):
    """Return the values that an op really reads for input `name`: rounded or quantised, as floats."""
    info, stored = runner.metadata.tensors[name], tensors[name]
    if info.scale is None:
        return stored.astype(np.float32) if stored.dtype.kind == "f" else stored
    return (stored.astype(np.float32) - info.zero_point) * np.float32(info.scale)


@pytest.mark.parametrize(("mode", "chip"), targets())
@pytest.mark.parametrize("name", OPS)
def test_every_op_in_every_mode(name, mode, chip, tmp_path):
    arrays, attributes = example_of(name)
    top, lowered = (program_of(name, arrays, attributes) for _ in range(2))
    given = feed(arrays, top)
    if "INT8" in mode:
        calibrate(lowered, MlirRunner(top).run(given, "all"))
    lower(lowered, mode, chip)
    path = tmp_path / "one.mlir"
    lowered.write(path)
    runner = MlirRunner(read_program(path))
    everything = runner.run(given, "all")
    reference = MlirRunner(top).run({key: seen(runner, everything, _read(everything, key, mode)) for key in given})
    for key, wanted in reference.items():
        got = everything.get(f"{key}_f32", everything[key])
        if wanted.dtype.kind != "f":
            np.testing.assert_array_equal(got, wanted)
            continue
        np.testing.assert_array_equal(np.isfinite(got), np.isfinite(wanted))
        finite = np.isfinite(wanted)
        assert relative_error(got[finite], wanted[finite]) < BOUNDS[mode], key


def _read(everything, key, mode):
    """Return the name of the tensor that the op reads for input `key`."""
    rounded = f"{key}_{mode.lower()}"
    return rounded if rounded in everything else key


@pytest.mark.parametrize(("mode", "chip"), targets(["INT8"]))
@pytest.mark.parametrize("name", [n for n in OPS if TOP_OPS[n].kind in (Kind.LUT, Kind.MAC, Kind.MOVE)])
def test_int8_results_are_quantised(name, mode, chip):
    arrays, attributes = example_of(name)
    top = program_of(name, arrays, attributes)
    calibrate(top, MlirRunner(top).run(feed(arrays, top), "all"))
    lower(top, mode, chip)
    made = {op.tensor_name: op for op in top.ops}
    results = [made.get("out", made.get("out0"))]
    if results[0] is not None and has_integer_code(results[0]) and storage_of(results[0].results[0]) in ("i8", "u8"):
        assert quant_of(results[0].results[0]) is not None


def test_a_quantised_input_is_given_as_it_is():
    arrays, attributes = example_of("Sigmoid")
    top = program_of("Sigmoid", arrays, attributes)
    calibrate(top, MlirRunner(top).run({"in0": arrays[0]}, "all"))
    lower(top, "INT8 asymmetric")
    runner = MlirRunner(top)
    everything = runner.run({"in0": arrays[0]}, "all")
    assert everything["in0"].dtype == np.int8 and everything["in0_f32"].dtype == np.float32
    direct = runner.run({"in0": everything["in0"]})
    np.testing.assert_array_equal(direct["out_f32"], everything["out_f32"])


def test_native_outputs_come_in_their_own_type(tmp_path):
    arrays, attributes = example_of("Sigmoid")
    top = program_of("Sigmoid", arrays, attributes)
    calibrate(top, MlirRunner(top).run({"in0": arrays[0]}, "all"))
    lower(top, "INT8")
    path = tmp_path / "one.mlir"
    top.write(path)
    native = MlirRunner(path, RunnerOptions(output_type="native")).run({"in0": arrays[0]})
    assert {name: tensor.dtype for name, tensor in native.items()} == {"out": np.dtype(np.uint8)}


def test_integer_results_are_the_same_run_to_run():
    arrays, attributes = example_of("Conv")
    top = program_of("Conv", arrays, attributes)
    calibrate(top, MlirRunner(top).run({"in0": arrays[0]}, "all"))
    lower(top, "INT8")
    runner = MlirRunner(top)
    first, second = (runner.run({"in0": arrays[0]}, "all")["out"] for _ in range(2))
    assert first.tobytes() == second.tobytes()


def test_one_weight_with_two_scales_is_stored_twice(tmp_path):
    """Two convolutions share a filter; the large bias of one gives its channels a larger scale."""
    rng = np.random.default_rng(5)
    x, w = rng.normal(size=(1, 2, 6, 6)).astype(np.float32) * 1e-3, rng.normal(size=(3, 2, 1, 1)).astype(np.float32)
    programs = []
    for _ in range(2):
        program = Program.empty("two", {"x": tensor(x.shape)}, "TEST")
        value = program.add(Input.build("x", [program.block.args[0]]))
        program.weights.update({"w": w, "small": np.zeros(3, np.float32), "large": np.full(3, 3e6, np.float32)})
        shared = program.add(Weight.of("w", tensor(w.shape)))
        results = []
        for bias in ("small", "large"):
            operands = [value, shared, program.add(Weight.of(bias, tensor((3,))))]
            window = {"strides": [1, 1], "pads": [0] * 4, "dilations": [1, 1]}
            results.append(program.add(TOP_OPS["Conv"].build(f"y_{bias}", operands, **window)))
        program.finish(results)
        programs.append(program)
    top, lowered = programs
    wanted = MlirRunner(top).run({"x": x}, "all")
    calibrate(lowered, wanted)
    lower(lowered, "INT8")
    lowered.write(tmp_path / "two.mlir")
    got = MlirRunner(tmp_path / "two.mlir").run({"x": x})
    for name in ("y_small", "y_large"):
        assert relative_error(got[f"{name}_f32"], wanted[name]) < 0.02, name


def test_int8_needs_calibration():
    arrays, attributes = example_of("Relu")
    with pytest.raises(InputError, match="calibrated"):
        lower(program_of("Relu", arrays, attributes), "INT8")


@pytest.mark.parametrize(
    ("text", "message"),
    [("nobody INT8", "no op 'nobody'"), ("out INT9", "want one of F32"), ("out", "want 'op_name mode'")],
)
def test_bad_qtables_are_refused_by_line(tmp_path, text, message):
    table = tmp_path / "qtable"
    table.write_text(f"# a comment\n{text}\n")
    arrays, attributes = example_of("Relu")
    with pytest.raises(InputError, match=message) as failure:
        ConvertTopToTpu(mode="F32", chip="bm1684x", qtable=str(table)).run(program_of("Relu", arrays, attributes))
    assert "qtable:2" in str(failure.value)


def test_a_qtable_makes_a_float_island(tmp_path):
    table = tmp_path / "qtable"
    table.write_text("out F16\n")
    arrays, attributes = example_of("Sigmoid")
    top = program_of("Sigmoid", arrays, attributes)
    calibrate(top, MlirRunner(top).run({"in0": arrays[0]}, "all"))
    ConvertTopToTpu(mode="INT8", chip="bm1684x", qtable=str(table)).run(top)
    sigmoid = next(op for op in top.ops if op.name == "tpu.Sigmoid")
    assert storage_of(sigmoid.results[0]) == "f16"


def test_what_a_chip_lacks_is_refused(tmp_path):
    chip = tmp_path / "plain.toml"
    plain = replace(load_chip("bm1684x"), name="plain", modes=("INT8",), asymmetric=False, macs_per_cycle={"INT8": 1})
    chip.write_text(plain.to_toml())
    arrays, attributes = example_of("Relu")
    with pytest.raises(UnsupportedModel, match="no mode F16"):
        ConvertTopToTpu(mode="F16", chip=str(chip)).run(program_of("Relu", arrays, attributes))
    with pytest.raises(StepError, match="zero points"):
        ConvertTopToTpu(mode="INT8", chip=str(chip), asymmetric=True).run(program_of("Relu", arrays, attributes))
