"""The order of a network's scores: which class it predicts, and what is among its five best."""

from dataclasses import dataclass

import numpy as np

TOP = 5
NO_CLASS = -1
RULE = "equal scores rank by the lower class index; scores with a NaN predict no class"


@dataclass(frozen=True)
class Ranking:
    """The best classes of a sample with their scores, best first; none where a score is NaN.

    `tied_first` tells that the best score is not the only one of its value, `tied_last` that the last one of `classes`
    has the value of the next one: then the rule, not the network, decided what is in.
    """

    classes: tuple[int, ...] = ()
    scores: tuple[float, ...] = ()
    tied_first: bool = False
    tied_last: bool = False

    @property
    def predicted(self) -> int:
        """The first class, `NO_CLASS` where there is none."""
        return self.classes[0] if self.classes else NO_CLASS


def rank(scores: np.ndarray) -> Ranking:
    """Return the `TOP` best of scores[C]: the largest first, equal ones by the lower index, as `RULE` says."""
    values = np.asarray(scores, np.float64).reshape(-1)
    if np.isnan(values).any():
        return Ranking()
    order = np.argsort(-values, kind="stable")[: TOP + 1]
    best = values[order]
    tied_last = len(best) > TOP and bool(best[TOP - 1] == best[TOP])
    classes, kept = order[:TOP].tolist(), best[:TOP].tolist()
    return Ranking(tuple(classes), tuple(kept), len(best) > 1 and bool(best[0] == best[1]), tied_last)
