import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepdown.compare.pairing import Names, pair_names
from stepdown.files.npz import NpzMetadata, TensorInfo


def names(*tensors: str, outputs: tuple[str, ...] = (), **meanings: TensorInfo) -> Names:
    return Names(tensors, NpzMetadata(meanings, outputs))


def view(of: str) -> TensorInfo:
    return TensorInfo(view_of=of)


def fused(*gone: str) -> TensorInfo:
    return TensorInfo(fused=gone)


def pairs(found):
    """The pairs as `a=b`, what is missing as `a!` (not in REFERENCE) or `!b` (not in TARGET)."""
    return [
        f"{p.target}{'!' if p.missing else '='}{p.reference}" for p in found.pairs
    ]  # fmt: skip


def test_the_same_names_in_the_order_of_target():
    found = pair_names(names("b", "a"), names("a", "b"))
    assert pairs(found) == ["b=b", "a=a"]


def test_a_tensor_that_reference_lacks_is_missing_with_the_closest_name():
    found = pair_names(names("conv1_Conv"), names("conv1_conv", "x"))
    assert pairs(found) == ["conv1_Conv!", "!conv1_conv", "!x"]
    assert found.pairs[0].missing == "not in REFERENCE; the closest name there is 'conv1_conv'"


def test_a_tensor_that_target_lacks_is_missing():
    found = pair_names(names("a"), names("a", "b"))
    assert pairs(found) == ["a=a", "!b"]
    assert "none of its tensors says that it was fused" in found.pairs[1].missing


def test_a_view_is_compared_with_what_it_repeats():
    found = pair_names(names("X", "X_f32", X_f32=view("X")), names("X"))
    assert pairs(found) == ["X=X", "X_f32=X"]


def test_a_view_is_compared_with_the_same_view():
    meaning = view("X")
    found = pair_names(names("X", "X_f32", X_f32=meaning), names("X", "X_f32", X_f32=meaning))
    assert pairs(found) == ["X=X", "X_f32=X_f32"]


def test_only_metadata_makes_a_view():
    assert pairs(pair_names(names("X_f32"), names("X"))) == ["X_f32!", "!X"]


def test_a_tensor_is_compared_with_a_view_of_it_where_reference_has_only_that():
    assert pairs(pair_names(names("X"), names("X_f32", X_f32=view("X")))) == ["X=X_f32"]


def test_a_second_type_in_reference_is_not_missing():
    found = pair_names(names("X"), names("X", "X_f32", X_f32=view("X")))
    assert (pairs(found), found.views) == (["X=X"], ["X_f32"])


def test_a_fused_tensor_is_not_missing():
    found = pair_names(names("relu", relu=fused("conv", "bn")), names("conv", "bn", "relu"))
    assert (pairs(found), found.fused) == (["relu=relu"], {"conv": "relu", "bn": "relu"})


def test_a_tensor_fused_into_one_that_is_not_in_the_file_is_missing():
    found = pair_names(names("a", relu=fused("conv")), names("a", "conv"))
    assert pairs(found) == ["a=a", "!conv"]


INTERNAL = TensorInfo(internal=True)


def test_an_internal_tensor_of_target_need_not_be_in_reference():
    target = names("a", "a/cast", "a/cast_f32", **{"a/cast": INTERNAL, "a/cast_f32": view("a/cast")})
    found = pair_names(target, names("a"))
    assert (pairs(found), found.internal) == (["a=a"], ["a/cast", "a/cast_f32"])


def test_an_internal_tensor_is_compared_where_both_have_it():
    found = pair_names(names("a", a=INTERNAL), names("a"))
    assert (pairs(found), found.internal) == (["a=a"], [])


def test_an_internal_tensor_of_reference_must_be_in_target():
    assert pairs(pair_names(names("a"), names("a", "b", b=INTERNAL))) == ["a=a", "!b"]


def test_a_network_output_or_what_was_asked_for_cannot_be_internal():
    assert pairs(pair_names(names("a", "b", outputs=("b",), b=INTERNAL), names("a"))) == ["a=a", "b!"]
    assert pairs(pair_names(names("a", "b", b=INTERNAL), names("a"), only=["b"])) == ["b!"]


def test_a_network_output_cannot_be_fused_away():
    for target_outputs, reference_outputs in ((("conv",), ()), ((), ("conv",))):
        found = pair_names(
            names("relu", outputs=target_outputs, relu=fused("conv")), names("conv", "relu", outputs=reference_outputs)
        )
        assert pairs(found) == ["relu=relu", "!conv"]
        assert found.pairs[1].missing.startswith("a network output that is not in TARGET")


def test_swapped_files_are_recognised():
    found = pair_names(names("conv", "relu"), names("relu", relu=fused("conv")))
    assert found.pairs[0].missing == "not in REFERENCE, which fused it into 'relu'; are the two files swapped?"


def test_a_dump_of_outputs_only_need_not_have_the_rest():
    for target, reference in (
        (names("out", outputs=("out",)), names("conv", "out")),
        (names("out"), names("conv", "out", outputs=("out",))),
        (names("out", "out_f32", outputs=("out",), out_f32=view("out")), names("conv", "out")),
        (names("out", "out_f32", outputs=("out_f32",), out_f32=view("out")), names("conv", "out", outputs=("out",))),
    ):
        found = pair_names(target, reference)
        assert found.not_dumped == ["conv"]
        assert not any(pair.missing for pair in found.pairs)


