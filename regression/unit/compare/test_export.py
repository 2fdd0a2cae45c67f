import csv
import io
import json
import math

import numpy as np
import pytest

from stepdown.compare.export import to_csv, to_html, to_json
from stepdown.compare.tensors import Dump, compare
from stepdown.files.npz import NpzMetadata, TensorInfo


def comparison(name="x"):
    target = {name: np.float32([1, 2]), "new": np.float32([1]), "q": np.int8([1])}
    reference = {name: np.float32([-1, -2]), "gone": np.ones(1), "q": np.float32([0.5])}
    meaning = {name: TensorInfo(fused=("gone",)), "q": TensorInfo("i8", 0.5)}
    return compare(Dump("t.npz", target, NpzMetadata(meaning)), Dump("r.npz", reference))


def test_json_holds_everything_and_no_infinity():
    found = json.loads(to_json(comparison()))
    assert (found["passed"], found["compared"], found["fused"]) == (False, 2, {"gone": "x"})
    least = found["min_similarity"]
    assert (least["cosine"], least["euclid"], least["sqnr_db"]) == (
        -1,
        "-inf",
        pytest.approx(10 * math.log10(0.5 / 20)),
    )
    assert found["counts"] | {"missing": 1, "equal": 1, "not_similar": 1} == found["counts"]
    x, new, q = found["tensors"]
    assert (x["level"], x["cosine"], x["euclid"], x["max_difference"], x["shape"]) == (
        "NOT_SIMILAR",
        -1,
        "-inf",
        4,
        [2],
    )
    assert (new["level"], new["cosine"], new["against"]) == ("MISSING", None, "")
    assert (q["level"], q["sqnr_db"], q["dtype"], q["reference_dtype"]) == ("EQUAL", "inf", "int8", "float32")


def test_json_of_nothing_has_null_for_nan():
    assert json.loads(to_json(compare(Dump("a", {}), Dump("b", {}))))["min_similarity"]["cosine"] is None


def test_csv_is_a_line_a_tensor():
    rows = list(csv.DictReader(io.StringIO(to_csv(comparison('a,b\n"c"')))))
    assert [(row["name"], row["level"], row["passed"]) for row in rows] == [
        ('a,b\n"c"', "NOT_SIMILAR", "False"), ("new", "MISSING", "False"), ("q", "EQUAL", "True")
    ]  # fmt: skip
    assert (rows[0]["euclid"], rows[0]["shape"], rows[1]["cosine"]) == ("-inf", "2", "")


def test_the_report_shows_every_tensor():
    page = to_html(comparison())
    assert page == to_html(comparison())
    assert page.count("<tr id=") == 3
    for text in ("FAILED", "t.npz", "r.npz", "gone into x", "not in REFERENCE", "cosine 0.99, euclid 0.99"):
        assert text in page


def test_the_report_escapes_names():
    page = to_html(comparison("<script>alert('x')</script>&"))
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(&#x27;x&#x27;)&lt;/script&gt;&amp;" in page
