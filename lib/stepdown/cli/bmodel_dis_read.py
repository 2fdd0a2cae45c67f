"""bmodel_dis.py: what is printed of a model file, whatever the format."""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, replace

from stepdown.chips import parse_chip
from stepdown.errors import InputError
from stepdown.files.npz import closest
from stepdown.model import ModelFile, Network, Subnet, read_model_file
from stepdown.npu.isa import ENGINES
from stepdown.sim.listing import Entry, Listing, listing


@dataclass(frozen=True)
class ListedStage:
    """A stage of a network with the chosen ones of its commands; `whole` says that all are there."""

    network: Network
    number: int
    listing: Listing
    whole: bool

    def subnets(self) -> Iterator[tuple[int, Subnet, list[Entry]]]:
        """Yield the subnets in the order of running, with their commands; without `whole`, those that have some."""
        for number, subnet in enumerate(self.listing.stage.subnets):
            entries = [entry for entry in self.listing.entries if entry.subnet == number]
            if entries or self.whole:
                yield number, subnet, entries


@dataclass(frozen=True)
class Disassembly:
    """A model file, and of its stages the commands that were asked for."""

    model: ModelFile
    chip: str
    stages: tuple[ListedStage, ...]


def disassembled(path: str, args: argparse.Namespace) -> Disassembly:
    """Return the commands of a model file that the flags choose.

    Raises:
        InputError: it is no model file, or damaged, or it has no such network, engine or layer.
    """
    model = read_model_file(path)
    chip = parse_chip(model.chip, f"{path}, section 'chip.toml'")
    networks = [model.network(args.network)] if args.network else model.networks
    whole = not (args.engine or args.layer)
    stages = [
        ListedStage(network, number, listing(model, stage, chip), whole)
        for network in networks
        for number, stage in enumerate(network.stages)
    ]
    _check_choice(stages, args, path)
    return Disassembly(model, chip.name, tuple(_chosen(stage, args) for stage in stages))


def _check_choice(stages: list[ListedStage], args: argparse.Namespace, path: str) -> None:
    if args.engine and args.engine not in ENGINES:
        raise InputError(f"no engine '{args.engine}'", path, f"one of {', '.join(ENGINES)}")
    names = {entry.name: None for stage in stages for entry in stage.listing.entries}
    for wanted in args.layer:
        if wanted not in names:
            raise InputError(f"no command makes '{wanted}'", path, closest(wanted, list(names)))


def _chosen(stage: ListedStage, args: argparse.Namespace) -> ListedStage:
    kept = tuple(
        entry
        for entry in stage.listing.entries
        if args.engine in ("", entry.engine) and (not args.layer or entry.name in args.layer)
    )
    return replace(stage, listing=replace(stage.listing, entries=kept))
