"""The layout pass: no tensor of the source model changes, and as few elements are transposed as can be."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from channels_last import Net, random_net
from targets import lowering, targets

from stepdown.dialects.op import fused_of, internal_of, is_internal, layout_of, value_name
from stepdown.dialects.program import Program, State, Weights
from stepdown.dialects.text import parse_module, print_module
from stepdown.dialects.top.activation import Relu
from stepdown.dialects.top.arithmetic import Add, Mul
from stepdown.dialects.top.index import TopK
from stepdown.dialects.top.mac import MatMul
from stepdown.dialects.top.move import Concat, Pad, Reshape, Slice, Split, Transpose
from stepdown.dialects.top.pool import AveragePool, MaxPool
from stepdown.dialects.top.quantize import Dequantize, Quantize
from stepdown.dialects.top.reduce import ReduceMean
from stepdown.dialects.top.reorder import DepthToSpace, SpaceToDepth
from stepdown.dialects.top.resize import ResizeNearest
from stepdown.dialects.top.softmax import Softmax
from stepdown.dialects.top.source import Absent, Weight
from stepdown.dialects.types import quant_of, shape_of, storage_of, tensor
from stepdown.errors import InputError
from stepdown.numerics.quantize import QuantParams
from stepdown.runtimes.mlir import MlirRunner
from stepdown.transforms.canonicalize import Canonicalize
from stepdown.transforms.convert_top_to_tpu import ConvertTopToTpu
from stepdown.transforms.cse import Cse
from stepdown.transforms.import_calibration_table import Range, Rewriter, float_values
from stepdown.transforms.layout import Layout, choose_layout, transposes
from stepdown.transforms.layouts import rules
from stepdown.transforms.layouts.orders import moved_type
from stepdown.transforms.layouts.rebuild import rebuild
from stepdown.transforms.layouts.views import Network

WINDOW = {"kernel_shape": [2, 2], "strides": [1, 1], "pads": [0, 0, 1, 1], "dilations": [1, 1]}
MOVING = ("Reshape", "Transpose", "Concat", "Split", "Slice", "Pad", "Tile", "Gather", "MaxPool", "Relu", "Neg", "Abs")


def sample(program):
    """Return values for the network's input."""
    shape = shape_of(program.input_ops[0].results[0])
    return {"x": np.random.default_rng(5).standard_normal(shape).astype(np.float32)}


def check_same(before, after, given=None):
    """Check every tensor of the source model as it is dumped: nothing is lost but what is noted as fused."""
    given = given or sample(before)
    old, new = MlirRunner(before), MlirRunner(after)
    wanted, found = old.run(given, "all"), new.run(given, "all")
    assert [s.name for s in old.outputs()] == [s.name for s in new.outputs()]
    assert [s.shape for s in old.outputs()] == [s.shape for s in new.outputs()]
    assert list(old.run(given)) == list(new.run(given))
    fused = {name for op in after.ops for name in fused_of(op)}
    names = [name for op in after.ops if not isinstance(op, Weight | Absent) for name in op.names]
    assert len(set(names)) == len(names)
    named = [name for name, info in old.metadata.tensors.items() if not info.internal]
    assert set(named) <= set(found) | fused
    assert set(old.metadata.outputs) <= set(found)
    for name in set(named) & set(found):
        assert found[name].shape == wanted[name].shape, name
        np.testing.assert_allclose(found[name], wanted[name], 1e-4, 1e-4, err_msg=name)
    exact = {n for op in before.ops if op.name.removeprefix("top.") in MOVING for n in op.names}
    return {name for name in exact & set(found) if found[name].tobytes() != wanted[name].tobytes()}


def moved(program):
    """Return how many elements the program's Transposes move, and how many there are."""
    ops = [op for op in program.ops if isinstance(op, Transpose) and not isinstance(op.operands[0].owner, Weight)]
    return sum(math.prod(shape_of(op.results[0])) for op in ops), len(ops)


