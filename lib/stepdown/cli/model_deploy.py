"""Lower a TOP module for a chip and check it, by running the small tools; every command is printed first."""

import argparse
import multiprocessing
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from stepdown.cli.deploy_files import (
    add_code_flags,
    check_code_flags,
    codegen_command,
    keeps_outputs_alone,
    not_run,
    tolerance,
)
from stepdown.cli.tool import Parser
from stepdown.cli.tool import run as run_tool
from stepdown.errors import InputError, StepError

MODES = ("F32", "F16", "BF16", "INT8")
TOLERANCES = {"F32": "0.999,0.999", "F16": "0.99,0.93", "BF16": "0.99,0.87", "INT8": "0.90,0.55"}
EPILOG = """example:
  model_deploy.py --mlir mobilenet_v2.mlir --quantize INT8 --asymmetric --chip bm1684x \\
      --calibration_table mobilenet_v2_cali_table --test_input mobilenet_v2_in_f32.npz \\
      --test_reference mobilenet_v2_top_outputs.npz
  model_deploy.py --mlir mobilenet_v2.mlir --quantize F16 --chip bm1684x --test_input cat.jpg \\
      --model mobilenet_v2_f16.bmodel
  model_deploy.py --mlir mobilenet_v2.mlir --quantize INT8 --chip x86_64 --processor cascadelake \\
      --calibration_table mobilenet_v2_cali_table --test_input cat.jpg --model mobilenet_v2_int8.so
"""


def parser() -> argparse.ArgumentParser:
    """Return the tool's parser."""
    made = Parser(prog="model_deploy.py", description=__doc__, epilog=EPILOG)
    made.add_argument("--mlir", required=True, help="TOP module written by model_transform.py")
    made.add_argument("--quantize", required=True, choices=MODES, help="mode of the ops")
    made.add_argument("--chip", required=True, help="name of a chip, or the path of its .toml")
    made.add_argument("--asymmetric", action="store_true", help="INT8 activations may have a zero point")
    made.add_argument("--calibration_table", default="", help="table of run_calibration.py, needed for INT8")
    made.add_argument("--quantize_table", default="", help="qtable: 'op_name mode' a line")
    made.add_argument(
        "--reconstruct", default="", metavar="DIR",
        help="INT8: choose weights on the samples of a folder so that every op's output stays near the float one's",
    )  # fmt: skip
    made.add_argument("--reconstruct_num", type=int, default=50, metavar="N", help="how many of them (default 50)")
    made.add_argument("--test_input", default="", help="npz to run the lowered module on")
    made.add_argument("--test_reference", default="", help="npz of all TOP tensors to compare with (made when absent)")
    made.add_argument("--tolerance", default="", help="cosine,euclid every tensor must reach (default: by the mode)")
    made.add_argument("--excepts", default="", help="tensors not to compare, by commas")
    add_code_flags(made)
    made.add_argument(
        "--quant_input", action="store_true", help="the lowered network takes the integers or 16-bit floats of its chip"
    )
    made.add_argument("--quant_output", action="store_true", help="and gives them")
    made.add_argument("-o", "--output", default="", help="lowered module (default NAME_MODE_CHIP.mlir beside --mlir)")
    return made


def run(args: argparse.Namespace) -> int:
    """Run the chain; 1 where the comparison fails."""
    if args.quantize == "INT8" and not args.calibration_table:
        raise InputError("INT8 needs --calibration_table", fix="make one with run_calibration.py")
    if args.reconstruct and args.quantize != "INT8":
        raise InputError(f"--reconstruct is for INT8, not {args.quantize}", fix="leave it out")
    check_code_flags(args)
    output = args.output or lowered_name(args)
    _step("tpuc-opt", *lowering_command(args, output))
    if args.test_input:
        reference = args.test_reference or _reference(args)
        _run_model(output, args.test_input, _tensors_of(output))
        if _step(*comparison_command(args, _tensors_of(output), reference), allowed=(0, 1)):
            return 1
    if args.model:
        _step("tpuc-opt", *codegen_command(args, output), unheard=not args.model.endswith(".bmodel"))
        if args.test_input and _check_model_file(args, output):
            return 1
    print(f"wrote {output}" + (f" and {args.model}" if args.model else ""))
    return 0


