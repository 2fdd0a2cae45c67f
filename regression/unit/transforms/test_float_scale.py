"""Lowering for a chip whose profile is float_scale: signed, symmetric, one scale for neighbouring channels."""

from dataclasses import replace

import numpy as np
import pytest

from stepdown.chips import chip_names, load_chip
from stepdown.dialects.program import Program
from stepdown.dialects.top import TOP_OPS
from stepdown.dialects.top.source import Input, Weight
from stepdown.dialects.types import Range, quant_of, tensor
from stepdown.errors import UnsupportedModel
from stepdown.runtimes.mlir import MlirRunner
from stepdown.transforms.convert_top_to_tpu import ConvertTopToTpu
from stepdown.transforms.lowering.mac import shared_scales

CHIP = next(chip for chip in map(load_chip, chip_names()) if chip.profile == "float_scale")
LIMITS = {"x": 2.0, "y": 3.0}
WINDOW = {"strides": [1, 1], "pads": [0] * 4, "dilations": [1, 1]}
DEFAULTS = {"Conv": WINDOW, "AveragePool": WINDOW}


def calibrated(name, shapes, result, weights=(), top=4.0, through="", **attributes):
    """Return a calibrated program of one op over inputs in ±2 and ±3 and `weights`, with a result of `shape`."""
    types = {n: tensor(shape, "f32") for n, shape in zip(LIMITS, shapes, strict=False)}
    program = Program.empty("one", types, "TEST")
    values = []
    for (n, limit), argument in zip(LIMITS.items(), program.block.args, strict=False):
        values.append(program.add(Input.build(n, [argument])))
        values[-1]._type = tensor(shapes[len(values) - 1], Range(-limit, limit))
    if through:
        values[0] = program.add(TOP_OPS[through].build(["moved"], values[:1], shape=list(shapes[0])))
        values[0]._type = tensor(shapes[0], Range(-2.0, 2.0))
    for i, weight in enumerate(weights):
        program.weights[f"w{i}"] = weight
        values.append(program.add(Weight.of(f"w{i}", tensor(weight.shape, "f32"))))
    op = TOP_OPS[name].build(["out"], values, **{**DEFAULTS.get(name, {}), **attributes})
    program.block.add_op(op)
    op.results[0]._type = tensor(result, Range(0.0 if attributes.get("do_relu") else -top, top))
    program.finish(list(op.results))
    program.main.update_function_type()
    program["state"] = "TOP_CALIBRATED"
    return program


def lowered(program, chip=CHIP.name, **options):
    ConvertTopToTpu(mode="INT8", chip=str(chip), **options).run(program)
    return program


def stored(program, **inputs):
    return MlirRunner(program).run(inputs, "all")


def op_of(program, name):
    return next(op for op in program.ops if op.name == f"tpu.{name}")


def f32(*values):
    return np.array(values, np.float32)


def test_a_convolution_multiplies_its_sum_by_a_float32():
    rng = np.random.default_rng(1)
    w, bias = rng.normal(size=(32, 3, 3, 3)).astype(np.float32), rng.normal(size=32).astype(np.float32)
    x = rng.uniform(-2, 2, (1, 3, 8, 8)).astype(np.float32)
    program = lowered(calibrated("Conv", [x.shape], (1, 32, 8, 8), [w, bias], 20.0, pads=[1] * 4))
    op = op_of(program, "Conv")
    assert op.rounding == "float" and program["profile"] == "float_scale"
    got = stored(program, x=x)
    weight, bias_i32, scale = (program.weights[op.operands[i].owner.key] for i in (1, 2, 3))
    assert (weight.dtype, bias_i32.dtype, scale.dtype) == (np.int8, np.int32, np.float32)
    padded = np.pad(got["x"].astype(np.int64), ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))
    acc = np.einsum("nchwij,ocij->nohw", windows, weight.astype(np.int64)) + bias_i32[:, None, None]
    product = acc.astype(np.float32) * scale[:, None, None]
    np.testing.assert_array_equal(got["out"], np.clip(np.rint(product), -128, 127).astype(np.int8))


