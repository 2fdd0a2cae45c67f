"""Groups: what stays in local memory has the bytes of the reference, whatever the tiles; choices save time."""

from dataclasses import replace
from itertools import combinations, pairwise

import numpy as np
import pytest
from npu.machines import differences, run_code
from npu.test_networks import QUANTISED, REGRESSION, inputs, mnist, resnet8, shrunk
from runtimes.test_bmodel import lowered
from targets import targets

from stepdown.chips import Chip, load_chip
from stepdown.dialects.program import Program
from stepdown.dialects.text import parse_module, print_module
from stepdown.errors import InputError, ResourceError, StepError
from stepdown.formats.tflite.importer import import_tflite
from stepdown.formats.tflite.loader import load_tflite
from stepdown.npu.codegen import generate
from stepdown.npu.cost import local_memory
from stepdown.npu.division import divide
from stepdown.npu.groups.choose import SHORT, choose
from stepdown.npu.groups.estimate import estimate
from stepdown.npu.groups.layers import Group, Layer
from stepdown.npu.groups.layout import items, lay_out, local_bytes
from stepdown.npu.groups.notes import check_notes, note_groups, runs
from stepdown.npu.groups.packing import Packing
from stepdown.npu.groups.prices import Prices
from stepdown.npu.groups.tiles import Parts, cut, rows_of, shapes_of
from stepdown.npu.passes.layer_group import LayerGroup
from stepdown.sim import load
from stepdown.sim.timeline import timeline
from stepdown.transforms.convert_quantized_to_tpu import ConvertQuantizedToTpu
from stepdown.transforms.layout import Layout


def divided(network, mode: str = "INT8", chip: str = "bm1684x") -> tuple[Program, dict]:
    program, given = lowered(network, mode, chip)
    divide(program, load_chip(chip))
    return program, given


def longest_run(program: Program, chip: Chip) -> list[Layer]:
    return max((run for run in runs(program, chip) if isinstance(run, list)), key=len)


def cycles(program: Program, chip: Chip) -> int:
    code = generate(program, chip)
    events = timeline(load(code.streams, chip, code.global_bytes, parts=[step.after for step in code.host]), chip)
    return max(event.end for event in events)


@pytest.mark.parametrize(("mode", "chip"), targets(("F16", "INT8", "INT8 asymmetric")))
@pytest.mark.parametrize("network", [mnist, resnet8])
@pytest.mark.parametrize("factor", [1, 4, 32])
def test_grouped_networks_have_the_bytes_of_the_reference(network, mode: str, chip: str, factor: int) -> None:
    program, given = divided(network, mode, chip)
    machine = shrunk(load_chip(chip), factor)
    note_groups(program, machine)
    wanted, got = run_code(program, given, machine, poison=factor, shuffle=factor)
    assert len(got) > 8
    assert not differences(wanted, got)


@pytest.mark.parametrize("name", QUANTISED)
@pytest.mark.parametrize("factor", [1, 64])
def test_grouped_networks_that_tflite_quantised(name: str, factor: int) -> None:
    program = import_tflite(load_tflite(REGRESSION / "model" / f"mlperf_tiny_{name}_int8.tflite"), name)
    Layout().run(program)
    ConvertQuantizedToTpu(profile="tflite").run(program)
    machine = shrunk(load_chip("bm1684x"), factor)
    divide(program, machine)
    note_groups(program, machine)
    wanted, got = run_code(program, inputs(program), machine, poison=1, shuffle=2)
    assert len(got) > 8
    assert not differences(wanted, got)


