"""Write a module as an ONNX model (mlir2onnx.py)."""

import argparse

from stepdown.cli.tool import Parser
from stepdown.errors import InputError, ResourceError

EXAMPLES = """\
examples:
  mlir2onnx.py --mlir mobilenet_v2.mlir --onnx mobilenet_v2_top.onnx
  mlir2onnx.py mobilenet_v2_int8.mlir -o mobilenet_v2_int8.onnx --opset 13
  model_runner.py --model mobilenet_v2_top.onnx --input mobilenet_v2_in_f32.npz --dump_all_tensors --output x.npz
"""


def parser() -> argparse.ArgumentParser:
    """Return the tool's parser."""
    tool = Parser(
        prog="mlir2onnx.py", epilog=EXAMPLES,
        description="Write a module as an ONNX model; a quantised one with QuantizeLinear and DequantizeLinear.",
    )  # fmt: skip
    tool.add_argument("module", nargs="?", metavar="X.mlir", help="the module to read, as --mlir")
    tool.add_argument("--mlir", metavar="X.mlir", help="the module to read")
    tool.add_argument("--onnx", "-o", required=True, metavar="X.onnx", help="the model to write")
    tool.add_argument("--opset", type=int, default=21, metavar="N", help="the operator set to write, from 10 on (21)")
    return tool


def run(args: argparse.Namespace) -> int:
    """Read, translate, write."""
    from stepdown.dialects.program import read_program
    from stepdown.files.atomic import atomic_path
    from stepdown.formats.onnx.exporter import export_program

    if not args.onnx.endswith(".onnx"):
        raise InputError("does not end in .onnx", args.onnx)
    source = args.mlir or args.module
    if not source or (args.mlir and args.module):
        raise InputError("one module is wanted", "--mlir", "give X.mlir")
    model = export_program(read_program(source), args.opset)
    try:
        raw = model.SerializeToString()
    except Exception as error:  # protobuf raises its own, from 2 GiB on
        raise ResourceError(f"the model cannot be written ({error})", args.onnx) from error
    with atomic_path(args.onnx) as temporary:
        temporary.write_bytes(raw)
    print(f"wrote {args.onnx}: {len(model.graph.node)} nodes, {len(model.graph.initializer)} constants")
    print(f"next: model_runner.py --model {args.onnx} --input INPUT.npz --dump_all_tensors --output OUTPUT.npz")
    return 0
