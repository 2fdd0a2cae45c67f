"""A speech detector whose recurrent state goes in and comes out: every tensor, and whether it hears speech."""

import wave
from pathlib import Path

import numpy as np
import onnx
import pytest
from checkout import ROOT
from formats.onnx.test_networks import MIN_COSINE, MIN_EUCLID, run_all

from stepdown.compare.metrics import similarity
from stepdown.formats.onnx.importer import import_model
from stepdown.runtimes.mlir import MlirRunner

DATA = ROOT.parent / "shared" / "data"
MODEL, CLIPS = DATA / "models" / "silero_vad_16k.onnx", sorted((DATA / "audio").glob("*.wav"))
CONTEXT, CHUNK = 64, 512
pytestmark = pytest.mark.skipif(not MODEL.is_file() or not CLIPS, reason=f"{MODEL} or its clips are not there")


def chunks(path: Path) -> list[np.ndarray]:
    """Return what the network is given, one chunk after the other: the end of the chunk before, and the chunk."""
    with wave.open(str(path)) as clip:
        samples = np.frombuffer(clip.readframes(clip.getnframes()), np.int16).astype(np.float32) / 32768
    padded = np.concatenate([np.zeros(CONTEXT, np.float32), samples])
    return [padded[None, at : at + CONTEXT + CHUNK] for at in range(0, len(samples) - CHUNK + 1, CHUNK)]


@pytest.fixture(scope="module")
def runner() -> MlirRunner:
    return MlirRunner(import_model(onnx.load(MODEL), "silero"))


def test_every_tensor_is_that_of_onnxruntime(runner: MlirRunner) -> None:
    state = np.random.default_rng(0).normal(size=(2, 1, 128)).astype(np.float32)
    inputs = {"input": chunks(CLIPS[0])[3], "state": state}
    ours, theirs = runner.run(inputs, "all"), run_all(onnx.load(MODEL), inputs)
    made = set(ours) - set(inputs)
    assert made <= set(theirs) and {"output_Unsqueeze", "stateN_Concat"} <= made
    found = {name: similarity(ours[name], theirs[name]) for name in made}
    assert all(s.cosine >= MIN_COSINE and s.euclid >= MIN_EUCLID for s in found.values()), found


@pytest.mark.parametrize("clip", CLIPS, ids=[clip.stem for clip in CLIPS])
def test_speech_is_heard(runner: MlirRunner, clip: Path) -> None:
    state, heard = np.zeros((2, 1, 128), np.float32), []
    for chunk in chunks(clip):
        made = runner.run({"input": chunk, "state": state})
        state = made["stateN_Concat"]
        heard.append(made["output_Unsqueeze"].item())
    assert max(heard) >= 0.99
