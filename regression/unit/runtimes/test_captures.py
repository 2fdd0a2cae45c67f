"""Tensors are rebuilt from where they lie for a while: places that are used again, tiles in local memory."""

import numpy as np
import pytest

from stepdown.errors import InputError
from stepdown.model import CommandRange, Region, Stage, Step, Subnet, Tensor
from stepdown.model.schema import lanes_layout
from stepdown.npu.cost import LocalMemory
from stepdown.npu.isa import packed
from stepdown.runtimes.captures import Captures
from stepdown.runtimes.regions import content, region_problem
from stepdown.sim.memory import Memory

LOCAL = LocalMemory(lanes=4, lane_bytes=512, bank_bytes=128)
RNG = np.random.default_rng(5)


def noise(*shape: int) -> np.ndarray:
    return RNG.integers(-128, 128, shape).astype(np.int8)


def stage(tensors: list[Tensor], regions: list[Region], steps: list[Step]) -> Stage:
    commands = (CommandRange("compute", 0, 9),)
    return Stage(("x",), ("y",), tuple(tensors), (Subnet("npu", ("x",), ("y",), commands),), memory=tuple(regions),
                 steps=tuple(steps))  # fmt: skip


def step(name: str, **ranges: tuple[int, int]) -> Step:
    return Step(name, "tpu.Conv", tuple(CommandRange(engine, *span) for engine, span in ranges.items()))


def test_a_place_that_is_used_again_is_read_when_its_step_has_ended() -> None:
    memory = Memory(LOCAL, 16)
    steps = [step("a", compute=(0, 1), dma=(0, 2)), step("b", dma=(2, 1))]
    regions = [Region("a", "global", 0, 4, 0, 0, 1), Region("b", "global", 0, 4, 1, 1, 1)]
    made = stage([Tensor("a", (4,), "i8"), Tensor("b", (2, 2), "i8")], regions, steps)
    rebuilt = Captures(made, (), LOCAL, "f").begin(memory, ["a", "b"])
    rebuilt.ended("dma", 0)
    memory.global_memory[:4] = [1, 2, 3, 4]
    rebuilt.ended("dma", 1)
    rebuilt.ended("compute", 0)
    memory.global_memory[:4] = [5, 6, 7, 8]
    rebuilt.ended("dma", 2)
    assert rebuilt.arrays()["a"].tolist() == [1, 2, 3, 4]
    assert rebuilt.arrays()["b"].tolist() == [[5, 6], [7, 8]]


def test_what_lies_where_an_input_does_is_there_before_the_first_command() -> None:
    memory = Memory(LOCAL, 16)
    memory.global_memory[:4] = [1, 2, 3, 4]
    regions = [Region("x", "global", 0, 4, 0, 0, 0), Region("a", "global", 0, 4, 0, 0, 0)]
    made = stage([Tensor("x", (4,), "i8"), Tensor("a", (2, 2), "i8")], regions, [step("y", dma=(0, 3))])
    rebuilt = Captures(made, ["x"], LOCAL, "f").begin(memory, ["a"])
    memory.global_memory[:] = 9
    rebuilt.ended("dma", 2)
    assert rebuilt.arrays()["a"].tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize("lane", [0, 3])
def test_tiles_in_local_memory_are_put_together(lane: int) -> None:
    memory, whole = Memory(LOCAL, 0, poison=1), noise(1, 6, 5, 3)
    steps, regions = [], []
    for at, (start, stop) in enumerate([(0, 3), (2, 5)]):
        steps.append(step("a", compute=(at, 1)))
        size = (1, 6, stop - start, 3)
        layout = lanes_layout(1, lane)
        regions.append(Region("a", "local", 64, 64, at, at, at, (0, 0, start, 0), size, layout=layout))
    captures = Captures(stage([Tensor("a", whole.shape, "i8")], regions, steps), (), LOCAL, "f")
    rebuilt = captures.begin(memory, captures.names)
    for at, region in enumerate(regions):
        place = packed("i8", region.shape, 64, space="local", lanes=4, lane=lane)
        start = region.origin[2]
        memory.write(place, whole[:, :, start : start + region.shape[2]])
        rebuilt.ended("compute", at)
    assert np.array_equal(rebuilt.arrays()["a"], whole)
    half = Captures(stage([Tensor("a", whole.shape, "i8")], regions[:1], steps), (), LOCAL, "f")
    rebuilt = half.begin(memory, ["a"])
    rebuilt.ended("compute", 0)
    with pytest.raises(InputError, match="leave out 36 of its 90 elements"):
        rebuilt.arrays()


@pytest.mark.parametrize(
    ("shape", "axis"),
    [((6,), 0), ((3, 6), 1), ((2, 6, 3), 1), ((2, 3, 6), 2), ((2, 2, 6, 2, 2), 2), ((6, 2, 1, 2, 3), 0)],
)
def test_any_dimension_may_be_spread_over_the_lanes(shape: tuple[int, ...], axis: int) -> None:
    memory, whole = Memory(LOCAL, 0, poison=1), noise(*shape)
    others = np.moveaxis(whole, axis, 0).reshape(shape[axis], -1)
    size = others.shape[1]
    assert shape[axis] == 6
    tensor = Tensor("a", shape, "i8")
    place = packed("i8", (1, 6, 1, size), 8, space="local", lanes=4)
    memory.write(place, others.reshape(place.shape))
    sizes = [2 if at == axis else n for at, n in enumerate(shape)]
    inside = [n for at, n in enumerate(sizes) if at != axis]
    steps = {at: int(np.prod(inside[i + 1 :])) for i, at in enumerate(k for k in range(len(shape)) if k != axis)}
    strides = tuple(size if at == axis else steps[at] for at in range(len(shape)))
    region = Region("a", "local", 8, 2 * size, 0, 0, 0, strides=strides, layout=lanes_layout(axis))
    assert not region_problem(region, tensor, LOCAL)
    assert np.array_equal(content(memory, region, tensor), whole)


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"bytes": 2}, "needs 3 bytes and has 2"),
        ({"layout": "lanes 4"}, "unknown layout 'lanes 4'"),
        ({"layout": "lanes 1 4"}, "unknown layout"),
        ({"layout": "diagonal"}, "unknown layout 'diagonal'"),
        ({"memory": "global"}, "unknown memory 'global', layout 'lanes 1'"),
        ({"address": 510}, "ends at 513, and a lane at 512"),
        ({"strides": (1, -1, 1, 1)}, "has the strides"),
    ],
)
def test_a_region_that_cannot_be_read_is_refused(changed: dict, problem: str) -> None:
    fields = {"memory": "local", "address": 0, "bytes": 3, "layout": "lanes 1", **changed}
    region = Region("a", first=0, ready=0, last=0, **fields)
    made = stage([Tensor("a", (1, 2, 3, 1), "i8")], [region], [step("a", compute=(0, 1))])
    with pytest.raises(InputError, match=problem):
        Captures(made, (), LOCAL, "f")
