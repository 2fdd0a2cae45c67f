"""Inputs of the attention networks that `attention.py` measures, and what is counted of their outputs.

Calibration and evaluation share nothing: other sentences; other text lines, in another typeface.
"""

import csv
import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

Inputs = dict[str, np.ndarray]
TOKENS, HEIGHT, WIDTH = 16, 48, 384

CALIBRATION_SENTENCES = (
    "the train to the coast leaves at nine", "she painted the old wooden fence green", "rain falls on the hills",
    "our team won the final match last night", "the recipe needs two eggs and some flour", "he forgot his keys at home",
    "the museum opens a new hall of sculpture", "prices of oil rose again in march", "a child builds a sand castle",
    "the doctor asked him to rest for a week", "they are planting trees along the river", "the film was far too long",
    "the engine makes a strange noise", "how do i reset my password", "where can i buy fresh bread nearby",
    "the parliament voted on the new law", "a bird built its nest under the roof", "the battery lasts for ten hours",
    "students protest against higher fees", "the moon is bright tonight", "a man plays the violin in the street",
    "the bridge was closed after the storm", "scientists found water on a distant planet", "i would like a cup of tea",
    "the bank lowered its interest rate", "two boys are riding bicycles", "the letter arrived three days late",
    "her grandmother told stories about the war", "the phone fell into the lake", "please send me the report by monday",
    "the factory produces parts for cars", "snow covered the small village",
)  # fmt: skip
EVALUATION_PAIRS = (
    ("a cat sleeps on the warm sofa", "a kitten is napping on a couch"),
    ("the stock market fell sharply today", "share prices dropped a lot this morning"),
    ("how can i learn to play the guitar", "what is the best way to study guitar"),
    ("the chef cooked a delicious meal", "the cook prepared tasty food"),
    ("a plane is taking off", "an aircraft departs from the runway"),
    ("the president met foreign leaders", "heads of state held talks with the president"),
    ("the patient has a high fever", "a sick person runs a high temperature"),
    ("the company hired fifty new workers", "a firm took on many employees"),
    ("he broke the world record in swimming", "the swimmer set a new best time"),
    ("the book is about the history of rome", "a volume on ancient roman times"),
    ("the computer crashed while i was writing", "my laptop stopped working as i typed"),
    ("heavy rain flooded the streets", "roads were under water after the storm"),
    ("she adopted a small brown dog", "a woman gave a home to a puppy"),
    ("the teacher explained the theorem", "the professor showed how the proof works"),
    ("the hotel room was dirty and loud", "our accommodation was noisy and not clean"),
    ("astronomers discovered a new star", "a previously unknown sun was found in the sky"),
)  # fmt: skip
CALIBRATION_LINES = (
    "Good morning", "Page 17 of 32", "weight_file", "Total: 45.90", "Network", "float32", "Version 1.8.2", "Yes & No",
    "open source", "Berlin 2019", "read only", "chip-level", "Kernel", "Sum of squares", "42 percent", "Quick fox",
    "left_right", "MUL ADD SUB", "July 4, 1976", "zip codes", "Jumping", "Vector 0x1F", "half-open", "tokens",
)  # fmt: skip


class Task(ABC):
    """A network, the flags that import it up to its scores, its inputs, and what counts."""

    name: str
    model: str
    flags: tuple[str, ...]
    columns: tuple[str, ...]

    @abstractmethod
    def calibration(self) -> list[Inputs]:
        """Return the inputs that may be learnt from."""

    @abstractmethod
    def evaluation(self) -> list[Inputs]:
        """Return the inputs that count."""

    @abstractmethod
    def judge(self, expected: Sequence[np.ndarray], got: Sequence[np.ndarray]) -> tuple[str, ...]:
        """Return the cells of a line, from the outputs of the float network and of the one that is measured."""


