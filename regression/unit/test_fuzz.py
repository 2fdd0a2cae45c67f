"""Every reader takes or refuses what the fuzzer makes; and the fuzzer sees what it is there to see."""

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import pytest
from checkout import REGRESSION, run
from fuzz.campaign import Box, Campaign, Failure
from fuzz.line_pairs import LinePairs
from fuzz.mutators import mutate_bytes
from fuzz.shrink import shrink
from fuzz.targets import CORPUS, TARGETS, Target
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stepdown.errors import InputError

RUN = REGRESSION / "fuzz" / "run.py"
INPUTS = 500
MAX_CORPUS_BYTES = 2_000_000


@pytest.mark.apart
@pytest.mark.parametrize("name", TARGETS)
def test_bad_inputs_are_refused(name: str, tmp_path: Path) -> None:
    command = ("--target", name, "--count", str(INPUTS), "--no_coverage", "--output", tmp_path)
    ended = run(sys.executable, RUN, *command, timeout_s=900)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert f"{name}: {INPUTS} inputs" in ended.stdout


@pytest.fixture(scope="module", params=TARGETS)
def box(request: pytest.FixtureRequest) -> Iterator[Box]:
    """A place to run single inputs of every target."""
    made = Box(TARGETS[request.param])
    yield made
    made.close()


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(choices=st.randoms(use_true_random=False), data=st.data())
def test_what_hypothesis_makes_is_refused(box: Box, choices: Random, data: st.DataObject) -> None:
    """Hypothesis makes the choices of the mutators, so that it can shrink what fails."""
    seeds = [path.read_bytes() for path in box.target.seeds()]
    made = box.target.mutate(choices, data.draw(st.sampled_from(seeds)), seeds)
    assert box.run(made) is None


def test_the_corpus_is_small_and_every_target_has_one() -> None:
    assert all(target.seeds() for target in TARGETS.values())
    assert sum(path.stat().st_size for path in CORPUS.rglob("*") if path.is_file()) < MAX_CORPUS_BYTES


def _refuses(path: Path, folder: Path) -> None:
    raise InputError("is no good", str(path))


def _fails(path: Path, folder: Path) -> None:
    {}["missing"]  # type: ignore[index]


def _hangs(path: Path, folder: Path) -> None:
    ends = time.process_time() + 60
    while time.process_time() < ends:
        pass


def _writes_outside(path: Path, folder: Path) -> None:
    (folder / ".." / ".." / "stepdown_fuzz_escaped").open("w").close()


def _reads_outside(path: Path, folder: Path) -> None:
    Path("/etc/hostname").read_bytes()


def _writes_inside(path: Path, folder: Path) -> None:
    (folder / "result").write_bytes(path.read_bytes())


def _one_run(read: Callable[[Path, Path], object]) -> Failure | None:
    made = Box(Target("invented", ".bin", read, mutate_bytes))
    try:
        return made.run(b"abc")
    finally:
        made.close()


@pytest.mark.parametrize("read", [_refuses, _writes_inside])
def test_good_readers_pass(read: Callable[[Path, Path], object]) -> None:
    assert _one_run(read) is None


@pytest.mark.parametrize(
    ("read", "signature"),
    [
        (_fails, "KeyError-test_fuzz._fails"),
        (_hangs, "Slow-test_fuzz._hangs"),
        (_writes_outside, "outside-writes"),
        (_reads_outside, "outside-reads"),
    ],
)
def test_bad_readers_are_seen(
    read: Callable[[Path, Path], object], signature: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fuzz.campaign.TIME_LIMIT_S", 0.2)
    failure = _one_run(read)
    Path(CORPUS.anchor, "tmp", "stepdown_fuzz_escaped").unlink(missing_ok=True)
    assert failure is not None
    assert failure.signature == signature


def test_memory_and_crashes_are_seen(tmp_path: Path) -> None:
    """A reader that eats memory and one that ends its process are failures with a saved input each."""
    for name, body, signature in (
        ("eats", "bytearray(3 << 30)", "MemoryError-"),
        ("dies", "os.kill(os.getpid(), signal.SIGSEGV)", "died-SIGSEGV"),
    ):
        code = (
            "import os, signal, sys; sys.argv[0] = 'run.py'\n"
            f"sys.path.insert(0, {str(REGRESSION)!r})\n"
            "from fuzz import run, targets\n"
            "from fuzz.mutators import mutate_bytes\n"
            f"read = lambda path, folder: {body} if b'z' in path.read_bytes() else None\n"
            f"run.TARGETS['labels'] = targets.Target('labels', '.txt', read, lambda *_: b'z')\n"
            "sys.exit(run.main())\n"
        )
        words = ("--target", "labels", "--count", "20", "--no_coverage", "--output", tmp_path / name)
        ended = run(sys.executable, "-c", code, *words)
        assert ended.returncode == 1, ended.stdout + ended.stderr
        assert signature in ended.stdout
        assert [path.read_bytes() for path in (tmp_path / name / "labels").iterdir()] != []


def _inputs(count: int, pairs: LinePairs | None) -> list[bytes]:
    made = Box(TARGETS["table"], pairs)
    try:
        campaign = Campaign(made, "5", Path("unused"))
        found = []
        for _, data in campaign.inputs(0, count):
            campaign.take(data)
            found.append(data)
        return found
    finally:
        made.close()


def test_the_same_seed_gives_the_same_inputs() -> None:
    package = str(REGRESSION.parent / "lib" / "stepdown")
    assert _inputs(200, LinePairs(package)) == _inputs(200, LinePairs(package))


def test_inputs_that_reach_new_lines_join_the_corpus() -> None:
    made = Box(TARGETS["table"], LinePairs(str(REGRESSION.parent / "lib" / "stepdown")))
    try:
        campaign = Campaign(made, "5", Path("unused"))
        for _, data in campaign.inputs(0, 300):
            campaign.take(data)
        assert len(campaign.corpus) > len(made.target.seeds())
        assert campaign.outcome.line_pairs == len(made.pairs.seen if made.pairs else ()) > 10
    finally:
        made.close()


def test_shrinking_keeps_what_fails() -> None:
    assert shrink(bytes(100) + b"bad" + bytes(50), lambda data: b"bad" in data, 300) == b"bad"
