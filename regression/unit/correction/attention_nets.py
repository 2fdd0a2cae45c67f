"""A transformer block with random weights, its LayerNorm before or behind the residual, and an outlier in a channel."""

from pathlib import Path

import numpy as np
from xdsl.ir import SSAValue

from stepdown.dialects.program import Program
from stepdown.dialects.top.activation import Gelu
from stepdown.dialects.top.arithmetic import Add, Mul
from stepdown.dialects.top.mac import MatMul
from stepdown.dialects.top.move import Reshape, Slice, Transpose
from stepdown.dialects.top.normalization import LayerNorm
from stepdown.dialects.top.softmax import Softmax
from stepdown.dialects.top.source import Absent, Input, Weight
from stepdown.dialects.types import tensor

TOKENS, HEADS, WIDTH = 5, 2, 8
CHANNELS = HEADS * WIDTH


class Block:
    """Builds the ops; values are in `program`."""

    def __init__(self, outlier: float, seed: int) -> None:
        self.rng, self.outlier = np.random.default_rng(seed), outlier
        self.program = Program.empty("block", {"x": tensor((1, TOKENS, CHANNELS), "f32")}, "ONNX")
        self.x = self.program.add(Input.build("x", [self.program.block.args[0]]))

    def weight(self, key: str, array: np.ndarray) -> SSAValue:
        """Add a constant."""
        self.program.weights[key] = np.asarray(array, np.float32)
        return self.program.add(Weight.of(key, tensor(np.shape(array), "f32")))

    def linear(self, name: str, x: SSAValue, outputs: int, wide: tuple[int, ...] = ()) -> SSAValue:
        """Add a product with a constant; the columns `wide` are larger, the row of a norm's wide channel smaller."""
        inputs = x.type.get_shape()[-1]  # type: ignore[attr-defined]
        w = self.rng.normal(size=(inputs, outputs)) / np.sqrt(inputs)
        w[:, list(wide)] *= np.sqrt(self.outlier)
        if isinstance(x.owner, LayerNorm):
            w[3] /= self.outlier
        operands = [x, self.weight(f"{name}.w", w), self.weight(f"{name}.b", self.rng.normal(size=outputs) * 0.1)]
        return self.program.add(MatMul.build(name, operands))

    def norm(self, name: str, x: SSAValue) -> SSAValue:
        """Add a LayerNorm, its third channel larger than the others."""
        scale, bias = self.rng.uniform(0.5, 1.5, CHANNELS), self.rng.normal(size=CHANNELS) * 0.2
        scale[3] *= self.outlier
        operands = [x, self.weight(f"{name}.scale", scale), self.weight(f"{name}.bias", bias)]
        return self.program.add(LayerNorm.build(name, operands, axis=-1, epsilon=1e-5))

    def heads(self, name: str, x: SSAValue, order: tuple[int, ...] = (0, 2, 1, 3)) -> SSAValue:
        """Split channels into heads and bring these to the front."""
        split = self.program.add(Reshape.build(f"{name}_split", [x], shape=[1, TOKENS, HEADS, WIDTH]))
        return self.program.add(Transpose.build(f"{name}_heads", [split], order=list(order)))

    def attention(self, x: SSAValue) -> SSAValue:
        """Add attention over x, the query's, key's and value's wide channels not the same."""
        query, key = self.linear("query", x, CHANNELS, (1, 9)), self.linear("key", x, CHANNELS, (2,))
        return self.attend(self.heads("query", query), self.heads("key", key, (0, 2, 3, 1)), self.values(x))

    def values(self, x: SSAValue) -> SSAValue:
        """Add the values [1, heads, tokens, width]."""
        return self.heads("value", self.linear("value", x, CHANNELS, (4, 12)))

    def fused_attention(self, x: SSAValue) -> SSAValue:
        """Add attention whose query, key and value come from one product, cut by slices."""
        add, size = self.program.add, (3, 1, HEADS, TOKENS, WIDTH)
        qkv = self.linear("qkv", x, 3 * CHANNELS, (1, 9, CHANNELS + 2, 2 * CHANNELS + 4))
        split = add(Reshape.build("qkv_split", [qkv], shape=[1, TOKENS, 3, HEADS, WIDTH]))
        front = add(Transpose.build("qkv_front", [split], order=[2, 0, 3, 1, 4]))
        parts = []
        for i, name in enumerate(("query", "key", "value")):
            ends = (i + 1, *size[1:])
            cut = add(Slice.build(f"{name}_cut", [front], starts=[i, 0, 0, 0, 0], ends=list(ends), steps=[1] * 5))
            parts.append(add(Reshape.build(f"{name}_part", [cut], shape=list(size[1:]))))
        turned = add(Transpose.build("key_turned", [parts[1]], order=[0, 1, 3, 2]))
        return self.attend(parts[0], turned, parts[2])

    def attend(self, query: SSAValue, key: SSAValue, value: SSAValue) -> SSAValue:
        """Add softmax(query · key / √width) · value and the output projection."""
        add, none = self.program.add, self.none()
        scaled = add(Mul.build("query_scaled", [query, self.weight("root", np.float32(WIDTH**-0.5))]))
        scores = add(MatMul.build("scores", [scaled, key, none]))
        shares = add(Softmax.build("shares", [scores], axis=-1))
        mixed = add(MatMul.build("mixed", [shares, value, none]))
        back = add(Transpose.build("mixed_back", [mixed], order=[0, 2, 1, 3]))
        flat = add(Reshape.build("mixed_flat", [back], shape=[1, TOKENS, CHANNELS]))
        return self.linear("projection", flat, CHANNELS)

    def none(self) -> SSAValue:
        """Return the operand that is not there."""
        return self.program.add(Absent.make())

    def mlp(self, x: SSAValue) -> SSAValue:
        """Add two products with a GELU between them."""
        hidden = self.program.add(Gelu.build("gelu", [self.linear("widen", x, 4 * CHANNELS)]))
        return self.linear("narrow", hidden, CHANNELS)

    def sum(self, name: str, a: SSAValue, b: SSAValue) -> SSAValue:
        """Add a residual."""
        return self.program.add(Add.build(name, [a, b]))


def block(before: bool, fused: bool = False, outlier: float = 1.0, seed: int = 0) -> Program:
    """Return a block with its LayerNorms `before` attention and MLP, as GPT has them, or behind the sums, as BERT."""
    made = Block(outlier, seed)
    attention = made.fused_attention if fused else made.attention
    x = made.x if before else made.norm("norm0", made.x)
    x = made.sum("sum1", x, attention(made.norm("norm1", x) if before else x))
    x = x if before else made.norm("norm1", x)
    x = made.sum("sum2", x, made.mlp(made.norm("norm2", x) if before else x))
    made.program.finish([x if before else made.norm("norm2", x)])
    return made.program


def write_tokens(folder: Path, count: int, seed: int = 1) -> Path:
    """Write npz samples into a new folder and return it."""
    rng = np.random.default_rng(seed)
    folder.mkdir()
    for number in range(count):
        np.savez(folder / f"{number:03}.npz", x=rng.normal(size=(1, TOKENS, CHANNELS)).astype(np.float32))
    return folder
