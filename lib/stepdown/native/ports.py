"""The tensors of compiled code that can be read or written, and what they mean, as JSON."""

from dataclasses import asdict, dataclass, replace
from typing import Any

from xdsl.ir import SSAValue

from stepdown.dialects.meaning import tensor_info
from stepdown.dialects.op import layout_of, value_name
from stepdown.dialects.program import argument_name
from stepdown.dialects.types import quant_of
from stepdown.native.calls import Held
from stepdown.native.code import Code, Where
from stepdown.native.layout_notes import layout_notes
from stepdown.native.tensors import logical


@dataclass(frozen=True)
class Port:
    """A tensor that can be read or written: its name, what it holds, and where it is."""

    name: str
    value: SSAValue
    held: Held
    role: str
    where: Where


def ports_of(code: Code, debug: bool) -> list[Port]:
    """Return inputs, outputs, and with `debug` all other tensors, in the order of the program."""
    found = []
    for name, (value, held) in code.network.tensors.items():
        where = code.where(held.place)
        if where is not None and (debug or held.place.role != "inner"):
            found.append(Port(name, value, held, "inner", where))
    inputs = [_input(code, op) for op in code.program.input_ops]
    outputs = [_output(code, value, i) for i, value in enumerate(code.program.results)]
    named = {p.name for p in outputs}
    return [*inputs, *outputs, *(p for p in found if p.name not in named and p.name not in {i.name for i in inputs})]


def _input(code: Code, op: Any) -> Port:
    value, held = code.network.tensors[op.tensor_name]
    where = code.where(held.place)
    assert where is not None
    return Port(op.tensor_name, value, held, "input", where)


def _output(code: Code, value: SSAValue, index: int) -> Port:
    """Return an output, in the program's order of dimensions."""
    _, held = code.network.tensors[value_name(value)]
    place = code.network.outputs[index]
    where = code.where(place)
    assert where is not None
    tensor = replace(held.tensor, order=logical(len(held.tensor.shape)))
    return Port(value_name(value), value, Held(tensor, place), "output", where)


def metadata(code: Code, ports: list[Port]) -> dict[str, Any]:
    """Return what the network is: how it was lowered, for which processor, its tensors and preprocessing."""
    program = code.program
    return {
        "name": program.name,
        "chip": program["chip"],
        "mode": program["mode"],
        "profile": program["profile"],
        "processor": code.machine.processor,
        "triple": code.machine.triple,
        "layout": asdict(layout_notes(code.network, code.machine.effort)),
        "activations_bytes": code.activations_bytes,
        "weights_bytes": len(code.weights),
        "preprocessing": program.preprocessing,
        "tensors": [_described(port) for port in ports],
        "inputs": {op.tensor_name: argument_name(op) for op in program.input_ops},
    }


def _described(port: Port) -> dict[str, Any]:
    params, info = quant_of(port.value), tensor_info(port.value)
    return {
        "name": port.name,
        "role": port.role,
        "shape": list(port.held.tensor.shape),
        "order": list(port.held.tensor.order),
        "layout_order": list(layout_of(port.value)),
        "type": port.held.tensor.type,
        "bytes": port.held.tensor.bytes,
        "params": None if params is None else asdict(params),
        "info": asdict(info),
    }


def c_text(text: str) -> str:
    """Return a text as a C string, cut so that no escape runs into the next letter."""
    return '"' + "".join(_c_letter(byte) for byte in text.encode()) + '"'


def _c_letter(byte: int) -> str:
    letter = chr(byte)
    if letter in '"\\':
        return "\\" + letter
    return letter if 32 <= byte < 127 and letter != "?" else f"\\{byte:03o}"
