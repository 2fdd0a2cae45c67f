"""Run a model file of any kind on given inputs (model_runner.py)."""

import argparse
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from stepdown.cli.perf_flags import add_perf_flags, check_perf, report_perf, wants_perf
from stepdown.cli.repeat_flags import add_repeat_flags, check_repeat, report_repeat
from stepdown.cli.tool import Parser
from stepdown.errors import InputError

if TYPE_CHECKING:
    import numpy as np

    from stepdown.data.preprocess import Preprocess
    from stepdown.files.npz import NpzMetadata
    from stepdown.model import Stage
    from stepdown.runtimes import Runner
    from stepdown.runtimes.runner import Tensors

EXAMPLES = """\
examples:
  model_runner.py --model mobilenet_v2.mlir --input mobilenet_v2_in_f32.npz --dump_all_tensors \\
      --output mobilenet_v2_all_tensors_mlir_f32.npz
  model_runner.py --model mobilenet_v2_opt.onnx --input mobilenet_v2_in_f32.npz --output outputs.npz
  model_runner.py --model mobilenet_v2.mlir --input cat.jpg --time
  model_runner.py --model mobilenet_v2.so --input cat.jpg --threads 2 --repeat 100
  model_runner.py --model mobilenet_v2_int8.bmodel --trace trace.json --perf perf
"""
TOP = 5
SLOWEST = 10


def parser() -> argparse.ArgumentParser:
    """Return the tool's parser."""
    tool = Parser(prog="model_runner.py", description="Run a model file on given inputs.", epilog=EXAMPLES)
    kinds = ".onnx, .tflite, .mlir, .bmodel, .so"
    tool.add_argument("--model", required=True, metavar="FILE", help=f"the model file: {kinds}")
    tool.add_argument(
        "--input", metavar="FILES",
        help="npz files, or photos where the model stores its preprocessing: a.npz or a.jpg,b.npz; "
        "may be left out with --trace or --perf",
    )  # fmt: skip
    tool.add_argument("--output", metavar="X.npz", help="the file to write (default: print only)")
    tool.add_argument("--dump_all_tensors", action="store_true", help="write every tensor, not only the outputs")
    tool.add_argument(
        "--output_type", choices=("native", "f32"), default="f32",
        help="quantised outputs as real numbers (f32, default) or as the integers that the model computes (native)",
    )  # fmt: skip
    tool.add_argument(
        "--kernels", choices=("reference", "optimized", "xnnpack"), default="reference",
        help="LiteRT's kernels for .tflite: reference (default), optimized, or xnnpack; their integers differ",
    )  # fmt: skip
    tool.add_argument("--network", default="", metavar="NAME", help="which network of a .bmodel that holds several")
    tool.add_argument(
        "--shuffle", type=int, metavar="SEED",
        help="run a .bmodel on memories full of noise, its commands in a random order that their waits allow",
    )  # fmt: skip
    tool.add_argument(
        "--time",
        "--profile",
        action="store_true",
        help="print where the time of this run on this computer goes, op by op",
    )
    add_repeat_flags(tool)
    add_perf_flags(tool)
    return tool


def run(args: argparse.Namespace) -> int:
    """Run the model and write the tensors; write what is predicted of its time where that is asked for."""
    if not args.input and not wants_perf(args):
        raise InputError("the following arguments are required: --input", fix="see model_runner.py --help")
    if wants_perf(args):
        check_perf(args)
    check_repeat(args)
    if (args.network or args.shuffle is not None) and not args.model.endswith(".bmodel"):
        raise InputError("is for a .bmodel", "--network" if args.network else "--shuffle", "leave it out")
    stage = _run(args) if args.input else None
    if wants_perf(args):
        report_perf(args, stage)
    return 0


def _run(args: argparse.Namespace) -> "Stage | None":
    """Run, print and write; returns the stage of a model file that has run."""
    from stepdown.cli.test_inputs import check_files
    from stepdown.files.npz import write_npz
    from stepdown.runtimes import RunnerOptions, open_runner

    paths = [path for path in args.input.split(",") if path]
    check_files(paths)
    _check_output(args, paths)
    options = RunnerOptions(
        threads=args.threads, output_type=args.output_type, kernels=args.kernels, network=args.network,
        shuffle=args.shuffle,
    )  # fmt: skip
    with closing(open_runner(args.model, options)) as runner:
        inputs = _inputs(args, runner, paths)
        tensors = runner.run(inputs, "all" if args.dump_all_tensors else "outputs")
        metadata = _of_kept(runner.metadata, tensors)
        if args.output:
            write_npz(args.output, tensors, metadata)
        _print_outputs(tensors, metadata)
        _warn_of_overflow(runner)
        report_repeat(args, runner, inputs)
        if args.time:
            _print_times(runner)
        stage: Stage | None = getattr(runner, "stage", None)
    _report(args, tensors)
    return stage


