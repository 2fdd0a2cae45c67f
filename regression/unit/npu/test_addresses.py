"""Places in global memory: no two overlap, none is wasted, and what is told of them is true."""

import random
from dataclasses import replace
from itertools import combinations, permutations

import pytest
from npu.test_networks import QUANTISED, calibrate, inputs, mnist, quantised, resnet8
from targets import lowering, targets

from stepdown.chips import load_chip
from stepdown.dialects.op import value_name
from stepdown.dialects.program import Program, Weights
from stepdown.dialects.text import parse_module
from stepdown.errors import InputError, ResourceError, StepError
from stepdown.model.schema import GLOBAL
from stepdown.npu.addresses import (
    Interval,
    Limits,
    allocate,
    assign,
    heuristics,
    live_set_bound,
    noted,
    place_problem,
    write,
)
from stepdown.npu.addresses.exact import solve
from stepdown.npu.addresses.interval import neighbours, taken
from stepdown.npu.addresses.live import tenants
from stepdown.npu.codegen import generate
from stepdown.npu.cost import local_memory
from stepdown.npu.division import divide
from stepdown.npu.groups.layers import root_of
from stepdown.npu.isa import BYTES, ENGINES, Move, encode, packed
from stepdown.npu.passes.address_assign import AddressAssign
from stepdown.npu.passes.codegen import model_of
from stepdown.npu.passes.layer_group import LayerGroup
from stepdown.npu.passes.subnet_divide import SubnetDivide
from stepdown.npu.subnets import subnet_kinds
from stepdown.npu.synchronize import Synchronizer
from stepdown.sim import load

TEXT = """
module @m attributes {module.state = "TPU_LOWERED", module.chip = "bm1684x", module.subnets = ["npu", "host", "npu"]} {
  func.func @main(%x: tensor<1x4096xf16> loc("x")) -> (tensor<1x4096xf16>, tensor<1x4096xf16>) {
    %x0 = "tpu.Input"(%x) {subnet = 0} : (tensor<1x4096xf16>) -> tensor<1x4096xf16> loc("x")
    %a = "tpu.Relu"(%x0) {subnet = 0, layer_group = 0} : (tensor<1x4096xf16>) -> tensor<1x4096xf16> loc("a")
    %b = "tpu.Relu"(%a) {subnet = 0, layer_group = 0} : (tensor<1x4096xf16>) -> tensor<1x4096xf16> loc("b")
    %c = "tpu.Relu"(%b) {subnet = 0, layer_group = 0} : (tensor<1x4096xf16>) -> tensor<1x4096xf16> loc("c")
    %d = "tpu.Reshape"(%b) {subnet = 0, shape = array<i64: 1, 64, 64>}
        : (tensor<1x4096xf16>) -> tensor<1x64x64xf16> loc("d")
    %e = "tpu.Relu"(%d) {subnet = 1} : (tensor<1x64x64xf16>) -> tensor<1x64x64xf16> loc("e")
    %f = "tpu.Reshape"(%e) {subnet = 1, shape = array<i64: 1, 4096>}
        : (tensor<1x64x64xf16>) -> tensor<1x4096xf16> loc("f")
    %g = "tpu.Relu"(%f) {subnet = 1} : (tensor<1x4096xf16>) -> tensor<1x4096xf16> loc("g")
    %h = "tpu.Relu"(%f) {subnet = 2} : (tensor<1x4096xf16>) -> tensor<1x4096xf16> loc("h")
    func.return %c, %g : tensor<1x4096xf16>, tensor<1x4096xf16>
  }
}
"""
UNREACHABLE = [
    Interval(*each)
    for each in (
        (3, 8, 8), (4, 7, 8), (2, 2, 5), (2, 0, 1), (1, 2, 6), (1, 4, 6), (3, 3, 5), (1, 3, 4), (1, 1, 4), (4, 0, 1),
        (3, 0, 0), (1, 1, 3), (2, 5, 8), (4, 6, 6), (4, 2, 2),
    )
]  # fmt: skip
"""At most 9 bytes are in use together, and no choice of places takes less than 10."""
WIDE = [replace(each, size=64 * each.size - 5) for each in UNREACHABLE]
HARD = [
    Interval(*each)
    for each in (
        (2, 0, 2), (4, 4, 5), (3, 0, 1), (1, 5, 5), (2, 0, 1), (1, 2, 5), (2, 0, 2), (4, 5, 5), (3, 3, 4), (1, 5, 5),
        (2, 2, 4), (1, 1, 3), (2, 2, 2), (1, 1, 4), (3, 3, 3), (2, 0, 0),
    )
]  # fmt: skip
"""11 bytes are enough, and the fixed orders take 12."""


def intervals(seed: int, count: int, steps: int, largest: int = 9) -> list[Interval]:
    chance = random.Random(seed)
    starts = [chance.randrange(steps) for _ in range(count)]
    return [Interval(chance.randint(0, largest), at, at + chance.randint(0, 4)) for at in starts]


