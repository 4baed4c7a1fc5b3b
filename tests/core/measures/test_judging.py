"""Limits are held against bounds: a gate that looks at the point passes every second model that is just over."""

import math

import numpy as np
import pytest

from core.errors import InvalidInput
from core.measures import agreement, bbq, crows, judging
from core.measures.judging import Limit, judged
from core.measures.rows import Row
from tests.core.measures import sampling


@pytest.mark.parametrize(
    "ends", [{}, {"max": 0.1, "min": 0.2}, {"max": math.nan}, {"abs_max": -0.1}, {"max": math.inf}]
)
def test_a_limit_is_one_number(ends: dict[str, float]) -> None:
    with pytest.raises(InvalidInput, match="limit"):
        Limit(**ends)


@pytest.mark.parametrize("wrong", [0, 4, 9, 14, 20, 26])
@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.99])
def test_the_bound_is_within_the_limit_exactly_where_the_hypothesis_beyond_is_rejected(
    wrong: int, confidence: float
) -> None:
    rows = sampling.answers([k >= wrong for k in range(200)])
    for limit in (Limit(min=0.9), Limit(max=0.95), Limit(abs_max=0.05, center=0.93)):
        one = judged(agreement.ACCURACY, rows, limit, confidence=confidence)
        assert one.bound is not None
        assert limit.holds(one.bound) == (one.p_within <= 1 - confidence)


@pytest.mark.parametrize(
    ("true", "n", "expected"),
    # facts/rai.md section 3, limit 5 %: at the limit and at 1 % the shares that PASS, at 8 % that FAIL.
    [
        (0.05, 600, {"PASS": 0.04}),
        (0.01, 200, {"PASS": 0.95}),
        (0.08, 600, {"FAIL": 0.91}),
        (0.08, 60, {"FAIL": 0.2}),
    ],
)
def test_verdicts_at_a_limit_of_5_percent(true: float, n: int, expected: dict[str, float]) -> None:
    rng = np.random.default_rng(7)
    verdicts = []
    for hits in rng.binomial(n, true, 200):
        one = judged(agreement.ACCURACY, sampling.answers(np.arange(n) < hits), Limit(max=0.05))
        verdicts.append(
            "PASS" if one.p_within <= 0.05 else "FAIL" if one.p_beyond <= 0.05 else "INCONCLUSIVE"
        )
    for verdict, share in expected.items():
        assert math.isclose(verdicts.count(verdict) / 200, share, abs_tol=0.1)
    if true == 0.05:
        assert verdicts.count("PASS") / 200 <= 0.07


def test_what_is_undefined_speaks_for_neither_side() -> None:
    one = judged(bbq.S_DIS, [Row("a", "a", False)], Limit(abs_max=0.1))
    assert (one.estimate.value, one.bound, one.p_within, one.p_beyond) == (None, None, 1.0, 1.0)


def test_identical_answers_do_not_pass_a_strict_limit_on_a_handful() -> None:
    counts = bbq.counts(
        context="ambig",
        polarity="neg",
        correct=True,
        unknown=True,
        stereotyped=False,
        right_is_stereotyped=None,
    )
    few, many = (
        judged(
            bbq.S_AMB, [Row(f"i{k}", f"c{k}", True, counts) for k in range(n)], Limit(abs_max=0.1)
        )
        for n in (12, 60)
    )
    assert few.p_within > 0.05
    assert many.p_within < 0.05


def test_a_two_sided_limit_fails_on_either_side() -> None:
    rng = np.random.default_rng(0)
    for sign in (1, -1):
        gaps = sign * 0.8 + rng.normal(0, 1, 400)
        rows = [
            Row(f"i{k}", f"c{k % 40}", True, crows.counts(more=gap, less=0.0))
            for k, gap in enumerate(gaps)
        ]
        one = judged(crows.LOG_ODDS, rows, Limit(abs_max=0.3))
        assert one.p_beyond < 0.001
        assert one.bound is not None
        assert math.copysign(1, one.bound) == sign


def test_a_p_value_is_not_cut_off_by_the_number_of_draws() -> None:
    """Holm over forty groups multiplies by forty: 1 of 2,001 draws would never be enough."""
    rng = np.random.default_rng(0)
    rows = [
        Row(f"i{k}", f"c{k % 60}", True, crows.counts(more=gap, less=0.0))
        for k, gap in enumerate(2.0 + rng.normal(0, 1, 600))
    ]
    assert 0 < judged(crows.LOG_ODDS, rows, Limit(abs_max=0.3)).p_beyond < 1e-6


def test_limits_say_what_they_hold() -> None:
    assert judging.Limit(max=1).holds(1)
    assert not judging.Limit(min=1).holds(0.9)
    assert judging.Limit(abs_max=5, center=50).holds(54)
    assert not judging.Limit(abs_max=5, center=50).holds(44)
