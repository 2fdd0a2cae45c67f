"""Pictures of graphs: every edge leads down, nothing overlaps, all that a box should say can be read in it."""

import random
import re
import xml.etree.ElementTree as ElementTree
from itertools import combinations

import numpy as np
import onnx
import pytest
from checkout import REGRESSION
from google.protobuf import text_format

from stepdown.compare.graph_boxes import LONGEST_LINE, Box, Edge, Picture, picture_of
from stepdown.compare.graph_dot import dot_text
from stepdown.compare.graph_layout import COLUMN_GAP, Layout, layout, spaced
from stepdown.compare.graph_summary import macs, memory, node_facts, parameters, types, weight_bytes
from stepdown.compare.graph_svg import svg_text
from stepdown.formats.onnx.outline import outline_of_onnx
from stepdown.formats.onnx.pbtxt import model_text, outline_text
from stepdown.formats.outline import Constant, Node, Outline, Value
from stepdown.numerics.quantize import QuantParams

SVG = "{http://www.w3.org/2000/svg}"


def random_picture(seed: int, size: int = 40) -> tuple[Picture, list[tuple[float, float]]]:
    rng = random.Random(seed)
    edges = [
        Edge(source, target, place, "")
        for target in range(1, size)
        for place, source in enumerate(rng.sample(range(target), min(target, rng.choice([1, 1, 2, 3]))))
    ]
    sizes = [(rng.uniform(40, 300), rng.uniform(20, 160)) for _ in range(size)]
    return Picture(tuple(Box((f"b{i}",)) for i in range(size)), tuple(edges)), sizes


def rectangles(found: Layout) -> list[tuple[float, float, float, float]]:
    return [(p.x - p.width / 2, p.top, p.x + p.width / 2, p.top + p.height) for p in found.places]


@pytest.mark.parametrize("seed", range(6))
def test_boxes_do_not_overlap_and_edges_lead_down(seed: int) -> None:
    picture, sizes = random_picture(seed)
    found = layout(picture, sizes)
    boxes = rectangles(found)
    for a, b in combinations(boxes, 2):
        assert a[2] <= b[0] + 1e-6 or b[2] <= a[0] + 1e-6 or a[3] <= b[1] or b[3] <= a[1]
    assert all(found.places[e.source].top < found.places[e.target].top for e in picture.edges)
    assert min(box[0] for box in boxes) >= -1e-6 and max(box[2] for box in boxes) <= found.width + 1e-6
    assert max(box[3] for box in boxes) <= found.height + 1e-6


@pytest.mark.parametrize("seed", range(6))
def test_an_edge_passes_no_box(seed: int) -> None:
    picture, sizes = random_picture(seed)
    found = layout(picture, sizes)
    for route in found.routes:
        for x, top, bottom in route:
            beside = [box for box in rectangles(found) if box[1] < bottom and box[3] > top]
            assert all(x <= left - 1 or x >= right + 1 for left, _, right, _ in beside)


def test_places_are_the_nearest_that_keep_the_gaps() -> None:
    assert spaced([0, 0, 0], [2, 2]) == [-2, 0, 2]
    assert spaced([5, 0], [1]) == [2, 3]
    assert spaced([0, 10, 20], [1, 1]) == [0, 10, 20]
    assert spaced([], []) == []


def test_an_input_stands_right_above_its_reader() -> None:
    edges = (Edge(0, 2, 0, ""), Edge(2, 3, 0, ""), Edge(1, 3, 1, ""))
    found = layout(Picture(tuple(Box((str(i),)) for i in range(4)), edges), [(50.0, 20.0)] * 4)
    assert found.places[1].top == found.places[2].top
    assert abs(found.places[1].x - found.places[2].x) >= 50 + COLUMN_GAP - 1e-6


def test_what_is_made_of_constants_alone_stands_near_its_reader() -> None:
    """Input 0 → 2 → 3 → 4; 1 → 5 read nothing that comes in, and 5 is read by 6 as 4 is."""
    pairs = ((0, 2), (2, 3), (3, 4), (1, 5), (4, 6), (5, 6))
    boxes = tuple(Box((str(i),), round=i == 0) for i in range(7))
    found = layout(Picture(boxes, tuple(Edge(a, b, 0, "") for a, b in pairs)), [(50.0, 20.0)] * 7)
    tops = [place.top for place in found.places]
    assert tops[5] == tops[4] and tops[1] == tops[3]
    assert not any(found.routes)


def small() -> Outline:
    data = np.arange(24, dtype=np.int8).reshape(4, 3, 1, 2)
    weight = Constant("w<&>", data.shape, "i8", QuantParams((0.1,) * 4, 0, "i8", 0), load=lambda: data)
    x = Value("x", (1, 3, 8, None), "f32")
    q = Value("q", (1, 3, 8, 8), "i8", QuantParams(0.5, -3))
    y = Value('y"\\' + "n" * 90, (1, 4, 8, 8), "i8", QuantParams(0.25))
    conv = Node(
        "tpu.Conv", "y", (q, weight), (y,), {"strides": (1, 1), "group": 1}, port_names={"0": "input", "1": "filter"},
        stated=("strides",), macs=1536,
    )  # fmt: skip
    return Outline([x], [y], [Node("tpu.Convert", "q", (x,), (q,)), conv], {"x": {"scale": (1.0,)}}, {"name": "net"})


