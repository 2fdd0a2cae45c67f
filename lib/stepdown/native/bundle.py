"""A network as a bundle that a C program links: `NAME.o` or `NAME.c`, `NAME.h`, `NAME.weights.bin`, `NAME.weights.txt`.

The set of files, the signature of the function and the names in the header are those of Glow's compiler.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path

from stepdown.dialects.types import quant_of
from stepdown.errors import InputError
from stepdown.files.atomic import atomic_path, write_text
from stepdown.native.build import c_source, write_object
from stepdown.native.code import Code
from stepdown.native.plan import ALIGNMENT
from stepdown.native.ports import Port, c_text, metadata, ports_of

_BYTES_A_LINE = 16


def bundle_name(path: Path) -> str:
    """Return the name of the function in a bundle: that of the file.

    Raises:
        InputError: it is none that C knows.
    """
    if not re.fullmatch(r"[A-Za-z_]\w*", path.stem, re.ASCII):
        fix = "use letters, digits and underscores, as in mnist_cnn.o"
        raise InputError(f"'{path.stem}' cannot be the name of a function in C", "--codegen", fix)
    return path.stem


def write_bundle(code: Code, path: Path, debug: bool = False) -> list[Path]:
    """Write the bundle; `path` ends in .o for machine code, in .c for C. Returns the files.

    With `debug`, the header lists all tensors and not only inputs and outputs.
    """
    files = [path, *(path.with_name(path.stem + end) for end in (".h", ".weights.bin", ".weights.txt"))]
    functions = {name: function for part in code.parts.values() for name, function in part.items()}
    if code.machine.is_c:
        write_text(path, c_source(functions, code.machine))
    else:
        with atomic_path(path) as target:
            made = target.with_suffix(".o")
            write_object(functions, code.machine, made)
            made.replace(target)
    write_text(files[1], header(code, debug))
    with atomic_path(files[2]) as target:
        target.write_bytes(code.weights)
    with atomic_path(files[3]) as target, target.open("w") as text:
        text.writelines(_listed(code.weights))
    return files


def _listed(content: bytes) -> Iterator[str]:
    """Yield lines of bytes as C takes them between the braces of an array."""
    for at in range(0, len(content), _BYTES_A_LINE):
        listed = content[at : at + _BYTES_A_LINE].hex("!").upper().replace("!", ", 0X")
        yield f"0X{listed},\n"


# --- the header


def header(code: Code, debug: bool = False) -> str:
    """Return the C header of a bundle."""
    ports = [port for port in ports_of(code, debug) if debug or port.role != "inner"]
    return _HEADER.format(
        name=code.name,
        entry=code.entry,
        upper=code.name.upper(),
        machine=f"{code.machine.processor} ({code.machine.triple})",
        placeholders="".join(_placeholders(code.name.upper(), ports)),
        tensors="".join(map(_row, ports)),
        constant=len(code.weights),
        mutable=code.mutable_bytes,
        activations=code.activations_bytes,
        align=ALIGNMENT,
        metadata=c_text(json.dumps(metadata(code, ports), sort_keys=True)),
    )


def _row(port: Port) -> str:
    tensor = port.held.tensor
    return f" \\\n    X({c_text(port.name)}, {port.role}, {tensor.type}, {port.where.offset}, {tensor.bytes})"


def _placeholders(upper: str, ports: list[Port]) -> Iterator[str]:
    """Yield the part of each input and output: what it is, and where."""
    taken: set[str] = set()
    for port in ports:
        if port.role == "inner":
            continue
        tensor, params = port.held.tensor, quant_of(port.value)
        yield _PLACEHOLDER.format(
            role=port.role.capitalize(),
            name=c_text(port.name).replace("/", "\\057"),
            type=tensor.type,
            shape=" x ".join(map(str, tensor.stored_shape)),
            elements=tensor.elements,
            bytes=tensor.bytes,
            real=f"\n     Real value: (stored - {params.zero_point}) * {params.scale!r}" if params else "",
            macro=f"{upper}_{_macro(port.name, taken)}",
            offset=port.where.offset,
        )


def _macro(name: str, taken: set[str]) -> str:
    """Return a tensor's name as a part of a C name that no other one has."""
    plain = re.sub(r"\W", "_", name, flags=re.ASCII)
    while plain in taken:
        plain += "_"
    taken.add(plain)
    return plain


_PLACEHOLDER = """
/* {role} {name}
     Type: {type}<{shape}>
     Size: {elements} (elements), {bytes} (bytes){real} */
#define {macro} {offset}
#define {macro}_SIZE {bytes}
"""

_HEADER = """/* Network {name}, compiled for {machine}. Written by tpuc-opt --codegen: do not edit. */
#ifndef STEPDOWN_BUNDLE_{upper}_H
#define STEPDOWN_BUNDLE_{upper}_H

#include <stdint.h>

/* Inputs and outputs lie in mutableWeight, at these offsets. An input has to be written before each run: the network
   uses its memory for other tensors as soon as it has been read. */
{placeholders}
/* X(name, role, type, offset, bytes) for every tensor that can be read. */
#define {upper}_TENSORS(X){tensors}

/* Sizes of the memories in bytes; activations may be NULL where it has none. */
#define {upper}_CONSTANT_MEM_SIZE {constant}
#define {upper}_MUTABLE_MEM_SIZE {mutable}
#define {upper}_ACTIVATIONS_MEM_SIZE {activations}

/* Alignment of each memory. */
#define {upper}_MEM_ALIGN {align}

/* What a run may take beside the weights: the compiler stops where the network needs more than a program grants. */
#ifndef {upper}_ARENA_LIMIT
#define {upper}_ARENA_LIMIT ({upper}_MUTABLE_MEM_SIZE + {upper}_ACTIVATIONS_MEM_SIZE)
#endif
#if defined(__cplusplus) && __cplusplus >= 201103L
static_assert({mutable} + {activations} <= {upper}_ARENA_LIMIT, "{name} needs {mutable} + {activations} bytes");
#elif defined(__STDC_VERSION__) && __STDC_VERSION__ >= 201112L
_Static_assert({mutable} + {activations} <= {upper}_ARENA_LIMIT, "{name} needs {mutable} + {activations} bytes");
#else
typedef char {name}_arena_fits[{mutable} + {activations} <= {upper}_ARENA_LIMIT ? 1 : -1];
#endif

/* What the network is, as JSON. */
#define {upper}_METADATA {metadata}

#ifdef __cplusplus
extern "C" {{
#endif

/* Runs the network; returns 0. It takes no memory, keeps no state, and calls nothing but memcpy and memset. */
int32_t {entry}(const uint8_t *constantWeight, uint8_t *mutableWeight, uint8_t *activations);

#ifdef __cplusplus
}}
#endif
#endif
"""
