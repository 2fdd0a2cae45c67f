import math

import numpy as np

from stepdown.compare.judge import Tolerance
from stepdown.compare.tensors import Dump, compare
from stepdown.compare.text import fused_lines, result_lines, summary_lines, top_lines
from stepdown.files.npz import NpzMetadata, TensorInfo

TARGET = {
    "same": np.float32([1, 2]),
    "close": np.float32([1, 2.00001]),
    "similar": np.float32([1, 2.02]),
    "wrong": np.float32([2, 1]),
    "shape": np.float32([1]),
    "x y_f32": np.float32([1, 2]),
}
REFERENCE = {
    "same": np.float32([1, 2]),
    "close": np.float32([1, 2]),
    "similar": np.float32([1, 2]),
    "wrong": np.float32([1, 2]),
    "shape": np.float32([1, 2]),
    "x y": np.float32([1, math.nan]),
    "gone": np.float32([1, 2]),
}
METADATA = NpzMetadata({"x y_f32": TensorInfo(view_of="x y"), "same": TensorInfo(fused=("gone",))})
DUMPS = Dump("t.npz", TARGET, METADATA), Dump("my r.npz", REFERENCE)
FOUND = compare(*DUMPS, Tolerance(0.99, 0.9))


def lines(verbosity):
    return [line for result in FOUND.results for line in result_lines(result, verbosity)]


def test_a_line_a_tensor():
    assert lines(0) == [
        "[same                            ]        EQUAL [PASSED]",
        "[close                           ]        CLOSE [PASSED]",
        "[similar                         ]      SIMILAR [PASSED]",
        "[wrong                           ]  NOT_SIMILAR [FAILED]",
        "[shape                           ]        SHAPE [FAILED]",
        "    (1,) in TARGET, (2,) in REFERENCE",
        "[x y_f32                         ]   NOT_FINITE [FAILED] against x y",
        "    NaN or infinities differ: TARGET has none, REFERENCE has 1 NaN; first at (1,): 2.0 against nan",
    ]


def test_verbose_lines():
    assert lines(1)[:12] == [
        "[same                            ]        EQUAL [PASSED]",
        "    (2,) float32",
        "[close                           ]        CLOSE [PASSED]",
        "    (2,) float32",
        "    close order            = 5",
        "[similar                         ]      SIMILAR [PASSED]",
        "    (2,) float32",
        "    cosine_similarity      = 0.99999213",
        "    euclidean_similarity   = 0.99109139",
        "    sqnr_similarity        = 30.969",
        "[wrong                           ]  NOT_SIMILAR [FAILED]",
        "    (2,) float32",
    ]


def test_the_largest_values_of_both():
    assert list(top_lines(FOUND.results[2], *DUMPS)) == [
        "    top-10 of TARGET                top-10 of REFERENCE",
        "           1 2.02                          1 2.0",
        "           0 1.0                           0 1.0",
    ]


def test_closing_lines():
    assert list(summary_lines(FOUND)) == [
        "the 4 tensors that differ most, and how to look closer:",
        "  x y_f32 NOT_FINITE",
        "    npz_tool.py print_diff t.npz 'my r.npz' 'x y_f32'",
        "  wrong NOT_SIMILAR cosine 0.800000 euclid 0.333333 sqnr -6.02 dB",
        "    npz_tool.py print_diff t.npz 'my r.npz' wrong",
        "  similar SIMILAR cosine 0.999992 euclid 0.991091 sqnr 30.97 dB",
        "    npz_tool.py print_diff t.npz 'my r.npz' similar",
        "  close CLOSE cosine 1.000000 euclid 0.999996 sqnr 96.98 dB",
        "    npz_tool.py print_diff t.npz 'my r.npz' close",
        "6 compared",
        "3 passed",
        "  1 equal, 1 close, 1 similar",
        "3 failed",
        "  0 not equal, 1 not similar, 0 missing, 1 of another shape, 1 not finite",
        "1 only in REFERENCE, fused into tensors of TARGET",
        "min_similarity = (0.80000000, 0.33333333, -6.021)",
        "Target    t.npz",
        "Reference my r.npz",
        "npz compare FAILED.",
    ]
    assert list(fused_lines(FOUND)) == ["[gone                            ]   fused into same"]


def test_closing_lines_without_any_tensor():
    assert list(summary_lines(compare(Dump("a", {}), Dump("b", {})))) == [
        "nothing was compared: the two files have no tensor in common",
        "0 compared",
        "0 passed",
        "  0 equal, 0 close, 0 similar",
        "0 failed",
        "  0 not equal, 0 not similar, 0 missing, 0 of another shape, 0 not finite",
        "min_similarity = (nan, nan, nan)",
        "Target    a",
        "Reference b",
        "npz compare FAILED.",
    ]


def test_all_that_was_not_compared_is_counted():
    outputs = NpzMetadata(outputs=("a",))
    found = compare(
        Dump("a", {"a": np.ones(1)}, outputs), Dump("b", {"a": np.ones(1), "c": np.ones(1), "d": np.ones(1)})
    )
    assert "2 only in REFERENCE, not dumped by TARGET, which holds network outputs only" in summary_lines(found)
    left_out = compare(*DUMPS, excepts=["wrong", "shape"], only=["similar"])
    printed = list(summary_lines(left_out))
    assert "2 left out by --excepts: wrong, shape" in printed
    assert "5 left out by --only" in printed


def test_a_passed_tensor_with_nan_is_told_at_the_end():
    both = {"a": np.float32([1, math.nan])}
    printed = list(summary_lines(compare(Dump("a", both), Dump("b", both))))
    assert printed[0] == "warning: 1 passed with NaN or infinities that both sides have"
    assert printed[-1] == "npz compare PASSED."
