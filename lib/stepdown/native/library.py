"""A network as a shared library with a C interface: `NAME.so`, and the header beside it."""

import json
import shutil
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from xdsl.ir import SSAValue

from stepdown.dialects.meaning import tensor_info
from stepdown.dialects.op import layout_of, value_name
from stepdown.dialects.program import argument_name
from stepdown.dialects.types import quant_of
from stepdown.files.atomic import atomic_path
from stepdown.native.build import c_source, write_object
from stepdown.native.code import ACTIVATIONS, INPUTS, Code, Where
from stepdown.native.link import shared_library
from stepdown.native.network import Held
from stepdown.native.tensors import logical

RUNTIME = Path(__file__).parent / "runtime"
_MEMORIES = (INPUTS, ACTIVATIONS)


@dataclass(frozen=True)
class Port:
    """A tensor that can be read or written: its name, what it holds, and where it is."""

    name: str
    value: SSAValue
    held: Held
    role: str
    where: Where


def write_library(code: Code, path: Path, debug: bool = False) -> None:
    """Write the library, and `stepdown.h` beside it.

    Raises:
        ResourceError: the C compiler fails.
    """
    ports = _ports(code, debug)
    with tempfile.TemporaryDirectory() as folder, atomic_path(path) as target:
        work = Path(folder)
        sources = [RUNTIME / "library.c", *_compiled(code, work)]
        (work / "weights.bin").write_bytes(code.weights)
        (work / "network.inc").write_text(_network_part(code, ports, work / "weights.bin"))
        shared_library(sources, Path(target), code.machine.triple, [work, RUNTIME])
    header = path.with_name("stepdown.h")
    shutil.copyfile(RUNTIME / "stepdown.h", header)


def _compiled(code: Code, folder: Path) -> list[Path]:
    if code.machine.is_c:
        source = folder / f"{code.name}.c"
        source.write_text(c_source({n: f for part in code.parts.values() for n, f in part.items()}, code.machine))
        return [source]
    made = []
    for part, functions in code.parts.items():
        made.append(folder / f"{part}.o")
        write_object(functions, code.machine, made[-1])
    return made


def _ports(code: Code, debug: bool) -> list[Port]:
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


# --- the network's own part of the C source


def _network_part(code: Code, ports: list[Port], weights: Path) -> str:
    """Return the C text that library.c includes: sizes, tables, weights and metadata."""
    rows, shapes, places = [], [], []
    for i, port in enumerate(ports):
        params, tensor = quant_of(port.value), port.held.tensor
        sizes = ", ".join(map(str, tensor.stored_shape)) or "1"
        shapes.append(f"static const int64_t shape{i}[] = {{{sizes}}};")
        scale = params.scale if params and not isinstance(params.scale, tuple) else 0.0
        rows.append(
            f'    {{{_c_text(port.name)}, "{tensor.type}", SD_{port.role.upper()}, {len(tensor.shape)}, shape{i}, '
            f"{scale!r}, {tensor.zero_point}, {tensor.bytes}}},"
        )
        places.append(f"    {{{_MEMORIES.index(port.where.memory)}, {port.where.offset}}},")
    return "\n".join(
        [
            f"#define SD_MUTABLE_BYTES {max(1, code.mutable_bytes)}",
            f"#define SD_ACTIVATIONS_BYTES {max(1, code.activations_bytes)}",
            f"#define SD_TENSORS {len(ports)}",
            f"#define SD_RUN {code.name}_run",
            "int32_t SD_RUN(void *weights, void *mutable_memory, void *activations);",
            *shapes,
            f"static const sd_tensor tensors[] = {{\n{chr(10).join(rows)}\n}};",
            f"static const struct {{ int memory; size_t offset; }} places[] = {{\n{chr(10).join(places)}\n}};",
            _WEIGHTS.format(path=weights),
            f"const char stepdown_metadata[] = {_c_text(json.dumps(metadata(code, ports), sort_keys=True))};",
            "",
        ]
    )


_WEIGHTS = """extern const unsigned char sd_weights[] __attribute__((visibility("hidden")));
__asm__(".section .rodata\\n.balign 64\\n.globl sd_weights\\n.hidden sd_weights\\nsd_weights:\\n"
        ".incbin \\"{path}\\"\\n.byte 0\\n.text\\n");"""


def _c_text(text: str) -> str:
    """Return a text as a C string, cut so that no escape runs into the next letter."""
    return '"' + "".join(_c_letter(byte) for byte in text.encode()) + '"'


def _c_letter(byte: int) -> str:
    letter = chr(byte)
    if letter in '"\\':
        return "\\" + letter
    return letter if 32 <= byte < 127 and letter != "?" else f"\\{byte:03o}"


# --- metadata


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
        "params": None if params is None else asdict(params),
        "info": asdict(info),
    }