def test_boxes_tell_shapes_types_and_quantisation() -> None:
    boxes = picture_of(small()).boxes
    assert boxes[0] == Box(("input", "x", "1x3x8x?xf32"), "f32", True)
    assert boxes[1].lines == ("tpu.Convert", "q", "1x3x8x8xi8", "scale 0.5 zero point -3")
    assert boxes[2].lines[2:] == (
        "1x4x8x8xi8", "scale 0.25", "strides 1,1", "filter: 4x3x1x2xi8 4 scales along axis 0",
    )  # fmt: skip
    assert all(len(line) <= LONGEST_LINE for box in boxes for line in box.lines)


def test_the_svg_holds_every_line_inside_its_box() -> None:
    root = ElementTree.fromstring(svg_text(picture_of(small()), "a <name>"))
    groups = [g for g in root.iter(f"{SVG}g") if g.find(f"{SVG}rect") is not None and "transform" not in g.attrib]
    assert len(groups) == 4
    for group in groups:
        box = group.find(f"{SVG}rect")
        assert box is not None
        left, top, width, height = (float(box.attrib[name]) for name in ("x", "y", "width", "height"))
        for text in group.iter(f"{SVG}text"):
            assert left < float(text.attrib["x"]) and top < float(text.attrib["y"]) < top + height
            assert float(text.attrib["x"]) + len(text.text or "") * 0.602 * 11 <= left + width
    assert len(list(root.iter(f"{SVG}path"))) == 3


def test_dot_text_escapes_names_and_has_every_edge() -> None:
    text = dot_text(picture_of(small()), 'my "net"')
    assert text.startswith('digraph "my \\"net\\"" {')
    assert re.findall(r"n(\d) -> n(\d)", text) == [("0", "1"), ("1", "2"), ("2", "3")]
    assert 'output 0\\ny\\"\\\\n' in text


def test_text_protobuf_of_any_graph_reads_back_as_a_model() -> None:
    model = text_format.Parse(outline_text(small()), onnx.ModelProto())
    assert [(n.domain, n.op_type, list(n.input)) for n in model.graph.node] == [
        ("tpu", "Convert", ["x"]), ("tpu", "Conv", ["q", "w<&>"]),
    ]  # fmt: skip
    assert [a.name for a in model.graph.node[1].attribute] == ["strides"]
    sizes = model.graph.input[0].type.tensor_type.shape.dim
    assert [d.HasField("dim_value") for d in sizes] == [True, True, True, False]
    stored = model.graph.value_info[0]
    assert stored.type.tensor_type.elem_type == onnx.TensorProto.INT8
    assert {p.key: p.value for p in stored.metadata_props} == {"scale": "0.5", "zero_point": "-3"}
    assert onnx.numpy_helper.to_array(model.graph.initializer[0]).reshape(-1).tolist() == list(range(24))


def test_text_protobuf_of_an_onnx_model_leaves_out_large_weights_alone() -> None:
    source = onnx.load(REGRESSION / "model" / "mnist_cnn.onnx")
    model = text_format.Parse(model_text(source), onnx.ModelProto())
    assert model.graph.node == source.graph.node and model.graph.input == source.graph.input
    for told, stored in zip(model.graph.initializer, source.graph.initializer, strict=True):
        assert told.dims == stored.dims and told.data_type == stored.data_type
        large = np.prod(stored.dims) > 64
        assert len(told.raw_data) == (0 if large else len(stored.raw_data))


def test_real_models_are_drawn_without_overlaps() -> None:
    picture = picture_of(outline_of_onnx(onnx.load(REGRESSION / "mobilenet_v2.onnx")))
    assert len(picture.boxes) == 154
    root = ElementTree.fromstring(svg_text(picture, "mobilenet_v2"))
    assert len(list(root.iter(f"{SVG}path"))) == len(picture.edges) == 163


def test_summary_counts_each_thing_once() -> None:
    outline = small()
    assert macs(outline) == 1536
    assert parameters(outline) == weight_bytes(outline) == 24
    assert memory(outline).total is None  # the input has an open size
    assert types(outline) == {"quantised i8": 2, "f32": 1}
    assert node_facts(outline.nodes[1])["weights"] == ["w<&> 4x3x1x2"]


def test_the_peak_is_what_lives_at_once() -> None:
    """X (4 bytes) → a (8) → b (16) = f(a), c (4) = g(x, b): a is free when c is made, x is not."""
    x, a, b, c = (Value(name, (size,), "i8") for name, size in (("x", 4), ("a", 8), ("b", 16), ("c", 4)))
    nodes = [Node("f", "a", (x,), (a,)), Node("f", "b", (a,), (b,)), Node("g", "c", (x, b), (c,))]
    found = memory(Outline([x], [c], nodes))
    assert (found.peak, found.total) == (4 + 8 + 16, 32)
    kept = memory(Outline([x], [c, a], nodes))
    assert kept.peak == 32


def test_packed_and_truth_values_take_their_bytes() -> None:
    assert Value("x", (3,), "i4").bytes == 2
    assert Value("x", (3,), "i1").bytes == 3
    assert Value("x", (3,), "float8e4m3fn").bytes == 3
    assert Value("x", (3,), "string").bytes is None
