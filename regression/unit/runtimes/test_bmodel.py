"""From a lowered module to a model file and its run on the machine: the bytes of the reference, from the file alone."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from npu.test_networks import calibrate, inputs, mnist, resnet8
from targets import lowering, targets

from stepdown.chips import load_chip
from stepdown.dialects.program import Program
from stepdown.dialects.text import print_module
from stepdown.dialects.top import TOP_OPS
from stepdown.dialects.types import tensor
from stepdown.errors import InputError, StepError, UnsupportedModel
from stepdown.model import read_model_file, write_model_file
from stepdown.model.combine import combine
from stepdown.model.schema import GLOBAL, LOCAL
from stepdown.model.strip import strip
from stepdown.npu.passes.address_assign import AddressAssign
from stepdown.npu.passes.codegen import Codegen
from stepdown.npu.passes.layer_group import LayerGroup
from stepdown.npu.passes.subnet_divide import SubnetDivide
from stepdown.npu.passes.weight_reorder import WeightReorder
from stepdown.npu.subnets import set_subnet_kinds
from stepdown.runtimes import RunnerOptions, open_runner
from stepdown.runtimes.mlir import MlirRunner

MODES = ("F16", "BF16", "INT8", "INT8 asymmetric")


def lowered(network, mode: str = "INT8", chip: str = "bm1684x") -> tuple[Program, dict]:
    """Return a lowered network with an input for it."""
    program = network()
    given = inputs(program)
    if "INT8" in mode:
        calibrate(program, given)
    lowering(mode, chip).run(program)
    return program, given


def compiled(program: Program, folder: Path, name: str = "net") -> Path:
    path = folder / f"{name}.bmodel"
    Codegen(model_file=str(path)).run(program)
    return path


def assert_same(wanted: dict[str, np.ndarray], got: dict[str, np.ndarray]) -> None:
    assert set(got) == set(wanted)
    for name, array in wanted.items():
        assert (got[name].dtype, got[name].shape) == (array.dtype, array.shape), name
        assert got[name].tobytes() == array.tobytes(), name


@pytest.mark.parametrize("passes", [(), (WeightReorder(), SubnetDivide(), LayerGroup(longest=4), AddressAssign())])
@pytest.mark.parametrize(("mode", "chip"), targets(MODES, "npu"))
@pytest.mark.parametrize("network", [mnist, resnet8])
def test_every_tensor_has_the_bytes_of_the_reference(network, mode: str, chip: str, passes, tmp_path: Path) -> None:
    program, given = lowered(network, mode, chip)
    for step in passes:
        step.run(program)
    reference, runner = MlirRunner(program), open_runner(compiled(program, tmp_path))
    wanted = reference.run(given, "all")
    assert len(wanted) > 8
    for _ in range(2):
        assert_same(wanted, runner.run(given, "all"))
    assert_same(reference.run(given), runner.run(given))
    assert runner.inputs() == reference.inputs()
    assert runner.outputs() == reference.outputs()
    meant = runner.metadata
    assert meant.outputs == reference.metadata.outputs
    if "INT8" in mode:
        assert meant.tensors == reference.metadata.tensors


def test_integers_in_and_out(tmp_path: Path) -> None:
    program, given = lowered(mnist)
    native = MlirRunner(program).run(given, "all")["input"]
    path = compiled(program, tmp_path)
    runner = open_runner(path, RunnerOptions(output_type="native"))
    wanted = MlirRunner(program).run({"input": native}, "all")
    assert "input_f32" not in wanted
    assert_same(wanted, runner.run({"input": native}, "all"))
    assert_same(MlirRunner(program, RunnerOptions(output_type="native")).run(given), runner.run(given))


def test_equal_modules_give_equal_files_and_other_weights_another(tmp_path: Path) -> None:
    program, _ = lowered(mnist)
    first, second = compiled(program, tmp_path, "first"), compiled(program, tmp_path, "second")
    assert first.read_bytes() == second.read_bytes()
    key = next(key for key in program.weights if program.weights[key].dtype == np.int8)
    program.weights[key] = -program.weights[key]
    assert compiled(program, tmp_path, "third").read_bytes() != first.read_bytes()


@pytest.mark.parametrize("network", [mnist, resnet8])
def test_a_stripped_file_runs_the_same(network, tmp_path: Path) -> None:
    program, given = lowered(network)
    path = compiled(program, tmp_path)
    write_model_file(tmp_path / "stripped.bmodel", strip(read_model_file(path)))
    assert_same(MlirRunner(program).run(given), open_runner(tmp_path / "stripped.bmodel").run(given))


def test_every_step_is_an_op_and_no_tensor_is_read_before_it_is_made(tmp_path: Path) -> None:
    program, _ = lowered(resnet8)
    stage = read_model_file(compiled(program, tmp_path)).networks[0].stages[0]
    made = {name for op in program.ops for name in op.names}
    assert {step.name for step in stage.steps} <= made
    regions = {region.name: region for region in stage.memory if region.memory == GLOBAL}
    steps = {step.name: index for index, step in enumerate(stage.steps)}
    for op in program.ops:
        for value in op.operands:
            source = regions.get(next(iter(getattr(value.owner, "names", [])), ""))
            if source and op.tensor_name in steps:
                assert source.first <= steps[op.tensor_name] <= source.last


@pytest.mark.parametrize("tiles", [1, 4])
def test_what_local_memory_has_of_tensors_and_constants_is_in_the_map(tiles: int, tmp_path: Path) -> None:
    program, given = lowered(resnet8)
    for op in program.ops if tiles > 1 else ():
        op.set_note("layer_tile", [1, 1, tiles] if op.name in ("tpu.Conv", "tpu.Add") else None)
    path = compiled(program, tmp_path)
    wanted = open_runner(path).run(given, "all")
    model = read_model_file(path)
    stage = model.networks[0].stages[0]
    local = {region.name for region in stage.memory if region.memory == LOCAL}
    assert {weight.name for weight in stage.weights} <= local
    there = [region for region in stage.memory if region.memory == LOCAL]
    made = [region for region in there if region.name == stage.steps[region.first].name]
    computed = {region.name for region in made}
    for op in (op for op in program.ops if op.tensor_name in computed):
        read = {name for value in op.operands for name in value.owner.names if name in local}
        for at in (at for at, step in enumerate(stage.steps) if step.name == op.tensor_name):
            assert read <= {region.name for region in there if region.first <= at <= region.last}
    inner = computed - {name for net in stage.subnets for name in (*net.inputs, *net.outputs)}
    assert len(inner) > 8
    memory = (*(each for each in stage.memory if each.memory == GLOBAL and each.name not in inner), *made)
    alone = replace(model.networks[0], stages=(replace(stage, memory=memory),))
    write_model_file(tmp_path / "local.bmodel", replace(model, networks=(alone,)))
    assert_same(wanted, open_runner(str(tmp_path / "local.bmodel")).run(given, "all"))


def test_a_damaged_file_is_refused_with_its_section(tmp_path: Path) -> None:
    program, _ = lowered(mnist)
    path = compiled(program, tmp_path)
    data = bytearray(path.read_bytes())
    data[-100] ^= 4
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"section '.*' is damaged"):
        open_runner(path)


def test_commands_that_do_not_fit_the_chip_of_the_file_are_refused(tmp_path: Path) -> None:
    program, _ = lowered(mnist)
    path = compiled(program, tmp_path)
    model = read_model_file(path)
    lines = [line.replace("local_bytes = ", "local_bytes = 64 # ") for line in model.chip.splitlines()]
    write_model_file(path, replace(model, chip="\n".join(lines)))
    with pytest.raises(StepError, match=r"net\.bmodel"):
        open_runner(path)


@pytest.mark.parametrize("divided", [False, True])
def test_what_has_no_commands_runs_on_the_host(divided: bool, tmp_path: Path) -> None:
    program, given = lowered(resnet8)
    text = print_module(program.module)
    if divided:
        SubnetDivide().run(program)
    model = read_model_file(compiled(program, tmp_path))
    stage = model.networks[0].stages[0]
    assert divided or print_module(program.module) == text
    assert stage.provenance.flags == (("--subnet-divide", "--codegen") if divided else ("--codegen",))
    engines, host = stage.subnets
    assert (engines.kind, host.kind) == ("npu", "host")
    assert host.inputs == engines.outputs
    assert host.outputs == stage.outputs == ("StatefulPartitionedCall:0",)
    assert host.outputs[0] not in {region.name for region in stage.memory}
    assert 'module.state = "TPU_LOWERED"' in model.text(host.text)
    assert "subnet" not in model.text(host.text)
    assert_same(MlirRunner(program).run(given), open_runner(model.path).run(given))


def test_commands_are_made_for_what_the_module_gives_to_the_engines_or_it_is_refused(tmp_path: Path) -> None:
    program, _ = lowered(resnet8)
    for op in program.ops:
        op.set_note("subnet", 0)
    set_subnet_kinds(program, ["npu"])
    with pytest.raises(UnsupportedModel, match=r'tpu.Softmax loc\("StatefulPartitionedCall:0"\)'):
        compiled(program, tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda stage: {"outputs": ()}, "reads or makes other tensors"),
        (lambda stage: {"weights": ()}, "weight '.*' is not in the subnet"),
    ],
)
def test_a_host_subnet_that_is_not_its_module_is_refused(change, problem: str, tmp_path: Path) -> None:
    program, _ = lowered(resnet8)
    kinds = ["host"]
    for op in program.ops:
        op.set_note("subnet", 0)
    set_subnet_kinds(program, kinds)
    path = compiled(program, tmp_path)
    model = read_model_file(path)
    (network,) = model.networks
    (stage,) = network.stages
    (subnet,) = stage.subnets
    outputs = stage.outputs if change(stage).get("outputs") is None else stage.inputs
    changed = replace(stage, subnets=(replace(subnet, **change(stage)),), outputs=outputs)
    write_model_file(path, replace(model, networks=(replace(network, stages=(changed,)),)))
    with pytest.raises(InputError, match=problem):
        open_runner(path)


@pytest.mark.parametrize(
    ("attributes", "name", "problem"),
    [
        ({"state": "TOP_F32"}, "x.bmodel", "is in state TOP_F32, want TPU_LOWERED"),
        ({"chip": "none"}, "x.bmodel", "no chip 'none'"),
        ({}, "x.mlir", "'x.mlir' is no name of a model file"),
    ],
)
def test_what_is_no_lowered_module_for_an_npu_is_refused(attributes: dict, name: str, problem: str) -> None:
    program, _ = lowered(mnist)
    for key, value in attributes.items():
        program[key] = value
    with pytest.raises(InputError, match=problem):
        Codegen(model_file=name).run(program)


def test_a_chip_of_another_kind_or_name_is_refused(tmp_path: Path) -> None:
    program, given = lowered(mnist)
    text, file = load_chip("bm1684x").to_toml(), tmp_path / "own.toml"
    file.write_text(text)
    path = str(tmp_path / "own.bmodel")
    Codegen(model_file=path, chip=str(file)).run(program)
    assert_same(MlirRunner(program).run(given), open_runner(path).run(given))
    for change, problem in ((("npu", "cpu"), "is no NPU"), (("bm1684x", "k9"), "lowered for chip bm1684x, not k9")):
        file.write_text(text.replace(f'"{change[0]}"', f'"{change[1]}"'))
        with pytest.raises(StepError, match=problem):
            Codegen(model_file=path, chip=str(file)).run(program)


def small(name: str, shape: tuple[int, ...], folder: Path, op: str = "Sigmoid") -> str:
    """Return a model file of one function, which is also the output."""
    program = Program.empty(name, {"x": tensor(shape, "f32")}, "ONNX")
    given = program.add(TOP_OPS["Input"].build("x", list(program.block.args)))
    program.finish([program.add(TOP_OPS[op].build("y", [given]))])
    lowering("F16", "bm1684x").run(program)
    return str(compiled(program, folder, f"{name}{len(list(folder.iterdir()))}"))


def test_the_stage_is_the_one_for_the_shapes_given(tmp_path: Path) -> None:
    files = [small("net", shape, tmp_path) for shape in ((2, 4, 8), (2, 6, 8))]
    both = str(tmp_path / "both.bmodel")
    write_model_file(both, combine([read_model_file(file) for file in files]))
    runner = open_runner(both)
    assert [spec.shape for spec in runner.inputs()] == [(2, None, 8)]
    for rows, file in ((6, files[1]), (4, files[0]), (6, files[1])):
        given = {"x": np.linspace(-4, 4, 16 * rows, dtype=np.float32).reshape(2, rows, 8)}
        assert_same(open_runner(file).run(given, "all"), runner.run(given, "all"))
        assert runner.outputs()[0].shape == (2, rows, 8)
    with pytest.raises(InputError, match=r"no stage for inputs of \(2, 5, 8\); it has \(2, 4, 8\); \(2, 6, 8\)"):
        runner.run({"x": np.zeros((2, 5, 8), np.float32)})
    with pytest.raises(InputError, match=r"has shape \(1, 4, 8\), want \(2, None, 8\)"):
        runner.run({"x": np.zeros((1, 4, 8), np.float32)})


def test_of_several_networks_one_is_chosen_by_name(tmp_path: Path) -> None:
    files = {name: small(name, (2, 4), tmp_path, op) for name, op in (("a", "Sigmoid"), ("b", "Tanh"))}
    both = str(tmp_path / "both.bmodel")
    write_model_file(both, combine([read_model_file(file) for file in files.values()]))
    given = {"x": np.linspace(-2, 2, 8, dtype=np.float32).reshape(2, 4)}
    for name, file in files.items():
        assert_same(open_runner(file).run(given), open_runner(both, RunnerOptions(network=name)).run(given))
    with pytest.raises(InputError, match="has several networks; choose with --network: a, b"):
        open_runner(both)


@pytest.mark.parametrize("seed", [1, 2])
def test_noise_in_the_memories_and_another_order_change_nothing(seed: int, tmp_path: Path) -> None:
    program, given = lowered(resnet8)
    path = compiled(program, tmp_path)
    wanted = MlirRunner(program).run(given, "all")
    assert_same(wanted, open_runner(path, RunnerOptions(shuffle=seed)).run(given, "all"))