def laid_out(make):
    """Return the program that `make` makes after the pass, checked against the same before it."""
    after = make()
    choose_layout(after)
    check_same(make(), after)
    return after


def op_named(program, name):
    """Return the op that makes a tensor."""
    return next(op for op in program.ops if name in op.names)


# --- on random networks


@pytest.mark.parametrize("seed", range(60))
def test_no_tensor_of_the_source_changes(seed):
    """Sums may run in another order, so that the last bits differ; nothing else may."""
    after = random_net(seed, 14, outputs=1 + seed % 4)
    before, left = choose_layout(after)
    assert left <= before
    check_same(random_net(seed, 14, outputs=1 + seed % 4), after)


@pytest.mark.parametrize("seed", range(24))
def test_moving_networks_keep_their_bytes(seed):
    """A network of moves and maxima has the same bytes everywhere."""
    net, other = moving_net(seed), moving_net(seed)
    choose_layout(other)
    assert check_same(net, other) == set()


def moving_net(seed):
    """Return a random network without sums."""
    net = Net((1, 4, 4, 4), seed)
    x = net.x
    for _ in range(6):
        match int(net.rng.integers(6)):
            case 0 | 1:
                x = net.first(MaxPool, x, **WINDOW)
            case 2:
                x = net.op(Concat, x, net.op(Relu, x), axis=int(net.rng.integers(4)))
            case 3:
                x = net.op(Pad, x, pads=[int(n) for n in net.rng.integers(0, 2, 8)], value=-1.0)
            case 4:
                size = shape_of(x)
                x = net.op(Slice, x, starts=[0, 1, 0, 1], ends=list(size), steps=[1, 1, 2, 1])
            case 5:
                x = net.op(Split, x, axis=3, sizes=[1, shape_of(x)[3] - 1])
                x = net.values[-1]
    return net.finish()


@pytest.mark.parametrize("seed", range(16))
def test_no_choice_is_cheaper(seed):
    """All choices of all ops are written out: none transposes fewer elements, or as many with fewer transposes."""
    network = Network.of(random_net(seed, 7, outputs=1 + seed % 3))
    free = [i for i, op in enumerate(network.forms) if network.has_choice(op)]
    costs = []
    for sides in itertools.product([0, 1], repeat=min(len(free), 5)):
        network, side = Network.of(random_net(seed, 7, outputs=1 + seed % 3)), dict(zip(free, sides, strict=False))
        rebuild(network, {op: forms[side.get(i, 0)] for i, (op, forms) in enumerate(network.forms.items())})
        costs.append(moved(network.program))
    program = random_net(seed, 7, outputs=1 + seed % 3)
    choose_layout(program)
    assert moved(program) <= min(costs)
    assert len(free) > 5 or moved(program) == min(costs)


@pytest.mark.parametrize("seed", range(8))
def test_a_second_run_changes_nothing(seed):
    """The result is a fixed point, and marks are composed."""
    program = random_net(seed, 14, outputs=2)
    _, left = choose_layout(program)
    assert choose_layout(program) == (left, left)
    check_same(random_net(seed, 14, outputs=2), program)


def test_a_wrong_rule_is_seen(monkeypatch):
    """The comparison of these tests can fail: begins and ends of pads mixed up."""

    def wrong(op, order):
        right = rules._pad(op, order)
        half = len(order)
        return rules.Form(right.wants, right.makes, {"pads": op.pads[:half] + tuple(right.attributes["pads"][half:])})

    def make():
        net = Net((1, 4, 4, 4))
        return net.finish(net.conv(net.op(Pad, net.conv(net.x), pads=[0, 0, 1, 0, 0, 1, 0, 0])))

    laid_out(make)
    monkeypatch.setitem(rules.RULES, Pad, wrong)
    with pytest.raises(Exception, match=r"result has shape|Not equal|shape|allclose"):
        laid_out(make)


# --- what becomes of single ops


