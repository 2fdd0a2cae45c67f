"""The machine beside the reference: every network, mode, chip and size of local memory, every tensor, byte by byte.

    python regression/bench/npu_matrix.py [--models DIR] [--work DIR] [--nets A,B] [--modes A,B] [--chips A,B]
        [--memories full,quarter,smallest] [--passes A,B] [--quick] [--write]

Every case is a model file that the simulator runs from the file alone. Prints a row a case: tensors compared; ops that
the host ran; bytes that differ; in F32 the worst ratio of a difference to its bound (npu_bounds.py), op by op from the
machine's own operands; the milliseconds that the cost model predicts; the seconds that the passes with code generation,
loading and simulation took; bytes of a lane's local memory (of a systolic array: of its scratchpad), and of global
memory. A mode that a chip has not is a row with its message. With `--write`, writes
docs/npu_matrix.md, in which other cases keep their rows.
`smallest` is the least power of two of a lane's bytes with which no more ops run on the host, found by bisection.
Ends with 1 where a byte differs, a bound is broken, or a case fails.
"""

import argparse
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from npu_bounds import SMALLEST, bound, carried
from npu_networks import MODES, NETWORKS, REGRESSION, Networks, inputs
from npu_run import PASSES, Result, run

from stepdown.chips import Chip, chip_names, load_chip, parse_chip
from stepdown.dialects.op import value_name
from stepdown.dialects.program import read_program
from stepdown.errors import StepError, UnsupportedModel
from stepdown.npu.division import divide
from stepdown.npu.subnets import on_host, subnet_kinds

MEMORIES = ("full", "quarter", "smallest")
QUICK = ("mnist_cnn", "resnet8", "kws", "ad")
CHIPS = tuple(name for name in chip_names() if load_chip(name).kind == "npu")
PAGE = REGRESSION.parent / "docs" / "npu_matrix.md"
HEAD = (
    "network", "mode", "chip", "memory", "groups", "tensors", "host", "differing", "F32 ratio", "predicted ms",
    "code s", "load s", "run s", "lane bytes", "global bytes",
)  # fmt: skip
_KNOWN: tuple[Sequence[str], ...] = (tuple(NETWORKS), MODES, CHIPS, MEMORIES)
_TEXT = """\
`python regression/bench/npu_matrix.py --write` measures this table; a run over some of the cases renews their rows.
`groups` tells whether --layer-group was among the passes, or every op was alone. `host` counts ops that the host ran,
such as Softmax. `predicted ms` is by the cost model for the chip with that much local memory; seconds are of a machine
with two cores that others used too. F32: a ratio of 1 would be a difference as large as its bound."""


@dataclass(frozen=True)
class Case:
    """A lowered network: the rows of the table differ in local memory."""

    network: str
    mode: str
    chip: str

    @property
    def words(self) -> tuple[str, ...]:
        """The first columns."""
        return self.network, self.mode, self.chip


def main() -> int:
    """Run the cases of the command line."""
    given = _parser().parse_args()
    table, failed = [], 0
    print(_line(HEAD))
    for cells, good in rows(given):
        print(_line(cells), flush=True)
        table.append(cells)
        failed += not good
    if given.write:
        PAGE.write_text(merged(PAGE.read_text("utf-8") if PAGE.exists() else "", table), encoding="utf-8")
    print(f"{len(table)} cases, {failed} failed")
    return int(failed > 0)


def rows(given: argparse.Namespace) -> Iterator[tuple[Sequence[str], bool]]:
    """Yield the cells of every case, and whether it holds."""
    networks = Networks(given.models, given.work)
    for name in given.nets:
        for mode in given.modes:
            for chip in given.chips:
                yield from _memories(networks, Case(name, mode, chip), given)


