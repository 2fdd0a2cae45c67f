"""What model_deploy.py makes of a lowered module: a model file of an NPU, or code for a CPU."""

import argparse
import shlex

from stepdown.errors import InputError

NPU_PASSES = ("weight-reorder", "subnet-divide", "layer-group", "address-assign")
ENDINGS = {"npu": (".bmodel",), "cpu": (".so", ".o"), "c": (".so", ".c")}
"""By kind of chip, what the name of the file may end in; the last one of a CPU is a bundle."""
SAME, NEAR, ROUNDED = "1.0,1.0", "0.9999,0.9999", "0.9999,0.999"
"""What a file must reach against the lowered module: the same bytes; f32 within a bound; such f32 in fewer bits."""


def add_code_flags(tool: argparse.ArgumentParser) -> None:
    """Add what says which file is made of the lowered module."""
    tool.add_argument(
        "--model", default="", metavar="FILE",
        help="make what runs on the chip too: X.bmodel for an NPU; for a CPU X.so, a library, or X.o (chip c: X.c), a "
        "bundle; with --test_input it is run, where this computer can, and compared with the lowered module",
    )  # fmt: skip
    tool.add_argument(
        "--processor", default="", metavar="NAME",
        help="of a CPU, as -mcpu of a compiler; chip x86_64: x86-64-v3, which has AVX2, if none is named (x86-64 runs "
        "on all, cascadelake has VNNI)",
    )  # fmt: skip
    tool.add_argument("--features", default="", metavar="+A,-B", help="of a CPU, beside those of the processor")
    tool.add_argument(
        "--keep_tensors", action="store_true", help="code for a CPU keeps all tensors (debug=true of --codegen)"
    )
    tool.add_argument(
        "--tune", type=int, default=0, metavar="N",
        help="code for a CPU: try N schedules of each kernel on this computer, and keep the best for later runs too",
    )  # fmt: skip


def check_code_flags(args: argparse.Namespace) -> None:
    """Check the name of the file and its flags against the chip.

    Raises:
        InputError: they do not fit, or there is no such chip.
    """
    from stepdown.chips import load_chip

    chip = load_chip(args.chip)
    for flag in ("processor", "features", "keep_tensors", "tune"):
        if getattr(args, flag) and (chip.kind == "npu" or not args.model):
            what = f"chip {chip.name} is none" if chip.kind == "npu" else "no --model asks for it"
            raise InputError(f"is for code of a CPU, and {what}", f"--{flag}", "leave it out")
    if args.model and not args.model.endswith(ENDINGS[chip.kind]):
        fix = f"end it in {' or '.join(ENDINGS[chip.kind])}"
        raise InputError(f"'{args.model}' is no name of what is made for chip {chip.name}", "--model", fix)


def codegen_command(args: argparse.Namespace, lowered: str) -> list[str]:
    """Return the arguments of tpuc-opt that make the file of the lowered module."""
    return _npu_command(args, lowered) if args.model.endswith(".bmodel") else _cpu_command(args, lowered)


def _npu_command(args: argparse.Namespace, lowered: str) -> list[str]:
    chip = f"chip={shlex.quote(args.chip)}" if args.chip.endswith(".toml") else ""
    passes = [f"--{name}={chip}" if chip else f"--{name}" for name in NPU_PASSES]
    codegen = " ".join(filter(None, (f"--codegen=model_file={shlex.quote(args.model)}", chip)))
    return [lowered, *passes, "--save-weight", codegen, "-o", args.model.removesuffix(".bmodel") + "_final.mlir"]


def _cpu_command(args: argparse.Namespace, lowered: str) -> list[str]:
    given = {"chip": args.chip, "processor": args.processor, "features": args.features}
    options = [f"{name}={shlex.quote(value)}" for name, value in given.items() if value]
    options += ["debug=true"] if args.keep_tensors else []
    options += [f"tune={args.tune}"] if args.tune else []
    return [lowered, " ".join([f"--codegen=model_file={shlex.quote(args.model)}", *options])]


def tolerance(args: argparse.Namespace, lowered: str) -> str:
    """Return what the file must reach against the lowered module (docs/native.md, Bits).

    A library computes integers to the same bytes, and reals within a bound; in INT8 some ops are of reals too.
    """
    if args.model.endswith(".so"):
        stored = _stored_reals(lowered)
        return (ROUNDED if stored - {"f32"} else NEAR) if stored else SAME
    return NEAR if args.quantize == "F32" else SAME


def _stored_reals(lowered: str) -> set[str]:
    """Return how the results of ops that compute reals are stored, and what they are converted to."""
    from stepdown.dialects.program import read_program
    from stepdown.dialects.types import is_float, storage_of

    ops = read_program(lowered).ops
    exact = ("tpu.Input", "tpu.Weight", "tpu.Convert")
    reals = {value for op in ops if op.name not in exact for value in op.results if is_float(value)}
    converted = {value for op in ops if op.name == "tpu.Convert" and op.operands[0] in reals for value in op.results}
    return {storage_of(value) for value in reals | converted}


def keeps_outputs_alone(args: argparse.Namespace) -> bool:
    """Whether the file has no tensors to compare but the network's outputs."""
    return args.model.endswith(".so") and not args.keep_tensors


def not_run(args: argparse.Namespace) -> str:
    """Return why this computer does not run the file, '' where it does."""
    if args.model.endswith((".o", ".c")):
        return "a bundle runs in a C program (docs/native.md, Bundles)"
    if args.model.endswith(".so"):
        from stepdown.runtimes.native import why_foreign

        return why_foreign(args.model)
    return ""
