import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepdown.compare.judge import Level, Tolerance
from stepdown.compare.tensors import Dump, compare, compare_npz
from stepdown.errors import InputError
from stepdown.files.npz import NpzMetadata, TensorInfo, write_npz

COUNT = 400


def network(count: int = COUNT) -> dict[str, np.ndarray]:
    """A dump of many small tensors, all different."""
    return {f"t{i}": np.float32([i + 1, -i, 0.5, i * i]) for i in range(count)}


def compared(target, reference, **options):
    return compare(Dump("target", target), Dump("reference", reference), **options)


def test_the_same_dump_passes():
    found = compared(network(), network())
    assert found.passed
    assert (found.compared, found.counts()) == (COUNT, {Level.EQUAL: COUNT})
    assert found.min_similarity() == (1, 1, math.inf)
    assert found.worst(5) == []


def test_nothing_in_common_fails():
    assert not compared({"a": np.ones(2)}, {"b": np.ones(2)}).passed
    assert not compared({}, {}).passed
    assert math.isnan(compared({}, {}).min_similarity()[0])


@pytest.mark.parametrize("index", [0, 1, 199, 398, 399])
def test_one_wrong_tensor_of_many_fails(index):
    target = network()
    target[f"t{index}"] = -target[f"t{index}"]
    found = compared(target, network())
    assert not found.passed
    assert found.counts() == {Level.EQUAL: COUNT - 1, Level.NOT_SIMILAR: 1}
    assert [result.name for result in found.worst(5)] == [f"t{index}"]


WRONG = {
    Level.NOT_SIMILAR: lambda x: x[::-1].copy(),
    Level.NOT_FINITE: lambda x: np.where(np.arange(x.size) == 2, np.float32(math.nan), x),
    Level.SHAPE: lambda x: x.reshape(2, 2),
    Level.MISSING: None,
}


@pytest.mark.parametrize("level", WRONG, ids=str)
@given(index=st.integers(0, 9), in_reference=st.booleans())
def test_any_damage_to_any_tensor_of_either_file_fails(level, index, in_reference):
    damaged, good = network(10), network(10)
    name = f"t{index}"
    if WRONG[level]:
        damaged[name] = WRONG[level](damaged[name])
    else:
        del damaged[name]
    found = compared(good, damaged) if in_reference else compared(damaged, good)
    assert not found.passed
    assert [(result.name, result.level) for result in found.results if not result.passed] == [(name, level)]


def test_the_least_similarities_are_those_of_single_tensors():
    target, reference = network(3), network(3)
    target["t1"] = target["t1"] * np.float32(1.02)
    found = compared(target, reference, tolerance=Tolerance(0.9, 0.9))
    assert found.passed
    s = found.results[1].similarity
    assert s
    assert found.min_similarity() == (s.cosine, s.euclid, s.sqnr_db)
    assert found.min_similarity()[1] == pytest.approx(1 - 0.02 / 1.01, rel=1e-5)


def test_the_worst_come_first():
    target, reference = network(6), network(6)
    for i, factor in enumerate((1.001, 1.2, 1.0, 1.004, 1.1), start=1):
        target[f"t{i}"] = target[f"t{i}"] * np.float32(factor)
    target["t5"][0] = math.nan
    worst = [result.name for result in compared(target, reference).worst(4)]
    assert worst == ["t5", "t2", "t4", "t1"]


def test_results_come_in_order_as_soon_as_they_are_known():
    seen = []
    reads = []

    class Watched(dict):
        def __getitem__(self, name):
            reads.append(name)
            return super().__getitem__(name)

    compared(
        Watched(network(3)), Watched(network(3)), on_result=lambda result, *_: seen.append((result.name, len(reads)))
    )
    assert seen == [("t0", 2), ("t1", 4), ("t2", 6)]


@pytest.fixture
def files(tmp_path):
    scale = 0.125
    quantised = {"conv": np.int8([[8, -16, 24]]), "conv_f32": np.float32([[1, -2, 3]])}
    meaning = {"conv": TensorInfo("i8", scale, fused=("bn",)), "conv_f32": TensorInfo(view_of="conv")}
    write_npz(tmp_path / "int8.npz", quantised, NpzMetadata(meaning, ("conv",)))
    write_npz(tmp_path / "f32.npz", {"bn": np.ones((1, 3), np.float32), "conv": np.float32([[1.01, -2, 3]])})
    return tmp_path


def test_files_with_metadata(files):
    found = compare_npz(files / "int8.npz", files / "f32.npz")
    assert found.passed
    assert [(r.name, r.pair.reference, r.level) for r in found.results] == [
        ("conv", "conv", Level.SIMILAR), ("conv_f32", "conv", Level.SIMILAR)
    ]  # fmt: skip
    assert found.results[0].similarity == found.results[1].similarity
    assert found.pairing.fused == {"bn": "conv"}
    assert (found.results[0].dtype, found.results[0].reference_dtype) == ("int8", "float32")


def test_a_wrong_scale_is_found(files):
    meaning = {"conv": TensorInfo("i8", 0.25, fused=("bn",))}
    write_npz(files / "wrong.npz", {"conv": np.int8([[8, -16, 24]])}, NpzMetadata(meaning))
    found = compare_npz(files / "wrong.npz", files / "f32.npz")
    assert [result.level for result in found.results] == [Level.NOT_SIMILAR]


def test_without_its_metadata_a_quantised_tensor_is_not_taken_for_a_real_one(files):
    write_npz(files / "plain.npz", {"conv": np.int8([[8, -16, 24]])})
    found = compare_npz(files / "plain.npz", files / "f32.npz")
    assert [result.level for result in found.results] == [Level.NOT_EQUAL, Level.MISSING]


def test_a_file_against_itself_is_told(files):
    (files / "link.npz").symlink_to(files / "f32.npz")
    found = compare_npz(files / "link.npz", files / "f32.npz")
    assert found.pairing.warnings == ["TARGET and REFERENCE are the same file"]


def test_a_file_that_cannot_be_read_is_an_error(files):
    with pytest.raises(InputError, match="no such file"):
        compare_npz(files / "f32.npz", files / "nowhere.npz")
