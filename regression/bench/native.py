"""Networks as machine code beside the best of other engines, in one process, turn by turn.

    python regression/bench/native.py [--models DIR] [--work DIR] [--networks A,B] [--modes A,B] [--threads 1,2]
                                      [--seconds S] [--prepare | --calls | --layers] [--check]

For each network, mode and number of threads: the median and the least time of each engine, and the best peer's median
divided by ours (above 1: ours is faster); for each mode and number of threads the geometric mean of that, with the
network where it is least. `--check` ends with exit code 1 where a mean is below 1.0 or a network below 0.9. Before all,
what the processor can do at most by its own instructions. `--prepare` makes all files and measures nothing; `--calls`
prints instead where our time goes, by kind of kernel, on one thread; `--layers` how near single convolutions come to
what the processor can do, with `--check` whether all reach nine tenths.

Peers are `requirements/bench.txt` (`bash build.sh --bench`); for ncnn also `pip install --no-deps pnnx==20261020`.
What is not installed, or cannot run a network, is left out by name. `native_peers.py` says what is counted of each. An
engine that takes long is timed less often; after each turn all are left in peace until the threads of the last have
gone to sleep.
"""

import argparse
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from native_calls import calls_text, spent
from native_layers import layers_table
from native_networks import MODELS, NETWORKS, LeftOut, Networks
from native_peaks import peaks
from native_peers import OURS, Engine, engines

MODES = ("INT8", "F32", "BF16")
MEAN, LEAST, OF_PEAK = 1.0, 0.9, 0.9
_SLOW = 10
"""A call that lasts so many bursts is not repeated to warm caches."""
_BURST_SECONDS, _PEACE_SECONDS = 0.02, 0.06
"""How long an engine runs at a time; how long all sleep then: threads of onnxruntime wait actively for some 40 ms."""


@dataclass(frozen=True)
class Row:
    """What was measured of a network: milliseconds by engine, the median and the least, ours first."""

    network: str
    times: dict[str, tuple[float, float]]
    operations: int

    @property
    def best(self) -> str:
        """The fastest peer."""
        return min((name for name in self.times if name != OURS), key=lambda name: self.times[name])

    @property
    def ratio(self) -> float:
        """The best peer's median divided by ours."""
        return self.times[self.best][0] / self.times[OURS][0]


def race(found: list[Engine], seconds: float, threads: int) -> dict[str, tuple[float, float]]:
    """Return the median and the least milliseconds of each engine, run turn by turn in bursts.

    A burst warms the caches by one call and then lasts a fiftieth of a second, at least one call; an engine that has
    had its seconds waits for the others.
    """
    times: dict[str, list[float]] = {engine.name: [] for engine in found}
    while left := [engine for engine in found if sum(times[engine.name]) < seconds]:
        for engine in left:
            warm = engine.turn()
            made = [warm] if warm > _BURST_SECONDS * _SLOW else []
            while sum(made) < _BURST_SECONDS:
                made.append(engine.turn())
            times[engine.name] += made
            time.sleep(_PEACE_SECONDS * (threads > 1))
    return {name: (1e3 * statistics.median(made), 1e3 * min(made)) for name, made in times.items()}


def measured(networks: Networks, name: str, mode: str, threads: int, seconds: float) -> tuple[Row, dict[str, str]]:
    """Return what was measured of a network, and by name why peers are absent."""
    found, absent = engines(networks, name, mode, threads)
    times = race(found, seconds, threads)
    return Row(name, times, 2 * sum(op.cost() for op in networks.top(name).ops)), absent


def row_text(row: Row) -> str:
    """Return a row of the table."""
    shown = ", ".join(f"{name} {_ms(median)} ({_ms(least)})" for name, (median, least) in row.times.items())
    done = row.operations / row.times[OURS][0] / 1e6
    return f"| {row.network} | {shown} | {row.best} | {row.ratio:.2f} | {done:.0f} |"


def _ms(value: float) -> str:
    return f"{value:.3f}" if value < 1 else f"{value:.2f}"


def table(networks: Networks, names: list[str], mode: str, threads: int, seconds: float) -> bool:
    """Print the networks in a mode with some threads; return whether the targets are met."""
    print(f"\n{mode}, {threads} thread{'s' * (threads > 1)}\n")
    print("| network | ms, median (least) | best peer | its time ÷ ours | GOP/s of ours |")
    print("| --- | --- | --- | --- | --- |")
    rows, absences = [], {}
    for name in names:
        try:
            row, absent = measured(networks, name, mode, threads, seconds)
        except LeftOut as reason:
            absences[name] = str(reason)
            continue
        absences |= {f"{peer} on {name}": why for peer, why in absent.items()}
        if len(row.times) > 1:
            rows.append(row)
            print(row_text(row), flush=True)
    print()
    for what, why in _gathered(absences).items():
        print(f"left out: {what}: {why}")
    return _summed(rows, mode, threads, len(names))


