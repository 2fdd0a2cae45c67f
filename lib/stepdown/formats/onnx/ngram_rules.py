"""Counting of sequences."""

from xdsl.ir import SSAValue

from stepdown.dialects.top.ngram import TfIdfVectorizer
from stepdown.formats.onnx.node import Node
from stepdown.formats.onnx.rules import rule


@rule("TfIdfVectorizer")
def tf_idf_vectorizer(node: Node) -> SSAValue:
    """TfIdfVectorizer of integers. Source: ONNX TfIdfVectorizer-9."""
    if node.attribute("pool_strings"):
        raise node.refuse("pool_strings: text is no tensor of numbers")
    names = ("mode", "min_gram_length", "max_gram_length", "max_skip_count", "ngram_counts", "ngram_indexes")
    given = {name: node.attribute(name) for name in names}
    pool, weights = node.attribute("pool_int64s") or [], node.attribute("weights") or []
    return node.emit(TfIdfVectorizer, node.value(0), **given, pool=pool, weights=weights)
