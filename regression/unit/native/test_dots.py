"""Sums of products by the instructions of processors that this computer need not be."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from native.compiled import PORTABLE, differing
from native.test_networks import lowered
from npu.test_networks import inputs, mnist, resnet8

from stepdown.chips import load_chip
from stepdown.native.build import assembly
from stepdown.native.code import Code
from stepdown.native.dots import QuadsU8
from stepdown.native.kernels import conv
from stepdown.native.machine import machine_of
from stepdown.native.tir import Expr, Function, cast


@dataclass(frozen=True)
class SpelledOut(QuadsU8):
    """Four products a lane as vpdpbusd defines them, on any processor: the same packing, offsets and paddings."""

    def weights(self, f: Function, buffer: Any, index: Expr) -> Any:
        return buffer, index

    def operands(self, f: Function, buffer: Any, index: Expr) -> Expr:
        return [f.let(cast("int32", buffer[index + k])) for k in range(self.group)]

    def add(self, f: Function, sums: Any, at: Expr, operands: Expr, weights: Any) -> None:
        buffer, index = weights
        with f.loop(self.lanes, "vector") as lane:
            total = sums[at + lane]
            for k, operand in enumerate(operands):
                total = total + operand * cast("int32", buffer[index + lane * self.group + k])
            f.store(sums, at + lane, total)


@pytest.mark.parametrize(("network", "mode"), [(mnist, "INT8 asymmetric"), (resnet8, "INT8")])
def test_unsigned_quads_make_the_same_bytes(network, mode, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(conv, "dot_of", lambda machine: SpelledOut(machine.lanes))
    program = lowered(network(), mode)
    assert differing(program, inputs(program), PORTABLE, tmp_path) == {}


@pytest.mark.parametrize(
    ("chip", "processor", "instruction"),
    [
        ("x86_64", "x86-64", "pmaddwd"), ("x86_64", "x86-64-v3", "vpmaddwd"), ("x86_64", "alderlake", "vpdpbusd"),
        ("x86_64", "cascadelake", "vpdpbusd"), ("aarch64", "cortex-a53", "smlal"), ("aarch64", "cortex-a76", "sdot"),
    ],
)  # fmt: skip
def test_processors_get_the_instructions_that_they_have(chip, processor, instruction) -> None:
    machine = machine_of(load_chip(chip), processor)
    code = Code(lowered(mnist(), "INT8"), machine, "net")
    products = {n: f for n, f in code.functions.items() if n.endswith(("convolution", "product"))}
    assert f"\t{instruction}\t" in assembly(products, machine)


def test_processors_with_32_registers_keep_more_sums() -> None:
    program = lowered(mnist(), "INT8")
    for processor, most in {"x86-64-v3": 16, "alderlake": 16, "cascadelake": 32}.items():
        network = Code(program, machine_of(load_chip("x86_64"), processor), "net").network
        blocks = [call.kernel.code.block for call in network.calls if isinstance(call.kernel, conv.Convolution)]
        used = [b.positions * b.vectors + b.vectors + 1 for b in blocks]
        assert most // 2 < max(used) <= most
