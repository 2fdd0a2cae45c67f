"""Host subnets of damaged files: one clear line each, and no result."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from stepdown.dialects.program import Program
from stepdown.dialects.top import TOP_OPS
from stepdown.dialects.types import tensor
from stepdown.errors import StepError
from stepdown.model import ModelFile, SectionStore, read_model_file, write_model_file
from stepdown.npu.passes.codegen import Codegen
from stepdown.runtimes import open_runner
from stepdown.transforms.convert_top_to_tpu import ConvertTopToTpu

WEIGHT = np.arange(8, dtype=np.float32).reshape(1, 8)


def model(folder: Path) -> ModelFile:
    """Return a network whose only op has no commands, and that has a weight."""
    program = Program.empty("net", {"x": tensor((1, 8), "f32")}, "ONNX")
    given = program.add(TOP_OPS["Input"].build("x", list(program.block.args)))
    program.weights["w"] = WEIGHT
    weight = program.add(TOP_OPS["Weight"].of("w", tensor((1, 8), "f32")))
    program.finish([program.add(TOP_OPS["Pow"].build("y", [given, weight]))])
    ConvertTopToTpu(mode="F32", chip="bm1684x").run(program)
    path = str(folder / "net.bmodel")
    Codegen(model_file=path).run(program)
    return read_model_file(path)


def changed(made: ModelFile, text: str) -> str:
    """Write the model file with another text for its host subnet, hashes and all; returns its path."""
    (network,) = made.networks
    (stage,) = network.stages
    (subnet,) = stage.subnets
    store = SectionStore()
    for name, content in made.sections.items():
        if name != subnet.text:
            store.put(name, bytes(content))
    store.put(subnet.text, text.encode())
    return write(replace(made, sections=store))


def write(made: ModelFile) -> str:
    path = made.path.replace("net", "changed")
    write_model_file(path, made)
    return path


def test_a_network_of_host_ops_alone_runs(tmp_path: Path) -> None:
    made = model(tmp_path)
    given = np.linspace(0, 2, 8, dtype=np.float32).reshape(1, 8)
    assert np.array_equal(open_runner(made.path).run({"x": given})["y"], given**WEIGHT)
    assert [subnet.kind for subnet in made.networks[0].stages[0].subnets] == ["host"]
    assert not made.networks[0].stages[0].streams


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("builtin.module", "builtin.modul", "host/net.0.mlir"),
        ('"tpu.Pow"(%1, %2)', '"tpu.Pow"(%1, %0)', "reads what no op before it makes"),
        ("func.return %3", "func.return %0", "an output is made by no op"),
        ('key = "w"', 'key = "v"', "weight 'v' is not in the subnet"),
        ("8xf32", "8xf16", "weight 'w' is not in the subnet as it is here"),
        ('loc("y")', 'loc("z")', "reads or makes other tensors"),
        ("tensor<1x8xf32>", "tensor<8x1xf32>", "weight 'w' is not in the subnet as it is here"),
    ],
)
def test_a_text_that_is_not_the_subnet_is_refused(old: str, new: str, problem: str, tmp_path: Path) -> None:
    made = model(tmp_path)
    text = made.text("host/net.0.mlir")
    assert old in text
    with pytest.raises(StepError) as caught:
        open_runner(changed(made, text.replace(old, new)))
    assert problem in str(caught.value)