def _check_model_file(args: argparse.Namespace, lowered: str) -> int:
    """Run what was made and compare it with the lowered module, tensor by tensor; 1 where they differ."""
    if why := not_run(args):
        print(f"{args.model} is not run here: {why}")
        return 0
    path = Path(args.model)
    tensors = str(path.with_name(f"{path.stem}_{path.suffix[1:]}_tensors.npz"))
    wanted = _tensors_of(lowered)
    if keeps_outputs_alone(args):
        wanted = lowered.removesuffix(".mlir") + "_outputs.npz"
        _run_model(lowered, args.test_input, wanted, "outputs")
    _run_model(args.model, args.test_input, tensors, "outputs" if keeps_outputs_alone(args) else "all")
    return _step("npz_tool.py", "compare", tensors, wanted, "--tolerance", tolerance(args, lowered), allowed=(0, 1))


def _tensors_of(lowered: str) -> str:
    return lowered.removesuffix(".mlir") + "_tensors.npz"


def lowered_name(args: argparse.Namespace) -> str:
    """Return `NAME_int8_sym_CHIP.mlir` beside the TOP module, without a path of the chip's TOML."""
    mode = args.quantize.lower()
    if mode == "int8":
        mode += "_asym" if args.asymmetric else "_sym"
    return args.mlir.removesuffix(".mlir") + f"_{mode}_{Path(args.chip).stem}.mlir"


def lowering_command(args: argparse.Namespace, output: str) -> list[str]:
    """Return the arguments of tpuc-opt."""
    asymmetric = f"asymmetric={str(args.asymmetric).lower()}"
    command = [args.mlir]
    if args.calibration_table:
        command.append(f"--import-calibration-table=file={shlex.quote(args.calibration_table)} {asymmetric}")
    target = f"{asymmetric} chip={shlex.quote(args.chip)}"
    if args.quantize_table:
        target += f" qtable={shlex.quote(args.quantize_table)}"
    if args.reconstruct:
        samples = f"dataset={shlex.quote(args.reconstruct)} input_num={args.reconstruct_num}"
        command.append(f"--reconstruct-weights={samples} {target}")
    command.append(f"--convert-top-to-tpu=mode={args.quantize} {target}")
    if args.quant_input or args.quant_output:
        asked = f"inputs={str(args.quant_input).lower()} outputs={str(args.quant_output).lower()}"
        command.append(f"--native-io={asked}")
    return [*command, "--save-weight", "-o", output]


def comparison_command(args: argparse.Namespace, tensors: str, reference: str) -> list[str]:
    """Return the npz_tool.py command that compares with the TOP tensors."""
    command = ["npz_tool.py", "compare", tensors, reference, "--tolerance", args.tolerance or TOLERANCES[args.quantize]]
    return [*command, "--excepts", args.excepts] if args.excepts else command


def _reference(args: argparse.Namespace) -> str:
    reference = args.mlir.removesuffix(".mlir") + "_top_tensors.npz"
    _run_model(args.mlir, args.test_input, reference)
    return reference


def _run_model(model: str, tensors: str, output: str, wanted: str = "all") -> None:
    every = ["--dump_all_tensors"] if wanted == "all" else []
    _step("model_runner.py", "--model", model, "--input", tensors, *every, "--output", output)


def _step(tool: str, *arguments: str, allowed: Sequence[int] = (0,), unheard: bool = False) -> int:
    """Print and run one tool of the chain, from beside this one; a failure ends the chain with its exit code.

    What it prints is thrown away where it is `unheard`.
    """
    print("+", shlex.join([tool, *arguments]) + " > /dev/null" * unheard, flush=True)
    code = _run_tool(tool, arguments, unheard)
    if code not in allowed:
        failure = StepError(f"{tool} ended with exit code {code}", fix="its own line above says why")
        failure.exit_code = code
        raise failure
    return code


def _run_tool(tool: str, arguments: Sequence[str], unheard: bool) -> int:
    """Run a tool in a fork of this process, which has imported what all of them need, and return its exit code."""
    import stepdown.dialects.program  # noqa: F401

    child = multiprocessing.get_context("fork").Process(target=_become, args=(tool, arguments, unheard))
    child.start()
    child.join()
    return child.exitcode or 0


def _become(tool: str, arguments: Sequence[str], unheard: bool) -> NoReturn:
    if unheard:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.argv = [str(Path(sys.argv[0]).with_name(tool)), *arguments]
    sys.exit(run_tool(tool.removesuffix(".py").replace("-", "_")))
