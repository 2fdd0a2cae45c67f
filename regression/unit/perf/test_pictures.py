"""What pictures show: points under the roof, places at their addresses and times, and both forms of a drawing."""

from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
from perf.accounts import host_account, mnist_account
from PIL import Image

from stepdown.model import CommandRange, Region, Step
from stepdown.perf.drawing import Drawing, Line, Rectangle, Text, fitting, text_width
from stepdown.perf.files import write_files
from stepdown.perf.lifetimes import Lifetime, lifetimes, peak_bytes
from stepdown.perf.memory_map import bytes_text
from stepdown.perf.roofline import engineering, points_of, roof_of
from stepdown.perf.totals import totals_of

SVG = "{http://www.w3.org/2000/svg}"


@pytest.mark.parametrize(("mode", "chip"), [("F16", "bm1684x"), ("INT8", "gemmini")])
def test_no_op_is_above_the_roof(mode: str, chip: str) -> None:
    totals = totals_of(mnist_account(mode, chip))
    roof, points = roof_of(totals), points_of(totals)
    assert len(points) == 5
    assert all(point.rate <= roof.at(point.intensity) for point in points)
    assert roof.macs == totals.account.chip.macs_per_cycle[mode] * 1e9


def test_all_files_are_written_and_can_be_read(tmp_path: Path) -> None:
    for name, made in (("mnist", mnist_account()), ("host", host_account())):
        write_files(tmp_path / name / "perf", totals_of(made))
        for picture in ("roofline.png", "memory.png"):
            with Image.open(tmp_path / name / "perf" / picture) as image:
                assert len(image.convert("RGB").getcolors(1 << 20) or []) > 8
        texts = [each.text for each in ElementTree.parse(tmp_path / name / "perf" / "memory.svg").iter(f"{SVG}text")]
        assert any(made.title in str(text) for text in texts)
        assert {"compute", "dma", "constants"} <= set(texts)


def test_a_life_lasts_from_the_first_write_to_the_last_use() -> None:
    made = mnist_account()
    lives = {life.region.name: life for life in lifetimes(made) if life.region.memory == "global"}
    works = {step: [w for w in made.works if w.step == step] for step in range(len(made.stage.steps))}
    pool = lives["conv_layers.0.pool_out_MaxPool"]
    stores = [w for w in works[pool.region.first] if "global" in str(w.writes)]
    loads = [w for w in works[pool.region.last] if "global" in str(w.reads)]
    assert pool.op == "MaxPool"
    assert pool.start == stores[0].start
    assert pool.end <= max(w.end for w in loads)
    assert any(w.end == pool.end for w in loads)
    assert lives[made.stage.inputs[0]].start == 0
    assert lives[made.stage.outputs[0]].end == made.cycles


def test_tiles_of_one_place_have_lives_of_their_own() -> None:
    """The prefetch of a step begins in the step before it: places that take turns do not overlap in time."""
    made = mnist_account()
    loads = [work for work in made.works if work.engine == "dma" and "local" in str(work.writes)][:2]
    steps = tuple(Step(w.name, f"tpu.{w.op}", (CommandRange("dma", w.index, 1),)) for w in loads)
    command = loads[0].command
    assert command is not None
    address = command.writes()["target"].address
    regions = (Region("a", "local", address, 64, 0, 0, 0), Region("b", "local", address, 64, 1, 1, 1))
    stage = replace(made.stage, steps=steps, memory=regions)
    numbered = [replace(work, step=number, command=command) for number, work in enumerate(loads)]
    first, second = lifetimes(replace(made, stage=stage, works=numbered))
    assert (first.start, first.end) == (loads[0].start, loads[0].end)
    assert (second.start, second.end) == (loads[1].start, loads[1].end)
    assert first.end <= second.start


def test_peak_bytes_count_shared_bytes_once() -> None:
    def life(start: int, end: int, address: int, size: int) -> Lifetime:
        return Lifetime(Region("x", "global", address, size, 0, 0, 0), start, end, "Conv")

    assert peak_bytes([]) == 0
    assert peak_bytes([life(0, 10, 0, 100), life(10, 20, 0, 150)]) == 150
    assert peak_bytes([life(0, 10, 0, 100), life(9, 20, 50, 100)]) == 150
    assert peak_bytes([life(5, 5, 0, 7)]) == 7


def test_a_drawing_has_the_same_shapes_in_both_forms(tmp_path: Path) -> None:
    drawing = Drawing(40, 20)
    drawing.add(Rectangle((10, 5, 30, 15), (200, 0, 0), None, "a < b"), Line([(0, 0), (40, 0)], (0, 0, 0)))
    drawing.add(Text(2, 18, "<&>"))
    drawing.write_png(tmp_path / "d.png")
    drawing.write_svg(tmp_path / "d.svg")
    with Image.open(tmp_path / "d.png") as image:
        assert image.size == (40, 20)
        assert image.getpixel((20, 10)) == pytest.approx((200, 0, 0), abs=3)
        assert image.getpixel((35, 10)) == (255, 255, 255)
    root = ElementTree.parse(tmp_path / "d.svg").getroot()
    assert [each.tag.removeprefix(SVG) for each in root] == ["rect", "rect", "polyline", "text"]
    assert root[1].find(f"{SVG}title").text == "a < b"
    assert root[3].text == "<&>"


def test_texts_fit() -> None:
    assert fitting("short", 12, 200) == "short"
    cut = fitting("a name that is far too long", 12, 80)
    assert cut.endswith("…")
    assert 40 < text_width(cut, 12) <= 80
    assert fitting("a name that is far too long", 12, 40) == ""


def test_numbers_have_units() -> None:
    assert [engineering(value) for value in (2.5e12, 64e9, 3e6, 1500, 7)] == ["2.5 T", "64 G", "3 M", "1.5 k", "7"]
    assert [bytes_text(value) for value in (0, 100, 2048, 3 << 20)] == ["0 bytes", "100 bytes", "2 KiB", "3 MiB"]
