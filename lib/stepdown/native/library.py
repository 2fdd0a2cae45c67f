"""A network as a shared library with a C interface: `NAME.so`, and the header beside it."""

import json
import shutil
import tempfile
from pathlib import Path

from stepdown.dialects.types import quant_of
from stepdown.files.atomic import atomic_path
from stepdown.native.build import c_source, write_object
from stepdown.native.code import ACTIVATIONS, INPUTS, Code
from stepdown.native.link import shared_library
from stepdown.native.needs import needs_of
from stepdown.native.plan import ALIGNMENT, aligned
from stepdown.native.ports import Port, c_text, metadata, ports_of
from stepdown.native.steps import Step

RUNTIME = Path(__file__).parent / "runtime"
_MEMORIES = (INPUTS, ACTIVATIONS)


def write_library(code: Code, path: Path, debug: bool = False) -> None:
    """Write the library, and `stepdown.h` beside it.

    Raises:
        ResourceError: the C compiler fails.
    """
    ports = ports_of(code, debug)
    with tempfile.TemporaryDirectory() as folder, atomic_path(path) as target:
        work = Path(folder)
        sources = [RUNTIME / "library.c", RUNTIME / "threads.c", *compiled(code, work)]
        (work / "weights.bin").write_bytes(code.weights)
        (work / "network.inc").write_text(_network_part(code, ports, work / "weights.bin"))
        shared_library(sources, Path(target), code.machine.triple, [work, RUNTIME])
    header = path.with_name("stepdown.h")
    shutil.copyfile(RUNTIME / "stepdown.h", header)


def compiled(code: Code, folder: Path) -> list[Path]:
    """Write the code into a folder: an object a part, or C; return what was written."""
    if code.machine.is_c:
        source = folder / f"{code.name}.c"
        source.write_text(c_source({n: f for part in code.parts.values() for n, f in part.items()}, code.machine))
        return [source]
    made = []
    for part, functions in code.parts.items():
        made.append(folder / f"{part}.o")
        write_object(functions, code.machine, made[-1])
    return made


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
            f'    {{{c_text(port.name)}, "{tensor.type}", SD_{port.role.upper()}, {len(tensor.shape)}, shape{i}, '
            f"{scale!r}, {tensor.zero_point}, {tensor.bytes}}},"
        )
        places.append(f"    {{{_MEMORIES.index(port.where.memory)}, {port.where.offset}}},")
    return "\n".join(
        [
            f"#define SD_MUTABLE_BYTES {_whole(code.mutable_bytes)}",
            f"#define SD_ACTIVATIONS_BYTES {_whole(code.activations_bytes)}",
            f"#define SD_SCRATCH_BYTES {_whole(code.scratch_bytes)}",
            f"#define SD_TENSORS {len(ports)}",
            f"#define SD_STEP {code.entry}",
            "int32_t SD_STEP(void *weights, void *mutable_memory, void *activations, void *scratch, "
            "int32_t step, int32_t part, int32_t parts);",
            f"#define SD_STEPS {len(code.steps)}",
            f"static const sd_step steps[] = {{\n{_listed(code)}\n}};",
            *shapes,
            f"static const sd_tensor tensors[] = {{\n{chr(10).join(rows)}\n}};",
            f"static const struct {{ int memory; size_t offset; }} places[] = {{\n{chr(10).join(places)}\n}};",
            "\n".join(
                ["static const struct need needs[] = {", *(n.row() for n in needs_of(code.machine)), "    {0}};"]
            ),
            _WEIGHTS.format(path=weights),
            f"const char stepdown_metadata[] = {c_text(json.dumps(metadata(code, ports), sort_keys=True))};",
            "",
        ]
    )


def _whole(size: int) -> int:
    """Return the size of a memory, such that the next one begins where it may; C has none of no bytes."""
    return aligned(max(1, size), ALIGNMENT)


def _listed(code: Code) -> str:
    """Return the rows of the steps; of a network without any, one that is never done."""
    return "\n".join(f"    {{{step.units}, {step.grains}}}," for step in code.steps or [Step(())])


_WEIGHTS = """extern const unsigned char sd_weights[] __attribute__((visibility("hidden")));
__asm__(".section .rodata\\n.balign 64\\n.globl sd_weights\\n.hidden sd_weights\\nsd_weights:\\n"
        ".incbin \\"{path}\\"\\n.byte 0\\n.text\\n");"""
