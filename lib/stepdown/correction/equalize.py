"""The factors of a group of channels, and their application to weights."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from xdsl.ir import SSAValue

from stepdown.correction.channel_statistics import ChannelStatistics
from stepdown.correction.channels import Group, Member, read_rows
from stepdown.correction.patterns import is_depthwise
from stepdown.dialects.op import TensorOp
from stepdown.dialects.top.mac import Conv
from stepdown.numerics.quantize import WEIGHT_MAX

EXPONENTS = tuple(i / 8 for i in range(9))
"""How much of the difference between channels is taken out: 0 nothing, 1 all of it."""
HEADROOMS = (1.0, 1.25, 1.6, 2.0)
"""By how much a channel under a clip may be larger than the samples showed, before it is clipped."""
MAX_FACTOR = 64.0
_STEPS = 255
_TINY = float(np.finfo(np.float32).tiny)
Halves = tuple[ChannelStatistics, ChannelStatistics]
"""The even samples, and the odd ones."""
Seen = Mapping[SSAValue, ChannelStatistics]


@dataclass(frozen=True)
class Candidate:
    """How factors follow from statistics: range^-exponent, · weight^(1 - exponent) where weights are looked at."""

    exponent: float
    headroom: float = 1.0
    weights: bool = False


def range_candidates(group: Group, headroom: float = 0.0) -> list[Candidate]:
    """Return the candidates that look at ranges alone; a `headroom` of 0 means that it is chosen too."""
    rooms = (headroom,) if headroom else HEADROOMS
    return [Candidate(e, room) for e in EXPONENTS[1:] for room in (rooms if group.limit is not None else (1.0,))]


def smooth_candidates(group: Group, alphas: Iterable[float] = ()) -> list[Candidate]:
    """Return SmoothQuant's candidates for a group without a clip; no alphas means all steps from 0 to 1."""
    return [Candidate(a, weights=True) for a in (alphas or EXPONENTS[:-1])] if group.limit is None else []