def _memories(networks: Networks, case: Case, given: argparse.Namespace) -> Iterator[tuple[Sequence[str], bool]]:
    """Yield the rows of a lowered network with every size of local memory; one row where the chip has not the mode."""
    try:
        lowered = networks.lowered(case.network, case.mode, case.chip)
    except UnsupportedModel as error:
        yield (*case.words, f"refused: {error.what}"), True
        return
    arrays = inputs(read_program(lowered))
    for memory in given.memories:
        try:
            chip = sized(load_chip(case.chip), memory, partial(hosted, lowered))
            result = run(lowered, chip, given.passes, given.work, arrays)
            yield _row((*case.words, memory, _groups(given.passes)), result, chip, exact=case.mode != "F32")
        except StepError as error:
            yield (*case.words, memory, f"failed: {error}"), False


def _groups(passes: Sequence[str]) -> str:
    return "yes" if "layer-group" in passes else "no"


def _row(words: Sequence[str], result: Result, chip: Chip, exact: bool) -> tuple[Sequence[str], bool]:
    differing, ratio = judged(result, exact)
    cells = (
        f"{len(result.tensors)}", f"{result.host}", f"{differing}", "" if exact else f"{ratio:.3f}",
        f"{result.predicted_ms:.3f}", f"{result.code_s:.2f}", f"{result.load_s:.2f}", f"{result.run_s:.2f}",
        f"{lane_bytes(chip)}", f"{result.global_bytes}",
    )  # fmt: skip
    return (*words, *cells), differing == 0 and ratio <= 1


def judged(result: Result, exact: bool) -> tuple[int, float]:
    """Return the bytes that differ and the worst ratio of a difference to its bound.

    Exact: from the reference, tensor by tensor. Else every op is held against the reference on the operands that the
    machine gave it: one that sums nothing must be equal to the bit, one that sums may differ within its bound.
    """
    if exact:
        known = result.tensors.keys() | result.reference.keys()
        return sum(bytes_apart(result.tensors.get(name), result.reference.get(name)) for name in known), 0.0
    differing, worst = 0, 0.0
    for (mine, wanted), limit in limits(result):
        apart = bytes_apart(mine, wanted)
        if apart and limit.any():
            worst = max(worst, float((np.abs(mine.astype(np.float64) - wanted) / np.maximum(limit, SMALLEST)).max()))
        else:
            differing += apart
    return differing, worst


def limits(result: Result) -> Iterator[tuple[tuple[np.ndarray, np.ndarray], np.ndarray]]:
    """Yield, op by op, the machine's result and the reference's on its operands, and how far apart they may be."""
    between_tiles: dict[str, tuple[Any, np.ndarray]] = {}
    for op, operands, mine, wanted in result.by_op():
        group = op.note("layer_group") if math.prod(op.note("layer_tile") or ()) > 1 else None
        held = [between_tiles.get(value_name(value), (None, None)) for value in op.operands]
        limit = bound(op, operands) + carried(op, operands, [each if of == group else None for of, each in held])
        if group is not None:
            between_tiles[value_name(op.results[0])] = group, limit
        yield (mine, wanted), limit


def bytes_apart(mine: np.ndarray | None, wanted: np.ndarray | None) -> int:
    """Return how many bytes differ; all, where shape or type do, or a side has not the tensor."""
    if mine is None or wanted is None:
        return sum(each.nbytes for each in (mine, wanted) if each is not None)
    if (mine.shape, mine.dtype) != (wanted.shape, wanted.dtype):
        return max(mine.nbytes, wanted.nbytes)
    left, right = (np.ascontiguousarray(each).reshape(-1).view(np.uint8) for each in (mine, wanted))
    return int((left != right).sum())


# --- chips with less local memory


def lane_bytes(chip: Chip) -> int:
    """Return the size that is varied: local memory of a lane, or the scratchpad."""
    return chip.local_bytes if chip.lanes else chip.scratchpad_bytes


