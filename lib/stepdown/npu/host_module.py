"""A host subnet as a module of its own: what crosses its border are its inputs and outputs."""

from collections.abc import Iterator

from xdsl.ir import SSAValue

from stepdown.dialects.op import TensorOp, internal_of, layout_of, location, value_name
from stepdown.dialects.program import Program, State
from stepdown.dialects.text import print_module, verify
from stepdown.dialects.tpu import TPU_OPS
from stepdown.dialects.types import storage_of
from stepdown.model import SectionStore, Subnet, Weight
from stepdown.model.arrays import STORED, stored_values
from stepdown.model.schema import HOST
from stepdown.npu.subnets import Part
from stepdown.npu.weights import held_weight

_KEPT = ("platform", "chip", "mode", "profile")


def host_subnet(program: Program, part: Part, store: SectionStore) -> Subnet:
    """Return a host subnet for a model file; its text and weights are put into `store`."""
    module = host_module(program, part)
    text = store.put(f"host/{program.name}.{part.number}.mlir", print_module(module.module).encode())
    inputs = tuple(op.tensor_name for op in module.input_ops)
    return Subnet(HOST, inputs, _outputs(module), text=text, weights=tuple(_weights(module, store)))


def _outputs(module: Program) -> tuple[str, ...]:
    return tuple(dict.fromkeys(module.output_names))


def _weights(module: Program, store: SectionStore) -> Iterator[Weight]:
    for op in module.ops:
        if op.name.endswith(".Weight"):
            key: str = op.key  # type: ignore[attr-defined]
            kind = storage_of(op.results[0])
            array = stored_values(held_weight(module, op), kind).astype(STORED[kind], order="C", copy=False)
            yield Weight(key, store.put(f"weight/{key}", array.tobytes()), array.shape, kind)


def host_module(program: Program, part: Part) -> Program:
    """Return the ops of a host subnet as a program: its inputs have the names and types of the tensors it reads."""
    read, made = part.reads, part.makes(program)
    module = Program.empty(f"{program.name}.{part.number}", {value_name(v): v.type for v in read}, program["platform"])
    module.weights = program.weights
    module["state"] = State.TPU_LOWERED
    for key in _KEPT:
        if program[key]:
            module[key] = program[key]
    mapped: dict[SSAValue, SSAValue] = {}
    for value, argument in zip(read, module.block.args, strict=True):
        mapped[value] = module.add(_input(value, argument))
    for op in part.ops:
        for value in op.operands:
            if value not in mapped:
                mapped[value] = module.add(_copied(value.owner, {}))  # type: ignore[arg-type]
        copied = _copied(op, mapped)
        module.add(copied)
        mapped.update(zip(op.results, copied.results, strict=True))
    module.finish([mapped[value] for value in made])
    verify(module.module, program.path)
    return module


def _input(value: SSAValue, argument: SSAValue) -> TensorOp:
    place = location([value_name(value)], internal=internal_of(value), layouts=[layout_of(value)])
    return TPU_OPS["Input"].create(operands=[argument], result_types=[value.type], location=place)


def _copied(op: TensorOp, mapped: dict[SSAValue, SSAValue]) -> TensorOp:
    """Return a copy of an op without the notes of passes, which are about the whole program."""
    copied = op.clone(value_mapper=dict(mapped))
    for name in copied.notes:
        copied.set_note(name, None)
    return copied
