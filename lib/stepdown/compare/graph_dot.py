"""A graph as DOT text, which Graphviz and many viewers read. Source: https://graphviz.org/doc/info/lang.html."""

from stepdown.compare.graph_boxes import Box, Picture
from stepdown.compare.graph_svg import FILLS, OTHER_FILL


def dot_text(picture: Picture, name: str) -> str:
    """Return the text of a digraph with a box a line and an edge a line."""
    lines = [f"digraph {_quoted(name)} {{", '  node [shape=box style=filled fontname="monospace" fontsize=10]']
    lines += [f"  n{number} [{_attributes(box)}]" for number, box in enumerate(picture.boxes)]
    for edge in picture.edges:
        label = f" [label={_quoted(edge.label)}]" if edge.label else ""
        lines.append(f"  n{edge.source} -> n{edge.target}{label}")
    return "\n".join([*lines, "}", ""])


def _attributes(box: Box) -> str:
    shape = " shape=ellipse" if box.round else ""
    return f'label={_quoted(chr(10).join(box.lines))} fillcolor="{FILLS.get(box.type, OTHER_FILL)}"{shape}'


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