def _gathered(absences: dict[str, str]) -> dict[str, str]:
    """Return the absences, those of a peer on several networks for one reason together."""
    found: dict[tuple[str, str], list[str]] = {}
    for what, why in absences.items():
        peer, _, network = what.partition(" on ")
        found.setdefault((peer, why), []).append(network)
    return {f"{peer} ({', '.join(filter(None, at))})" if any(at) else peer: why for (peer, why), at in found.items()}


def _summed(rows: list[Row], mode: str, threads: int, asked: int) -> bool:
    if not rows:
        print(f"{mode}, {threads}: nothing was measured")
        return False
    mean = float(np.exp(np.mean([np.log(row.ratio) for row in rows])))
    worst = min(rows, key=lambda row: row.ratio)
    met = mean >= MEAN and worst.ratio >= LEAST
    part = f", {len(rows)} of {asked} networks" if len(rows) < asked else ""
    print(
        f"{mode}, {threads} thread{'s' * (threads > 1)}: geometric mean {mean:.2f} over {len(rows)} networks; "
        f"least {worst.ratio:.2f}, {worst.network} beside {worst.best}: {'met' if met else 'missed'}{part}",
        flush=True,
    )
    return met


def prepare(networks: Networks, names: list[str], modes: list[str]) -> int:
    """Make the files of all engines."""
    for name in names:
        for mode in modes:
            path = networks.library(name, mode)
            engines(networks, name, mode, 1)
            size, seconds = path.stat().st_size / 1e6, path.with_suffix(".seconds").read_text()
            print(f"{name} {mode}: {size:.2f} MB, made in {seconds} s", flush=True)
    return 0


def calls(networks: Networks, names: list[str], modes: list[str], folder: Path) -> int:
    """Print where our time goes."""
    for name in names:
        for mode in modes:
            print(calls_text(name, mode, spent(networks, name, mode, folder / f"{name}_{mode}")), flush=True)
    return 0


def layers(modes: list[str], folder: Path) -> bool:
    """Print how near single convolutions come to the peak; return whether all come near enough."""
    met = True
    for mode in modes:
        text, least = layers_table(mode, folder)
        print(text, flush=True)
        met &= least >= OF_PEAK
    return met


def _words(text: str, known: tuple[str, ...], parser: argparse.ArgumentParser) -> list[str]:
    words = text.split(",")
    for word in words:
        if word not in known:
            parser.error(f"'{word}' is none of {', '.join(known)}")
    return words


def main() -> int:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, default=MODELS, help="folder of the models")
    parser.add_argument("--work", type=Path, help="folder that keeps what is made of the models")
    parser.add_argument("--networks", default=",".join(NETWORKS))
    parser.add_argument("--modes", default=",".join(MODES))
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--seconds", type=float, default=1.0, help="how long each engine is timed")
    parser.add_argument("--prepare", action="store_true", help="make the files and stop")
    parser.add_argument("--calls", action="store_true", help="print where our time goes, and stop")
    parser.add_argument("--layers", action="store_true", help="print the rates of single convolutions, and stop")
    parser.add_argument("--check", action="store_true", help="exit code 1 where a target is missed")
    args = parser.parse_args()
    names, modes = _words(args.networks, tuple(NETWORKS), parser), _words(args.modes, MODES, parser)
    with tempfile.TemporaryDirectory() as folder:
        networks = Networks(args.models, args.work or Path(folder))
        if args.prepare:
            return prepare(networks, names, modes)
        if args.calls:
            return calls(networks, names, modes, Path(folder))
        if args.layers:
            return 1 if not layers(modes, Path(folder)) and args.check else 0
        for name, (mode, rate) in peaks(args.work or Path(folder)).items():
            print(f"at most {rate:.0f} GOP/s in {mode}, one thread: {name}")
        met = [
            table(networks, names, mode, int(threads), args.seconds)
            for mode in modes for threads in args.threads.split(",")
        ]  # fmt: skip
    return 1 if args.check and not all(met) else 0


if __name__ == "__main__":
    raise SystemExit(main())
