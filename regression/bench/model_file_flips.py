"""Every byte of a model file flipped, and what a reader says of it.

    python regression/bench/model_file_flips.py X.bmodel … [--bits] [--sample N] [--seed S]

Of each byte one other value is tried, with --bits each of its eight bits; with --sample only N places, at random. The
file is changed in place in a copy, read as every tool reads it, and changed back. Prints by section how many flips
were refused with its name. Ends with 1 where a file was read, or refused by another exit code than 2 or without the
name of the section that the byte lies in ("header" for the length and the header).
"""

import argparse
import json
import os
import shutil
import struct
import sys
import tempfile
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from random import Random

from stepdown.errors import StepError
from stepdown.model import read_model_file

HEADER = "header"


def main() -> int:
    """Flip the bytes of the files of the command line."""
    given = _parser().parse_args()
    wrong = 0
    for file in given.files:
        counts, silent = flips(Path(file), _places(given, Path(file).stat().st_size))
        print(f"{file}: {Path(file).stat().st_size:,} bytes, {counts.total():,} flips refused, {len(silent)} not")
        for owner, count in counts.most_common():
            print(f"  {count:9,} {owner}")
        for place, said in silent[:10]:
            print(f"  byte {place}: {said}")
        wrong += len(silent)
    return int(wrong > 0)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", metavar="X.bmodel")
    parser.add_argument("--bits", action="store_true", help="each of the eight bits of a byte")
    parser.add_argument("--sample", type=int, default=0, metavar="N", help="so many places (default: all)")
    parser.add_argument("--seed", type=int, default=7)
    return parser


def _places(given: argparse.Namespace, size: int) -> Iterator[tuple[int, int]]:
    """Yield the bytes to change, and the bits of each that change."""
    rng = Random(given.seed)
    chosen = rng.sample(range(size), min(given.sample, size)) if given.sample else range(size)
    for place in chosen:
        yield from ((place, 1 << bit) for bit in range(8)) if given.bits else [(place, rng.randrange(1, 256))]


def flips(path: Path, places: Iterable[tuple[int, int]]) -> tuple[Counter[str], list[tuple[int, str]]]:
    """Return by section how many flips were refused by its name, and those that were not, with what was said."""
    data, counts, silent = path.read_bytes(), Counter[str](), []
    begins = sections(data)
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "flipped.bmodel"
        shutil.copyfile(path, copy)
        with copy.open("r+b", buffering=0) as stream:
            for place, mask in places:
                os.pwrite(stream.fileno(), bytes([data[place] ^ mask]), place)
                owner = begins[bisect_right(begins, (place, "\U0010ffff")) - 1][1]
                if said := _unnamed(copy, owner):
                    silent.append((place, said))
                else:
                    counts[owner] += 1
                os.pwrite(stream.fileno(), data[place : place + 1], place)
    return counts, silent


def sections(data: bytes) -> list[tuple[int, str]]:
    """Return where the header and each section of a file begin."""
    end = 8 + struct.unpack_from("<Q", data)[0]
    rows = {name: row for name, row in json.loads(data[8:end]).items() if name != "__metadata__"}
    return [(0, HEADER), *sorted((end + row["data_offsets"][0], name) for name, row in rows.items())]


def _unnamed(path: Path, owner: str) -> str:
    """Return what is wrong with how a file is refused, nothing where its section is named in one line."""
    try:
        read_model_file(path)
    except StepError as error:
        named = HEADER in str(error) if owner == HEADER else f"section '{owner}' is damaged" in str(error)
        return "" if named and error.exit_code == 2 and "\n" not in str(error) else f"{error.exit_code}: {error}"
    return "read without a word"


if __name__ == "__main__":
    sys.exit(main())
