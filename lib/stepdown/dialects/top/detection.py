"""Boxes of found objects from what a detector network says of its priors."""

import numpy as np

from stepdown.dialects.fields import Bool, Float, Int, Str
from stepdown.dialects.op import Arrays, Kind
from stepdown.dialects.top.base import Example, TopOp, top_op
from stepdown.dialects.types import Shape

Boxes = np.ndarray
"""Corners [P, (xmin, ymin, xmax, ymax)], as parts of the picture's width and height."""


@top_op
class DetectionOutput(TopOp):
    """The best boxes of every sample, rows (sample, class, score, xmin, ymin, xmax, ymax). Source: SSD DetectionOutput.

    location[N, P·L·4] moves each prior (L is 1, or num_classes where classes do not share locations),
    confidence[N, P·num_classes] scores it, priors[1 or N, 2, P·4] are corners, then variances. For each class but the
    background, boxes above confidence_threshold go in order of score, at most top_k of them (−1: all), and one that
    overlaps a better one by more than nms_threshold falls out; eta below 1 lowers that threshold after each box that
    stays, while it is above one half. Of what stays in a sample the keep_top_k best are given (−1: all), by class, then
    by score; of equal scores the lower prior, and the lower class, comes first.

    The result has a fixed shape, [1, 1, N·K, 7] with K the most boxes that can stay in a sample: the rows of the
    samples one after the other, then rows of −1.

    C1: location, confidence and priors have the sizes that their docstring says
    C2: num_classes is at least 1, keep_top_k and top_k are −1 or at least 1
    """

    kind = Kind.FLOAT
    inputs = ("location", "confidence", "priors")
    num_classes = Int()
    share_location = Bool(True)
    background_label_id = Int(0)
    nms_threshold = Float(0.3)
    top_k = Int(-1)
    eta = Float(1.0)
    code_type = Str("CORNER", choices=("CORNER", "CENTER_SIZE", "CORNER_SIZE"))
    variance_encoded_in_target = Bool(False)
    keep_top_k = Int(-1)
    confidence_threshold = Float(-np.inf)

    @staticmethod
    def example(rng: np.random.Generator) -> Example:
        """Return operands and attributes for the tests that run over the registry."""
        corners = np.sort(rng.uniform(0, 1, (6, 2, 2)), axis=1).reshape(1, 1, 24)
        priors = np.concatenate([corners, np.full((1, 1, 24), 0.1)], axis=1)
        attributes = {"num_classes": 3, "code_type": "CENTER_SIZE", "keep_top_k": 4, "confidence_threshold": 0.2}
        return [rng.normal(size=(2, 24)), rng.uniform(0, 1, (2, 18)), priors], attributes

    def shapes(self, location: Shape, confidence: Shape, priors: Shape) -> list[Shape]:
        """Return [1, 1, N·K, 7]."""
        limits = (self.keep_top_k, self.top_k)
        self.require(self.num_classes >= 1 and all(k == -1 or k >= 1 for k in limits), "C2", f"{limits}")
        count = priors[-1] // 4
        sizes = (count * self.locations * 4, count * self.num_classes)
        fits = len(location) == len(confidence) == 2 and (location[1], confidence[1]) == sizes
        batches = location[0] == confidence[0] and priors[0] in (1, location[0])
        fits_priors = len(priors) == 3 and priors[1] == 2 and priors[2] == 4 * count
        self.require(fits and batches and fits_priors, "C1", f"{location}, {confidence}, {priors}")
        return [(1, 1, location[0] * self.most(count), 7)]

    @property
    def locations(self) -> int:
        """How many boxes each prior has."""
        return 1 if self.share_location else self.num_classes

    @property
    def classes(self) -> list[int]:
        """The classes that are looked for."""
        return [label for label in range(self.num_classes) if label != self.background_label_id]

    def most(self, priors: int) -> int:
        """Return how many boxes can stay in a sample."""
        found = len(self.classes) * (priors if self.top_k < 0 else min(priors, self.top_k))
        return found if self.keep_top_k < 0 else min(found, self.keep_top_k)

    def compute(self, location: np.ndarray, confidence: np.ndarray, priors: np.ndarray) -> Arrays:
        """Return the rows."""
        count = priors.shape[2] // 4
        rows = [self.sample(i, location[i], confidence[i], priors[i % len(priors)]) for i in range(len(location))]
        out = np.full((1, 1, len(location) * self.most(count), 7), -1, location.dtype)
        found = np.concatenate([np.zeros((0, 7), location.dtype), *rows])
        out[0, 0, : len(found)] = found
        return [out]

    def sample(self, number: int, location: np.ndarray, confidence: np.ndarray, priors: np.ndarray) -> np.ndarray:
        """Return the rows of one sample."""
        moves, corners = location.reshape(-1, self.locations, 4), priors[0].reshape(-1, 4)
        variances = np.ones_like(corners) if self.variance_encoded_in_target else priors[1].reshape(-1, 4)
        boxes = [DECODERS[self.code_type](corners, moves[:, i] * variances) for i in range(self.locations)]
        scores = confidence.reshape(-1, self.num_classes)
        kept = []
        for label in self.classes:
            own = boxes[0 if self.share_location else label]
            kept += [(label, place) for place in self.suppressed(own, scores[:, label])]
        rows = [
            [number, label, scores[place, label], *boxes[0 if self.share_location else label][place]]
            for label, place in self.best(kept, scores)
        ]
        return np.array(rows, location.dtype).reshape(-1, 7)

    def best(self, kept: list[tuple[int, int]], scores: np.ndarray) -> list[tuple[int, int]]:
        """Return the keep_top_k best of (class, prior), in their order."""
        if self.keep_top_k < 0 or len(kept) <= self.keep_top_k:
            return kept
        order = np.argsort([-scores[place, label] for label, place in kept], kind="stable")[: self.keep_top_k]
        return [kept[i] for i in sorted(order)]

    def suppressed(self, boxes: Boxes, scores: np.ndarray) -> list[int]:
        """Return the places of the boxes of one class that stay, the best first."""
        candidates = np.flatnonzero(scores > self.confidence_threshold)
        order = candidates[np.argsort(-scores[candidates], kind="stable")]
        kept: list[int] = []
        threshold = self.nms_threshold
        for place in order if self.top_k < 0 else order[: self.top_k]:
            if kept and overlaps(boxes[place], boxes[kept]).max() > threshold:
                continue
            kept.append(int(place))
            if self.eta < 1 and threshold > 0.5:
                threshold *= self.eta
        return kept


