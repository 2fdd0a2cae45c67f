"""Writes transforms, determinants and counts of sequences as ONNX nodes."""

from stepdown.formats.onnx.exporter import Written, writer


@writer("Dft")
def dft(op: Written) -> None:
    """DFT with its length and axis as operands."""
    length, axis = op.constant("length", op.op.length), op.constant("axis", op.op.axis)
    op.emit("DFT", op.inputs[0], length, axis, inverse=int(op.op.inverse), onesided=int(op.op.onesided))


@writer("Det")
def det(op: Written) -> None:
    """Det."""
    op.emit("Det", op.inputs[0])


@writer("TfIdfVectorizer")
def tf_idf_vectorizer(op: Written) -> None:
    """TfIdfVectorizer of integers."""
    names = ("mode", "min_gram_length", "max_gram_length", "max_skip_count", "ngram_counts", "ngram_indexes")
    given = {name: getattr(op.op, name) for name in names}
    weights = {"weights": op.op.weights} if op.op.weights else {}
    op.emit("TfIdfVectorizer", op.inputs[0], **given, pool_int64s=op.op.pool, **weights)
