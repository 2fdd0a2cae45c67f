"""model_tool.py --graph: a model's graph as DOT, SVG or text protobuf."""

import argparse
from collections.abc import Callable
from pathlib import Path

from stepdown.cli.model_tool_open import located, open_outline
from stepdown.errors import InputError


def run(args: argparse.Namespace) -> int:
    """Write the graph, or print it as DOT where no file is named."""
    suffix = Path(args.output).suffix if args.output else ".dot"
    if suffix not in WRITERS:
        raise InputError("not a kind of picture we write", args.output, f"give a file ending in {', '.join(WRITERS)}")
    if args.output and Path(args.output).resolve() == Path(args.graph).resolve():
        raise InputError("would be overwritten", args.graph, "choose another -o")
    text = WRITERS[suffix](args)
    if not args.output:
        print(text, end="")
        return 0
    from stepdown.files.atomic import write_text

    write_text(args.output, text)
    print(f"wrote {args.output}")
    return 0


def _dot(args: argparse.Namespace) -> str:
    from stepdown.compare.graph_boxes import picture_of
    from stepdown.compare.graph_dot import dot_text

    return dot_text(picture_of(open_outline(args.graph, args.input_shapes)), Path(args.graph).name)


def _svg(args: argparse.Namespace) -> str:
    from stepdown.compare.graph_boxes import picture_of
    from stepdown.compare.graph_svg import svg_text

    return svg_text(picture_of(open_outline(args.graph, args.input_shapes)), Path(args.graph).name)


def _pbtxt(args: argparse.Namespace) -> str:
    """Return an ONNX model in its own text form, any other graph in the same structure."""
    from stepdown.formats.onnx.pbtxt import model_text, outline_text

    if Path(args.graph).suffix == ".onnx" and not args.input_shapes:
        from stepdown.cli.model_tool_open import check_file
        from stepdown.formats.onnx.loader import load_onnx

        check_file(args.graph)
        return located(args.graph, lambda: model_text(load_onnx(args.graph)))
    return outline_text(open_outline(args.graph, args.input_shapes))


WRITERS: dict[str, Callable[[argparse.Namespace], str]] = {".dot": _dot, ".svg": _svg, ".pbtxt": _pbtxt}