def _corner(priors: Boxes, moves: np.ndarray) -> Boxes:
    """Return the corners moved."""
    return priors + moves


def _corner_size(priors: Boxes, moves: np.ndarray) -> Boxes:
    """Return the corners moved by parts of the prior's width and height."""
    size = priors[:, 2:] - priors[:, :2]
    return priors + moves * np.concatenate([size, size], axis=1)


def _center_size(priors: Boxes, moves: np.ndarray) -> Boxes:
    """Return boxes whose centre moves by parts of the prior's size, and whose size grows by e^move."""
    size, centre = priors[:, 2:] - priors[:, :2], (priors[:, :2] + priors[:, 2:]) / 2
    with np.errstate(over="ignore"):
        half = np.exp(moves[:, 2:]) * size / 2
    centre = centre + moves[:, :2] * size
    return np.concatenate([centre - half, centre + half], axis=1)


DECODERS = {"CORNER": _corner, "CENTER_SIZE": _center_size, "CORNER_SIZE": _corner_size}


def areas(boxes: Boxes) -> np.ndarray:
    """Return the areas of boxes, 0 for one that is inside out."""
    size = boxes[..., 2:] - boxes[..., :2]
    return np.where((size < 0).any(axis=-1), 0, size.prod(axis=-1))


def overlaps(box: np.ndarray, boxes: Boxes) -> np.ndarray:
    """Return the intersection over the union of `box` with each of `boxes`."""
    size = np.minimum(box[2:], boxes[:, 2:]) - np.maximum(box[:2], boxes[:, :2])
    shared = np.where((size > 0).all(axis=1), size.prod(axis=1), 0)
    union = areas(box) + areas(boxes) - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=shared > 0)