class Sentences(Task):
    """A sentence transformer: likeness of embeddings to the float network's, and the nearest sentence of each."""

    name, model = "MiniLM-L6", "all_minilm_l6_v2_w8.onnx"
    flags = ("--input_shapes", f"[[1,{TOKENS}],[1,{TOKENS}],[1,{TOKENS}]]")
    columns = ("cosine, mean", "cosine, least", "pairs found", "SQNR, dB")

    def __init__(self, data: Path) -> None:
        text = (data / "models" / "all_minilm_l6_v2_tokenizer.json").read_text(encoding="utf-8")
        self._vocabulary: dict[str, int] = json.loads(text)["model"]["vocab"]

    def calibration(self) -> list[Inputs]:
        """Return sentences."""
        return [self._fed(text) for text in CALIBRATION_SENTENCES]

    def evaluation(self) -> list[Inputs]:
        """Return pairs of sentences that mean the same, one after the other."""
        return [self._fed(text) for pair in EVALUATION_PAIRS for text in pair]

    def judge(self, expected: Sequence[np.ndarray], got: Sequence[np.ndarray]) -> tuple[str, ...]:
        """Return cosines with the float embeddings, how many find their partner, and the signal-to-noise ratio."""
        a, b = self._embedded(expected), self._embedded(got)
        cosines = (a * b).sum(axis=1)
        nearest = (b @ b.T - 2 * np.eye(len(b))).argmax(axis=1)
        found = int((nearest == np.arange(len(b)) ^ 1).sum())
        return (f"{cosines.mean():.4f}", f"{cosines.min():.4f}", f"{found} of {len(b)}", f"{decibels(a, b):.2f}")

    def _embedded(self, outputs: Sequence[np.ndarray]) -> np.ndarray:
        """Return the mean of each sentence's tokens, of length 1."""
        masks = [given["attention_mask"][0, :, None] for given in self.evaluation()]
        sums = np.array([(y[0].astype(np.float64) * m).sum(axis=0) for y, m in zip(outputs, masks, strict=True)])
        return np.asarray(sums / np.linalg.norm(sums, axis=1, keepdims=True))

    def _fed(self, text: str) -> Inputs:
        ids, tokens = np.zeros((1, TOKENS), np.int64), self._tokens(text)
        ids[0, : len(tokens)] = tokens
        mask = (np.arange(TOKENS) < len(tokens)).astype(np.int64)[None]
        return {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}

    def _tokens(self, text: str) -> list[int]:
        """Return the WordPiece tokens of lower-case words."""
        found = [self._vocabulary["[CLS]"]]
        for word in text.split():
            start = 0
            while start < len(word):
                prefix = "##" if start else ""
                end = next(e for e in range(len(word), start, -1) if prefix + word[start:e] in self._vocabulary)
                found.append(self._vocabulary[prefix + word[start:end]])
                start = end
        return [*found, self._vocabulary["[SEP]"]]


class TextLines(Task):
    """A reader of text lines: lines that are read as they should be, and as the float network reads them."""

    name, model = "PP-OCRv4 rec", "ch_PP-OCRv4_rec_infer.onnx"
    flags = ("--input_shapes", f"[[1,3,{HEIGHT},{WIDTH}]]", "--output_names", "p2o.Add.277")
    columns = ("lines right", "as float", "letters as float", "SQNR, dB")

    def __init__(self, data: Path) -> None:
        import onnx

        properties = {p.key: p.value for p in onnx.load(data / "models" / self.model).metadata_props}
        self._letters = ["", *properties["character"].splitlines(), " "]
        with (data / "images" / "ocr_lines" / "labels.tsv").open(encoding="utf-8") as file:
            self._lines = [(data / "images" / "ocr_lines" / n, text) for n, text in csv.reader(file, delimiter="\t")]

    def calibration(self) -> list[Inputs]:
        """Return lines that are drawn here, dark on light and of two sizes."""
        return [self._fed(drawn(text, 26 + 8 * (i % 2))) for i, text in enumerate(CALIBRATION_LINES)]

    def evaluation(self) -> list[Inputs]:
        """Return the labelled pictures."""
        return [self._fed(Image.open(path).convert("RGB")) for path, _ in self._lines]

    def judge(self, expected: Sequence[np.ndarray], got: Sequence[np.ndarray]) -> tuple[str, ...]:
        """Return the lines that are right and those that are as before, columns of the same letter, and the SQNR."""
        before, after = ([self._read(y) for y in outputs] for outputs in (expected, got))
        right = sum(text == label for text, (_, label) in zip(after, self._lines, strict=True))
        same = sum(a == b for a, b in zip(before, after, strict=True))
        a, b = (np.array([y[0] for y in outputs], np.float64) for outputs in (expected, got))
        letters = float((a.argmax(axis=2) == b.argmax(axis=2)).mean())
        return (f"{right} of {len(after)}", f"{same} of {len(after)}", f"{letters:.4f}", f"{decibels(a, b):.2f}")

    def _read(self, scores: np.ndarray) -> str:
        """Return the text of CTC scores [1, T, letters + 2]: 0 is the blank, the last one a space."""
        best = scores[0].argmax(axis=-1)
        return "".join(self._letters[k] for i, k in enumerate(best) if k and (i == 0 or k != best[i - 1]))

    def _fed(self, picture: Image.Image) -> Inputs:
        width = min(WIDTH, round(picture.width * HEIGHT / picture.height))
        pixels = np.asarray(picture.resize((width, HEIGHT), Image.Resampling.BILINEAR), np.float32)[..., ::-1]
        line = np.zeros((1, 3, HEIGHT, WIDTH), np.float32)
        line[0, :, :, :width] = (pixels / 127.5 - 1).transpose(2, 0, 1)
        return {"x": line}


TASKS = (Sentences, TextLines)


def drawn(text: str, size: int) -> Image.Image:
    """Return a picture of a line in Pillow's own typeface."""
    font = ImageFont.load_default(size)
    picture = Image.new("RGB", (int(font.getlength(text)) + 12, HEIGHT), "white")
    ImageDraw.Draw(picture).text((6, HEIGHT // 2), text, "black", font, anchor="lm")
    return picture


def decibels(expected: np.ndarray, got: np.ndarray) -> float:
    """Return the mean, over samples, of the ratio of the signal about its mean to the noise."""
    axes = tuple(range(1, expected.ndim))
    signal = np.square(expected - expected.mean(axis=-1, keepdims=True)).sum(axis=axes)
    with np.errstate(divide="ignore"):
        return float(np.mean(10 * np.log10(signal / np.square(got - expected).sum(axis=axes))))
