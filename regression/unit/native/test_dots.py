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


def test_processors_get_the_instructions_that_they_have() -> None:
    program = lowered(mnist(), "INT8")
    for processor, instruction in {"x86-64": "pmaddwd", "x86-64-v3": "vpmaddwd", "cascadelake": "vpdpbusd"}.items():
        machine = machine_of(load_chip("x86_64"), processor)
        code = Code(program, machine, "net")
        products = {n: f for n, f in code.functions.items() if n.endswith(("convolution", "product"))}
        assert f"\t{instruction}\t" in assembly(products, machine)
