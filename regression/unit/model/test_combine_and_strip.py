"""Model files made of model files: what they share is there once, and what runs stays what it was."""

from dataclasses import replace
from pathlib import Path

import pytest
from model.model_files import ramp, sections_of, small_model, with_stage

from stepdown.errors import InputError
from stepdown.model import ModelFile, Stage, Tensor, read_model_file, write_model_file
from stepdown.model.combine import combine
from stepdown.model.strip import strip


def contents(model: ModelFile, stage: Stage) -> list[bytes]:
    """Return the bytes that a stage names, in its order, repeats too."""
    names = [weight.section for weight in stage.all_weights] + [stream.section for stream in stage.streams]
    return [bytes(model.sections[name]) for name in names + [net.text for net in stage.subnets if net.text]]


def test_networks_of_other_names_lie_side_by_side(tmp_path: Path) -> None:
    parts = [small_model(), small_model("other")]
    write_model_file(tmp_path / "a.bmodel", combine(parts))
    read = read_model_file(tmp_path / "a.bmodel")
    assert [network.name for network in read.networks] == ["small", "other"]
    for part, network in zip(parts, read.networks, strict=True):
        assert contents(read, network.stages[0]) == contents(part, part.networks[0].stages[0])


def test_networks_of_one_name_become_stages(tmp_path: Path) -> None:
    parts = [small_model(batch=1), small_model(batch=4)]
    write_model_file(tmp_path / "a.bmodel", combine(parts))
    network = read_model_file(tmp_path / "a.bmodel").network()
    assert [stage.tensor("input").shape[0] for stage in network.stages] == [1, 4]
    assert [stage.provenance.flags[0] for stage in network.stages] == ["--batch=1", "--batch=4"]


def test_equal_weights_are_stored_once_and_others_keep_their_values(tmp_path: Path) -> None:
    a, b = small_model(), small_model("other")
    stage = b.networks[0].stages[0]
    changed = ramp(8, 3, 3, 3)[::-1].tobytes()
    b = replace(b, sections={**b.sections, stage.weights[0].section: changed})
    write_model_file(tmp_path / "c.bmodel", combine([a, b]))
    weights = [name for name in sections_of(tmp_path / "c.bmodel") if name.startswith("weight/")]
    assert sorted(weights) == [
        "weight/conv.weight_i8", "weight/conv.weight_i8_2", "weight/conv_bias_i32", "weight/temperature"
    ]  # fmt: skip
    read = read_model_file(tmp_path / "c.bmodel")
    assert read.array(read.networks[1].stages[0].weights[0]).tobytes() == changed


def test_combining_again_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_model_file(tmp_path / name, combine([small_model(), small_model(batch=2), small_model("other")]))
    both = combine([combine([small_model(), small_model(batch=2)]), small_model("other")])
    write_model_file(tmp_path / "c", both)
    assert len({(tmp_path / name).read_bytes() for name in "abc"}) == 1


@pytest.mark.parametrize(
    ("other", "wanted"),
    [
        (small_model(), "there already for these input shapes"),
        (replace(small_model("x"), chip='name = "chip10"\n'), "another chip than"),
        (replace(small_model(), networks=(replace(small_model().networks[0], mode="F16"),)), "another mode"),
        (
            with_stage(
                small_model(batch=2), tensors=(Tensor("input", (2, 192), "i8", 0.05, 3), *small_model(batch=2)
                .networks[0].stages[0].tensors[1:]),
            ), "other inputs or outputs"
        ),
    ],
)  # fmt: skip
def test_what_does_not_fit_together_is_refused(other: ModelFile, wanted: str) -> None:
    with pytest.raises(InputError, match=wanted):
        combine([small_model(), other])


def test_strip_leaves_what_runs(tmp_path: Path) -> None:
    model = combine([small_model(), small_model(batch=2)])
    write_model_file(tmp_path / "a.bmodel", strip(model))
    read = read_model_file(tmp_path / "a.bmodel")
    for before, after in zip(model.network().stages, read.network().stages, strict=True):
        assert contents(read, after) == contents(model, before)
        assert not after.steps and not after.provenance.inputs and not after.provenance.flags
        assert [tensor.name for tensor in after.tensors] == ["input", "pool_MaxPool", "output_Softmax"]
        assert (after.weights, after.streams, after.preprocessing) == (
            before.weights, before.streams, before.preprocessing
        )  # fmt: skip
        places = {region.name: region.address for region in after.memory}
        assert places == {"input": 512, "pool_MaxPool": 2048}
    held = (tmp_path / "a.bmodel").read_bytes()
    assert not any(word in held for word in (b"conv_Conv", b"tpu.Conv", b"--batch", b"small.mlir"))
    assert strip(read).networks == read.networks