def with_bytes(chip: Chip, size: int) -> Chip:
    """Return a chip with another local memory, by way of its TOML as a user would write it; banks as many as fit."""
    least = chip.local_alignment_bytes
    if chip.lanes:
        made = replace(chip, local_bytes=size, banks=min(chip.banks, size // least))
    else:
        sums = max(chip.accumulator_bytes * size // chip.scratchpad_bytes, least)
        made = replace(
            chip, scratchpad_bytes=size, scratchpad_banks=min(chip.scratchpad_banks, size // least),
            accumulator_bytes=sums, accumulator_banks=min(chip.accumulator_banks, sums // least),
        )  # fmt: skip
    return parse_chip(made.to_toml(), f"{chip.name} with {size} bytes")


def sized(chip: Chip, memory: str, hosted: Callable[[Chip], int]) -> Chip:
    """Return the chip with all of its local memory, a quarter, or the least with which the host has no more to do."""
    whole = lane_bytes(chip)
    if memory != "smallest":
        return with_bytes(chip, whole // 4 if memory == "quarter" else whole)
    least, most = chip.local_alignment_bytes * (1 if chip.lanes else chip.array_columns), hosted(chip)
    low, high = least.bit_length() - 2, whole.bit_length() - 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if hosted(with_bytes(chip, 1 << middle)) > most else (low, middle)
    return with_bytes(chip, 1 << high)


def hosted(lowered: Path, chip: Chip) -> int:
    """Return how many ops of a network the host runs: what has no commands, or does not fit local memory."""
    program = read_program(lowered)
    divide(program, chip)
    return sum(on_host(op, subnet_kinds(program)) for op in program.ops)


# --- the page


def merged(old: str, table: Sequence[Sequence[str]]) -> str:
    """Return the document with these rows; of those that it had, other cases are kept."""
    lines = [line.strip("| ").split(" | ") for line in old.splitlines() if line.startswith("| ")][1:]
    rows = {_key(row): row for row in [*([cell.strip() for cell in line] for line in lines), *table]}
    order = sorted(rows, key=lambda key: tuple(known.index(cell) for known, cell in zip(_KNOWN, key, strict=True)))
    head = ["# The machine beside the reference", "", (__doc__ or "").partition("\n\n")[0], "", _TEXT, ""]
    cells = ([*rows[key], *[""] * (len(HEAD) - len(rows[key]))] for key in order)
    body = [f"| {' | '.join(HEAD)} |", "|---" * len(HEAD) + "|", *(f"| {' | '.join(row)} |" for row in cells), ""]
    return "\n".join([*head, *body])


def _key(row: Sequence[str]) -> tuple[str, ...]:
    return (*row[:3], row[3] if row[3] in MEMORIES else MEMORIES[0])


def _line(cells: Sequence[str]) -> str:
    widths = (18, 15, 8, 8, 6, 7, 5, 9, 9, 12, 6, 6, 6, 10, 12)
    return " ".join(f"{cell:{width}}" for cell, width in zip(cells, widths, strict=False)).rstrip()


def _parser() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--models", type=Path, default=REGRESSION / "model", help="folder of the models")
    options.add_argument("--work", type=Path, default=Path("work_dir/npu_matrix"), help="folder of lowered modules")
    for name, known in (("nets", tuple(NETWORKS)), ("modes", MODES), ("chips", CHIPS),
                        ("memories", MEMORIES), ("passes", PASSES)):  # fmt: skip
        options.add_argument(f"--{name}", type=_some(known), default=known, metavar="A,B", help=", ".join(known))
    options.add_argument("--quick", dest="nets", action="store_const", const=QUICK, help="small networks alone")
    options.add_argument("--write", action="store_true", help="write docs/npu_matrix.md")
    return options


def _some(known: Sequence[str]) -> Callable[[str], tuple[str, ...]]:
    """Return what reads a list of some of these words."""

    def pick(text: str) -> tuple[str, ...]:
        chosen = tuple(text.split(","))
        if unknown := [name for name in chosen if name not in known]:
            raise argparse.ArgumentTypeError(f"no {unknown[0]}: {', '.join(known)}")
        return chosen

    return pick


if __name__ == "__main__":
    sys.exit(main())
