"""The same bits everywhere: every integer tensor of networks on many processors, as a matrix of differing bytes.

A row is a way to compute, a column a network. Each network is lowered once, to a module of profile tosa; a cell is the
number of bytes in which all tensors of all inputs differ from the reference interpreter's. Real results of an op in f32
(a softmax) are compared within a bound, as documented; the integers made of them are compared as all others.
Ways to compute that this machine neither has nor can emulate are named and left out. Ends with 1 where a byte differs.
"""

import argparse
import hashlib
import json
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from native.identity_networks import BUILDERS, HOST_ONLY, lowered, random_inputs
from native.identity_rows import ROWS, NotEmulated, Reference, Row, run_row

from stepdown.dialects.program import read_program
from stepdown.dialects.types import storage_of
from stepdown.runtimes.runner import Tensors

FLOAT_BOUND = 1e-5
ON_SIMULATOR = 1
"""Inputs there, which runs a hundred times slower than an emulator."""


@dataclass
class Cell:
    """What was compared of a network on a row."""

    differing: int = 0
    bytes: int = 0
    tensors: int = 0
    inputs: int = 0
    first: str = ""
    hashes: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Network:
    """A lowered module, and the tensors that are results of ops in f32."""

    module: Path
    real: frozenset[str]


def network(name: str, folder: Path) -> Network:
    """Lower a network."""
    module = lowered(name, folder)
    ops = [op for op in read_program(module).ops if op.name not in ("tpu.Convert", "tpu.Input", "tpu.Weight")]
    real = {op.tensor_name for op in ops if op.results and storage_of(op.results[0]) == "f32"}
    return Network(module, frozenset(real))


def compared(network: Network, wanted: Iterable[Tensors], runs: Sequence[Iterable[Tensors]]) -> list[Cell]:
    """Compare the runs of several rows with the reference's."""
    cells = [Cell() for _ in runs]
    for reference, *made in zip(wanted, *runs, strict=True):
        for cell, mine in zip(cells, made, strict=True):
            _add(cell, network, reference, mine)
    return cells


def _add(cell: Cell, network: Network, reference: Tensors, mine: Tensors) -> None:
    names = [name for name in reference if name in mine]
    cell.inputs, cell.tensors = cell.inputs + 1, len(names)
    for name in names:
        apart = _apart(reference[name], mine[name], name in network.real)
        cell.differing, cell.bytes = cell.differing + apart, cell.bytes + mine[name].nbytes
        cell.first = cell.first or (name if apart else "")
        cell.hashes.setdefault(name, hashlib.sha256()).update(np.ascontiguousarray(mine[name]).tobytes())


def _apart(reference: np.ndarray, mine: np.ndarray, real: bool) -> int:
    assert (reference.dtype, reference.shape) == (mine.dtype, mine.shape)
    if real:
        return int((~np.isclose(mine, reference, rtol=FLOAT_BOUND, atol=1e-12)).sum()) * mine.itemsize
    a, b = (np.ascontiguousarray(x).reshape(-1).view(np.uint8) for x in (reference, mine))
    return int((a != b).sum())


def count_of(row: Row, host: int, emulated: int) -> int:
    """Return how many inputs a row computes."""
    if row.is_simulator:
        return min(ON_SIMULATOR, emulated)
    return emulated if row.link else host


def main() -> int:
    """Print the matrix."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=100, help="on this processor")
    parser.add_argument("--emulated", type=int, default=5, help="inputs under emulation")
    parser.add_argument("--only", default="", help="rows whose names hold this text")
    parser.add_argument("--networks", default=",".join(BUILDERS), help="some of them, with commas")
    parser.add_argument("--save", type=Path, help="write the SHA-256 of every tensor as JSON")
    args = parser.parse_args()
    names = args.networks.split(",")
    rows = [row for row in ROWS if args.only in row.name]
    left_out = {row.name: why for row in rows if (why := row.missing())}
    rows = [row for row in rows if row.name not in left_out]
    cells: dict[str, dict[str, Cell]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            cells[name] = _column(name, Path(folder), rows, args)
            print(f"{name}: done", file=sys.stderr)
    _print(names, rows, cells, left_out)
    if args.save:
        hashes = {
            n: {r: {t: h.hexdigest() for t, h in c.hashes.items()} for r, c in column.items()}
            for n, column in cells.items()
        }
        args.save.write_text(json.dumps(hashes, indent=1, sort_keys=True))
    return int(any(cell.differing for column in cells.values() for cell in column.values()))


def _column(name: str, folder: Path, rows: list[Row], args: argparse.Namespace) -> dict[str, Cell]:
    """Return the cells of a network; rows with as many inputs go together, beside one run of the reference."""
    found, made = {}, network(name, folder)
    given = random_inputs(made.module, max(args.inputs, args.emulated))
    rows = [row for row in rows if name not in HOST_ONLY or not (row.is_slow or row.is_simulator)]
    counts = {row: count_of(row, args.inputs, args.emulated) for row in rows}
    for count in sorted(set(counts.values())):
        together = [row for row in rows if counts[row] == count]
        together, runs = _runs(together, made.module, given[:count])
        cells = compared(made, Reference().runs(made.module, given[:count]), runs)
        found.update((row.name, cell) for row, cell in zip(together, cells, strict=True))
    return found


def _runs(rows: list[Row], module: Path, given: list[Tensors]) -> tuple[list[Row], list[Iterable[Tensors]]]:
    """Return the rows that can compute a network, and their runs; what an emulator refuses is named."""
    able: list[Row] = []
    runs: list[Iterable[Tensors]] = []
    for row in rows:
        try:
            run = run_row(row, module, given)
            runs.append(list(run) if row.emulator else run)
            able.append(row)
        except NotEmulated as why:
            print(f"{module.stem} on {row.name}: left out: {why}", file=sys.stderr)
    return able, runs


def _print(names: list[str], rows: list[Row], cells: dict[str, dict[str, Cell]], left_out: dict[str, str]) -> None:
    print(f"{'differing bytes':<18}" + "".join(f"{name:>14}" for name in names) + f"{'inputs':>8}")
    for row in rows:
        found = [cells[name].get(row.name) for name in names]
        inputs = max((cell.inputs for cell in found if cell), default=0)
        print(f"{row.name:<18}" + "".join(f"{cell.differing if cell else '-':>14}" for cell in found) + f"{inputs:>8}")
    for name, why in left_out.items():
        print(f"{name:<18}left out: {why}")
    every = [(name, row, cell) for name in names for row, cell in cells[name].items()]
    for name, row, cell in every:
        if cell.differing:
            print(f"{name} on {row}: first in '{cell.first}'")
    total, tensors = sum(c.bytes for _, _, c in every), sum(c.tensors * c.inputs for _, _, c in every)
    same = "all the same" if not any(cell.differing for _, _, cell in every) else "NOT all the same"
    print(f"{total:,} bytes of {tensors:,} tensors compared, {len(left_out)} rows left out: {same}")


if __name__ == "__main__":
    sys.exit(main())
