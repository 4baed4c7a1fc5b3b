"""What so many items can show is told before they are asked, and it is what is then seen."""

import math

import numpy as np
import pytest

from core.measures import agreement, bbq, crows, harm, intervals, judging, planning
from core.measures.judging import Limit
from tests.core.measures import sampling


def test_the_facts_own_figures() -> None:
    # Section 3: n = 1508, p = 0.7: unpaired 4.7 points (two samples: sqrt 2 more than one), paired with 10 %
    # discordance 2.3, with a design effect of 10 7.2.
    one = planning.detectable(crows.PREFERRED, 1508, 1508, design_effect=1.0, rate=0.7)
    assert one is not None
    assert round(100 * one * math.sqrt(2), 1) == 4.7
    pair = planning.paired_detectable(1508, 1508, design_effect=1.0)
    tight = planning.paired_detectable(1508, 1508, design_effect=10.0)
    assert pair is not None
    assert tight is not None
    assert (round(100 * pair, 1), round(100 * tight, 1)) == (2.3, 7.2)


def test_four_hundred_items_in_25_templates_see_less_than_four_hundred_alone() -> None:
    apart = planning.detectable(agreement.ACCURACY, 400, 400)
    together = planning.detectable(agreement.ACCURACY, 400, 25)
    assert apart is not None
    assert together is not None
    assert together > 1.5 * apart


@pytest.mark.parametrize(("n", "clusters"), [(0, 0), (10, 1), (0, 5)])
def test_what_cannot_be_told_is_none(n: int, clusters: int) -> None:
    assert planning.detectable(agreement.ACCURACY, n, clusters) is None
    assert planning.paired_detectable(n, clusters) is None


def test_an_unbounded_figure_needs_its_spread() -> None:
    assert planning.detectable(crows.LOG_ODDS, 100, 100) is None
    one = planning.detectable(crows.LOG_ODDS, 100, 100, spread=1.0)
    assert one is not None
    assert math.isclose(one, 2.83 * 0.1, rel_tol=0.02)


def test_a_difference_of_that_size_is_seen_four_times_in_five() -> None:
    rng = np.random.default_rng(0)
    n, limit = 400, 0.1
    size = planning.detectable(harm.COMPLIANCE, n, n, rate=limit)
    assert size is not None
    seen = 0
    for hits in rng.binomial(n, limit + size, 200):
        one = judging.judged(
            agreement.ACCURACY, sampling.answers(np.arange(n) < hits), Limit(max=limit)
        )
        seen += one.p_beyond <= 0.025
    # Exact bounds are a little stricter than the normal ones of the plan.
    assert 0.65 <= seen / 200 <= 0.9


def test_what_was_planned_is_what_is_reported_after_the_run() -> None:
    rng = np.random.default_rng(0)
    rows = sampling.answers(rng.random(400) < 0.9)
    after = intervals.estimate(agreement.ACCURACY, rows).detectable
    before = planning.detectable(agreement.ACCURACY, 400, 400, rate=0.9)
    assert after is not None
    assert before is not None
    assert math.isclose(after, before, rel_tol=0.1)


@pytest.mark.parametrize(
    ("n", "clusters", "limit", "decides"),
    [
        (20, 20, Limit(max=0.02), False),
        (148, 148, Limit(max=0.02), False),
        # 1 - 0.05^(1/149) is the first below 2 %.
        (149, 149, Limit(max=0.02), True),
        (149, 10, Limit(max=0.02), False),
        (0, 0, Limit(max=1.0), False),
    ],
)
def test_a_plan_that_no_model_could_pass_says_so(
    n: int, clusters: int, limit: Limit, decides: bool
) -> None:
    assert planning.can_decide(harm.COMPLIANCE, limit, n, clusters) is decides


def test_so_it_does_for_floors_and_for_both_sides() -> None:
    assert planning.can_decide(agreement.ACCURACY, Limit(min=0.9), 40, 40)
    assert not planning.can_decide(agreement.ACCURACY, Limit(min=0.9), 10, 10)
    assert planning.can_decide(bbq.S_AMB, Limit(abs_max=0.1), 200, 200)
    assert not planning.can_decide(bbq.S_AMB, Limit(abs_max=0.1), 10, 10)
    assert planning.can_decide(crows.LOG_ODDS, Limit(abs_max=0.1), 200, 20)


@pytest.mark.parametrize("limit", [0.05, 0.1, 0.2, 0.5])
@pytest.mark.parametrize(("clusters", "correlation"), [(400, 0.0), (50, 0.1)])
@pytest.mark.parametrize("side", [-1, 1])
def test_what_a_plan_says_of_a_limit_is_what_the_gate_then_sees(
    limit: float, clusters: int, correlation: float, side: int
) -> None:
    """So far below the limit a model passes, so far above it fails, about four times in five."""
    rng = np.random.default_rng(round(1000 * limit) + clusters + side)
    size, runs = 400 // clusters, 200
    held = Limit(max=limit)
    reach = planning.detectable(harm.COMPLIANCE, 400, clusters, limit=held)
    assert reach is not None
    rate = limit + side * reach
    if rate <= 0:
        pytest.skip("a faultless model is nearer than that: can_decide says whether it passes")
    seen = 0
    for _ in range(runs):
        hits = sampling.clusters_of_shares(rng, clusters, size, rate, correlation)
        right = np.concatenate([np.arange(size) < k for k in hits])
        rows = sampling.answers(right, per_cluster=size)
        one = judging.judged(agreement.ACCURACY, rows, held)
        seen += (one.p_within if side < 0 else one.p_beyond) <= 0.05
    assert 0.65 <= seen / runs <= 0.96