def test_sixteen_neighbouring_channels_share_a_scale_and_a_depthwise_channel_has_its_own():
    rng = np.random.default_rng(2)
    w = rng.normal(size=(40, 4, 1, 1)).astype(np.float32)
    program = lowered(calibrated("Conv", [(1, 4, 2, 2)], (1, 40, 2, 2), [w, np.zeros(40, np.float32)], 20.0))
    scales = np.array(quant_of(op_of(program, "Conv").operands[1]).scale)
    assert [len(set(scales[i : i + 16])) for i in (0, 16, 32)] == [1, 1, 1] and len(set(scales)) == 3
    np.testing.assert_allclose(scales[0], np.abs(w[:16]).max() / 127, rtol=1e-6)
    w = rng.normal(size=(8, 1, 3, 3)).astype(np.float32)
    program = lowered(calibrated("Conv", [(1, 8, 4, 4)], (1, 8, 2, 2), [w, np.zeros(8, np.float32)], 20.0, group=8))
    assert len(set(quant_of(op_of(program, "Conv").operands[1]).scale)) == 8


def test_a_channel_without_weights_spoils_no_block_and_keeps_its_bias():
    w, bias = np.full((32, 4, 1, 1), 0.01, np.float32), np.zeros(32, np.float32)
    w[3], w[16:], bias[20] = 0, 0, 5.0
    program = lowered(calibrated("Conv", [(1, 4, 2, 2)], (1, 32, 2, 2), [w, bias], 8.0))
    op = op_of(program, "Conv")
    scales = np.array(quant_of(op.operands[1]).scale)
    np.testing.assert_allclose(scales[:16], 0.01 / 127, rtol=1e-6)
    stored_bias = program.weights[op.operands[2].owner.key]
    assert 2**29 < stored_bias[20] <= 2**30
    got = stored(program, x=np.ones((1, 4, 2, 2), np.float32))["out_f32"]
    np.testing.assert_allclose(got[0, :, 0, 0], [0.04 if w[c].any() else bias[c] for c in range(32)], atol=0.04)


@pytest.mark.parametrize(
    ("groups", "together", "wanted"),
    [
        (1, 1, [1, 5, 2, 3, 9, 4]),
        (1, 0, [9] * 6),
        (1, 4, [5, 5, 5, 5, 9, 9]),
        (2, 2, [5, 5, 2, 9, 9, 4]),
        (6, 16, [1, 5, 2, 3, 9, 4]),
        (1, 16, [9] * 6),
    ],
)
def test_channels_share_the_largest_scale_of_their_block(groups, together, wanted):
    np.testing.assert_array_equal(shared_scales(f32(1, 5, 2, 3, 9, 4), groups, together), wanted)


def test_both_sides_of_a_sum_come_to_the_larger_scale():
    x, y = f32(2.0, -1.0, 0.016).reshape(1, 3), f32(3.0, 3.0, -0.024).reshape(1, 3)
    program = lowered(calibrated("Add", [(1, 3), (1, 3)], (1, 3)))
    op = op_of(program, "Add")
    sx, sy, so = (np.float64(np.float32(limit / 127)) for limit in (2, 3, 4))
    np.testing.assert_array_equal(np.float32(op.scales), f32(sx / sy, 1.0, sy / so))
    got = stored(program, x=x, y=y)
    sides = np.rint(got["x"].astype(np.float32) * np.float32(op.scales[0])) + got["y"]
    np.testing.assert_array_equal(got["out"], np.clip(np.rint(sides * np.float32(op.scales[2])), -128, 127))