def between(cls, *others, **attributes):
    """Return a maker of networks conv → op → conv."""

    def make():
        net = Net((1, 4, 6, 3))
        x = net.conv(net.x)
        operands = [net.weight(*o) if isinstance(o, tuple) else x for o in others]
        y = net.op(cls, x, *operands, **attributes)
        return net.finish(net.conv(y))

    return make


@pytest.mark.parametrize(
    "make",
    [
        between(Add, (3,)),
        between(Add, (1, 1, 3)),
        between(Mul, ()),
        between(Add, (4, 1, 1)),
        between(Add, (1, 4, 6, 3)),
        between(Concat, None, axis=3),
        between(Concat, (1, 2, 6, 3), axis=1),
        between(Pad, pads=[0, 1, 2, 0, 0, 3, 4, 1], value=0.5),
        between(Slice, starts=[0, 1, 5, 0], ends=[1, 4, -1, 3], steps=[1, 2, -2, 1]),
        between(Softmax, axis=-1),
        between(ReduceMean, axes=[2]),
        between(ReduceMean, axes=[-1]),
        between(Split, axis=3, sizes=[1, 2]),
        between(TopK, axis=2, k=2),
        between(Reshape, shape=[1, 6, 4, 3]),
    ],
)
def test_an_op_between_channels_first_ops_costs_nothing(make):
    """Two transposes are left: of the network's input and of its output."""
    before, after = make(), laid_out(make)
    assert transposes(before) == 4
    assert transposes(after) == 2


def test_a_constant_is_stored_as_it_is_wanted():
    """Of Add(x[N, H, W, C], b[C]) with x channels first, b becomes [C, 1, 1] under its own key."""
    after = laid_out(between(Add, (3,)))
    add = next(op for op in after.ops if isinstance(op, Add))
    assert [shape_of(v) for v in add.operands] == [(1, 3, 4, 6), (3, 1, 1)]
    assert add.operands[1].owner.key == "w2"
    assert after.weights["w2"].shape == (3, 1, 1)


def test_a_constant_that_two_ops_read_in_two_layouts_is_stored_twice():
    """The one whose layout changed gets another key."""

    def make():
        net = Net((1, 4, 6, 3))
        b = net.weight(4, 6, 3)
        first, last = net.op(Add, net.conv(net.x), b), net.op(Add, net.x, b)
        return net.finish(net.conv(first), last)

    after = laid_out(make)
    keys = {op.operands[1].owner.key: shape_of(op.operands[1]) for op in after.ops if isinstance(op, Add)}
    assert keys == {"w0_moved": (3, 4, 6), "w0": (4, 6, 3)}


def test_operands_of_a_lower_rank_are_transposed_and_reshaped():
    """y[H, W, C] against x[N, H, W, C] stored channels first."""

    def make():
        net = Net((2, 4, 6, 3))
        y = net.op(ReduceMean, net.x, axes=[0], keepdims=False)
        return net.finish(net.conv(net.op(Add, net.conv(net.x), y)))

    after = laid_out(make)
    add = next(op for op in after.ops if isinstance(op, Add))
    assert [shape_of(v) for v in add.operands] == [(2, 3, 4, 6), (3, 4, 6)]


def test_dropping_sizes_of_one_after_a_global_pool_needs_no_transpose():
    """[N, 1, 1, C] → [N, C] reads the pool's own [N, C, 1, 1]."""

    def make():
        net = Net((1, 4, 6, 3))
        window = {**WINDOW, "kernel_shape": [4, 6], "pads": [0] * 4}
        pooled = net.first(AveragePool, net.conv(net.x), **window)
        flat = net.op(Reshape, pooled, shape=[1, 3])
        return net.finish(net.op(MatMul, flat, net.weight(3, 2), net.program.add(Absent.make())))

    after = laid_out(make)
    assert transposes(after) == 1
    pool = next(op for op in after.ops if isinstance(op, AveragePool))
    assert value_name(pool.results[0]) == "t2"
    assert layout_of(pool.results[0]) == (0, 2, 3, 1)


