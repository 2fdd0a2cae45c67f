"""The C compiler that links what LLVM has made: gcc or cc where there is one, else the one in the package ziglang."""

import importlib.util
import platform
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from stepdown.errors import ResourceError, UnsupportedModel

_TIMEOUT_S = 600
_SHARED = (
    "-shared", "-fPIC", "-pthread", "-O2", "-ffp-contract=off", "-s", "-Wl,--build-id=none", "-Wl,-Bsymbolic",
    "-fvisibility=hidden",
)  # fmt: skip
"""The last four so that the same network gives the same bytes, and exports nothing but its interface."""
ANY = "any"
"""The triple of code that is C."""


def compiler(triple: str) -> list[str]:
    """Return the command of a C compiler for a target.

    Raises:
        UnsupportedModel: there is none.
    """
    native = triple == ANY or triple.startswith(platform.machine())
    names = ["gcc", "cc", "clang"] if native else [f"{triple}-gcc"]
    if found := next(filter(None, map(shutil.which, names)), None):
        return [found]
    if importlib.util.find_spec("ziglang"):
        target = ["-mcpu=baseline"] if triple == ANY else ["-target", triple]
        return [sys.executable, "-m", "ziglang", "cc", *target]
    wanted = "gcc" if native else f"{triple}-gcc"
    raise UnsupportedModel(f"no C compiler to link for {triple}", fix=f"install {wanted}, or bash build.sh --zig")


def shared_library(sources: Sequence[Path], target: Path, triple: str, folders: Sequence[Path]) -> None:
    """Compile C sources, and link them with objects into a shared library.

    Raises:
        ResourceError: the compiler fails.
    """
    includes = [f"-I{folder}" for folder in folders]
    run([*compiler(triple), *_SHARED, *includes, "-o", str(target), *map(str, sources), "-lm"])


def run(command: Sequence[str]) -> None:
    """Run a compiler.

    Raises:
        ResourceError: it fails, or takes more than ten minutes.
    """
    try:
        ended = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ResourceError(f"the C compiler did not end ({error})", command[0]) from None
    if ended.returncode:
        line = next((t for t in ended.stderr.splitlines() if "error" in t), ended.stderr.strip().split("\n")[-1])
        raise ResourceError(f"the C compiler fails: {line[:300]}", command[0])
