"""What the fuzzer starts from is whole: model files that today's descriptions of chips fit, traces that are read."""

from fuzz.targets import CORPUS, TARGETS

from stepdown.perf import account_of
from stepdown.perf.trace_reader import read_trace


def test_model_files_of_the_corpus_have_todays_chips() -> None:
    """One that has not is refused at once, and nothing behind the chip would be fuzzed: write it again."""
    seeds = [path for name in ("profile", "bmodel_dis") for path in (CORPUS / name).glob("*.bmodel")]
    assert len(seeds) >= 2
    assert all(account_of(path).cycles > 0 for path in seeds)


def test_traces_of_the_corpus_are_read() -> None:
    assert all(read_trace(path).slices for path in TARGETS["trace"].seeds())
