"""Constants among the weights as the engine reads them: the same model file, and what is not theirs is refused."""

from pathlib import Path

import numpy as np
import pytest
from npu.test_codegen import MODES, TABLES, large, lowered, machine
from transforms.test_lowering import program_of

from stepdown.chips import load_chip
from stepdown.dialects.program import Program, read_program
from stepdown.dialects.text import print_module
from stepdown.dialects.top.activation import Sigmoid
from stepdown.errors import InputError
from stepdown.npu.codegen import generate
from stepdown.npu.cost import local_memory
from stepdown.npu.kernels import KERNELS
from stepdown.npu.passes.codegen import Codegen
from stepdown.npu.passes.weight_reorder import WeightReorder
from stepdown.runtimes.mlir import MlirRunner
from stepdown.transforms.convert_top_to_tpu import ConvertTopToTpu

OPS = [name for name in KERNELS if name not in ("Convert", "Rescale", "Lut")]


def images(program: Program) -> dict[str, str]:
    """Return the images of the op that makes the network's own tensor."""
    notes = [op.note("images") for op in program.ops if op.tensor_name == "out" and "images" in op.notes]
    return notes[0] or {}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", [*OPS, *TABLES])
def test_the_model_file_is_the_same_with_and_without_it(name: str, mode: str, tmp_path: Path) -> None:
    program, given = lowered(name, mode, *large(name))
    wanted = MlirRunner(program).run(given, "all")
    Codegen(str(tmp_path / "plain.bmodel")).run(program)
    WeightReorder().run(program)
    text = print_module(program.module)
    WeightReorder().run(program)
    assert print_module(program.module) == text
    program.write(tmp_path / "net.mlir")
    again = read_program(tmp_path / "net.mlir")
    again.path, again["weight_file"], program["weight_file"] = program.path, "", ""
    for number, each in enumerate((program, again)):
        Codegen(str(tmp_path / f"{number}.bmodel")).run(each)
        assert (tmp_path / f"{number}.bmodel").read_bytes() == (tmp_path / "plain.bmodel").read_bytes()
    got = MlirRunner(again).run(given, "all")
    assert all(np.array_equal(got[tensor], wanted[tensor], equal_nan=True) for tensor in wanted)


def test_arrays_are_new_only_where_no_weight_has_their_bytes() -> None:
    program, _ = lowered("Conv", "F16", *large("Conv"))
    before = set(program.weights)
    WeightReorder().run(program)
    assert images(program) == {} and set(program.weights) == before

    program, _ = lowered("Conv", "INT8", *large("Conv"))
    filters = [op.key for op in program.ops if op.name == "tpu.Weight" and len(op.results[0].type.get_shape()) == 4]
    WeightReorder().run(program)
    assert images(program) == {"records": "out_records", "weights": filters[0]}
    assert program.weights["out_records"].shape == (1, 18, 1, 3) and program.weights["out_records"].dtype == np.int32


def test_sixteen_bits_are_held_as_a_weight_file_holds_them() -> None:
    for mode, wanted in (("F16", np.float16), ("BF16", np.uint16)):
        program, _ = lowered("ConvTranspose", mode, *large("ConvTranspose"))
        WeightReorder().run(program)
        held = program.weights[images(program)["weights"]]
        assert held.dtype == wanted and held.shape == (1, 9, 10, 12)


def two_tables(mode: str) -> Program:
    """Return a lowered network that takes the same function twice."""
    program = program_of("Sigmoid", [np.ones((1, 8, 4, 4), np.float32)], {})
    again = Sigmoid.build("again", [program.results[0]])
    program.block.insert_op_before(again, program.block.last_op)
    program.finish([again.results[0]])
    ConvertTopToTpu(mode=mode, chip="bm1684x").run(program)
    return program


@pytest.mark.parametrize("mode", ["F16", "BF16"])
def test_equal_tables_share_a_place_and_an_array(mode: str) -> None:
    program = two_tables(mode)
    code = generate(program, machine())
    tables = {name: place for name, place in code.constants.items() if name.endswith(".table")}
    assert len(tables) == 2 and len({place.address for place in tables.values()}) == 1
    assert sum(content.size == 1 << 17 for content in code.image.values()) == 1
    assert code.global_bytes < 1 << 18
    WeightReorder().run(program)
    keys = [op.note("images") for op in program.ops if "images" in op.notes and op.note("images")]
    assert keys == [{"table": "out_table"}] * 2
    lanes = local_memory(load_chip("bm1684x")).lanes
    assert program.weights["out_table"].shape == (1, lanes, 1, (1 << 16) // lanes)


def test_an_image_that_is_not_what_the_engine_reads_is_refused() -> None:
    program, _ = lowered("Conv", "INT8", *large("Conv"))
    WeightReorder().run(program)
    changed = program.weights["out_records"].copy()
    changed[0, 3, 0, 0] += 1
    program.weights["out_records"] = changed
    with pytest.raises(InputError, match=r"its image 'records' is not what the engine reads; run --weight-reorder"):
        generate(program, machine())
    WeightReorder().run(program)
    assert images(program)["records"] == "out_records_2"
    generate(program, machine())
    (conv,) = (op for op in program.ops if op.name == "tpu.Conv")
    conv.set_note("images", {"weights": images(program)["weights"]})
    with pytest.raises(InputError, match="its image 'records'"):
        generate(program, machine())


def test_a_table_for_other_lanes_has_the_same_bytes() -> None:
    program = two_tables("F16")
    WeightReorder().run(program)
    generate(program, machine(lanes=4))


def test_what_is_not_lowered_is_refused() -> None:
    program = program_of("Sigmoid", [np.ones((1, 8), np.float32)], {})
    with pytest.raises(InputError, match="is in state TOP_F32, want TPU_LOWERED"):
        WeightReorder().run(program)
