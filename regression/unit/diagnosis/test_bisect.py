"""Few probes find the first bad op, pass and rewrite, and what is cut out shows the fault."""

import math

import networkx
import numpy as np
import pytest
from broken import CHIP, DEFECTS, FAULTS, Network, bias_dropped
from checkout import ROOT, run

from stepdown.diagnosis.bisect import dominators, first_bad, first_bad_op, graph_of, reduce
from stepdown.diagnosis.passes import first_bad_pass
from stepdown.diagnosis.relower import lower
from stepdown.diagnosis.tolerance import Expected, Likeness, Tolerance
from stepdown.dialects.op import TensorOp
from stepdown.dialects.top.mac import Conv
from stepdown.transforms.canonicalize import Canonicalize
from stepdown.transforms.convert_top_to_tpu import ConvertTopToTpu
from stepdown.transforms.rewrite import PATTERNS, Rewriter

pytestmark = pytest.mark.xdist_group("diagnosis")

LIMIT = Tolerance(0.99, 0.9)


@pytest.mark.parametrize("first", range(10))
def test_halving_finds_the_first(first: int) -> None:
    asked = []
    assert first_bad(9, lambda i: asked.append(i) or i >= first) == min(first, 9)
    assert len(asked) <= math.ceil(math.log2(10))


def test_dominators_of_a_diamond() -> None:
    edges = [("the inputs", "a"), ("a", "b"), ("a", "c"), ("b", "d"), ("c", "d"), ("d", "e")]
    assert dominators(networkx.DiGraph(edges), "e") == ["a", "d", "e"]


@pytest.mark.parametrize("defect", list(DEFECTS))
@pytest.mark.parametrize("place", [1, 5])
def test_the_first_bad_op(resnet8: Network, defect: str, place: int) -> None:
    name, target = DEFECTS[defect][0](resnet8, place)
    found = first_bad_op(target, resnet8.reference, resnet8.samples[0], LIMIT)
    assert found is not None and found.unit.name == name
    chain = dominators(graph_of(target), found.unit.name)
    assert found.runs <= math.ceil(math.log2(len(chain) + 10)) + 5


@pytest.mark.parametrize("defect", [*DEFECTS, "input", "sum"])
@pytest.mark.parametrize("place", [1, 5])
def test_the_first_bad_op_without_a_tolerance(resnet8: Network, defect: str, place: int) -> None:
    name, target = {**DEFECTS, **FAULTS}[defect][0](resnet8, place)
    found = first_bad_op(target, resnet8.reference, resnet8.samples[0])
    assert found is not None and found.unit.name == name
    part = reduce(target, resnet8.reference, resnet8.samples[0], found.unit, found.tolerance)
    assert (part is None) == (defect == "input")


@pytest.mark.parametrize("asymmetric", [False, True])
def test_an_int8_network_is_as_good_as_its_lowering(resnet8: Network, asymmetric: bool) -> None:
    target = lower(resnet8.reference, resnet8.recipe(asymmetric=asymmetric))
    assert first_bad_op(target, resnet8.reference, resnet8.samples[0]) is None


def test_few_elements_may_be_noisier_by_chance() -> None:
    right = {"x": Likeness(0.99, 0.9, 0.01, 2)}
    few, many = (Likeness(0.98, 0.8, 0.05, count) for count in (2, 10000))
    assert Expected(right).holds("x", few) and not Expected(right).holds("x", many)


def test_the_middle_of_two_likenesses_separates_them() -> None:
    good, bad = Likeness(0.999, 0.95, 0.002, 100), Likeness(0.9, 0.5, 0.2, 100)
    middle = Expected({"x": good}).shown_by("x", bad)
    assert middle.holds("x", good) and not middle.holds("x", bad)
    assert Expected({"x": good}).given_output("x", bad).factor > 2


def test_nothing_is_found_where_nothing_is_bad(resnet8: Network) -> None:
    target = lower(resnet8.reference, resnet8.recipe("F32"))
    assert first_bad_op(target, resnet8.reference, resnet8.samples[0], Tolerance(0.9999, 0.999)) is None


@pytest.mark.parametrize("flags", [[], ["--tolerance", "0.99,0.9"]])
def test_what_is_cut_out_shows_the_fault(resnet8: Network, tmp_path, flags: list[str]) -> None:  # type: ignore[no-untyped-def]
    _, target = bias_dropped(resnet8, 5)
    target.write(tmp_path / "bad.mlir")
    np.savez(tmp_path / "in.npz", **resnet8.samples[0])
    words = ["bad.mlir", "--reference", resnet8.path, "--input", "in.npz", *flags, "-o", "cut"]
    ended = run(ROOT / "tools" / "bisect_model.py", *words, cwd=tmp_path)
    assert ended.returncode == 1, ended.stderr
    commands = [line.split() for line in ended.stdout.splitlines() if line.startswith("  ")]
    codes = [run(ROOT / "tools" / c[0], *c[1:], cwd=tmp_path).returncode for c in commands]
    assert codes == [0, 0, 1]


def test_the_first_bad_pass_and_rewrite(resnet8: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    def spoil(graph: Rewriter, op: TensorOp) -> bool:
        key = op.operands[1].owner.key
        if key.endswith("spoilt"):
            return False
        weight = graph.weight(op, -graph.program.weights[key], f"{key}_spoilt")
        op.operands[1] = weight
        return True

    monkeypatch.setitem(PATTERNS, "top.Conv", [spoil])
    passes = [ConvertTopToTpu("F32", CHIP)]
    assert first_bad_pass(resnet8.reference, passes, resnet8.samples[0], LIMIT) is None
    found = first_bad_pass(resnet8.reference, [Canonicalize(), *passes], resnet8.samples[0], LIMIT)
    assert found is not None and (found.place, found.name) == (0, "canonicalize")
    assert found.rewrite.startswith("spoil at ")
    assert spoil in PATTERNS["top.Conv"]
    assert any(isinstance(op, Conv) for op in resnet8.reference.ops)
