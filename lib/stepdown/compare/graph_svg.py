"""A graph as SVG, with names, shapes, types and quantisation in its boxes; no program but a browser is needed."""

from html import escape

from stepdown.compare.graph_boxes import Box, Picture
from stepdown.compare.graph_layout import Layout, Place, layout

FILLS = {
    "f32": "#f4f6f8", "f64": "#f4f6f8", "f16": "#dcefdc", "bf16": "#dcefdc",
    "i8": "#fde3c8", "u8": "#fbd0bd", "i16": "#f7e9b8", "u16": "#f7e9b8",
    "i32": "#dde4f5", "u32": "#dde4f5", "i64": "#dde4f5", "u64": "#dde4f5", "i1": "#ecdff2",
}  # fmt: skip
OTHER_FILL = "#ffffff"
_FONT, _LINE, _PAD, _MARGIN = 11.0, 15.0, 8.0, 24.0
_LETTER = 0.61 * _FONT  # of a monospaced font
_LEGEND = 28.0
_STYLE = (
    f"text{{font:{_FONT:g}px 'DejaVu Sans Mono',Menlo,Consolas,monospace;fill:#1b1f24;white-space:pre}}"
    ".op{font-weight:bold}"
)
_SHAPES = "rect{stroke:#57606a;stroke-width:1}path{fill:none;stroke:#57606a;stroke-width:1.2}"
_ARROW = (
    '<marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
    '<polygon points="0,0 8,4 0,8" fill="#57606a"/></marker>'
)


def svg_text(picture: Picture, name: str) -> str:
    """Return the SVG of a picture: a legend of the types, edges, and boxes over them."""
    found = layout(picture, [_size(box) for box in picture.boxes])
    legend = _legend(picture)
    width = max(found.width, legend[1]) + 2 * _MARGIN
    height = found.height + 2 * _MARGIN + _LEGEND
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
            f'viewBox="0 0 {width:.0f} {height:.0f}">',
            f"<title>{escape(name)}</title><style>{_STYLE}{_SHAPES}</style><defs>{_ARROW}</defs>",
            '<rect width="100%" height="100%" fill="#ffffff" stroke="none" style="stroke:none"/>',
            f'<g transform="translate({_MARGIN:g},{_MARGIN:g})">{legend[0]}</g>',
            f'<g transform="translate({_MARGIN:g},{_MARGIN + _LEGEND:g})">',
            *_edges(picture, found),
            *(_box(box, place) for box, place in zip(picture.boxes, found.places, strict=True)),
            "</g>",
            "</svg>",
            "",
        ]
    )


def _size(box: Box) -> tuple[float, float]:
    longest = max(map(len, box.lines))
    return longest * _LETTER + 2 * _PAD, len(box.lines) * _LINE + _PAD


def _legend(picture: Picture) -> tuple[str, float]:
    """Return a coloured box for each type in the picture, and how wide they are together."""
    parts, x = [], 0.0
    for kind in sorted({box.type for box in picture.boxes if box.type in FILLS}):
        wide = len(kind) * _LETTER + _PAD
        parts.append(f'<rect x="{x:.1f}" y="0" width="{wide:.1f}" height="{_LINE:g}" fill="{FILLS[kind]}"/>')
        parts.append(f'<text x="{x + _PAD / 2:.1f}" y="{_FONT:g}">{escape(kind)}</text>')
        x += wide + _PAD
    return "".join(parts), x


def _box(box: Box, place: Place) -> str:
    left = place.x - place.width / 2
    fill = FILLS.get(box.type, OTHER_FILL)
    radius = place.height / 2 if box.round else 3
    parts = [
        f'<g><rect x="{left:.1f}" y="{place.top:.1f}" width="{place.width:.1f}" height="{place.height:.1f}" '
        f'rx="{min(radius, 14):g}" fill="{fill}"/>'
    ]
    for number, line in enumerate(box.lines):
        y = place.top + _LINE * (number + 1)
        bold = ' class="op"' if number == 0 else ""
        parts.append(f'<text x="{left + _PAD:.1f}" y="{y:.1f}"{bold}>{escape(line)}</text>')
    return "".join([*parts, "</g>"])


def _edges(picture: Picture, found: Layout) -> list[str]:
    count: dict[int, int] = {}
    for edge in picture.edges:
        count[edge.target] = count.get(edge.target, 0) + 1
    paths = []
    for edge, route in zip(picture.edges, found.routes, strict=True):
        source, target = found.places[edge.source], found.places[edge.target]
        # Operands arrive from left to right in their order.
        share = (edge.place + 1) / (count[edge.target] + 1)
        end = (target.x + (share - 0.5) * target.width * 0.6, target.top)
        paths.append(f'<path marker-end="url(#arrow)" d="{_path(source, route, end)}"/>')
    return paths


def _path(source: Place, route: tuple[tuple[float, float, float], ...], end: tuple[float, float]) -> str:
    """Return the way of an edge: straight down beside boxes, curved only between the layers."""
    x, y = source.x, source.top + source.layer_height
    parts = [f"M{x:.1f},{source.top + source.height:.1f}V{y:.1f}"]
    for next_x, top, bottom in (*route, (*end, end[1])):
        middle = (y + top) / 2
        parts.append(f"C{x:.1f},{middle:.1f} {next_x:.1f},{middle:.1f} {next_x:.1f},{top:.1f}")
        parts.append(f"V{bottom:.1f}" if bottom > top else "")
        x, y = next_x, bottom
    return "".join(parts)
