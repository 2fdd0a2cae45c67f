"""Import a model into the TOP dialect and check it (model_transform.py)."""

import argparse
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from stepdown.cli.import_source import OPENERS
from stepdown.cli.preprocess_flags import add_preprocess_flags
from stepdown.cli.shape_flags import dims, input_shapes
from stepdown.cli.tool import Parser
from stepdown.errors import InputError

if TYPE_CHECKING:
    from concurrent.futures import Future

    from stepdown.cli.import_source import Source
    from stepdown.compare.tensors import Dump
    from stepdown.data.preprocess import Preprocess
    from stepdown.dialects.program import Program
    from stepdown.runtimes.runner import Tensors

EXAMPLES = """\
examples:
  model_transform.py --model_name mobilenet_v2 --model_def mobilenet_v2.onnx --input_shapes [[1,3,224,224]] \\
      --resize_dims 256,256 --mean 123.675,116.28,103.53 --scale 0.0171,0.0175,0.0174 --pixel_format rgb \\
      --test_input cat.jpg --test_result mobilenet_v2_f32_outputs.npz --mlir mobilenet_v2.mlir
  model_transform.py --model_name mnist --model_def mnist_cnn.onnx --mlir mnist.mlir
  model_transform.py --model_name lenet --model_def lenet.prototxt --model_data lenet.caffemodel --mlir lenet.mlir
"""


def parser() -> argparse.ArgumentParser:
    """Return the tool's parser."""
    tool = Parser(
        prog="model_transform.py", description="Import a model into the TOP dialect and check it.", epilog=EXAMPLES
    )
    tool.add_argument("--model_name", required=True, metavar="NAME", help="what the files written are called")
    tool.add_argument(
        "--model_def", required=True, metavar="FILE", help="the model to import: .onnx, .tflite or .prototxt"
    )
    tool.add_argument("--model_data", default="", metavar="X.caffemodel", help="the weights of a .prototxt")
    tool.add_argument("--mlir", required=True, metavar="X.mlir", help="the file to write; others go beside it")
    tool.add_argument(
        "--input_shapes", "--input_shape", type=input_shapes, default=[], metavar="SHAPES",
        help="shapes of the inputs, in their order: [[1,3,224,224],[1,10]], or of some by name: x:1x3x224x224,mask:1x10"
        " (default: the model's)",
    )  # fmt: skip
    tool.add_argument(
        "--dims", type=dims, default={}, metavar="NAME=N",
        help="sizes that an ONNX model leaves open under a name: batch=1,sequence=128",
    )  # fmt: skip
    tool.add_argument("--output_names", type=_names, default=[], metavar="A,B", help="end the network at these tensors")
    tool.add_argument("--no_simplify", action="store_true", help="import an ONNX graph as it is")
    tool.add_argument(
        "--requantize", action="store_true",
        help="of a quantised model take the real numbers, to be calibrated here (default: its integers as they are)",
    )  # fmt: skip
    check = tool.add_argument_group("check", "run the model and the module, compare all tensors")
    check.add_argument(
        "--test_input", type=_names, default=[], metavar="FILES", help="photos or npz files: a.jpg,b.npz"
    )
    check.add_argument("--test_result", metavar="X.npz", help="where all tensors of the module are written")
    check.add_argument("--tolerance", default="0.99,0.99", metavar="COS,EUC", help="least similarities (0.99,0.99)")
    check.add_argument("--excepts", type=_names, default=[], metavar="A,B", help="tensors that are not compared")
    add_preprocess_flags(tool)
    return tool


def run(args: argparse.Namespace) -> int:
    """Import, write and check; 1 where the comparison failed."""
    files = _checked(args)
    from concurrent.futures import ThreadPoolExecutor

    from stepdown.cli.import_source import finish_program, import_program, naming, open_source, preprocessing_of

    with open_source(args) as source, ThreadPoolExecutor(1) as pool:
        photos = preprocessing_of(args, source)
        inputs = _test_inputs(args, files, source, photos)
        model = source.prepare(files.model)
        reference = pool.submit(_run_source, model, files, inputs) if args.test_input and model else None
        program = import_program(args, source, photos)
        if args.test_input and reference is None:
            model = source.reference_of(program, files.model)
            reference = pool.submit(_run_source, model, files, inputs)
        with naming(args.model_def):
            finish_program(program)
        weights = _write(program, files)
        passed = _check(args, files, program, inputs, reference) if reference else True
        more = [files.by_operator] if reference and _is_compared_by_operator(program) else []
        _report(args, [*([model] if model == files.model else []), files.mlir, weights, *more], files, passed)
        return 0 if passed else 1


@dataclass(frozen=True)
class _Files:
    """What a run writes, all in the folder of `mlir`."""

    mlir: Path
    name: str
    result: Path

    @property
    def model(self) -> Path:
        return self._beside("opt.onnx")

    @property
    def weights(self) -> Path:
        return self._beside("top_f32_all_weight.npz")

    @property
    def lowered_weights(self) -> Path:
        return self.mlir.with_name(f"{self.mlir.stem}_weight.npz")

    @property
    def inputs(self) -> Path:
        return self._beside("in_f32.npz")

    @property
    def reference(self) -> Path:
        return self._beside("ref_outputs.npz")

    @property
    def by_operator(self) -> Path:
        return self._beside("by_operator.npz")

    def _beside(self, suffix: str) -> Path:
        return self.mlir.with_name(f"{self.name}_{suffix}")