def least(given: list[Interval]) -> int:
    """Return the least memory: of some order, the one of the addresses, each at the lowest place that is left."""
    near = neighbours(given)
    return min(
        taken(given, heuristics.in_order(given, near, order, False)) for order in permutations(range(len(given)))
    )


def fits(given: list[Interval], memory: int) -> bool:
    """Tell whether some choice of places takes no more: tries them all, in the order of time."""
    order = sorted(given, key=lambda each: (each.first, -each.size))

    def rest(places: list[int]) -> bool:
        if len(places) == len(order):
            return True
        each = order[len(places)]
        held = [(at, at + o.size) for o, at in zip(order, places, strict=False) if o.meets(each)]
        free = (
            a for a in range(memory - each.size + 1) if all(a >= high or a + each.size <= low for low, high in held)
        )
        return any(rest([*places, at]) for at in free)

    return rest([])


def program() -> Program:
    return Program(parse_module(TEXT), Weights())


def lowered(network, chip: str) -> Program:
    made = network()
    calibrate(made, inputs(made))
    lowering("INT8", chip).run(made)
    divide(made, load_chip(chip))
    return made


@pytest.mark.parametrize("alignment", [1, 4, 4096])
@pytest.mark.parametrize("seed", range(25))
def test_places_do_not_overlap_are_aligned_and_take_no_less_than_the_live_set(seed: int, alignment: int) -> None:
    given = intervals(seed, 5 + 3 * seed, 4 + seed)
    plan = allocate(given, alignment, Limits(pairs=0))
    assert place_problem(given, plan.addresses, alignment) is None
    assert live_set_bound(given, alignment) == plan.live_set <= plan.proved <= plan.bytes
    assert plan == allocate(given, alignment, Limits(pairs=0))


@pytest.mark.parametrize("seed", range(20))
def test_small_graphs_have_the_least_memory(seed: int) -> None:
    given = intervals(seed, 6, 6)
    plan = allocate(given)
    assert plan.is_optimal
    assert plan.bytes == least(given)


@pytest.mark.parametrize("seed", range(20))
def test_the_solver_alone_finds_the_least_memory(seed: int) -> None:
    given = [each for each in intervals(seed, 6, 6) if each.size]
    most = sum(each.size for each in given) + 1
    solved = solve(given, live_set_bound(given), most, Limits())
    assert place_problem(given, solved.addresses) is None
    assert taken(given, solved.addresses) == solved.bound == least(given)


def test_where_the_live_set_cannot_be_reached_the_solver_proves_it() -> None:
    assert fits(UNREACHABLE, 10) and not fits(UNREACHABLE, 9)
    plan = allocate(WIDE, 64)
    assert (plan.bytes, plan.live_set, plan.proved) == (640, 576, 640)
    assert plan.is_optimal
    without = allocate(WIDE, 64, Limits(pairs=0))
    assert (without.bytes, without.live_set, without.proved) == (640, 576, 576)
    assert not without.is_optimal


def test_the_solver_finds_what_heuristics_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heuristics, "WORK", 0)
    assert allocate(HARD, limits=Limits(pairs=0)).bytes == 12
    plan = allocate(HARD)
    assert plan.bytes == live_set_bound(HARD) == 11
    assert place_problem(HARD, plan.addresses) is None


def test_random_orders_find_what_fixed_ones_do_not() -> None:
    given = next(g for g in (intervals(seed, 40, 20) for seed in range(100)) if _fixed(g) > live_set_bound(g))
    assert taken(given, heuristics.place(given, live_set_bound(given))) < _fixed(given)


