"""How long each call of a network takes on this computer, measured in the network itself, in a child process.

A call's surroundings count: what lies in the caches is what the calls before it have left there. As a program it reads,
from its arguments, the number of rounds and of calls and then libraries with their weights, and prints as JSON the
least seconds of each call of each library, which are run turn by turn.
"""

import ctypes
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from stepdown.errors import ResourceError
from stepdown.files.child import environment

if TYPE_CHECKING:
    from stepdown.native.code import Code

_RUNS = 3
_NEVER = 1e9


def timed_library(code: "Code", folder: Path) -> Path:
    """Write code whose calls are apart into a folder of its own: a library that can be timed, and its weights.

    Raises:
        ResourceError: the C compiler fails.
    """
    from stepdown.native.library import RUNTIME, compiled
    from stepdown.native.link import shared_library

    folder.mkdir(exist_ok=True)
    sizes = [len(code.weights), code.mutable_bytes, code.activations_bytes, code.scratch_bytes]
    lines = [f"#define SD_SIZES {', '.join(map(str, sizes))}", f"#define SD_STEP {code.entry}"]
    (folder / "network.inc").write_text("\n".join([*lines, f"#define SD_STEPS {len(code.steps)}", ""]))
    (folder / "weights.bin").write_bytes(code.weights)
    sources = [RUNTIME / "clock.c", *compiled(code, folder)]
    shared_library(sources, folder / "timed.so", code.machine.triple, [folder])
    return folder


def call_seconds(folders: Sequence[Path], calls: Sequence[int], rounds: int, limit_s: float) -> list[list[float]]:
    """Return the least seconds of each call of each library, run turn by turn.

    Raises:
        ResourceError: the child process fails, or takes more than `limit_s`.
    """
    words = [str(rounds), *(f"{folder}:{count}" for folder, count in zip(folders, calls, strict=True))]
    command = [sys.executable, "-m", "stepdown.native.clock", *words]
    try:
        ended = subprocess.run(command, capture_output=True, text=True, timeout=limit_s, env=environment(), check=False)
    except subprocess.TimeoutExpired:
        what, fix = f"timing code took more than {limit_s:.0f} s", "leave tune=… away"
        raise ResourceError(what, "--codegen tune", fix) from None
    if ended.returncode:
        raise ResourceError(f"timed code ended with {ended.returncode}", "--codegen tune", "leave tune=… away")
    found: list[list[float]] = json.loads(ended.stdout)
    return found


def _measured(rounds: int, libraries: Sequence[tuple[Path, int]]) -> list[list[float]]:
    functions = [ctypes.CDLL(str(folder / "timed.so")).sd_clock for folder, _ in libraries]
    weights = [(folder / "weights.bin").read_bytes() for folder, _ in libraries]
    least = [(ctypes.c_double * max(1, count))(*[_NEVER] * count) for _, count in libraries]
    for _ in range(rounds):
        for function, array, times in zip(functions, weights, least, strict=True):
            if function(array, times, _RUNS):
                raise MemoryError
    return [list(times) for times in least]


def _main(rounds: str, *libraries: str) -> None:
    named = [library.rpartition(":") for library in libraries]
    print(json.dumps(_measured(int(rounds), [(Path(folder), int(count)) for folder, _, count in named])))


if __name__ == "__main__":
    _main(*sys.argv[1:])