@pytest.mark.parametrize("keepdims", [True, False])
def test_a_mean_over_height_and_width_ends_the_channels_first_part(keepdims):
    """[N, C] is the same in both layouts."""

    def make():
        net = Net((1, 4, 6, 3))
        mean = net.op(ReduceMean, net.conv(net.x), axes=[1, 2], keepdims=keepdims)
        return net.finish(net.op(Reshape, mean, shape=[1, 3]))

    after = laid_out(make)
    assert transposes(after) == 1
    assert next(op for op in after.ops if isinstance(op, ReduceMean)).axes == (2, 3)


@pytest.mark.parametrize(("shape", "left"), [((1, 4, 6, 3), 2), ((1, 1, 1, 3), 0)])
def test_flattening_needs_a_transpose_unless_nothing_moves(shape, left):
    """[N, H, W, C] → [N, HWC] mixes channels and pixels."""

    def make():
        net = Net(shape)
        return net.finish(net.op(Reshape, net.conv(net.x), shape=[1, math.prod(shape)]))

    assert transposes(laid_out(make)) == left


def test_merging_height_and_width_keeps_channels_first():
    """[N, H, W, C] → [N, HW, C] is [N, C, H, W] → [N, C, HW]."""

    def make():
        net = Net((1, 4, 6, 3))
        merged = net.op(Reshape, net.conv(net.x), shape=[1, 24, 3])
        return net.finish(net.conv(net.op(Reshape, net.op(Relu, merged), shape=[1, 6, 4, 3])))

    after = laid_out(make)
    assert transposes(after) == 2
    assert op_named(after, "t2").shape == (1, 3, 24)
    assert MlirRunner(after).metadata.tensors["t3"].layout == "NWC"


def test_transposes_that_move_nothing_become_reshapes():
    """A single channel is first and last at once."""

    def make():
        net = Net((1, 4, 6, 1))
        return net.finish(net.first(MaxPool, net.x, **WINDOW))

    after = laid_out(make)
    assert transposes(after) == 0
    assert [op.name for op in after.ops] == ["top.Input", "top.Reshape", "top.MaxPool", "top.Reshape"]


def test_a_tensor_with_several_readers_is_transposed_once():
    """Three channels-first ops read the input."""

    def make():
        net = Net()
        return net.finish(net.op(Concat, *(net.conv(net.x) for _ in range(3)), axis=3))

    before, after = make(), laid_out(make)
    assert (transposes(before), transposes(after)) == (6, 2)


def test_reordering_and_resizing_stay_channels_first():
    """The chain of TFLite's SPACE_TO_DEPTH, RESIZE and DEPTH_TO_SPACE has one transpose at each end."""

    def make():
        net = Net((1, 4, 6, 3))
        packed = net.first(SpaceToDepth, net.x, block_size=2)
        resized = net.first(ResizeNearest, net.op(Relu, packed), shape=[1, 12, 4, 6], scales=[1, 1, 2, 2])
        return net.finish(net.first(DepthToSpace, resized, block_size=2))

    assert transposes(laid_out(make)) == 2


def test_the_transposes_of_the_source_cancel_too():
    """A source that transposes to channels first and back itself; both tensors are noted."""

    def make():
        net = Net((1, 4, 6, 3))
        turned = net.op(Transpose, net.x, order=[0, 3, 1, 2])
        back = net.op(Transpose, net.op(Relu, turned), order=[0, 2, 3, 1])
        return net.finish(net.op(Add, back, net.x))

    after = laid_out(make)
    assert transposes(after) == 0
    assert op_named(after, "t2").tensor_name == "t2"
    assert {name for op in after.ops for name in fused_of(op)} == {"t1", "t3"}


def test_outputs_keep_their_names_and_layouts():
    """One tensor is an output, read channels first, and the output of a Transpose as well."""

    def make():
        net = Net((1, 4, 6, 3))
        y = net.op(Relu, net.conv(net.x))
        again = net.op(Transpose, net.op(Transpose, y, order=[0, 3, 1, 2]), order=[0, 2, 3, 1])
        same = net.op(Transpose, net.x, order=[0, 1, 2, 3])
        return net.finish(y, again, same, net.conv(y))

    after = laid_out(make)
    assert after.output_names == ["t2", "t4", "t5", "t6"]
    assert [layout_of(v) for v in after.results] == [()] * 4
    relu = next(op for op in after.ops if isinstance(op, Relu))
    assert is_internal(relu)


