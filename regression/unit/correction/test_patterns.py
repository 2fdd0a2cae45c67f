"""Whatever factors the groups of a network are given, it stays the same function."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from correction.attention_nets import CHANNELS, HEADS, TOKENS, WIDTH, Block, block, write_tokens
from correction.nets import mobile_net, outputs, write_samples
from xdsl.ir import SSAValue

from stepdown.correction.channels import find_groups
from stepdown.correction.rescale import rescale
from stepdown.correction.tied import FIXED, Tied
from stepdown.dialects.op import value_name
from stepdown.dialects.program import Program
from stepdown.dialects.top.activation import LeakyRelu, Relu, Sigmoid
from stepdown.dialects.top.arithmetic import Add, Div, Max, Mul, PRelu, Sub
from stepdown.dialects.top.elementary import Abs
from stepdown.dialects.top.mac import MatMul
from stepdown.dialects.top.move import Concat, Reshape, Split, Transpose
from stepdown.dialects.top.reduce import ReduceMean

Build = Callable[[Block, SSAValue], SSAValue]


def reader(build: Build) -> Program:
    """Return a product with a constant, then what `build` makes of it, then a product of its last dimension."""
    made = Block(1.0, 5)
    value = build(made, made.linear("made", made.x, CHANNELS))
    made.program.finish([made.linear("read", value, 3)])
    return made.program


def op(kind: type, *constants: np.ndarray | float, swap: bool = False, **attributes: object) -> Build:
    """Return a builder of one op whose other operands are constants."""

    def build(made: Block, x: SSAValue) -> SSAValue:
        operands = [x, *(made.weight(f"c{i}", np.asarray(c)) for i, c in enumerate(constants))]
        return made.program.add(kind.build("op", operands[::-1] if swap else operands, **attributes))  # type: ignore[attr-defined]

    return build


def heads(made: Block, x: SSAValue) -> SSAValue:
    """Heads in front and back again, the channels in another order."""
    front = made.heads("h", x)
    back = made.program.add(Transpose.build("back", [front], order=[0, 2, 3, 1]))
    return made.program.add(Reshape.build("flat", [back], shape=[1, TOKENS, CHANNELS]))


def halves(made: Block, x: SSAValue) -> SSAValue:
    """The halves of the channels changed round, and one of them once more."""
    cut = made.program.add
    split = Split.build(["a", "b"], [x], axis=2, sizes=[CHANNELS // 2] * 2)
    made.program.block.add_op(split)
    return cut(Concat.build("joined", [split.results[1], split.results[0], split.results[1]], axis=2))


def gated(made: Block, x: SSAValue) -> SSAValue:
    """Channels times a gate that is made of their mean."""
    mean = made.program.add(ReduceMean.build("mean", [x], axes=[1], keepdims=True))
    gate = made.program.add(Sigmoid.build("gate", [made.linear("squeeze", mean, CHANNELS)]))
    return made.program.add(Mul.build("gated", [x, gate]))


def residual(made: Block, x: SSAValue) -> SSAValue:
    return made.sum("sum", x, made.linear("inner", x, CHANNELS))


def transposed_product(made: Block, x: SSAValue) -> SSAValue:
    """A product with a tensor that it transposes, then one that lets the columns of its second tensor through."""
    none = made.none()
    other = made.linear("other", made.x, CHANNELS)
    scores = made.program.add(MatMul.build("scores", [x, other, none], right_transpose=True))
    return made.program.add(MatMul.build("mixed", [scores, made.linear("value", made.x, CHANNELS), none]))


RANDOM = np.random.default_rng(7)
BUILDERS: dict[str, Build] = {
    "sum with a vector": op(Add, RANDOM.normal(size=CHANNELS)),
    "sum with a number": op(Add, 0.3),
    "sum with a table": op(Add, RANDOM.normal(size=(1, TOKENS, CHANNELS))),
    "constant minus channels": op(Sub, RANDOM.normal(size=CHANNELS), swap=True),
    "maximum with a vector": op(Max, RANDOM.normal(size=CHANNELS)),
    "product with a vector": op(Mul, RANDOM.normal(size=CHANNELS)),
    "quotient by a vector": op(Div, RANDOM.uniform(1, 2, CHANNELS)),
    "PRelu": op(PRelu, RANDOM.uniform(0, 1, CHANNELS)),
    "LeakyRelu": op(LeakyRelu, alpha=0.1),
    "Relu": op(Relu),
    "Abs": op(Abs),
    "heads": heads,
    "halves": halves,
    "gate": gated,
    "residual": residual,
    "transposed product": transposed_product,
}
KEEPING: dict[str, Build] = {
    "a clip of its own": op(Relu, relu_limit=0.5),
    "a quotient of channels": op(Div, RANDOM.uniform(1, 2, CHANNELS), swap=True),
    "a sigmoid": op(Sigmoid),
}


def scaled(program: Program) -> int:
    """Give the groups of a program random factors; return how many there were."""
    rng, groups = np.random.default_rng(3), find_groups(program)
    for group in groups:
        rescale(program, group, np.exp2(rng.uniform(-3, 3, group.size)), "_scaled")
    return len(groups)


def agree(program: Program, reference: Program, samples: Path) -> None:
    expected = outputs(reference, samples)
    np.testing.assert_allclose(outputs(program, samples), expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tokens(tmp_path_factory.mktemp("tokens") / "tokens", 3)


@pytest.mark.parametrize("name", BUILDERS)
def test_factors_pass(name: str, tokens: Path) -> None:
    program = reader(BUILDERS[name])
    assert scaled(program) >= 1
    made = {old for o in program.ops for old in [o.tensor_name] if old.endswith("_scaled")}
    assert "made_scaled" in made
    agree(program, reader(BUILDERS[name]), tokens)


@pytest.mark.parametrize("name", KEEPING)
def test_factors_do_not_pass(name: str) -> None:
    found = [{value_name(v) for v in group.tensors} for group in find_groups(reader(KEEPING[name]))]
    assert not any("made" in group for group in found)


@pytest.mark.parametrize(("before", "fused"), [(True, False), (True, True), (False, False)])
def test_any_factors_keep_a_transformer_block(before: bool, fused: bool, tokens: Path) -> None:
    program = block(before, fused)
    assert scaled(program) == (3 if fused else 4 if before else 2)
    agree(program, block(before, fused), tokens)


def test_any_factors_keep_a_mobile_net(tmp_path: Path) -> None:
    program, samples = mobile_net(), write_samples(tmp_path / "samples", 3)
    assert scaled(program) == 3
    agree(program, mobile_net(), samples)


def test_keys_are_divided_by_what_queries_are_multiplied_by() -> None:
    group = next(g for g in find_groups(block(True)) if g.products)
    signs = {value_name(v): set(m.sign.tolist()) for v, m in group.members.items()}
    assert signs["query"] == {-v for v in signs["key"]}
    assert group.size == HEADS * WIDTH


def test_a_factor_that_is_its_own_inverse_is_one() -> None:
    tied = Tied()
    a, b, c = tied.fresh(1), tied.fresh(1), tied.fresh(1)
    tied.tie(a, b, -1)
    tied.tie(b, c, -1)
    assert tied.root(int(a[0])) == tied.root(int(c[0]))
    assert tied.root(int(a[0]))[1] == -tied.root(int(b[0]))[1]
    tied.tie(a, b)
    assert [tied.root(int(x[0]))[0] for x in (a, b, c)] == [FIXED] * 3
