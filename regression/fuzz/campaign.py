"""One campaign: a target, many inputs, one process with limits; every input that fails is kept."""

import hashlib
import json
import shutil
import sys
import tempfile
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from fuzz.guard import TIME_LIMIT_S, TooSlow, Watch, time_limit
from fuzz.line_pairs import LinePairs
from fuzz.shrink import shrink
from fuzz.targets import Target
from stepdown.errors import StepError

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "lib" / "stepdown"
_KEEP_BYTES = 1 << 13
_SHRINK_RUNS = 300


@dataclass(frozen=True)
class Failure:
    """What went wrong with an input; failures with equal `signature` have one cause."""

    signature: str
    detail: str


@dataclass
class Outcome:
    """What a campaign found."""

    inputs: int = 0
    accepted: int = 0
    refused: int = 0
    line_pairs: int = 0
    kept: int = 0
    failures: dict[str, str] = field(default_factory=dict)
    """By signature, the saved input."""

    def to_json(self) -> str:
        """Return all fields as text."""
        return json.dumps(self.__dict__)


class Box:
    """Runs single inputs of a target in a folder of their own, which alone may be written and read."""

    def __init__(self, target: Target, pairs: LinePairs | None = None) -> None:
        self.target, self.pairs = target, pairs
        self.folder = Path(tempfile.mkdtemp(prefix="stepdown_fuzz_"))
        self.accepted = False
        if target.beside.is_dir():
            shutil.copytree(target.beside, self.folder, dirs_exist_ok=True)
        (self.folder / "out").mkdir()
        self._watch = Watch(self.folder, _readable())

    def close(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def run(self, data: bytes) -> Failure | None:
        """Let the target read `data`; None where it took it or refused it as it should."""
        path = self.folder / f"input{self.target.suffix}"
        path.write_bytes(data)
        self.accepted = False
        try:
            with self._watch.watching(), time_limit(TIME_LIMIT_S):
                self._read(path)
            self.accepted = True
        except StepError as error:
            if type(error) is StepError:
                return _failure(error)
        except (Exception, TooSlow) as error:
            return _failure(error)
        if self._watch.violations:
            first = self._watch.violations[0]
            return Failure(f"outside-{first.split()[0]}", first)
        return None

    def _read(self, path: Path) -> None:
        if self.pairs is None:
            self.target.read(path, self.folder / "out")
        else:
            with self.pairs.tracing():
                self.target.read(path, self.folder / "out")


def _readable() -> list[Path]:
    """Return the folders that a reader may read: Python, our package, what is always there."""
    places = [sys.prefix, sys.base_prefix, PACKAGE, "/proc/self"]
    return [Path(place) for place in places]


def _failure(error: BaseException) -> Failure:
    """Return the failure of an exception: its kind and the innermost place in our package."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [f for f in frames if f.filename.startswith(str(PACKAGE))]
    ours = ours or [f for f in frames if Path(f.filename).parent != Path(__file__).parent] or frames
    place = f"{Path(ours[-1].filename).stem}.{ours[-1].name}" if ours else "?"
    if isinstance(error, RecursionError):  # the place is where the stack happened to end
        place = f"{Path(ours[0].filename).stem}.{ours[0].name}"
    kind = "Slow" if isinstance(error, TooSlow) else type(error).__name__
    text = " ".join(str(error).split())[:200]
    return Failure(f"{kind}-{place}", f"{kind} in {place}: {text}")


class Campaign:
    """A seeded walk from the corpus; with `pairs`, inputs that reach new line pairs join the corpus."""

    def __init__(self, box: Box, seed: str, saved: Path, keep: Path | None = None) -> None:
        self.box, self.seed, self.saved, self.keep = box, seed, saved, keep
        self.outcome = Outcome()
        self.corpus: list[bytes] = []

    def inputs(self, first: int, count: int) -> Iterator[tuple[int, bytes]]:
        """Yield `count` numbered inputs from number `first` on: the files of the corpus, then mutated ones."""
        files = [path.read_bytes() for path in self.box.target.seeds()]
        self.corpus = [data for data in files if data] or [b"\n"]
        for number in range(first, first + count):
            yield number, files[number] if number < len(files) else self._mutated(number)

    def _mutated(self, number: int) -> bytes:
        rng = Random(f"{self.seed}:{number}")
        base = self.corpus[-1 - rng.randrange(min(64, len(self.corpus)))] if rng.random() < 0.3 else None
        return self.box.target.mutate(rng, base or rng.choice(self.corpus), self.corpus)

    def take(self, data: bytes) -> None:
        """Run one input and note what comes of it."""
        before = len(self.box.pairs.seen) if self.box.pairs else 0
        failure = self.box.run(data)
        self.outcome.inputs += 1
        self.outcome.accepted += self.box.accepted
        self.outcome.refused += not self.box.accepted and failure is None
        if failure is not None:
            self._fail(failure, data)
        elif self.box.pairs and len(self.box.pairs.seen) > before:
            self._join(data)

    def _join(self, data: bytes) -> None:
        assert self.box.pairs is not None
        self.outcome.line_pairs = len(self.box.pairs.seen)
        if len(data) <= _KEEP_BYTES:
            self.corpus.append(data)
            self.outcome.kept += 1
            if self.keep:
                _save(self.keep, "kept", data, self.box.target.suffix)

    def _fail(self, failure: Failure, data: bytes) -> None:
        if failure.signature not in self.outcome.failures:
            pairs, self.box.pairs = self.box.pairs, None
            slow = failure.signature.startswith("Slow")
            data = data if slow else shrink(data, lambda d: _same(self.box.run(d), failure), _SHRINK_RUNS)
            self.box.pairs = pairs
            path = _save(self.saved, failure.signature, data, self.box.target.suffix)
            self.outcome.failures[failure.signature] = str(path)
            print(f"{self.box.target.name}: {failure.detail}: {path}", file=sys.stderr, flush=True)


def _same(found: Failure | None, wanted: Failure) -> bool:
    return found is not None and found.signature == wanted.signature


def _save(folder: Path, stem: str, data: bytes, suffix: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    name = "".join(c if c.isalnum() or c in "-_." else "_" for c in stem)
    path = folder / f"{name}-{hashlib.sha256(data).hexdigest()[:8]}{suffix}"
    path.write_bytes(data)
    return path


def replay(target: Target, files: Sequence[Path]) -> int:
    """Run saved inputs and print what each does, with the traceback where it fails; returns how many fail."""
    box, failed = Box(target), 0
    try:
        for path in files:
            failure = box.run(path.read_bytes())
            failed += failure is not None
            print(f"{path}: {failure.detail if failure else 'accepted' if box.accepted else 'refused'}")
    finally:
        box.close()
    return failed


__all__ = ["TIME_LIMIT_S", "Box", "Campaign", "Failure", "Outcome", "replay"]