def test_two_outputs_that_are_one_tensor_stay_two():
    """Two Transposes of a channels-first op, which other ops read as it is."""

    def make():
        net = Net((1, 4, 6, 3))
        inner = net.conv(net.x).owner.operands[0]
        return net.finish(*(net.op(Transpose, inner, order=[0, 2, 3, 1]) for _ in range(2)), net.op(Relu, inner))

    after = laid_out(make)
    assert after.output_names == ["t2", "t3", "t4"]
    assert transposes(after) == 2


def test_results_of_one_op_have_their_own_names_and_layouts():
    """A Split of which one part is an output."""

    def make():
        net = Net((1, 4, 6, 3))
        net.op(Split, net.conv(net.x), axis=3, sizes=[1, 2])
        whole, part = net.values[-2:]
        return net.finish(net.conv(whole), part)

    after = laid_out(make)
    split = next(op for op in after.ops if isinstance(op, Split))
    assert [internal_of(r) for r in split.results] == [False, True]
    assert after.output_names[1] == "t3"


# --- marks


def test_marks_are_written_and_read_back():
    """Text to module and back."""
    after = laid_out(between(Relu))
    text = print_module(after.module)
    assert 'loc("t2"("layout 0,2,3,1"))' in text
    again = Program(parse_module(text), Weights())
    assert print_module(again.module) == text
    assert [layout_of(op.results[0]) for op in again.ops] == [layout_of(op.results[0]) for op in after.ops]


@pytest.mark.parametrize("mark", ["layout 0,2,1", "layout 0,1,2,2", "layout a,b", "layout "])
def test_a_mark_that_is_no_order_is_refused(mark):
    """One line names the tensor."""
    text = print_module(laid_out(between(Relu)).module).replace('"t2"("layout 0,2,3,1")', f'"t2"("{mark}")')
    with pytest.raises(InputError, match=r"loc.*t2.*no order of the dimensions of tensor<1x3x4x6xf32>"):
        parse_module(text)


def test_passes_keep_marks():
    """Canonicalised and with common subexpressions merged, every tensor is dumped as before."""

    def make():
        net = Net((1, 4, 6, 3))
        x = net.conv(net.x)
        sums = [net.op(Relu, net.op(Add, x, net.op(Mul, x, net.weight(3)))) for _ in range(2)]
        return net.finish(net.conv(net.op(Concat, *sums, axis=-1 % 4)))

    after = laid_out(make)
    for step in (Canonicalize(), Cse(), Layout()):
        step.run(after)
    check_same(make(), after)
    assert any(fused_of(op) for op in after.ops)
    assert layout_of(next(op for op in after.ops if isinstance(op, Add)).results[0]) == (0, 2, 3, 1)


def test_only_top_programs_have_a_layout_to_choose():
    """A lowered program is refused by name."""
    program = calibrated(between(Relu)())
    ConvertTopToTpu(mode="F32", chip="bm1684x").run(program)
    with pytest.raises(InputError, match=r"needs a TOP module, this one has tpu\.Input"):
        Layout().run(program)


# --- lowering


def calibrated(program):
    """Give every float tensor of a program a range."""
    for value in float_values(program):
        Rewriter.replace_value_with_new_type(value, tensor(shape_of(value), Range(-8.0, 8.0)))
    program.main.update_function_type()
    program["state"] = State.TOP_CALIBRATED
    return program


def softened():
    """Return conv → Add → Softmax → conv → mean: integers, floats, casts between them, and rescales."""
    net = Net((1, 4, 6, 3))
    x = net.conv(net.x)
    soft = net.op(Softmax, net.op(Concat, net.op(Add, x, net.weight(3)), x, axis=3), axis=-1)
    return net.finish(net.op(ReduceMean, net.conv(soft), axes=[1, 2], keepdims=True), soft)