class Choice:
    """The search for a group's factors; `halves` are statistics of its tensors on the even and the odd samples.

    `rounding` is the share of the weights' rounding error that counts: reconstruction takes most of it away.
    """

    def __init__(
        self,
        group: Group,
        halves: Mapping[SSAValue, Halves],
        constant: Callable[[TensorOp], np.ndarray],
        rounding: float = 1.0,
    ) -> None:
        self.group, self._rounding = group, rounding
        self.halves = [{value: halves[value][i] for value in group.members} for i in range(2)]
        self.all: Seen = {value: a + b for value, (a, b) in halves.items() if value in group.members}
        if any(part.count == 0 for part in self.halves[1].values()):
            self.halves[1] = self.halves[0]
        self.rows = {op: read_rows(op, constant(op)) for op in group.readers}

    def best(self, candidates: Iterable[Candidate]) -> np.ndarray:
        """Return the factors that lower the expected error of what reads the group most.

        The candidate is the one whose factors, found on half of the samples, have the least error on the other half;
        the factors are then found on all. They are 1 where nothing has less error than that.
        """
        found = min((Candidate(0.0), *candidates), key=self._missed)
        return self.factors(self.all, found)

    def _missed(self, candidate: Candidate) -> float:
        known, unseen = self.halves
        return sum(self.error(a, b, self.factors(a, candidate)) for a, b in ((known, unseen), (unseen, known)))

    # --- factors

    def factors(self, seen: Seen, candidate: Candidate) -> np.ndarray:
        """Return the factors of a candidate."""
        if not candidate.exponent and not candidate.weights:
            return np.ones(self.group.size)
        ratios = [_ratio(self._shares(seen, candidate.headroom, sign)) for sign in (1, -1)]
        found = (ratios[0] / ratios[1]) ** candidate.exponent
        if candidate.weights:
            found = found * _ratio(self._weight_shares()) ** -(1 - candidate.exponent)
        return np.asarray(found)

    def _shares(self, seen: Seen, headroom: float, sign: int) -> np.ndarray:
        """Return the largest share of a tensor's range that each factor's channels take, of one sign."""
        found = (m.gathered(self._share(v, seen[v], headroom), sign, self.group.size) for v, m in self._members())
        return np.asarray(np.max(list(found), axis=0))

    def _members(self) -> Iterable[tuple[SSAValue, Member]]:
        return self.group.members.items()

    def _share(self, value: SSAValue, seen: ChannelStatistics, headroom: float) -> np.ndarray:
        """Return how much of a tensor's range each channel takes; below a clip the clip is the range."""
        limit = self.group.limit if value.owner in self.group.makers else None
        widest = float(seen.largest.max(initial=0.0)) if limit is None else limit
        return np.minimum(seen.largest * (1.0 if limit is None else headroom) / max(widest, _TINY), 1.0)

    def _weight_shares(self) -> np.ndarray:
        """Return, by factor, the largest weight that reads it, as a share of the largest of that reader."""
        found = np.zeros(self.group.size)
        for op, rows in self.rows.items():
            largest = _columns(op, np.abs(rows).max(axis=2))
            share = largest / max(float(largest.max(initial=0.0)), _TINY)
            found = np.maximum(found, self.group.members[op.operands[0]].gathered(share, 1, self.group.size))
        return found

    # --- errors

    def error(self, known: Seen, unseen: Seen, factors: np.ndarray) -> float:
        """Return the expected squared error on `unseen` of all that reads the group, each by its signal's power.

        That of what is read: values clipped at the range that is `known`, and rounded with an error of step² / 12.
        That of weights: rounded, with an error of their own step² / 12, of which a share is left.
        """
        noise = self._noises(known, unseen, factors)
        error = sum(self._reader_error(op, noise, unseen, factors) for op in self.rows)
        return error + sum(self._product_error(op, noise, unseen) for op in self.group.products)

    def _noises(self, known: Seen, unseen: Seen, factors: np.ndarray) -> dict[SSAValue, np.ndarray]:
        """Return the error of the channels of each tensor that is read, by all roundings on its way."""
        read = {v for op in (*self.rows, *self.group.products) for v in op.operands[:2] if v in self.group.members}
        found = {}
        for value in read:
            member, error = self.group.members[value], {sign: np.zeros(self.group.size) for sign in (1, -1)}
            for source in self.group.sources(value):
                m = self.group.members[source]
                own = self._noise(known[source], unseen[source], m.factors(factors))
                error = {sign: e + m.gathered(own, sign, self.group.size) for sign, e in error.items()}
            found[value] = np.where(member.sign > 0, error[1][member.index], error[-1][member.index])
        return found

    def _noise(self, known: ChannelStatistics, unseen: ChannelStatistics, factors: np.ndarray) -> np.ndarray:
        """Return the mean squared error of each channel, in units of the unscaled tensor."""
        widest = float((known.largest * factors).max(initial=0.0))
        clip = min(widest, self.group.limit) if self.group.limit is not None else widest
        return np.asarray(np.square(clip / _STEPS / factors) / 12 + unseen.excess(clip / factors))

    def _reader_error(
        self, op: TensorOp, noise: Mapping[SSAValue, np.ndarray], unseen: Seen, factors: np.ndarray
    ) -> float:
        value, rows = op.operands[0], self.rows[op]
        gain = np.square(rows).sum(axis=2)  # [O, C]
        read, power = _columns(op, gain, np.sum), unseen[value].power()
        error = float((read * noise[value]).sum())
        if not (isinstance(op, Conv) and is_depthwise(op)):  # there a row reads one channel: its scale takes it in
            scale = self.group.members[value].factors(factors)
            steps = (np.abs(rows).max(axis=2) / scale).max(axis=1) / WEIGHT_MAX
            rounded = float(np.square(steps).sum() / 12 * (np.square(scale) * power).sum() * rows.shape[2])
            error += self._rounding * rounded
        return error / max(float((read * power).sum()), _TINY)

    def _product_error(self, op: TensorOp, noise: Mapping[SSAValue, np.ndarray], unseen: Seen) -> float:
        left, right = op.operands[:2]
        powers = [unseen[value].power() for value in (left, right)]
        error = (noise[left] * powers[1] + noise[right] * powers[0]).sum()
        return float(error) / max(float((powers[0] * powers[1]).sum()), _TINY)


def _ratio(shares: np.ndarray) -> np.ndarray:
    ratio = np.clip(1 / np.maximum(shares, 1 / MAX_FACTOR), 1.0, MAX_FACTOR)
    return np.asarray(np.where(shares == 0, 1.0, ratio))


def _columns(op: TensorOp, by_row: np.ndarray, fold: Callable[..., np.ndarray] = np.max) -> np.ndarray:
    """Return values [O, C] of weights by the channel that they read."""
    return by_row[:, 0] if isinstance(op, Conv) and is_depthwise(op) else np.asarray(fold(by_row, axis=0))
