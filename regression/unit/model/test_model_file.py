"""A model file comes back as it was written, its bytes depend on nothing else, and others can read it."""

import os
import subprocess
import sys
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from model.model_files import CHIP, HOST_TEXT, header_of, ramp, sections_of, small_model, small_stage, with_stage

from stepdown import __version__
from stepdown.errors import InputError
from stepdown.model import (
    CommandRange,
    ModelFile,
    Network,
    SectionStore,
    Step,
    Tensor,
    Weight,
    read_model_file,
    write_model_file,
)
from stepdown.model.arrays import STORED, values
from stepdown.model.provenance import provenance


def test_what_is_written_comes_back(tmp_path: Path) -> None:
    made = small_model()
    digits = write_model_file(tmp_path / "a.bmodel", made)
    read = read_model_file(tmp_path / "a.bmodel")
    assert (read.networks, read.chip, read.sha256) == (made.networks, CHIP, digits)
    assert {name: bytes(content) for name, content in read.sections.items()} == dict(made.sections)
    assert read.text(read.networks[0].stages[0].subnets[1].text) == HOST_TEXT
    assert read.network() is read.network("small") is read.networks[0]
    stage = read.network().stages[0]
    assert stage.tensor("input").info.scale == 0.05
    assert np.array_equal(read.array(stage.weights[0]), ramp(8, 3, 3, 3))


def test_weights_are_views_of_the_mapped_file(tmp_path: Path) -> None:
    write_model_file(tmp_path / "a.bmodel", small_model())
    read = read_model_file(tmp_path / "a.bmodel")
    array = read.array(read.network().stages[0].weights[1])
    assert not array.flags.owndata and not array.flags.writeable and array.flags.aligned
    with pytest.raises(ValueError, match="read-only"):
        array[0] = 1


def test_what_is_read_is_written_with_the_same_bytes(tmp_path: Path) -> None:
    write_model_file(tmp_path / "a.bmodel", small_model())
    read = read_model_file(tmp_path / "a.bmodel")
    write_model_file(tmp_path / "b.bmodel", read)
    write_model_file(tmp_path / "a.bmodel", read)  # over the file that is mapped
    assert (tmp_path / "a.bmodel").read_bytes() == (tmp_path / "b.bmodel").read_bytes()


def test_the_bytes_depend_on_the_contents_alone(tmp_path: Path) -> None:
    """Neither the time, the process, its hash seed, the path nor the order of sections is seen in the file."""
    write_model_file(tmp_path / "a.bmodel", small_model())
    made = small_model()
    turned = replace(made, sections=dict(reversed(list(made.sections.items()))))
    (tmp_path / "elsewhere").mkdir()
    write_model_file(tmp_path / "elsewhere" / "b.bmodel", turned)
    code = "from model.model_files import *; from stepdown.model import *; write_model_file('c.bmodel', small_model())"
    folders = os.pathsep.join(sys.path)
    for seed in ("1", "2"):
        environment = {"PYTHONHASHSEED": seed, "PYTHONPATH": folders, "SOURCE_DATE_EPOCH": seed}
        subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, check=True)
        assert (tmp_path / "a.bmodel").read_bytes() == (tmp_path / "c.bmodel").read_bytes()
    assert (tmp_path / "a.bmodel").read_bytes() == (tmp_path / "elsewhere" / "b.bmodel").read_bytes()


def test_arrays_of_every_type_lie_at_their_size(tmp_path: Path) -> None:
    store = SectionStore()
    stage, address, weights = small_stage(store), 4096, []
    for number, (kind, dtype) in enumerate(STORED.items()):
        array = np.arange(2 * number + 1).astype(dtype)
        weights.append(Weight(kind, store.put(f"weight/{kind}", array.tobytes()), array.shape, kind, address))
        address += 256
    made = ModelFile(CHIP, (Network("n", "F32", "tosa", (stage,)),), store)
    sizes = {"global": address, "local": 2048}
    made = with_stage(made, weights=tuple(weights), memory=stage.memory[:4], memory_bytes=sizes)
    write_model_file(tmp_path / "a.bmodel", made)
    read = read_model_file(tmp_path / "a.bmodel")
    for number, weight in enumerate(read.network().stages[0].weights):
        array = read.array(weight)
        assert array.flags.aligned, weight
        assert np.array_equal(array, np.arange(2 * number + 1).astype(STORED[weight.type]))


def test_sixteen_bit_floats_become_values() -> None:
    assert values(np.array([0x3FC0], np.uint16), "bf16").tolist() == [1.5]
    assert values(np.array([1.5], np.float16), "f16").dtype == np.float32


def test_equal_sections_are_kept_once() -> None:
    store = SectionStore()
    names = [store.put("weight/a", b"1"), store.put("weight/b", b"1"), store.put("weight/a", b"2")]
    assert names == ["weight/a", "weight/a", "weight/a_2"]
    assert store.put("stream/a", b"1") == "stream/a"  # of another kind


