"""bmodel_dis.py --diff: two model files compared command by command."""

import argparse
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from difflib import SequenceMatcher
from itertools import zip_longest

from stepdown.cli.bmodel_dis_read import Disassembly, ListedStage, disassembled
from stepdown.cli.bmodel_dis_text import command_line, shown
from stepdown.model import ModelFile, Stage
from stepdown.sim.listing import Entry

CONTEXT = 2
Key = tuple[str, int]


def compare(args: argparse.Namespace) -> int:
    """Print what differs; 1 where something does."""
    a, b = disassembled(args.model, args), disassembled(args.diff, args)
    print(f"--- {args.model}")
    print(f"+++ {args.diff}")
    found = False
    for line in _differences(a, b):
        print(line)
        found = True
    total = sum(len(stage.listing.entries) for stage in a.stages)
    print("the commands DIFFER." if found else f"the commands are the same: {total}.")
    return int(found)


def _differences(a: Disassembly, b: Disassembly) -> Iterator[str]:
    mine, other = ({(s.network.name, s.number): s for s in made.stages} for made in (a, b))
    for key in sorted(mine.keys() ^ other.keys()):
        yield f"{'-' if key in mine else '+'} network {shown(key[0])}, stage {key[1]}"
    if a.model.chip != b.model.chip:
        yield f"! the descriptions of the chips differ: {a.chip}, {b.chip}"
    for key in sorted(mine.keys() & other.keys()):
        title = f"network {shown(key[0])}, stage {key[1]}"
        for line in _stage(a.model, mine[key], b.model, other[key]):
            if title:
                yield title
            title = ""
            yield line


def _stage(model_a: ModelFile, a: ListedStage, model_b: ModelFile, b: ListedStage) -> Iterator[str]:
    for engine in sorted({entry.engine for stage in (a, b) for entry in stage.listing.entries}):
        yield from _engine(engine, *([e for e in s.listing.entries if e.engine == engine] for s in (a, b)))
    if a.whole:
        facts_a, facts_b = _facts(model_a, a.listing.stage), _facts(model_b, b.listing.stage)
        for name in (n for n in {**facts_a, **facts_b} if facts_a.get(n) != facts_b.get(n)):
            yield from (
                f"{sign} {name}: {facts[name]}" for sign, facts in (("-", facts_a), ("+", facts_b)) if name in facts
            )


def _facts(model: ModelFile, stage: Stage) -> Mapping[str, str]:
    """Return what decides a run beside the commands, by what it is called."""
    weights = {
        f"weight {shown(w.name)}": f"{w.type} {list(w.shape)} at {w.address}, SHA-256 {_digits(model, w.section)}"
        for w in stage.all_weights
    }
    texts = {
        f"subnet {n}, {s.kind}": f"{list(s.inputs)} -> {list(s.outputs)}"
        + (f", text {_digits(model, s.text)}" if s.text else "")
        for n, s in enumerate(stage.subnets)
    }
    return {**weights, **texts, "memory": str(dict(stage.memory_bytes)), "outputs": str(list(stage.outputs))}


def _digits(model: ModelFile, section: str) -> str:
    return hashlib.sha256(model.sections[section]).hexdigest()[:16]


def _engine(engine: str, a: Sequence[Entry], b: Sequence[Entry]) -> Iterator[str]:
    """Yield the hunks in which two streams differ; the numbers of the commands do not count."""
    mine, other = ([command_line(entry) for entry in side] for side in (a, b))
    for hunk in SequenceMatcher(None, mine, other, autojunk=False).get_grouped_opcodes(CONTEXT):
        first, last = hunk[0], hunk[-1]
        places = f"{_span('A', first[1], last[2], a)}, {_span('B', first[3], last[4], b)}"
        yield f"@@ {engine}: {places} @@"
        for tag, a_from, a_to, b_from, b_to in hunk:
            for old, new in zip_longest(a[a_from:a_to], b[b_from:b_to]):
                if old:
                    yield f"{' ' if tag == 'equal' else '-'} {_line(old)}"
                if new and tag != "equal":
                    yield f"+ {_line(new)}"


def _span(name: str, begin: int, end: int, side: Sequence[Entry]) -> str:
    return f"{name} {side[begin].index}..{side[end - 1].index}" if begin < end else f"{name} none"


def _line(entry: Entry) -> str:
    return command_line(entry) + (f"  # {shown(entry.name)}" if entry.name else "")
