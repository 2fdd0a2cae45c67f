"""Accounts to test with: of small networks that become model files, and of work made by hand."""

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from npu.test_networks import calibrate, inputs, mnist
from targets import lowering

from stepdown.chips import load_chip
from stepdown.dialects.program import Program
from stepdown.dialects.top import TOP_OPS
from stepdown.dialects.types import tensor
from stepdown.model import Network, Stage
from stepdown.npu.passes.codegen import Codegen
from stepdown.perf import Account, Work, account_of


def write_mnist(path: Path, mode: str = "F16", chip: str = "bm1684x") -> Path:
    """Write the model file of a small network, and return its path."""
    program = mnist()
    if "INT8" in mode:
        calibrate(program, inputs(program))
    lowering(mode, chip).run(program)
    Codegen(model_file=str(path)).run(program)
    return path


@cache
def mnist_account(mode: str = "F16", chip: str = "bm1684x") -> Account:
    """Return the account of a small network."""
    with TemporaryDirectory() as folder:
        return account_of(write_mnist(Path(folder) / "net.bmodel", mode, chip))


def write_host(path: Path) -> Path:
    """Write the model file of Relu, Softmax, Add: the second and what converts for it are left to the host."""
    program = Program.empty("host", {"x": tensor((4, 256), "f32")}, "ONNX")
    value = program.add(TOP_OPS["Input"].build("x", list(program.block.args)))
    one = program.add(TOP_OPS["Relu"].build("relu", [value]))
    two = program.add(TOP_OPS["Softmax"].build("softmax", [one], axis=1))
    program.finish([program.add(TOP_OPS["Add"].build("sum", [two, one]))])
    lowering("F16", "bm1684x").run(program)
    Codegen(model_file=str(path)).run(program)
    return path


@cache
def host_account() -> Account:
    """Return the account of a network that the host has a part in."""
    with TemporaryDirectory() as folder:
        return account_of(write_host(Path(folder) / "net.bmodel"))


def work(engine: str, start: int, parts: dict[str, int], name: str = "x", op: str = "Conv", **more: int) -> Work:
    """Return some work."""
    return Work(engine, 0, -1, name, op, "conv", start, parts, **more)


def account(*works: Work) -> Account:
    """Return the account of work made by hand."""
    stage = Stage((), (), (), ())
    return Account("hand.bmodel", Network("hand", "INT8", "tosa", (stage,)), stage, load_chip("bm1684x"), works)


def random_account(seed: int) -> Account:
    """Return an account in which every engine does some work at random times, in any order."""
    rng = np.random.default_rng(seed)
    works = []
    for engine, part in (("compute", "matmul"), ("dma", "transfer"), ("dma2", "transfer"), ("host", "host_work")):
        at = 0
        for number in range(rng.integers(0, 9)):
            at += int(rng.integers(0, 3)) * 5
            parts = {"start": int(rng.integers(0, 4)), part: int(rng.integers(0, 20))}
            works.append(work(engine, at, parts, f"op{number % 4}", "AB"[number % 2]))
            at = works[-1].end
    return account(*works)