def test_the_safetensors_package_reads_it(tmp_path: Path) -> None:
    safetensors = pytest.importorskip("safetensors.numpy", reason="the safetensors package is not installed")
    path = tmp_path / "a.bmodel"
    write_model_file(path, small_model())
    tensors = safetensors.load_file(path)
    assert {name: array.tobytes() for name, array in tensors.items()} == sections_of(path)
    with __import__("safetensors").safe_open(path, "numpy") as opened:
        assert opened.metadata() == header_of(path.read_bytes())["__metadata__"]


def test_sections_begin_at_multiples_of_their_elements(tmp_path: Path) -> None:
    path = tmp_path / "a.bmodel"
    write_model_file(path, small_model())
    data = path.read_bytes()
    begin = 8 + int.from_bytes(data[:8], "little")
    assert begin % 64 == 0
    for name, row in header_of(data).items():
        if name != "__metadata__":
            start, end = row["data_offsets"]
            assert (begin + start) % min(64, (end - start) & (start - end)) == 0, name


def test_a_failed_write_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "a.bmodel"
    path.write_bytes(b"before")
    with pytest.raises(InputError, match="no tensor 'nothing'"):
        write_model_file(path, with_stage(small_model(), outputs=("nothing",)))
    assert path.read_bytes() == b"before"
    assert os.listdir(tmp_path) == ["a.bmodel"]


def test_parameters_by_channel_come_back(tmp_path: Path) -> None:
    made = small_model()
    tensors = made.networks[0].stages[0].tensors
    by_channel = Tensor("c", (2, 3), "i8", (0.1, 0.2, 0.3), (1, 2, 3), 1)
    made = with_stage(made, tensors=(*tensors, by_channel))
    write_model_file(tmp_path / "a.bmodel", made)
    read = read_model_file(tmp_path / "a.bmodel").network().stages[0].tensor("c")
    assert read == by_channel
    assert read.info.scale == [0.1, 0.2, 0.3] and read.info.zero_point == [1, 2, 3]


def test_commands_end_subnet_by_subnet(tmp_path: Path) -> None:
    made = small_model()
    npu, host = made.networks[0].stages[0].subnets
    first = replace(npu, commands=(CommandRange("compute", 0, 1), CommandRange("dma", 0, 2)))
    last = replace(npu, commands=(CommandRange("compute", 1, 2), CommandRange("dma", 2, 2)))
    made = with_stage(made, subnets=(first, host, last))
    write_model_file(tmp_path / "a.bmodel", made)
    ends = read_model_file(tmp_path / "a.bmodel").network().stages[0].ends
    assert ends == ({"compute": 1, "dma": 2}, {"compute": 1, "dma": 2}, {"compute": 3, "dma": 4})


def test_steps_may_mix_the_commands_of_an_engine(tmp_path: Path) -> None:
    """The second tile is loaded before the first is stored."""
    made = small_model()
    steps = tuple(
        Step("conv_Conv", "tpu.Conv", (CommandRange("dma", k, 1), CommandRange("dma", k + 2, 1), *more))
        for k, more in enumerate([(CommandRange("compute", 0, 1),), (CommandRange("compute", 1, 2),)])
    )
    memory = tuple(region for region in made.networks[0].stages[0].memory if not region.shape)
    memory = tuple(replace(region, first=0, ready=0, last=1) for region in memory)
    write_model_file(tmp_path / "a.bmodel", with_stage(made, steps=steps, memory=memory))
    assert read_model_file(tmp_path / "a.bmodel").network().stages[0].steps == steps


def test_provenance_has_no_folder_and_no_time(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "net.mlir").write_bytes(b"module {}")
    flags = ("--codegen=model_file={}/net.bmodel", "mode=INT8")
    made = [
        provenance([tmp_path / folder / "net.mlir"], [flag.format(tmp_path / folder) for flag in flags])
        for folder in ("a", "b")
    ]
    assert made[0] == made[1]
    assert made[0].inputs == {"net.mlir": sha256(b"module {}").hexdigest()}
    assert made[0].flags == ("--codegen=model_file=net.bmodel", "mode=INT8")
    assert made[0].tools["stepdown"] == __version__
    write_model_file(tmp_path / "a.bmodel", with_stage(small_model(), provenance=made[0]))


def test_inputs_of_one_name_are_both_told(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "net.mlir").write_text(folder)
    found = provenance([tmp_path / "a" / "net.mlir", tmp_path / "b" / "net.mlir"], [])
    assert found.inputs == {"net.mlir": sha256(b"a").hexdigest(), "net.mlir_2": sha256(b"b").hexdigest()}


def test_a_network_is_found_by_its_name(tmp_path: Path) -> None:
    made = small_model()
    two = replace(made, networks=(*made.networks, replace(made.networks[0], name="other")))
    assert two.network("other").name == "other"
    with pytest.raises(InputError, match="several networks; choose with --network: small, other"):
        two.network()
    with pytest.raises(InputError, match="no network 'x'"):
        two.network("x")