def _names(text: str) -> list[str]:
    return [name for name in text.split(",") if name]


def _checked(args: argparse.Namespace) -> _Files:
    """Return the files to write; everything that can be wrong with the command line is found here."""
    if not args.model_name or os.sep in args.model_name:
        raise InputError(f"'{args.model_name}' cannot be a part of file names", "--model_name")
    if Path(args.model_def).suffix not in OPENERS:
        raise InputError("not a model we import", args.model_def, f"give a file ending in {', '.join(OPENERS)}")
    if not args.mlir.endswith(".mlir"):
        raise InputError("does not end in .mlir", args.mlir)
    if (args.test_result or args.excepts) and not args.test_input:
        raise InputError("the check needs an input", "--test_result", "give --test_input too")
    if args.model_data and not args.model_def.endswith(".prototxt"):
        raise InputError("only a .prototxt has its weights in a file beside it", "--model_data", "drop it")
    for path in _read_files(args):
        if not Path(path).is_file():
            raise InputError("is a directory" if Path(path).is_dir() else "no such file", path)
    files = _Files(Path(args.mlir), args.model_name, Path(args.test_result or _default_result(args)))
    for folder in {files.mlir.parent, files.result.parent}:
        if not folder.is_dir():
            raise InputError("the folder to write into does not exist", str(folder), "create it first")
    _check_clashes(args, files)
    return files


def _read_files(args: argparse.Namespace) -> list[str]:
    return [path for path in (args.model_def, args.model_data, *args.test_input) if path]


def _default_result(args: argparse.Namespace) -> Path:
    return Path(args.mlir).with_name(f"{args.model_name}_f32_outputs.npz")


def _check_clashes(args: argparse.Namespace, files: _Files) -> None:
    """Raise InputError where a file that is read would be overwritten; the prepared input may be its own source."""
    ours = (
        files.mlir,
        files.model,
        files.weights,
        files.lowered_weights,
        files.reference,
        files.by_operator,
        files.result,
    )
    written = {path.resolve() for path in ours}
    for path in _read_files(args):
        if Path(path).resolve() in written:
            raise InputError("would be overwritten", path, "choose another --model_name or --test_result")


def _test_inputs(
    args: argparse.Namespace, files: _Files, source: "Source", photos: "dict[str, Preprocess]"
) -> "Tensors":
    """Return the input tensors of the check, written to a file of their own."""
    if not args.test_input:
        return {}
    from stepdown.cli.npz_compare import parse_tolerance
    from stepdown.cli.test_inputs import read_inputs
    from stepdown.files.npz import write_npz

    parse_tolerance(args.tolerance)
    inputs = source.real_inputs(read_inputs(args.test_input, list(source.inputs), photos))
    write_npz(files.inputs, inputs)
    return inputs


def _run_source(model: Path, files: _Files, inputs: "Tensors") -> "Dump":
    from stepdown.cli.import_check import run_source

    return run_source(model, inputs, files.reference)


def _check(
    args: argparse.Namespace, files: _Files, program: "Program", inputs: "Tensors", reference: "Future[Dump]"
) -> bool:
    """Run the module while the source model runs beside it, and compare."""
    from stepdown.cli.import_check import compare_all, compare_operators, run_module
    from stepdown.cli.npz_compare import parse_tolerance

    target, tolerance = run_module(program, inputs, files.result), parse_tolerance(args.tolerance)
    if _is_compared_by_operator(program):
        output = files.by_operator
        return compare_operators(program, inputs, target, reference.result(), tolerance, args.excepts, output)
    return compare_all(target, reference.result(), tolerance, args.excepts)


def _is_compared_by_operator(program: "Program") -> bool:
    """Tell whether the program is a quantised ONNX model: onnxruntime rounds some operators in another way."""
    return program["state"].startswith("TPU") and program["profile"] == "tosa"


def _write(program: "Program", files: _Files) -> Path:
    """Write the module and its weights; return the weight file."""
    weights = files.weights if program["state"].startswith("TOP") else files.lowered_weights
    program.write(files.mlir, weight_file=weights.name)
    program.path = str(files.mlir)
    return weights


def _report(args: argparse.Namespace, written: list[Path], files: _Files, passed: bool) -> None:
    """Print what was written, and the next command."""
    lowered = files.lowered_weights in written
    if args.test_input:
        written += [files.inputs, files.reference, files.result]
    print(f"wrote {', '.join(map(str, written))}")
    if lowered or not args.test_input:
        print(f"next: model_runner.py --model {files.mlir} --input INPUT.npz --dump_all_tensors --output OUTPUT.npz")
    elif passed:
        table = files.mlir.with_name(f"{files.name}_cali_table")
        print(f"next: run_calibration.py {files.mlir} --dataset FOLDER --input_num 100 -o {table}")
