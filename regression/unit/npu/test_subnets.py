"""Subnets: valid orders with as few of them as there can be, written on the module and read back."""

from itertools import pairwise, permutations

import numpy as np
import pytest
from npu.test_networks import inputs, resnet8
from targets import lowering

from stepdown.chips import load_chip
from stepdown.dialects.op import value_name
from stepdown.dialects.program import Program
from stepdown.dialects.text import parse_module, print_module
from stepdown.dialects.top import TOP_OPS
from stepdown.dialects.types import tensor
from stepdown.errors import InputError, UnsupportedModel
from stepdown.npu.division import divide
from stepdown.npu.host_module import host_module
from stepdown.npu.passes.subnet_divide import SubnetDivide
from stepdown.npu.subnets import parts_of, set_subnet_kinds, subnet_kinds
from stepdown.runtimes.mlir import MlirRunner

CHIP = load_chip("bm1684x")


def network(seed: int, size: int = 6) -> Program:
    """Return a random network of Adds, which the engines have, and Softmaxes, which they have not; all are outputs."""
    rng = np.random.default_rng(seed)
    program = Program.empty("random", {"x": tensor((2, 8), "f32")}, "ONNX")
    values = [program.add(TOP_OPS["Input"].build("x", list(program.block.args)))]
    for at in range(size):
        one, two = (values[rng.integers(len(values))] for _ in range(2))
        made = (
            TOP_OPS["Softmax"].build(f"s{at}", [one], axis=1)
            if rng.random() < 0.5
            else TOP_OPS["Add"].build(f"a{at}", [one, two])
        )
        values.append(program.add(made))
    program.finish(values[1:])
    lowering("F16", "bm1684x").run(program)
    return program


def fewest(program: Program) -> int:
    """Return the number of subnets in the best of all orders; conversions may be anywhere and are left out."""
    kinds = {op: op.name == "tpu.Softmax" for op in program.ops if op.name in ("tpu.Softmax", "tpu.Add")}
    needs = {op: {v.owner for v in op.operands if v.owner in kinds} for op in kinds}
    best = len(kinds)
    for order in permutations(kinds):
        if all(needs[op] <= set(order[:at]) for at, op in enumerate(order)):
            best = min(best, 1 + sum(kinds[a] != kinds[b] for a, b in pairwise(order)))
    return best


@pytest.mark.parametrize("seed", range(12))
def test_the_order_is_valid_and_no_order_has_fewer_subnets(seed: int) -> None:
    program = network(seed)
    given = inputs(program)
    wanted, least = MlirRunner(program).run(given, "all"), fewest(program)
    divide(program, CHIP)
    made = set()
    for op in program.ops:
        assert all(v in made for v in op.operands if v not in program.block.args)
        made.update(op.results)
    assert len(subnet_kinds(program)) == least
    got = MlirRunner(program).run(given, "all")
    assert {n: a.tobytes() for n, a in got.items()} == {n: a.tobytes() for n, a in wanted.items()}


@pytest.mark.parametrize(
    ("op", "mode", "kinds"),
    [
        ("Sigmoid", "F32", ["host"]),
        ("Sigmoid", "F16", ["npu"]),
        ("Softmax", "BF16", ["host"]),
    ],
)
def test_what_has_no_command_in_a_mode_is_left_to_the_host(op: str, mode: str, kinds: list[str]) -> None:
    program = Program.empty("one", {"x": tensor((2, 8), "f32")}, "ONNX")
    given = program.add(TOP_OPS["Input"].build("x", list(program.block.args)))
    program.finish([program.add(TOP_OPS[op].build("y", [given], **({"axis": 1} if op == "Softmax" else {})))])
    lowering(mode, "bm1684x").run(program)
    divide(program, CHIP)
    assert [kind for kind in subnet_kinds(program) if kind == "host"] == [kind for kind in kinds if kind == "host"]
    (made,) = [each for each in program.ops if each.name == f"tpu.{op}"]
    assert subnet_kinds(program)[made.note("subnet")] == kinds[0]


def test_what_the_pass_writes_is_read_back() -> None:
    program = network(1)
    SubnetDivide().run(program)
    text = print_module(program.module)
    again = Program(parse_module(text), program.weights)
    assert print_module(again.module) == text
    found = [[(part.kind, [op.names for op in part.ops]) for part in parts_of(p)] for p in (program, again)]
    assert found[0] == found[1]


def test_dividing_again_changes_nothing_and_after_groups_it_is_refused() -> None:
    program = network(2)
    SubnetDivide().run(program)
    text = print_module(program.module)
    SubnetDivide().run(program)
    assert print_module(program.module) == text
    program.ops[-1].set_note("layer_group", 0)
    with pytest.raises(InputError, match="has its layer groups already; give --subnet-divide before --layer-group"):
        SubnetDivide().run(program)


def test_the_pass_tells_what_the_host_runs(capsys: pytest.CaptureFixture[str]) -> None:
    program = resnet8()
    lowering("F16", "bm1684x").run(program)
    capsys.readouterr()
    SubnetDivide().run(program)
    assert capsys.readouterr().err == "2 subnets; the host runs 2 of 19 ops: 1 Softmax, 1 Convert\n"


def test_subnets_together_are_the_network() -> None:
    program = resnet8()
    lowering("F16", "bm1684x").run(program)
    given = inputs(program)
    wanted = MlirRunner(program).run(given, "all")
    divide(program, CHIP)
    known = {op.tensor_name: wanted[op.tensor_name] for op in program.input_ops}
    for part in parts_of(program):
        module = host_module(program, part)
        assert [op.tensor_name for op in module.input_ops] == [value_name(v) for v in part.reads]
        known |= MlirRunner(module).run({op.tensor_name: known[op.tensor_name] for op in module.input_ops}, "all")
    assert {n: a.tobytes() for n, a in known.items()} == {n: a.tobytes() for n, a in wanted.items()}


def test_ops_without_a_subnet_or_out_of_order_are_refused() -> None:
    program = resnet8()
    lowering("F16", "bm1684x").run(program)
    assert [part.kind for part in parts_of(program)] == ["npu"]
    divide(program, CHIP)
    last = program.ops[-1]
    last.set_note("subnet", None)
    with pytest.raises(InputError, match="is of subnet None after one of 1, and there are 2"):
        parts_of(program)
    last.set_note("subnet", 0)
    with pytest.raises(InputError, match=f"{last.tensor_name}.* is of subnet 0 after one of 1"):
        parts_of(program)
    last.set_note("subnet", 1)
    set_subnet_kinds(program, ["npu", "gpu"])
    with pytest.raises(InputError, match="want a list of 'npu' and 'host'"):
        parts_of(program)


def test_a_constant_as_an_output_is_refused() -> None:
    program = resnet8()
    lowering("F16", "bm1684x").run(program)
    weight = next(op for op in program.ops if op.name == "tpu.Weight")
    program.finish([weight.results[0]])
    with pytest.raises(UnsupportedModel, match=r"the output '.*' is a constant"):
        divide(program, CHIP)