def _check_output(args: argparse.Namespace, paths: list[str]) -> None:
    if not args.output:
        return
    if not args.output.endswith(".npz"):
        raise InputError("does not end in .npz", args.output)
    if any(Path(path).resolve() == Path(args.output).resolve() for path in (args.model, *paths)):
        raise InputError("would be overwritten", args.output, "choose another --output")
    if not Path(args.output).parent.is_dir():
        raise InputError("the folder to write into does not exist", str(Path(args.output).parent), "create it first")


def _inputs(args: argparse.Namespace, runner: "Runner", paths: list[str]) -> "Tensors":
    from stepdown.cli.test_inputs import read_inputs

    fix = "the model stores no preprocessing; make an .npz with prepare_input.py"
    return read_inputs(paths, [spec.name for spec in runner.inputs()], _photos(runner), fix)


def _photos(runner: "Runner") -> "dict[str, Preprocess]":
    from stepdown.data.preprocess import Preprocess

    found = {name: Preprocess.from_attributes(values) for name, values in runner.preprocessing.items()}
    return {name: preprocess for name, preprocess in found.items() if preprocess.is_image}


def _of_kept(metadata: "NpzMetadata", tensors: "Tensors") -> "NpzMetadata":
    """Return the metadata of the tensors that are written."""
    from dataclasses import replace

    return replace(metadata, tensors={n: meaning for n, meaning in metadata.tensors.items() if n in tensors})


def _warn_of_overflow(runner: "Runner") -> None:
    """Say on stderr how many float16 results were too large and became infinite."""
    overflows: dict[str, int] = getattr(runner, "overflows", {})
    if overflows:
        name, count = next(iter(overflows.items()))
        total = sum(overflows.values())
        print(
            f"warning: {total} float16 values overflowed in {len(overflows)} tensors, first {count} in '{name}'; "
            "give its op mode F32 or BF16 in a qtable",
            file=sys.stderr,
        )


def _print_outputs(tensors: "Tensors", metadata: "NpzMetadata") -> None:
    for name in metadata.outputs:
        if name in tensors:
            array = tensors[name]
            print(f"{name} {array.dtype}{list(array.shape)}")
            print("\n".join(_top(array)))


def _top(array: "np.ndarray") -> list[str]:
    """Return lines with the largest values and their flat indices."""
    from stepdown.compare.top import top_indices

    flat = array.ravel()
    return [f"    {index:>8} {flat[index]!s}" for index in top_indices(flat, TOP)]


def _print_times(runner: "Runner") -> None:
    times: dict[tuple[str, str], float] | None = getattr(runner, "seconds", None)
    if times is None:
        raise InputError("only .mlir and .bmodel files are run by what says where its time goes", "--time")
    total = sum(times.values())
    kinds: dict[str, float] = {}
    for (op, _), seconds in times.items():
        kinds[op] = kinds.get(op, 0.0) + seconds
    print(f"{total * 1e3:.1f} ms in {len(times)} ops")
    for kind, seconds in sorted(kinds.items(), key=lambda item: -item[1]):
        print(f"  {seconds * 1e3:9.2f} ms {100 * seconds / total:5.1f} %  {kind}")
    print(f"the {min(SLOWEST, len(times))} slowest:")
    for op, name in sorted(times, key=times.__getitem__, reverse=True)[:SLOWEST]:
        print(f"  {times[op, name] * 1e3:9.2f} ms {100 * times[op, name] / total:5.1f} %  {op} {name}")


def _report(args: argparse.Namespace, tensors: "Tensors") -> None:
    if not args.output:
        print(f"ran {args.model}: {len(tensors)} tensors, nothing written; give --output")
        return
    print(f"wrote {len(tensors)} tensors to {args.output}")
    print(f"next: npz_tool.py compare {args.output} REFERENCE.npz -v")
