"""Write a TOP module back as an ONNX model (mlir2onnx.py)."""

import argparse

from stepdown.cli.tool import Parser
from stepdown.errors import InputError, ResourceError

EXAMPLES = """\
examples:
  mlir2onnx.py --mlir mobilenet_v2.mlir --onnx mobilenet_v2_top.onnx
  model_runner.py --model mobilenet_v2_top.onnx --input mobilenet_v2_in_f32.npz --dump_all_tensors --output x.npz
"""


def parser() -> argparse.ArgumentParser:
    """Return the tool's parser."""
    tool = Parser(prog="mlir2onnx.py", description="Write a TOP module as an ONNX model.", epilog=EXAMPLES)
    tool.add_argument("--mlir", required=True, metavar="X.mlir", help="the module to read")
    tool.add_argument("--onnx", required=True, metavar="X.onnx", help="the model to write")
    return tool


def run(args: argparse.Namespace) -> int:
    """Read, translate, write."""
    from stepdown.dialects.program import read_program
    from stepdown.files.atomic import atomic_path
    from stepdown.formats.onnx.exporter import export_program

    if not args.onnx.endswith(".onnx"):
        raise InputError("does not end in .onnx", args.onnx)
    model = export_program(read_program(args.mlir))
    try:
        raw = model.SerializeToString()
    except Exception as error:  # protobuf raises its own, from 2 GiB on
        raise ResourceError(f"the model cannot be written ({error})", args.onnx) from error
    with atomic_path(args.onnx) as temporary:
        temporary.write_bytes(raw)
    print(f"wrote {args.onnx}: {len(model.graph.node)} nodes, {len(model.graph.initializer)} constants")
    print(f"next: model_runner.py --model {args.onnx} --input INPUT.npz --dump_all_tensors --output OUTPUT.npz")
    return 0
