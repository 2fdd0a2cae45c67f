"""Functions of a real number in code for CPUs: within 4 units in the last place over the whole range of f32."""

import ctypes
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from native.compiled import machines

from stepdown.native.build import c_source, write_object
from stepdown.native.kernels import functions
from stepdown.native.link import shared_library
from stepdown.native.machine import Machine
from stepdown.native.tir import Function
from stepdown.numerics.erf import erf

MACHINES = machines()
pytestmark = pytest.mark.apart
LANES = 16
UNITS = {"erf": 6}

EXACT: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "sqrt": np.sqrt, "log": np.log, "log1p": np.log1p, "floor": np.floor, "ceil": np.ceil, "nearest": np.rint,
    "truncated": np.trunc, "exp": np.exp, "expm1": np.expm1, "tanh": np.tanh, "sinh": np.sinh, "cosh": np.cosh,
    "softplus": lambda x: np.logaddexp(x, 0), "erf": erf, "asin": np.arcsin, "acos": np.arccos, "atan": np.arctan,
    "asinh": np.arcsinh, "acosh": np.arccosh, "atanh": np.arctanh,
}  # fmt: skip


def numbers() -> np.ndarray:
    """Return f32 of all sizes, many between −10 and 10, and those where something changes, with their neighbours."""
    rng = np.random.default_rng(1)
    anywhere = rng.integers(0, 1 << 32, 1 << 14, dtype=np.uint32).view(np.float32)
    near = np.concatenate([rng.uniform(-size, size, 1 << 12).astype(np.float32) for size in (1, 10, 110)])
    edges = [0, np.inf, np.nan, 0.5, 1, 1.5, 2, 2.5, 1e-45, 2.0**-126, 2.0**22 + 0.5, 2.0**23 - 0.5, 2.0**23, 3.4e38]
    points = np.array([*edges, *(-edge for edge in edges)], np.float32)
    points = np.concatenate([points, *(np.nextafter(points, np.float32(to)) for to in (-np.inf, np.inf))])
    found = np.concatenate([anywhere, near, points])
    return np.resize(found, -(-found.size // LANES) * LANES)


def computed(machine: Machine, folder: Path, x: np.ndarray) -> dict[str, np.ndarray]:
    """Return each function of x, by compiled code that calls no library."""
    written = {}
    for name in EXACT:
        f = Function(f"sd_{name}")
        source, target = (f.argument(n, "float32", x.size) for n in "xy")
        with f.loop(x.size // LANES) as i, f.loop(LANES, "vector") as lane:
            f.store(target, i * LANES + lane, getattr(functions, name)(f.once, f.once(source[i * LANES + lane])))
        written[f.name] = f.finish()
    library = ctypes.CDLL(str(linked(written, machine, folder)))
    found = {name: np.zeros_like(x) for name in EXACT}
    for name, y in found.items():
        library[f"entry_{name}"](*(ctypes.c_void_p(a.ctypes.data) for a in (x, y)))
    return found


def linked(written: dict[str, object], machine: Machine, folder: Path) -> Path:
    """Return a library of functions of two pointers."""
    path = folder / ("each.c" if machine.is_c else "each.o")
    if machine.is_c:
        path.write_text(c_source(written, machine))
    else:
        write_object(written, machine, path)
    entries = (f"int {n}(void *, void *);\n__attribute__((visibility(\"default\"))) int {n.replace('sd_', 'entry_')}"
               f"(void *x, void *y) {{ return {n}(x, y); }}\n" for n in written)  # fmt: skip
    (folder / "entry.c").write_text("".join(entries))
    shared_library([path, folder / "entry.c"], folder / "each.so", machine.triple, [])
    return folder / "each.so"


def units_apart(got: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Return the distance from exact results (float64), in units of their last place as f32."""
    single = wanted.astype(np.float32)
    apart = np.abs(got - wanted) / np.maximum(np.spacing(np.abs(single)), 2.0**-149)
    same = (got == single) | (np.isnan(got) & np.isnan(single))
    return np.where(same, 0, np.where(np.isfinite(apart), apart, math.inf))


@pytest.mark.parametrize("machine", MACHINES)
def test_functions_are_near_the_exact_ones(machine: str, tmp_path: Path) -> None:
    x = numbers()
    with np.errstate(all="ignore"):
        for name, got in computed(MACHINES[machine], tmp_path, x).items():
            wanted = EXACT[name](x.astype(np.float64))
            apart = units_apart(got, wanted)
            worst = int(np.argmax(apart))
            assert apart[worst] <= UNITS.get(name, 4), f"{name}({x[worst]!r}) is {got[worst]!r}"
            zero = (wanted == 0) & (x != 0)
            np.testing.assert_array_equal(np.signbit(got[zero]), np.signbit(wanted[zero]), name)
