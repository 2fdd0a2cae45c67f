"""What decides the last bits of a result on a machine: versions, code, and the instruction sets that libraries use."""

import ctypes
import hashlib
import importlib
import platform
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from importlib import metadata
from pathlib import Path

import numpy as np

import stepdown
from stepdown.distributed.worker import openblas_libraries

_PACKAGES = ("numpy", "onnx", "onnxruntime", "ai-edge-litert", "pillow", "xdsl")
_CODE_SUFFIXES = (".py", ".toml", ".txt", ".h", ".c", ".cc")
_CORE_NAMES = ("scipy_openblas_get_corename64_", "openblas_get_corename64_", "openblas_get_corename")
_ARITHMETIC = re.compile(r"(sse|ssse|avx|fma|f16c|amx|vaes|gfni|asimd|sve|sme(?!p)|bf16|i8mm|fphp|rvv)")
_FEATURES = "CPU features"

Report = dict[str, str]


def report() -> Report:
    """Return, by what it is of, everything in which two machines must agree to compute the same bytes."""
    return {
        "stepdown": stepdown.__version__, "stepdown code": code_digest(), "Python": platform.python_version(),
        **{name: _version(name) for name in _PACKAGES},
        "BLAS": _blas(), "BLAS kernels": _blas_core(), "libc": " ".join(platform.libc_ver()),
        "machine": platform.machine(), _FEATURES: " ".join(_cpu_features()),
    }  # fmt: skip


def differences(theirs: Mapping[str, str], ours: Mapping[str, str]) -> str:
    """Return what differs in two reports, in words; "" where nothing does."""
    return "; ".join(
        _feature_difference(theirs.get(name, ""), ours[name])
        if name == _FEATURES
        else f"{name} {theirs.get(name) or 'none'} there, {ours[name] or 'none'} here"
        for name in ours
        if theirs.get(name, "") != ours[name]
    )


@lru_cache
def code_digest() -> str:
    """Return 12 hex digits of all code and data of this package: two checkouts may have one version."""
    digest = hashlib.sha256()
    root = Path(stepdown.__file__).parent
    for path in sorted(path for path in root.rglob("*") if path.suffix in _CODE_SUFFIXES):
        digest.update(f"{path.relative_to(root).as_posix()}\n".encode() + path.read_bytes())
    return digest.hexdigest()[:12]


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def _blas() -> str:
    """Return name and version of the BLAS that numpy was built with."""
    shown = np.show_config(mode="dicts")
    blas = shown.get("Build Dependencies", {}).get("blas", {}) if isinstance(shown, dict) else {}
    return f"{blas.get('name', '')} {blas.get('version', '')}".strip()


def _blas_core() -> str:
    """Return which of its sets of kernels OpenBLAS chose for this CPU, "" where it cannot be asked."""
    for library in openblas_libraries():
        for name in _CORE_NAMES:
            if hasattr(library, name):
                asked = getattr(library, name)
                asked.restype = ctypes.c_char_p
                return (asked() or b"").decode()
    return ""


def _cpu_features() -> list[str]:
    """Return the instruction sets that numpy dispatches on, and those for arithmetic that the kernel lists."""
    inner = importlib.import_module("numpy._core._multiarray_umath")
    known: Mapping[str, bool] = getattr(inner, "__cpu_features__", {})
    return sorted({name for name, there in known.items() if there} | set(_listed_features()))


def _listed_features() -> Iterable[str]:
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return ()
    listed = re.search(r"^(?:flags|Features)\s*:(.*)$", text, re.MULTILINE)
    return (flag for flag in (listed[1].split() if listed else ()) if _ARITHMETIC.match(flag))


def _feature_difference(theirs: str, ours: str) -> str:
    there, here = set(theirs.split()), set(ours.split())
    lacks, more = sorted(here - there), sorted(there - here)
    parts = [f"{word} {', '.join(names)}" for word, names in (("without", lacks), ("also", more)) if names]
    return f"{_FEATURES} there {' and '.join(parts)}"
