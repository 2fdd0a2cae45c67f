"""The text of a module: what is printed is read back, whatever its tensors are called."""

import pytest

from stepdown.dialects.program import Program
from stepdown.dialects.text import parse_module, print_module
from stepdown.dialects.top.source import Input
from stepdown.dialects.types import tensor


@pytest.mark.parametrize("name", ["a b", "名前", 'ñ"\\\n', "\\C3\\B1", "#loc", "L" * 500])
def test_a_name_of_any_letters_is_read_back(name: str) -> None:
    program = Program.empty("net", {name: tensor([2])}, "ONNX")
    program.finish([program.add(Input.build(name, [program.block.args[0]]))])
    text = print_module(program.module)
    again = Program(parse_module(text), program.weights)
    assert again.output_names == [name]
    assert print_module(again.module) == text
