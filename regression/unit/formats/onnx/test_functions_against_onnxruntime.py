"""Attention, transforms and sampling, on random options, against onnxruntime."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from formats.onnx.test_against_onnxruntime import Case, choose, run_both
from numpy.random import Generator

COUNT = 25


def floats(rng: Generator, *shape: int) -> np.ndarray:
    return rng.normal(size=shape).astype(np.float32)


def attention(rng: Generator) -> Case:
    batch, groups, repeat, queries, keys, size = (int(n) for n in rng.integers(1, 4, 6))
    heads, causal = groups * repeat, int(rng.integers(2))
    inputs: dict[str, np.ndarray | None] = {
        "q": floats(rng, batch, heads, queries, size), "k": floats(rng, batch, groups, keys, size),
        "v": floats(rng, batch, groups, keys, size), "mask": None,
    }  # fmt: skip
    if choose(rng, False, True):
        inputs["mask"] = choose(rng, floats(rng, queries, keys), np.tril(np.ones((queries, keys), bool)))
    attributes: dict[str, Any] = {"is_causal": causal, "softcap": float(choose(rng, 0.0, 2.0))}
    return "Attention", 23, attributes, inputs, set()


def rotary_embedding(rng: Generator) -> Case:
    heads, length, half = (int(n) for n in rng.integers(1, 5, 3))
    angles = rng.uniform(0, 6, (10, half)).astype(np.float32)
    inputs = {
        "x": floats(rng, 2, heads, length, 2 * half), "cos": np.cos(angles), "sin": np.sin(angles),
        "positions": rng.integers(0, 10, (2, length)),
    }  # fmt: skip
    return "RotaryEmbedding", 23, {"interleaved": int(rng.integers(2))}, inputs, {"cos", "sin"}


def stft(rng: Generator) -> Case:
    length = int(rng.integers(2, 20))
    inputs: dict[str, np.ndarray | None] = {"signal": floats(rng, 2, 40, 1), "step": rng.integers(1, 9), "window": None}
    if choose(rng, False, True):
        inputs["window"] = floats(rng, length)
    inputs["length"] = np.array(length)
    return "STFT", 17, {"onesided": int(rng.integers(2))}, inputs, {"step", "length"}


def dft(rng: Generator) -> Case:
    onesided, inverse = choose(rng, (0, 0), (0, 1), (1, 0))
    parts = 1 if onesided else choose(rng, 1, 2)
    length = choose(rng, None, np.array(int(rng.integers(1, 12))))
    inputs = {"x": floats(rng, 2, 6, 5, parts), "length": length, "axis": np.array(choose(rng, 1, 2, -2, -3))}
    return "DFT", 20, {"onesided": onesided, "inverse": inverse}, inputs, {"length", "axis"}


def col2im(rng: Generator) -> Case:
    block, strides, dilations = rng.integers(1, 4, 2), rng.integers(1, 3, 2), rng.integers(1, 3, 2)
    pads, image = rng.integers(0, 2, 4), rng.integers(6, 9, 2)
    counts = (image + pads[:2] + pads[2:] - dilations * (block - 1) - 1) // strides + 1
    inputs = {"x": floats(rng, 2, 3 * int(block.prod()), int(counts.prod())), "image": image, "block": block}
    attributes = {"strides": strides.tolist(), "dilations": dilations.tolist(), "pads": pads.tolist()}
    return "Col2Im", 18, attributes, inputs, {"image", "block"}


def deform_conv(rng: Generator) -> Case:
    kernel, strides, dilations = rng.integers(1, 4, 2), rng.integers(1, 3, 2), rng.integers(1, 3, 2)
    pads, group, offsets = rng.integers(0, 2, 4), choose(rng, 1, 2), choose(rng, 1, 2)
    x = floats(rng, 2, 4, *rng.integers(6, 9, 2))
    size = (np.array(x.shape[2:]) + pads[:2] + pads[2:] - dilations * (kernel - 1) - 1) // strides + 1
    taps = int(kernel.prod())
    inputs = {
        "x": x, "w": floats(rng, 6, 4 // group, *kernel), "offset": 2 * floats(rng, 2, offsets * taps * 2, *size),
        "b": choose(rng, None, floats(rng, 6)), "mask": choose(rng, None, floats(rng, 2, offsets * taps, *size)),
    }  # fmt: skip
    attributes = {
        "strides": strides.tolist(), "dilations": dilations.tolist(), "pads": pads.tolist(), "group": group,
        "offset_group": offsets, "kernel_shape": kernel.tolist(),
    }  # fmt: skip
    return "DeformConv", 19, attributes, inputs, {"w", "b"}


def affine_grid(rng: Generator) -> Case:
    rank = choose(rng, 2, 3)
    size = np.array([2, 3, *rng.integers(2, 6, rank)])
    return (
        "AffineGrid",
        20,
        {"align_corners": int(rng.integers(2))},
        {"t": floats(rng, 2, rank, rank + 1), "s": size},
        {"s"},
    )


def non_max_suppression(rng: Generator) -> Case:
    inputs = {
        "boxes": rng.uniform(0, 4, (2, 9, 4)).astype(np.float32),
        "scores": rng.uniform(0, 1, (2, 3, 9)).astype(np.float32),
        "most": rng.integers(0, 6, 1),
        "overlap": np.float32([rng.uniform(0, 1)]),
        "least": np.float32([rng.uniform(0, 1)]),
    }
    return "NonMaxSuppression", 11, {"center_point_box": int(rng.integers(2))}, inputs, set(inputs)


def tf_idf_vectorizer(rng: Generator) -> Case:
    pairs = rng.permutation([[a, b] for a in range(4) for b in range(4)])[:5]
    attributes = {
        "mode": choose(rng, "TF", "IDF", "TFIDF"), "min_gram_length": choose(rng, 1, 2), "max_gram_length": 2,
        "max_skip_count": int(rng.integers(0, 4)), "ngram_counts": [0, 3], "ngram_indexes": rng.permutation(8).tolist(),
        "pool_int64s": [*rng.permutation(4)[:3].tolist(), *pairs.reshape(-1).tolist()],
        "weights": rng.uniform(0, 2, 8).astype(np.float32).tolist(),
    }  # fmt: skip
    return "TfIdfVectorizer", 9, attributes, {"x": rng.integers(0, 4, (3, 12))}, set()


KINDS: list[Callable[[Generator], Case]] = [
    attention, rotary_embedding, stft, dft, col2im, deform_conv, affine_grid, non_max_suppression, tf_idf_vectorizer,
]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS, ids=[kind.__name__ for kind in KINDS])
def test_random_options(kind: Callable[[Generator], Case]) -> None:
    rng = np.random.default_rng(0)
    for _ in range(COUNT):
        case = kind(rng)
        for ours, theirs in run_both(case):
            assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape), case
            np.testing.assert_allclose(ours, theirs, 1e-4, 1e-4, err_msg=str(case))
