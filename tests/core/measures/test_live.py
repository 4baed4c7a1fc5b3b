"""A test that may be looked at as often as one likes: its false alarms beside those of a z-test that is repeated."""

import json

import numpy as np
import pytest

from core.measures import live


def evidence(observations: np.ndarray) -> np.ndarray:
    """The capital after each observation, all at once (the definition, beside the step by step of Betting)."""
    stakes = np.array(live.STAKES)[:, None]
    capital = np.exp(np.cumsum(np.log1p(stakes * observations[None]), axis=1))
    return np.asarray(capital.mean(axis=0))


def z_alarms(observations: np.ndarray, every: int) -> bool:
    n = np.arange(1, len(observations) + 1)
    total = np.cumsum(observations)
    spread = np.sqrt(np.maximum(1e-9, np.cumsum(observations**2) - total**2 / n))
    return bool((np.abs(total / spread)[every - 1 :: every] > 1.96).any())


def test_a_repeated_z_test_alarms_at_nothing_and_betting_does_not() -> None:
    """Looked at every 50 pairs up to 5,000 (facts/rai.md section 3: 39 % and 2.8 %)."""
    rng = np.random.default_rng(0)
    z = betting = 0
    for _ in range(400):
        ours, theirs = (rng.random((2, 5000)) < 0.1).astype(float)
        z += z_alarms(ours - theirs, 50)
        betting += evidence(ours - theirs).max() >= 20
    assert z / 400 > 0.3
    assert betting / 400 <= 0.05


def test_a_doubled_rate_is_found_after_some_two_hundred_pairs() -> None:
    rng = np.random.default_rng(1)
    found = []
    for _ in range(200):
        ours, theirs = rng.random(5000) < 0.2, rng.random(5000) < 0.1
        grown = evidence(ours.astype(float) - theirs) >= 20
        found.append(int(grown.argmax()) if grown.any() else 5000)
    assert np.median(found) < 250
    assert np.quantile(found, 0.9) < 600


def test_a_rate_over_its_limit_is_found_and_one_at_it_is_not() -> None:
    rng = np.random.default_rng(2)
    alarms = {}
    for true in (0.05, 0.12):
        alarms[true] = np.mean(
            [
                evidence(
                    np.array(
                        [live.excess(x, over=0.05) for x in (rng.random(2000) < true).astype(float)]
                    )
                ).max()
                >= 20
                for _ in range(100)
            ]
        )
    assert alarms[0.05] <= 0.05 + 0.065
    assert alarms[0.12] > 0.9


def test_the_state_is_a_few_floats_and_goes_on_where_it_was() -> None:
    rng = np.random.default_rng(3)
    observations = rng.uniform(-1, 1, 60)
    whole = live.Betting().updated(list(observations))
    half = live.Betting().updated(list(observations[:30]))
    resumed = live.restored(json.loads(json.dumps(half.stored()))).updated(list(observations[30:]))
    assert resumed == whole
    assert whole.n == 60
    assert np.isclose(whole.evidence, evidence(observations)[-1])
    assert np.isclose(whole.peak, max(1.0, evidence(observations).max()))


def test_once_it_has_alarmed_it_stays_alarmed() -> None:
    state = live.Betting().updated([1.0] * 30)
    assert state.alarmed()
    assert state.updated([-1.0] * 300).alarmed()
    assert state.updated([-1.0] * 300).evidence < 1
    assert not live.Betting().alarmed()


def test_ages_of_evidence_do_not_overflow() -> None:
    assert live.Betting().updated([1.0] * 5000).alarmed(1e-12)


@pytest.mark.parametrize("y", [1.01, -2.0, float("nan")])
def test_an_observation_has_a_range(y: float) -> None:
    with pytest.raises(ValueError, match="within -1 and 1"):
        live.Betting().update(y)


def test_a_margin_moves_the_hypothesis() -> None:
    assert live.pair(1.0, 0.0) == 1.0
    assert live.pair(0.0, 1.0, margin=0.5) == -1.0
    assert live.pair(0.5, 0.0, margin=0.5) == 0.0
    assert live.excess(0.0, over=0.1) == pytest.approx(-0.1 / 0.9)
    assert live.excess(1.0, over=0.1) == pytest.approx(1.0)