def test_a_dump_of_outputs_only_must_have_all_outputs():
    found = pair_names(names("out"), names("conv", "out", "aux", outputs=("out", "aux")))
    assert (pairs(found), found.not_dumped) == (["out=out", "!aux"], ["conv"])


def test_a_dump_with_one_other_tensor_must_have_all_tensors():
    found = pair_names(names("conv1", "out", outputs=("out",)), names("conv1", "conv2", "out"))
    assert pairs(found) == ["conv1=conv1", "out=out", "!conv2"]


def test_plain_files_must_have_all_tensors():
    assert pairs(pair_names(names("out"), names("conv", "out"))) == ["out=out", "!conv"]


def test_an_output_that_neither_file_has_is_missing():
    found = pair_names(names("a", outputs=("out",)), names("a"))
    assert pairs(found) == ["a=a", "out!"]
    assert found.pairs[1].missing.startswith("a network output that is in neither file")


def test_an_output_may_be_there_as_another_type():
    found = pair_names(
        names("out", "out_f32", outputs=("out_f32",), out_f32=view("out")), names("out", outputs=("out",))
    )
    assert pairs(found) == ["out=out", "out_f32=out"]


def test_excepts_leaves_out_a_tensor_with_its_views_from_both_files():
    found = pair_names(names("X", "X_f32", "a", X_f32=view("X")), names("X", "a", "b"), excepts=["X", "b"])
    assert (pairs(found), found.excepted) == (["a=a"], ["X", "X_f32", "b"])


def test_excepts_warns_of_unknown_names_and_of_network_outputs():
    found = pair_names(names("a", "out", outputs=("out",)), names("a", "out"), excepts=["out", "convv"])
    assert found.warnings == ["--excepts convv: neither file has it", "--excepts out: a network output is left out"]
    assert pairs(found) == ["a=a"]


def test_only_compares_the_named_tensors():
    found = pair_names(names("a", "b", outputs=("b",)), names("a", "b", "c"), only=["a"])
    assert (pairs(found), found.not_asked) == (["a=a"], ["b", "c"])


def test_only_demands_the_named_tensors():
    found = pair_names(names("a"), names("a", "c"), only=["a", "c", "nothing"])
    assert pairs(found) == ["a=a", "!c", "nothing!"]


def test_nothing_in_common():
    assert pairs(pair_names(names("a"), names("b"))) == ["a!", "!b"]
    assert pairs(pair_names(names(), names("b"))) == ["!b"]
    assert pairs(pair_names(names(), names())) == []


def test_many_missing_names_do_not_take_long():
    found = pair_names(names(*(f"left_{i}" for i in range(3000))), names(*(f"right_{i}" for i in range(3000))))
    assert len(found.pairs) == 6000
    assert sum("closest" in pair.missing for pair in found.pairs) == 8


NAME = st.sampled_from(["a", "b", "c", "d", "a_f32", "b_f32"])
MEANING = st.builds(
    lambda view_of, gone, internal: TensorInfo(view_of=view_of, fused=tuple(gone), internal=internal),
    st.sampled_from(["", "a", "b"]),
    st.sets(NAME),
    st.booleans(),
)
DUMP = st.builds(
    lambda tensors, meanings, outputs: Names(tensors, NpzMetadata(meanings, tuple(outputs))),
    st.lists(NAME, unique=True), st.dictionaries(NAME, MEANING, max_size=3), st.lists(NAME, unique=True, max_size=2),
)  # fmt: skip


@given(DUMP, DUMP, st.sets(NAME, max_size=2), st.sets(NAME, max_size=2))
def test_no_tensor_is_lost_or_listed_twice(target, reference, excepts, only):
    found = pair_names(target, reference, excepts, only)
    out = [*found.excepted, *found.not_asked]
    targets = [pair.target for pair in found.pairs if pair.target in target.present]
    assert sorted([*targets, *found.internal]) == sorted(set(target.tensors) - set(out))
    headed = [*found.fused, *found.views, *found.not_dumped, *(p.reference for p in found.pairs if not p.target)]
    assert len(headed) == len(set(headed))
    compared = {pair.reference for pair in found.pairs} | set(headed) | set(out)
    assert set(reference.tensors) <= compared


@given(DUMP, DUMP)
def test_every_output_is_compared_or_missing(target, reference):
    found = pair_names(target, reference)

    def base(name):
        other = target.base(name)
        return other if other != name else reference.base(name)

    seen = {base(name) for pair in found.pairs for name in (pair.target, pair.reference)}
    for output in target.metadata.outputs + reference.metadata.outputs:
        assert base(output) in seen


@pytest.mark.parametrize("swap", [False, True])
@given(st.data())
def test_a_removed_tensor_never_passes(swap, data):
    """Two full dumps of one network, one tensor taken from either: it is missing."""
    everything = [f"t{i}" for i in range(6)]
    gone = data.draw(st.sampled_from(everything))
    some = [name for name in everything if name != gone]
    target, reference = (some, everything) if swap else (everything, some)
    found = pair_names(names(*target, outputs=("t5",)), names(*reference, outputs=("t5",)))
    assert [pair.name for pair in found.pairs if pair.missing] == [gone]
