"""Counting sequences of integers."""

import numpy as np

from stepdown.dialects.fields import Floats, Int, Ints, Str
from stepdown.dialects.op import Arrays, Kind
from stepdown.dialects.top.base import Example, TopOp, top_op
from stepdown.dialects.types import Shape, storage_of


@top_op
class TfIdfVectorizer(TopOp):
    """How often the sequences of `pool` occur in each row of the operand. Source: ONNX TfIdfVectorizer-9.

    ngram_counts[n − 1] is where the sequences of n elements begin in `pool`, ngram_indexes the place of each sequence
    in the result. Between the elements of a sequence lie 0 to max_skip_count others, everywhere the same number.
    TF gives the counts, IDF the weight of what occurs, TFIDF the product of both.

    C1: the operand holds integers in one or two dimensions
    C2: sequences are at least 1 element long, skips at least 0
    C3: pool, ngram_counts and ngram_indexes fit each other, and there is no weight or one a sequence
    """

    kind = Kind.FLOAT
    mode = Str(choices=("TF", "IDF", "TFIDF"))
    min_gram_length = Int()
    max_gram_length = Int()
    max_skip_count = Int()
    ngram_counts = Ints()
    ngram_indexes = Ints()
    pool = Ints()
    weights = Floats(())

    @staticmethod
    def example(rng: np.random.Generator) -> Example:
        """Return operands and attributes for the tests."""
        lengths = {"min_gram_length": 1, "max_gram_length": 2, "max_skip_count": 1}
        sequences = {"ngram_counts": [0, 2], "ngram_indexes": [2, 0, 1], "pool": [3, 4, 3, 4]}
        return [rng.integers(2, 6, (2, 7))], {"mode": "TFIDF", "weights": [1.0, 2.0, 0.5], **lengths, **sequences}

    def shapes(self, input: Shape) -> list[Shape]:
        """Return the operand's shape, the places of the sequences in place of its last dimension."""
        kind = storage_of(self.operands[0])
        self.require(len(input) in (1, 2) and kind in ("i32", "i64"), "C1", f"{input} of {kind}")
        lengths = 1 <= self.min_gram_length <= self.max_gram_length and self.max_skip_count >= 0
        self.require(lengths, "C2", f"{self.min_gram_length} to {self.max_gram_length}, skip {self.max_skip_count}")
        self.require(self._fits(), "C3", f"{len(self.pool)} elements, {self.ngram_counts}, {self.ngram_indexes}")
        return [(*input[:-1], max(self.ngram_indexes) + 1)]

    def elements(self, count: int) -> list[str]:
        """The counts are f32."""
        return ["f32"] * count

    def compute(self, input: np.ndarray) -> Arrays:
        """Return the weighed counts."""
        counts = np.zeros(self.shapes(input.shape)[0], np.float32)
        for grams, places in self._sequences():
            indicator = (places[:, None] == np.arange(counts.shape[-1])).astype(np.float32)
            for distance in range(1, self.max_skip_count + 2 if grams.shape[1] > 1 else 2):
                counts += occurrences(input, grams, distance) @ indicator
        if self.mode == "TF":
            return [counts]
        found = counts if self.mode == "TFIDF" else (counts > 0).astype(np.float32)
        weights = np.ones(counts.shape[-1], np.float32)
        if self.weights:
            weights[list(self.ngram_indexes)] = self.weights
        return [found * weights]

    def _sequences(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return by length the sequences[M, length] that are counted and their places[M]."""
        found, first = [], 0
        for length, (begin, end) in enumerate(self._bounds(), 1):
            grams = np.array(self.pool[begin:end], np.int64).reshape(-1, length)
            if length >= self.min_gram_length and length <= self.max_gram_length and len(grams):
                found.append((grams, np.array(self.ngram_indexes[first : first + len(grams)])))
            first += len(grams)
        return found

    def _bounds(self) -> list[tuple[int, int]]:
        return list(zip(self.ngram_counts, (*self.ngram_counts[1:], len(self.pool)), strict=True))

    def _fits(self) -> bool:
        whole = [begin <= end and (end - begin) % n == 0 for n, (begin, end) in enumerate(self._bounds(), 1)]
        number = sum((end - begin) // n for n, (begin, end) in enumerate(self._bounds(), 1))
        places = self.ngram_indexes
        indexed = bool(places) and len(places) == number and min(places) >= 0
        return bool(whole) and all(whole) and indexed and len(self.weights) in (0, number)


def occurrences(rows: np.ndarray, grams: np.ndarray, distance: int) -> np.ndarray:
    """Return how often each of grams[M, length] occurs in rows[…, C], its elements `distance` apart: […, M]."""
    reach = (grams.shape[1] - 1) * distance
    count = max(0, rows.shape[-1] - reach)
    windows = np.stack([rows[..., i * distance : i * distance + count] for i in range(grams.shape[1])], -1)
    return np.asarray((windows[..., None, :] == grams).all(-1).sum(-2))
