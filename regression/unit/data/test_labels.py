import numpy as np
import pytest

from stepdown.data.labels import read_labels, top_k
from stepdown.errors import InputError


def test_the_bundled_labels():
    labels = read_labels()
    assert len(labels) == 1000
    assert [labels[i] for i in (0, 281, 282, 285, 999)] == [
        "tench", "tabby", "tiger cat", "Egyptian cat", "toilet tissue",
    ]  # fmt: skip


def test_own_labels(tmp_path):
    (tmp_path / "labels.txt").write_text("no\nyes\n")
    assert read_labels(tmp_path / "labels.txt") == ["no", "yes"]
    for content in (b"", b"\xff"):
        (tmp_path / "labels.txt").write_bytes(content)
        with pytest.raises(InputError, match="labels"):
            read_labels(tmp_path / "labels.txt")
    with pytest.raises(InputError, match="cannot read the labels"):
        read_labels(tmp_path / "none.txt")


def test_top_k_orders_ties_by_index_and_puts_nan_last():
    assert top_k(np.array([[1.0, 3.0, np.nan, 3.0]]), 3) == [(1, 3.0), (3, 3.0), (0, 1.0)]
    assert [i for i, _ in top_k(np.array([-128, 127, 0], np.int8), 9)] == [1, 2, 0]
    assert [i for i, _ in top_k(np.array([1, 255], np.uint8), 1)] == [1]