def _fixed(given: list[Interval]) -> int:
    """Return the memory of the fixed orders alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(heuristics, "WORK", 0)
        return taken(given, heuristics.place(given, live_set_bound(given)))


# --- live ranges


def test_live_ranges_of_groups_subnets_and_reshapes() -> None:
    found = {each.names: (each.interval.first, each.interval.last) for each in tenants(program())}
    # Steps: the group is 0, the host's subnet 1, h is 2. a is the group's own; e and g are the host's own.
    assert found == {"x": (0, 0), "b, d": (0, 1), "c": (0, 2), "f": (1, 2), "h": (2, 2)}


def test_scattered_groups_are_refused() -> None:
    given = program()
    next(op for op in given.ops if op.tensor_name == "h").set_note("layer_group", 0)
    with pytest.raises(InputError, match="ops of layer group 0 do not follow each other: 'h' comes after others"):
        tenants(given)


@pytest.mark.parametrize("chip", ["bm1684x", "gemmini"])
@pytest.mark.parametrize("network", [mnist, resnet8, *QUANTISED])
def test_networks_take_no_more_than_their_live_set(network, chip: str) -> None:
    machine = load_chip(chip)
    if isinstance(network, str):
        given = quantised(network)
        divide(given, machine)
    else:
        given = lowered(network, chip)
    made = assign(given, machine)
    count = len({*made.addresses.values()})
    assert str(made).endswith(f"live-set lower bound {made.bytes:,}, gap 0.0 %")
    assert 1 < count < len(tenants(given))


# --- code


def test_code_has_tensors_in_places_of_others() -> None:
    given, chip = lowered(resnet8, "bm1684x"), load_chip("bm1684x")
    made = assign(given, chip)
    code = generate(given, chip)
    write(given, made)
    assert generate(given, chip).streams == code.streams
    for value, address in made.addresses.items():
        assert code.tensors[value_name(value)][0].address == address
    assert min(place.address for place in code.constants.values()) >= made.bytes
    assert sum(place.elements * BYTES[place.type] for place, _ in code.tensors.values()) > 2 * made.bytes


@pytest.mark.parametrize(("mode", "chip"), targets(("F16", "INT8"), "npu"))
@pytest.mark.parametrize("passes", [(), (LayerGroup,), (SubnetDivide, LayerGroup, AddressAssign)])
def test_no_two_regions_of_a_model_file_share_bytes_and_steps(passes: tuple, mode: str, chip: str) -> None:
    given = resnet8()
    calibrate(given, inputs(given))
    lowering(mode, chip).run(given)
    for each in passes:
        each().run(given)
    (stage,) = model_of(given, load_chip(chip)).network().stages
    kinds = subnet_kinds(given)
    roots = {value_name(v): root_of(v, kinds) for op in given.ops for v in op.results if not op.name.endswith(".None")}
    regions = [region for region in stage.memory if region.memory == GLOBAL]
    assert len(regions) > 1
    for one, other in combinations(regions, 2):
        apart = one.address + one.bytes <= other.address or other.address + other.bytes <= one.address
        assert apart or one.last < other.first or other.last < one.first or roots[one.name] == roots[other.name]


def test_a_place_that_is_used_again_too_early_is_refused_when_code_is_loaded() -> None:
    chip = load_chip("gemmini")
    lanes = local_memory(chip).lanes
    ends = {
        space: packed("i8", (1, 16, 4, 4), 0, space=space, lanes=lanes if space == "local" else 1)
        for space in ("global", "local")
    }
    streams = Synchronizer(lanes, ENGINES)
    streams.append(Move(source=ends["global"], target=ends["local"]), "dma")
    streams.append(Move(source=replace(ends["local"], address=4096), target=ends["global"]), "dma2")
    assert streams.streams["dma2"][0].wait == (0, 1, 0)
    load({engine: encode(each) for engine, each in streams.streams.items()}, chip, 4096)
    streams.streams["dma2"][0] = replace(streams.streams["dma2"][0], wait=(0, 0, 0))
    with pytest.raises(InputError, match=r"at 0x0 in global memory while .* there: nothing puts the two in order"):
        load({engine: encode(each) for engine, each in streams.streams.items()}, chip, 4096)


# --- what is checked


def test_a_mistake_of_the_allocator_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    given, chip = lowered(resnet8, "bm1684x"), load_chip("bm1684x")
    victim = next(at for at, each in enumerate(tenants(given)) if each.interval.last > each.interval.first + 1)

    def forgetful(known: list[Interval]) -> list[list[int]]:
        return [[i for i in near if victim not in (i, at)] for at, near in enumerate(neighbours(known))]

    monkeypatch.setattr(heuristics, "neighbours", forgetful)
    with pytest.raises(StepError, match="overlap while both are in use") as caught:
        assign(given, chip)
    assert tenants(given)[victim].names in str(caught.value)


@pytest.mark.parametrize(
    ("name", "address", "wanted"),
    [
        ("b", 100, "b, d are one tensor under several shapes"),
        ("c", -1, "c lies at -1, want a multiple of 4096"),
        ("c", 100, "c lies at 100, want a multiple of 4096"),
        ("x", 8192, "x and b, d overlap while both are in use"),
        ("h", 1 << 20, "module.global_bytes is 24576 : i64, and its tensors take 1056768 bytes"),
    ],
)
def test_noted_places_are_checked(name: str, address: int, wanted: str) -> None:
    given, chip = program(), load_chip("bm1684x")
    made = assign(given, chip)
    write(given, made)
    read = noted(given, chip)
    assert read is not None
    assert (read.addresses, read.bytes) == (made.addresses, made.bytes)
    next(op for op in given.ops if op.tensor_name == name).set_note("address", [address])
    with pytest.raises(InputError, match="run --address-assign on it again") as caught:
        noted(given, chip)
    assert wanted in str(caught.value)


def test_memory_that_a_chip_does_not_have() -> None:
    chip = replace(load_chip("bm1684x"), global_memory_bytes=20_000)
    with pytest.raises(ResourceError, match="take 24576 bytes of global memory, and chip bm1684x has 20000"):
        assign(program(), chip)


def test_what_is_told() -> None:
    made = assign(program(), load_chip("bm1684x"))
    assert str(made) == "global memory: 24,576 bytes in 5 tensors, live-set lower bound 24,576, gap 0.0 %"
    proved = replace(made, bytes=640, plan=allocate(WIDE, 64))
    assert str(proved).endswith("live-set lower bound 576, gap 11.1 % (optimal: proved by the solver)")
    left = replace(made, bytes=640, plan=allocate(WIDE, 64, Limits(pairs=0)))
    assert str(left).endswith("gap 11.1 % (proved gap 11.1 %: nothing takes less than 576)")