@pytest.mark.parametrize(("mode", "chip"), targets())
def test_lowered_programs_are_dumped_in_the_layout_of_the_source(mode, chip):
    """Stored integers, floats, and views of them are those of the same program lowered without the pass."""
    dumps = []
    for program in (softened(), softened()):
        if dumps:
            choose_layout(program)
        lowering(mode, chip).run(calibrated(program))
        runner = MlirRunner(program)
        dumps.append((runner.run(sample(program), "all"), runner.metadata.tensors))
    (wanted, old), (found, new) = dumps
    named = [name for name, info in old.items() if not info.internal]
    assert {old[n].view_of or n for n in named} == {"x", *(f"t{i}" for i in range(1, 7))}
    assert set(named) <= set(found)
    for name in named:
        assert replace(new[name], layout="", fused=()) == replace(old[name], fused=())
        assert (found[name].shape, found[name].dtype) == (wanted[name].shape, wanted[name].dtype)
        step = 1 if old[name].scale else {"F32": 1e-6, "F16": 0.02, "BF16": 0.1}.get(mode, 0.1)
        np.testing.assert_allclose(found[name].astype(float), wanted[name].astype(float), atol=step, err_msg=name)
    assert {new[n].layout for n in named if (new[n].view_of or n) in ("t1", "t2", "t3", "t5")} == {"NHWC"}


def test_moved_integers_keep_their_parameters():
    """Quantised tensors and weights with a scale a channel: types move along."""

    def make():
        net = Net((1, 4, 6, 3))
        params = QuantParams(0.5, 3, "i8")
        q = quantised(net.op(Quantize, net.x, to="i8"), params)
        pooled = quantised(net.first(MaxPool, q, **WINDOW), params, internal=True)
        padded = quantised(net.op(Pad, pooled, pads=[0, 1, 0, 0, 0, 0, 1, 0], value=3.0), params)
        return net.finish(net.op(Dequantize, quantised(net.first(MaxPool, padded, **WINDOW), params, internal=True)))

    before, after = make(), make()
    choose_layout(after)
    assert check_same(before, after) == set()
    assert transposes(after) == 2
    stored = [v for op in after.ops for v in op.results if storage_of(v) == "i8"]
    assert {quant_of(v) for v in stored} == {QuantParams(0.5, 3, "i8")}


def quantised(value, params, internal=False):
    """Give a value, and with `internal` what lies between it and its Transposes, a quantised type."""
    while internal and isinstance(value.owner, Transpose | MaxPool) and quant_of(value.owner.operands[0]) is None:
        inner = value.owner.operands[0]
        quantised(inner, params, internal)
    return Rewriter.replace_value_with_new_type(value, tensor(shape_of(value), params))


def test_a_scale_a_channel_moves_along():
    """In a constant that is broadcast, and in the type of a tensor of any order."""
    net, scales = Net((1, 4, 6, 3)), QuantParams((0.5, 0.25, 0.125), 0, "i8", 0)
    net.program.weights["q"] = np.arange(3, dtype=np.int8)
    b = net.program.add(Weight.of("q", tensor((3,), scales)))
    program = net.finish(net.conv(net.op(Add, net.conv(net.x), b)))
    choose_layout(program)
    add = next(op for op in program.ops if isinstance(op, Add))
    assert shape_of(add.operands[1]) == (3, 1, 1)
    assert quant_of(add.operands[1]) == scales
    turned = moved_type(tensor((3, 2, 2, 4), scales), (3, 1, 2, 0))
    assert (shape_of(turned), quant_of(turned).axis) == ((4, 2, 2, 3), 3)
    spread = moved_type(tensor((3, 2), scales), (1, 0), (1, 2, 1, 3))
    assert (shape_of(spread), quant_of(spread).axis) == ((1, 2, 1, 3), 3)