@pytest.mark.parametrize("chip", ["bm1684x", "gemmini"])
@pytest.mark.parametrize(("length", "rows"), [(2, 7), (3, 4), (5, 3), (9, 2)])
def test_tiles_with_halos_have_the_bytes_of_the_reference(chip: str, length: int, rows: int) -> None:
    program, given = divided(resnet8, "INT8", chip)
    machine = replace(load_chip(chip), local_bytes=1 << 20, scratchpad_bytes=1 << 22)
    run = longest_run(program, machine)
    for at, layer in enumerate(run):
        layer.op.set_note("layer_group", at // length)
    cuts = []

    def parts(group: Group) -> Parts:
        height = min(group.layers[at].kernel.shape[2] for at in group.outputs)
        cuts.append(min(rows, height))
        return Parts(1, 1, cuts[-1])

    wanted, got = run_code(program, given, machine, poison=rows, shuffle=length, choose=parts)
    assert max(cuts) == rows
    assert not differences(wanted, got)


@pytest.mark.parametrize("chip", ["bm1684x", "gemmini"])
@pytest.mark.parametrize("network", [mnist, resnet8])
def test_groups_take_less_time_than_ops_alone(network, chip: str) -> None:
    program, _ = divided(network, "INT8", chip)
    machine = load_chip(chip)
    alone = cycles(program, machine)
    note_groups(program, machine, longest=1)
    alone = min(alone, cycles(program, machine))
    note_groups(program, machine)
    assert max(op.note("layer_group") or 0 for op in program.ops) < len(list(program.ops)) / 4
    assert cycles(program, machine) < alone


@pytest.mark.parametrize("chip", ["bm1684x", "gemmini"])
def test_the_estimate_of_a_group_is_near_its_time(chip: str) -> None:
    program, _ = divided(resnet8, "INT8", chip)
    machine = load_chip(chip)
    note_groups(program, machine)
    believed = 0.0
    for run in runs(program, machine):
        if isinstance(run, list):
            believed += sum(each.cycles for each in choose(run, machine))
    assert believed == pytest.approx(cycles(program, machine), rel=0.15)


@pytest.mark.parametrize(("chip", "factor"), [("gemmini", 8), ("bm1684x", 64)])
def test_the_choice_is_the_least_of_all_cuts(chip: str, factor: int) -> None:
    program, _ = divided(resnet8, "INT8", chip)
    machine = shrunk(load_chip(chip), factor)
    run, prices = longest_run(program, machine)[-9:-3], Prices(machine)
    found = sum(each.cycles for each in choose(run, machine))
    sums = []
    for count in range(len(run)):
        for cuts in combinations(range(1, len(run)), count):
            ends = [0, *cuts, len(run)]
            groups = [Group(run[a:b]) for a, b in pairwise(ends)]
            each = [_least(group, prices) for group in groups]
            if None not in each:
                sums.append(sum(each))
    assert found <= 1.03 * min(sums)


def test_long_groups_are_looked_at_from_one_begin_where_they_fit_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    program = import_tflite(load_tflite(REGRESSION / "model" / "mlperf_tiny_vww_mobilenetv1_025_int8.tflite"), "vww")
    Layout().run(program)
    ConvertQuantizedToTpu(profile="tflite").run(program)
    machine = load_chip("bm1684x")
    divide(program, machine)
    run, looked = longest_run(program, machine), []

    def counted(group: Group, parts: Parts, prices: Prices) -> float | None:
        looked.append(len(group.layers))
        return estimate(group, parts, prices)

    monkeypatch.setattr("stepdown.npu.groups.choose.estimate", counted)
    monkeypatch.setattr("stepdown.npu.groups.choose.Limits.least_cycles", lambda *_: 0)
    found = choose(run, machine)
    assert [len(each.group.layers) for each in found] == [len(run)]
    assert sum(length > SHORT for length in looked) <= len(run) - SHORT


def test_weights_that_do_not_fit_together_stream_through_one_group() -> None:
    program, _ = divided(resnet8)
    machine = shrunk(load_chip("bm1684x"), 96)
    run = longest_run(program, machine)[4:12]
    group = Group(run)
    assert estimate(group, Parts(), Prices(machine)) is not None
    assert all(estimate(group, Parts(1, 1, rows), Prices(machine)) is None for rows in (2, 3, 4, 8))
    assert [each.parts for each in choose(run, machine)] == [Parts()]
    layout = lay_out(group, cut(group, Parts(), 64), Parts(), machine)
    assert layout is not None
    assert max(layout.starts.values()) > 0


def _least(group: Group, prices: Prices) -> float | None:
    height = max(layer.kernel.shape[2] for layer in group.layers)
    found = [estimate(group, Parts(1, 1, rows), prices) for rows in range(1, height + 1)]
    return min((each for each in found if each is not None), default=None)


def test_tiles_make_every_row_and_bring_what_they_need() -> None:
    program, _ = divided(resnet8)
    chip = load_chip("bm1684x")
    group = Group(longest_run(program, chip)[:9])
    for rows in (1, 2, 3, 5, 8):
        tiles = cut(group, Parts(1, 1, rows), 64)
        assert len(tiles) == rows
        for number, layer in enumerate(group.layers):
            seen = sorted({row for tile in tiles for row in range(*tile.made[number].spans[2])})
            assert seen == list(range(layer.kernel.shape[2]))
            for tile in tiles:
                for source, need in zip(group.sources[number], layer.kernel.needs(tile.made[number]), strict=True):
                    held = tile.made[source] if isinstance(source, int) else tile.loads[source]
                    assert all(a <= c <= d <= b for (a, b), (c, d) in zip(held.spans, need.spans, strict=True))
        shares = [tile.shares[at] for at in group.outputs for tile in tiles]
        assert sum(share.shape[2] for share in shares) == sum(group.layers[at].kernel.shape[2] for at in group.outputs)
    assert rows_of(group, 9) is None  # a result of eight rows has no nine parts


@pytest.mark.parametrize("rows", [1, 4])
@pytest.mark.parametrize("flipped", [False, True])
def test_nothing_that_is_in_use_shares_a_byte(rows: int, flipped: bool) -> None:
    program, _ = divided(resnet8)
    chip = shrunk(load_chip("bm1684x"), 8)
    group = Group(longest_run(program, chip)[:8])
    parts = Parts(1, 1, rows)
    tiles = cut(group, parts, 64)
    layout = lay_out(group, tiles, parts, chip, flipped)
    assert layout is not None
    boxes = []
    for item in items(group, [shapes_of(group, tile, 0) for tile in tiles], parts, chip):
        first = 0 if item.stays else layout.starts.get(item.held, item.use)
        last = len(group.layers) if item.stays else item.last
        assert len(layout.addresses[item.held]) == item.copies
        boxes += [(low, low + item.bytes, first, last) for low in layout.addresses[item.held]]
    assert all(low >= 0 and high <= local_memory(chip).lane_bytes for low, high, _, _ in boxes)
    for a, b in combinations(boxes, 2):
        assert a[1] <= b[0] or b[1] <= a[0] or a[3] < b[2] or b[3] < a[2]


def test_a_place_is_free_as_long_as_it_is_said_to_be() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        packing, boxes = Packing(100, 16), []
        for _ in range(30):
            size, use = int(rng.integers(1, 30)), int(rng.integers(0, 20))
            last = use + int(rng.integers(0, 5))
            if rng.random() < 0.5:
                low, first = packing.fixed(size, use, last), use
            else:
                low, first = packing.earliest(size, 0, use, last) or (None, 0)
            if low is None:
                continue
            assert 0 <= low <= 100 - size
            assert first <= use
            assert all(low + size <= a or b <= low or last < begin or end < first for a, b, begin, end in boxes)
            boxes.append((low, low + size, first, last))
            packing.add(low, size, first, last)
        assert len(boxes) > 5


def test_operands_lie_in_other_banks_where_there_is_room() -> None:
    packing = Packing(64, 16)
    first = packing.add(packing.fixed(8, 0, 1) or 0, 8, 0, 1)
    assert packing.fixed(8, 0, 1, [first]) == 16
    assert packing.fixed(8, 0, 1) == 8


def test_notes_are_text_and_back_and_change_nothing() -> None:
    program, _ = divided(mnist)
    LayerGroup().run(program)
    again = Program(parse_module(print_module(program.module), "x"), program.weights, "x")
    notes = [[(op.note("layer_group"), op.note("layer_tile")) for op in each.ops] for each in (program, again)]
    assert notes[0] == notes[1]
    assert {len(tile) for group, tile in notes[0] if group is not None} == {3}
    chip = load_chip("bm1684x")
    assert generate(program, chip).streams == generate(again, chip).streams
    LayerGroup(longest=1).run(program)
    numbers = [op.note("layer_group") for op in program.ops if op.note("layer_group") is not None]
    assert numbers == list(range(len(numbers)))


def test_notes_that_contradict_each_other_are_a_bug() -> None:
    program, _ = divided(mnist)
    note_groups(program, load_chip("bm1684x"))
    check_notes(program)
    grouped = [op for op in program.ops if op.note("layer_group") is not None]
    grouped[1].set_note("layer_tile", None)
    with pytest.raises(StepError, match="has a part of the notes of a group"):
        check_notes(program)
    note_groups(program, load_chip("bm1684x"))
    grouped[1].set_note("layer_group", 5)
    with pytest.raises(StepError, match="is of group 5 after group 0 of subnet 0"):
        check_notes(program)


def test_notes_that_are_wrong_are_named() -> None:
    program, _ = divided(mnist)
    chip = load_chip("bm1684x")
    note_groups(program, chip)
    group = [op for op in program.ops if op.note("layer_group") == 0]
    group[1].set_note("layer_tile", [1, 1, 2])
    with pytest.raises(InputError, match="group 0: its ops are cut in different ways"):
        generate(program, chip)
    for op in group:
        op.set_note("layer_tile", [1, 0, 1])
    with pytest.raises(InputError, match=r"group 0: is cut into \[1, 0, 1\] parts"):
        generate(program, chip)
    for op in program.ops:
        if op.note("layer_group") is not None:
            op.set_note("layer_group", 0)
            op.set_note("layer_tile", [1, 1, 1])
    with pytest.raises(InputError, match=r"group 0: .* sees other rows and channels of "):
        generate(program, chip)
    note_groups(program, chip)
    with pytest.raises(ResourceError, match=r"a group of \d+ ops does not fit the 64 bytes of a lane in 1 × 1 × 1"):
        generate(program, replace(chip, local_bytes=64))


def test_bytes_of_a_lane_are_whole_units() -> None:
    assert local_bytes("i8", (2, 65, 3, 5), 64, 64) == 64
    assert local_bytes("f16", (1, 64, 33, 1), 64, 64) == 128
