"""Fills the table of schedules that comes with Stepdown, by a search on the networks of the benchmark.

    python regression/bench/native_schedules.py --work DIR [--models DIR] [--networks A,B] [--modes A,B] [--trials N]

What is found is kept in the work folder, so that a search that was broken off goes on. The table has those schedules
for this computer's level of processor that were faster than the rule's when they were timed once more; rows of what was
not searched stay.
"""

import argparse
import json
import tomllib
from dataclasses import replace
from pathlib import Path

from native_networks import CHIP, MODELS, NETWORKS, Networks, processor

import stepdown.native
from stepdown.chips import load_chip
from stepdown.native.machine import machine_of
from stepdown.native.schedules import Cache, Schedule
from stepdown.native.tuning import WORTH, tune

TABLE = Path(stepdown.native.__file__).parent / "schedules.toml"
HEAD = """\
# How the work of kernels is cut where that is faster than what their rule of cost says, by processor and workload.
# Written by regression/bench/native_schedules.py; see docs/native.md.
"""


def search(networks: Networks, names: list[str], modes: list[str], trials: int, folder: Path) -> None:
    """Look for schedules that are faster than those of the rules."""
    machine = replace(machine_of(load_chip(CHIP), processor()), schedules={})
    for name in names:
        for mode in modes:
            print(f"{name} {mode}", flush=True)
            tune(networks.lowered(name, mode), machine, trials, Cache(machine, folder))


def merged(rows: dict[str, Schedule], folder: Path) -> dict[str, Schedule]:
    """Return the rows of a processor with what was found: rows that were not measured stay as they are."""
    found = {read["workload"]: read for read in (json.loads(path.read_text()) for path in folder.glob("*.json"))}
    faster = {name: r["schedule"] for name, r in found.items() if r["seconds"] and _ratio(r["seconds"]) < WORTH}
    return {name: row for name, row in rows.items() if name not in found} | faster


def _ratio(seconds: dict[str, float]) -> float:
    return seconds["after"] / seconds["before"]


def table_text(tables: dict[str, dict[str, Schedule]]) -> str:
    """Return the table as TOML, sorted."""
    lines = [HEAD]
    for name, rows in sorted(tables.items()):
        lines.append(f'["{name}"]')
        for workload, schedule in sorted(rows.items()):
            numbers = ", ".join(f"{key} = {value}" for key, value in sorted(schedule.items()))
            lines.append(f'"{workload}" = {{ {numbers} }}')
        lines.append("")
    return "\n".join(lines)


def main() -> None:
    """Search and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, default=MODELS)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--networks", default=",".join(NETWORKS))
    parser.add_argument("--modes", default="INT8,F32")
    parser.add_argument("--trials", type=int, default=8)
    args = parser.parse_args()
    folder = args.work / "schedules" / processor()
    networks = Networks(args.models, args.work)
    search(networks, args.networks.split(","), args.modes.split(","), args.trials, folder)
    tables = tomllib.loads(TABLE.read_text())
    TABLE.write_text(table_text({**tables, processor(): merged(tables.get(processor(), {}), folder)}))


if __name__ == "__main__":
    main()
