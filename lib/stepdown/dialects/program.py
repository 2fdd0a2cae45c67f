"""A module with its weights: what the tools read, transform and write.

`NAME.mlir` names its weight file (an npz beside it) and that file's SHA-256; every output has its own.
"""

import os
from collections.abc import Iterator, Mapping, MutableMapping
from pathlib import Path
from typing import Any

import numpy as np
from xdsl.dialects.builtin import IntegerAttr, ModuleOp, NameLoc, StringAttr, i1
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.ir import Attribute, Block, BlockArgument, Region, SSAValue

from stepdown.dialects.op import TensorOp, location, value_name
from stepdown.dialects.text import parse_module, print_module, verify
from stepdown.dialects.types import shape_of, shape_problem
from stepdown.errors import InputError, UnsupportedModel
from stepdown.files.atomic import write_text
from stepdown.files.hashes import sha256_file
from stepdown.files.npz import NpzFile, write_npz

MAX_GROWN_BYTES = 256 << 20
"""What constants that are computed, and not held by the source model, may take together."""


class State:
    """How far a module has come (`module.state`)."""

    TOP_F32 = "TOP_F32"
    TOP_CALIBRATED = "TOP_CALIBRATED"
    TOP_QUANTIZED = "TOP_QUANTIZED"
    TPU_LOWERED = "TPU_LOWERED"
    TPU_ADDRESSED = "TPU_ADDRESSED"


class Weights(MutableMapping[str, np.ndarray]):
    """Named constants: those of a file are read when asked for, new ones are held."""

    def __init__(self, file: NpzFile | None = None) -> None:
        self._file = file
        self._held: dict[str, np.ndarray | None] = dict.fromkeys(file) if file else {}
        self._grown_bytes = 0

    def __getitem__(self, key: str) -> np.ndarray:
        held = self._held[key]
        if held is None:
            assert self._file is not None
            held = self._held[key] = self._file[key]
        return held

    def __setitem__(self, key: str, value: np.ndarray) -> None:
        self._held[key] = value

    def __delitem__(self, key: str) -> None:
        del self._held[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._held)

    def __len__(self) -> int:
        return len(self._held)

    def __contains__(self, key: object) -> bool:
        return key in self._held

    def may_grow(self, more_bytes: int) -> bool:
        """Tell whether computed constants may take `more_bytes` more than what they are computed from; counts them."""
        fits = self._grown_bytes + more_bytes <= MAX_GROWN_BYTES
        self._grown_bytes += max(0, more_bytes) if fits else 0
        return fits

    def free_key(self, wanted: str, array: np.ndarray) -> str:
        """Return `wanted`, or a numbered key where that one holds another array."""
        key, number = wanted, 1
        while key in self and not _same(self[key], array):
            number += 1
            key = f"{wanted}_{number}"
        return key


def _same(a: np.ndarray, b: np.ndarray) -> bool:
    return a.dtype == b.dtype and a.shape == b.shape and (a is b or a.tobytes() == b.tobytes())