def test_a_product_an_average_and_a_mean_are_exact_integers_times_one_float32():
    rng = np.random.default_rng(3)
    x, y = (rng.uniform(-1, 1, (1, 2, 4, 4)).astype(np.float32) for _ in range(2))
    program = lowered(calibrated("Mul", [x.shape, y.shape], x.shape))
    got, scale = stored(program, x=x, y=y), np.float32(op_of(program, "Mul").scales[0])
    np.testing.assert_array_equal(
        got["out"], np.rint((got["x"].astype(np.int32) * got["y"]).astype(np.float32) * scale)
    )
    program = lowered(calibrated("ReduceMean", [x.shape], (1, 2), axes=[2, 3], keepdims=False))
    got, scale = stored(program, x=x), np.float32(op_of(program, "ReduceMean").scales[0])
    np.testing.assert_array_equal(got["out"], np.rint(got["x"].astype(np.int32).sum((2, 3)).astype(np.float32) * scale))
    program = lowered(calibrated("AveragePool", [x.shape], (1, 2, 5, 5), kernel_shape=[2, 2], pads=[1] * 4))
    got, scales = stored(program, x=x), np.float32(op_of(program, "AveragePool").scales)
    assert len(scales) == 3
    assert got["out"][0, 0, 0, 0] == np.rint(np.float32(got["x"][0, 0, 0, 0]) * scales[0])
    assert got["out"][0, 0, 2, 2] == np.rint(np.float32(got["x"][0, 0, 1:3, 1:3].sum(dtype=np.int32)) * scales[2])


def test_another_scale_is_a_float32_too():
    program = lowered(calibrated("Concat", [(1, 3), (1, 3)], (1, 6), through="Reshape", axis=1))
    rescale = op_of(program, "Rescale")
    assert rescale.rounding == "float" and rescale.scale == np.float32(rescale.scale)
    got = stored(program, x=f32(2, -1, 0.5).reshape(1, 3), y=f32(3, 0, -3).reshape(1, 3))
    np.testing.assert_array_equal(
        got["out"][0, :3], np.rint(got["x"][0].astype(np.float32) * np.float32(rescale.scale))
    )


def test_no_tensor_is_unsigned_after_a_relu():
    w = np.ones((4, 4, 1, 1), np.float32)
    program = lowered(calibrated("Conv", [(1, 4, 2, 2)], (1, 4, 2, 2), [w, np.zeros(4, np.float32)], 8.0, do_relu=True))
    params = quant_of(op_of(program, "Conv").results[0])
    assert (params.type, params.zero_point) == ("i8", 0) and params.scale == np.float32(8 / 127)
    got = stored(program, x=np.full((1, 4, 2, 2), -1, np.float32))
    assert not got["out"].any()


def test_zero_points_work_in_the_profile_where_a_chip_has_them(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(replace(CHIP, name="mine", asymmetric=True, channels_per_scale=1).to_toml())
    program = calibrated("Add", [(1, 3), (1, 3)], (1, 3))
    program.ops[0].results[0]._type = tensor((1, 3), Range(-1.0, 2.0))
    program = lowered(program, path, asymmetric=True)
    x, y = f32(2.0, -1.0, 0.5).reshape(1, 3), f32(1.0, 1.0, -1.0).reshape(1, 3)
    assert quant_of(op_of(program, "Add").operands[0]).zero_point != 0
    np.testing.assert_allclose(stored(program, x=x, y=y)["out_f32"], x + y, atol=0.04)


def test_what_the_chip_lacks_is_refused_with_what_to_choose():
    with pytest.raises(UnsupportedModel, match=f"chip {CHIP.name} has no zero points.*choose asymmetric=false"):
        lowered(calibrated("Add", [(1, 3), (1, 3)], (1, 3)), asymmetric=True)
    with pytest.raises(UnsupportedModel, match=f"chip {CHIP.name} has no mode BF16.*choose INT8"):
        ConvertTopToTpu(mode="BF16", chip=CHIP.name).run(calibrated("Add", [(1, 3), (1, 3)], (1, 3)))


def test_what_has_no_integer_code_runs_in_floats_on_the_host(tmp_path):
    program = lowered(calibrated("Softmax", [(1, 3)], (1, 3), axis=1))
    assert quant_of(op_of(program, "Softmax").results[0]) is None
    table = tmp_path / "qtable"
    table.write_text("out F32\n")
    program = lowered(calibrated("Add", [(1, 3), (1, 3)], (1, 3)), qtable=str(table))
    assert quant_of(op_of(program, "Add").results[0]) is None
