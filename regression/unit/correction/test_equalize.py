"""Factors of channels are chosen by what they do to samples that did not choose them."""

import numpy as np
import pytest
from correction.nets import mobile_net

from stepdown.correction.channel_statistics import ChannelStatistics
from stepdown.correction.channels import find_groups
from stepdown.correction.equalize import Choice, range_candidates
from stepdown.dialects.op import TensorOp

LIMIT, CHANNELS = 6.0, 24


def statistics(values: np.ndarray) -> ChannelStatistics:
    made = ChannelStatistics(len(values))
    made.add(values.astype(np.float32))
    return made


def chosen(halves: list[np.ndarray], headroom: float = 0.0, name: str = "expand", rounding: float = 1.0) -> np.ndarray:
    """Return the factors of the channels of a tensor, clipped at 6, of which the samples show `halves`."""
    program = mobile_net(relu_limit=LIMIT)
    group = next(g for g in find_groups(program) if g.tensors[0].owner.tensor_name == name)  # type: ignore[union-attr]

    def constant(op: TensorOp) -> np.ndarray:
        return program.weights[op.operands[1].owner.key]  # type: ignore[union-attr]

    seen = {group.tensors[0]: (statistics(halves[0]), statistics(halves[1]))}
    return Choice(group, seen, constant, rounding).best(range_candidates(group, headroom))


def narrow(largest: float) -> np.ndarray:
    """Return values of channels up to `LIMIT`, of which the first goes only up to `largest`, once."""
    values = np.random.default_rng(0).uniform(0, LIMIT, (CHANNELS, 500))
    values[0] *= 0.05 / LIMIT
    values[0, 0] = largest
    return values


def test_excess_is_the_mean_square_beyond_the_threshold() -> None:
    values = np.random.default_rng(3).normal(size=(4, 20000)) * np.array([[0.01], [1.0], [30.0], [1.0]])
    thresholds = np.array([0.013, 1.1, 50.0, 9.0])
    direct = np.square(np.maximum(np.abs(values) - thresholds[:, None], 0)).mean(axis=1)
    got = (statistics(values[:, :9000]) + statistics(values[:, 9000:])).excess(thresholds)
    np.testing.assert_allclose(got, direct, rtol=0.03)
    assert got[3] == 0


def test_a_narrow_channel_is_scaled_up_where_both_halves_agree() -> None:
    factors = chosen([narrow(0.05), narrow(0.05)])
    assert factors[0] > 16
    assert (factors[1:] < 1.2).all()


@pytest.mark.parametrize("halves", [(0.05, 3.0), (3.0, 0.05)])
def test_a_channel_that_the_other_half_would_see_clipped_is_not(halves: tuple[float, float]) -> None:
    assert chosen([narrow(v) for v in halves], 1.0)[0] < 2.1


def test_a_little_more_than_was_seen_is_given_room() -> None:
    """One clipped value in 500 costs more than a step that is a quarter larger."""
    factors = chosen([narrow(0.2), narrow(0.24)])
    assert 4 < factors[0] <= LIMIT / 0.24 / 1.2
    assert chosen([narrow(0.24), narrow(0.24)])[0] > LIMIT / 0.24 / 1.2


def test_one_sample_is_measured_on_itself() -> None:
    assert chosen([narrow(0.05), np.zeros((CHANNELS, 0))])[0] > 16


def test_factors_go_further_where_less_of_the_rounding_of_weights_is_left() -> None:
    """The readers of `depthwise` have one scale a row, so that factors cost their weights precision."""
    halves = [narrow(0.05), narrow(0.05)]
    plain, reconstructed = (chosen(halves, name="depthwise", rounding=share) for share in (1.0, 0.0))
    assert plain[0] < 0.6 * reconstructed[0]