class Program:
    """A verified module, its `main` function and its weights."""

    def __init__(self, module: ModuleOp, weights: Weights, path: str = "") -> None:
        self.module, self.weights, self.path = module, weights, path
        functions = [op for op in module.body.block.ops if isinstance(op, FuncOp)]
        if not functions:
            raise InputError("the module holds no function", path)
        if len(functions[0].body.blocks) != 1:
            raise InputError("its function has no body, or branches", path)
        self.main = functions[0]

    @classmethod
    def empty(cls, name: str, inputs: Mapping[str, Attribute], platform: str) -> "Program":
        """Return a program named `name` with the given arguments and nothing in it yet.

        Raises:
            UnsupportedModel: an argument is larger than any tensor may be.
        """
        for name_of_input, kind in inputs.items():
            if problem := shape_problem(shape_of(kind)):
                raise UnsupportedModel(problem, f"input '{name_of_input}'")
        block = Block(arg_types=list(inputs.values()))
        for argument, tensor in zip(block.args, inputs, strict=True):
            argument.location = location([tensor])  # the caller's name, whatever lowering does to the op
        main = FuncOp("main", (list(inputs.values()), []), Region(block))
        program = cls(ModuleOp([main], sym_name=StringAttr(name)), Weights())
        program["platform"], program["state"] = platform, State.TOP_F32
        return program

    def become(self, other: "Program") -> None:
        """Take the module and the weights of `other`: how a pass replaces a whole program."""
        self.module, self.weights, self.main = other.module, other.weights, other.main

    # --- module attributes

    def __getitem__(self, key: str) -> str:
        """Return the module attribute `module.KEY`, '' where it is not set."""
        attribute = self.module.attributes.get(f"module.{key}")
        if isinstance(attribute, IntegerAttr):
            return "true" if attribute.value.data else "false"
        return attribute.data if isinstance(attribute, StringAttr) else ""

    def __setitem__(self, key: str, value: str | bool) -> None:
        attribute: Attribute = IntegerAttr(int(value), i1) if isinstance(value, bool) else StringAttr(value)
        self.module.attributes[f"module.{key}"] = attribute

    @property
    def name(self) -> str:
        """The network's name."""
        return self.module.sym_name.data if self.module.sym_name else "network"

    # --- ops

    @property
    def block(self) -> Block:
        """The one block of `main`."""
        return self.main.body.block

    @property
    def ops(self) -> list[TensorOp]:
        """The ops of `main` in order, without the return."""
        return [op for op in self.block.ops if isinstance(op, TensorOp)]

    @property
    def results(self) -> tuple[SSAValue, ...]:
        """The values that `main` returns."""
        last = self.block.last_op
        return tuple(last.operands) if isinstance(last, ReturnOp) else ()

    @property
    def output_names(self) -> list[str]:
        """The names of the network's outputs."""
        return [value_name(v) for v in self.results]

    @property
    def input_ops(self) -> list[TensorOp]:
        """The input ops, in the order of the arguments."""
        return [op for op in self.ops if op.name.endswith(".Input")]

    @property
    def preprocessing(self) -> dict[str, dict[str, Any]]:
        """By input name, the attributes that say how an image becomes that input."""
        return {
            argument_name(op): {**op.attribute_values(), "shape": list(op.results[0].type.get_shape())}  # type: ignore[attr-defined]
            for op in self.input_ops
            if op.preprocess  # type: ignore[attr-defined]
        }

    def add(self, op: TensorOp) -> SSAValue:
        """Append an op and return its first result."""
        self.block.add_op(op)
        return op.results[0]

    def finish(self, results: list[SSAValue]) -> None:
        """End `main` by returning `results`."""
        if isinstance(self.block.last_op, ReturnOp):
            self.block.erase_op(self.block.last_op)
        self.block.add_op(ReturnOp(*results))
        self.main.update_function_type()  # type: ignore[no-untyped-call]

    # --- files

    def write(self, path: str | os.PathLike[str], weight_file: str = "") -> Path:
        """Write the weights, then the text that names them; returns the weight file's path."""
        verify(self.module, str(path))
        target = Path(path)
        weights = target.with_name(weight_file or f"{target.stem}_weight.npz")
        used = [key for op in self.ops for key in weight_keys(op)]
        write_npz(weights, {key: self.weights[key] for key in dict.fromkeys(used)})
        self["weight_file"], self["weight_sha256"] = weights.name, sha256_file(weights)
        write_text(target, print_module(self.module))
        return weights


def read_program(path: str | os.PathLike[str]) -> Program:
    """Read `NAME.mlir` and open the weight file it names.

    Raises:
        InputError: a file is missing or malformed, the weight file is another one than the text was written with,
            or a weight that the text uses is not in it or has another shape.
    """
    source = Path(path)
    if not source.is_file():
        raise InputError("is a directory" if source.is_dir() else "no such file", str(path), "give an .mlir file")
    try:
        text = source.read_text(encoding="utf-8")
    except (UnicodeDecodeError, OSError) as error:
        raise InputError(f"not MLIR text ({error})", str(path)) from None
    program = Program(parse_module(text, str(path)), Weights(), str(path))
    if program["weight_file"]:
        program.weights = _open_weights(program, source.parent / Path(program["weight_file"]).name)
    check_weights(program)
    return program


def _open_weights(program: Program, path: Path) -> Weights:
    file = NpzFile(path)
    wanted = program["weight_sha256"]
    if wanted and sha256_file(path) != wanted:
        raise InputError(f"is not the weight file that {program.path} was written with (SHA-256 differs)", str(path))
    return Weights(file)


def check_weights(program: Program) -> None:
    """Raise InputError where an array that the text names is not there."""
    for key in (key for op in program.ops for key in weight_keys(op)):
        if key not in program.weights:
            raise InputError(f"weight '{key}' is not in {program['weight_file'] or 'any weight file'}", program.path)


def weight_keys(op: TensorOp) -> list[str]:
    """Return the names of the arrays that an op stands for, or whose images in memory it names."""
    own = [op.key] if op.name.endswith(".Weight") else []  # type: ignore[attr-defined]
    return own + list((op.note("images") or {}).values() if "images" in op.notes else ())


def argument_name(op: TensorOp) -> str:
    """Return the name by which a caller gives the input that `op` reads: that of the argument it takes."""
    argument = op.operands[0]
    assert isinstance(argument, BlockArgument)
    place = argument.location
    return place.desc.data if isinstance(place, NameLoc) else op.tensor_name
